"""Ptychography with physics-informed networks: experiments typed once, run anywhere."""

__version__ = "0.1.0"
