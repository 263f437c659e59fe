"""Conversions that several processes share, such as the tasks of a SLURM array."""
