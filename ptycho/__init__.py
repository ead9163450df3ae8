"""Ptychography with physics-informed networks: experiments typed once, run anywhere."""
