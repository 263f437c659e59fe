"""A source of VTK files with its recipe: small runs of a body and the air around it."""

from __future__ import annotations

from pathlib import Path

from vtk_files import add_arrays, block, body, save

_RECIPE = """
name = "made"
sample = "run_{n}"

[surface]
file = "body.vtp"
place = "cell"

[surface.fields]
pressure = "p"
normals = { derive = "normals" }
area = { derive = "area", dtype = "float32" }

[volume]
file = "air.vtu"
place = "cell"

[volume.fields]
velocity = "U"

[scalars]
U_inf = { value = 20.0 }
"""


def write_vtk_runs(folder: Path, count: int) -> Path:
    """Write `count` runs that differ, and return the file of the recipe that reads them, which lies beside them."""
    for number in range(count):
        surface, volume = body(number), block(number, 6)
        add_arrays(surface, {"p": 1}, seed=number)
        add_arrays(volume, {"U": 3}, seed=number)
        save(surface, folder / f"run_{number}" / "body.vtp")
        save(volume, folder / f"run_{number}" / "air.vtu")
    recipe = folder.with_suffix(".toml")
    recipe.write_text(_RECIPE)
    return recipe
