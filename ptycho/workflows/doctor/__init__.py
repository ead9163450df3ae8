"""What a scan looks like and which settings it needs: the parts of ``ptycho doctor``."""
