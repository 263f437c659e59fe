"""Which of VTK's cell types the cells of PolyData have: the file and the data set name no types."""

from __future__ import annotations

from typing import Any

import numpy as np

POLYDATA_SECTIONS = ("Verts", "Lines", "Polys", "Strips")
"""The groups of PolyData's cells, in the order in which VTK numbers their cells."""

# vtkCellType.h: the type of a cell by its number of points. The last entry holds for all larger numbers.
_TYPES = {
    "Verts": (0, 1, 2),  # VTK_EMPTY_CELL, VTK_VERTEX, VTK_POLY_VERTEX
    "Lines": (0, 4, 3, 4),  # VTK_POLY_LINE, VTK_LINE, VTK_POLY_LINE
    "Polys": (0, 7, 7, 5, 9, 7),  # VTK_POLYGON, VTK_TRIANGLE, VTK_QUAD, VTK_POLYGON
    "Strips": (0, 6),  # VTK_TRIANGLE_STRIP
}


def polydata_types(section: str, sizes: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the types (uint8) of cells with so many points, in a section of PolyData."""
    types: np.ndarray[Any, np.dtype[np.uint8]] = np.array(_TYPES[section], np.uint8)[
        np.minimum(sizes, len(_TYPES[section]) - 1)
    ]
    return types
