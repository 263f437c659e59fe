"""Fields that are made of a file's mesh: centres, normals, areas, volumes, and the curl of a velocity on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.curls import CurlMode, cell_curls, point_curls
from drawpoint_store.data_files.geometry import cell_areas, cell_centres, cell_volumes, point_areas
from drawpoint_store.data_files.normals import NormalsMode, cell_normals, point_normals

if TYPE_CHECKING:
    from typing import Literal

    import numpy as np

    from drawpoint_store.conversion.recipes.field_recipe import FieldRecipe
    from drawpoint_store.data_files.data_file import MeshFile, Place

DIMS = {"normals": 3, "centre": 3, "area": 1, "volume": 1, "vorticity": 3, "distance": 1}
"""The number of components of each derived field."""

LENGTH_POWERS: dict[str | None, int] = {"centre": 1, "area": 2, "volume": 3, "vorticity": -1}
"""The power of the unit of length that each is measured in; distances are measured in the store's unit already."""


def derive(
    mesh: MeshFile, place: Place, field: FieldRecipe, centre: Literal["mean", "centroid"]
) -> np.ndarray[Any, Any]:
    """Return what `field` derives from a mesh, shape (n, dim), a row a cell or point; the position is its centre.

    Raises InvalidSample, naming the cell, where the mesh has no such thing.
    """
    is_cell = place == "cell"
    if field.derive == "normals":
        mode = cast("NormalsMode", field.mode or "keep")
        return cell_normals(mesh, mode) if is_cell else point_normals(mesh, mode)
    if field.derive == "area":
        return (cell_areas(mesh) if is_cell else point_areas(mesh))[:, None]
    if field.derive == "volume":
        if not is_cell:
            raise InvalidSample('points have no volume; derive it where place = "cell", or name an array')
        return cell_volumes(mesh)[:, None]
    if is_cell:
        return cell_centres(mesh, cast("Literal['mean', 'centroid']", field.mode or centre))
    return mesh.points()


def derive_vorticity(
    mesh: MeshFile, place: Place, velocity: np.ndarray[Any, Any], mode: str | None
) -> np.ndarray[Any, Any]:
    """Return the curl of a velocity, shape (n, 3), a row a cell or point, in the mesh's axes and unit of length."""
    if place == "cell":
        return cell_curls(mesh, velocity, cast("CurlMode", mode or "least-squares"))
    if mode == "gauss":
        raise InvalidSample('mode = "gauss" is for velocities of cells; leave it out for those of points')
    return point_curls(mesh, velocity)
