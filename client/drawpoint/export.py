"""The public door to files for other programs: `drawpoint.export.write_vtp`."""

from drawpoint.adapters.paraview import write_vtp

__all__ = ["write_vtp"]
