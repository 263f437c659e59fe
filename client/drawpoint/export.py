"""Exports of drawn samples to files for other programs."""

from drawpoint.adapters.paraview import write_vtp

__all__ = ["write_vtp"]
