"""Bounds on how much is answered at once."""
