"""Light meets object, the wave travels, the detector counts: torch and nothing else."""
