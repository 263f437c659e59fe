"""A source of rows with its recipe: reading it loads neither torch nor VTK, which takes a new worker seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

_RECIPE = """
name = "rows"
sample = "run_{n}"

[volume]
place = "row"
file = "points.npy"

[volume.fields]
position = {}
pressure = { file = "p.npy" }
velocity = { file = "U.npy" }
"""


def write_row_runs(folder: Path, count: int) -> Path:
    """Write `count` runs that differ, and return the file of the recipe that reads them, which lies beside them."""
    for number in range(count):
        rows = np.random.default_rng(number)
        run = folder / f"run_{number}"
        run.mkdir(parents=True)
        for name, shape in (("points", (700, 3)), ("p", (700,)), ("U", (700, 3))):
            np.save(run / f"{name}.npy", rows.random(shape, dtype=np.float32))
    recipe = folder.with_suffix(".toml")
    recipe.write_text(_RECIPE)
    return recipe
