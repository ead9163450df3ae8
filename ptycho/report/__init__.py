"""Numbers, pictures and files, all from a Reconstruction alone."""
