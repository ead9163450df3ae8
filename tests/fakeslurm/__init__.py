"""A small SLURM: its commands in one file, its cluster the folder named by ``FAKESLURM``."""
