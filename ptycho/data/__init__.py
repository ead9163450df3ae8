"""Scans: read, checked, simulated and handed out in batches."""
