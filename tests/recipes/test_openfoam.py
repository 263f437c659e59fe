"""The recipe openfoam on trees of cases as the solver leaves them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv

from drawpoint.errors import InvalidSample
from foam import FoamCase, cell_faces
from shipped import assert_holds, convert_by

GRID = pv.ImageData(dimensions=(4, 3, 3)).cast_to_unstructured_grid()
CENTRES = np.asarray(GRID.cell_centers().points)
SCALARS = {"p": "pressure", "nut": "eddy_viscosity", "k": "k", "omega": "omega"}


def values_of(seed: int, name: str, count: int) -> np.ndarray[Any, Any]:
    """Return what a field has: pressures that float16 has not, and viscosities of which it would keep a digit."""
    rng = np.random.default_rng([seed, len(name), ord(name[0])])
    scale = {"p": 1e5, "nut": 1e-6, "omega": 1e6}.get(name, 1.0)
    shape = (count, 3) if name in ("U", "wallShearStress") else (count,)
    return scale * rng.standard_normal(shape, dtype=np.float32)


def write_case(path: Path, seed: int, **encoding: Any) -> FoamCase:
    """Write a case with results of two times, of which fields of the first are no longer written at the second."""
    case = FoamCase(path, GRID, cell_faces(GRID), wall="body_1", **encoding)
    case.write_mesh()
    faces = len(case.patches["body_1"])
    for time, names in (("0", ("p", "U", "T")), ("90", ("p",)), ("500", (*SCALARS, "U", "wallShearStress", "yPlus"))):
        for name in names:
            cells = values_of(seed + int(time), name, GRID.n_cells)
            case.write_field(time, name, cells, {"body_1": values_of(seed + int(time) + 1, name, faces)})
    return case


def of_volume(seed: int) -> dict[str, Any]:
    expected = {field: values_of(seed + 500, name, GRID.n_cells) for name, field in SCALARS.items()}
    velocity = values_of(seed + 500, "U", GRID.n_cells)
    return expected | {"position": CENTRES, "velocity": velocity, "cell_volume": np.ones(GRID.n_cells)}


def of_wall(case: FoamCase, seed: int) -> dict[str, Any]:
    centres = case.patches["body_1"]
    named = {"p": "pressure", "wallShearStress": "friction", "yPlus": "yplus"}
    expected = {field: values_of(seed + 501, name, len(centres)) for name, field in named.items()}
    normals = np.tile([0.0, 0.0, 1.0], (len(centres), 1))  # the wall is below the fluid
    return expected | {"position": centres, "normals": normals, "area": np.ones(len(centres))}


def test_cells_and_walls_of_each_case_are_read_at_its_latest_time(tmp_path: Path) -> None:
    source = tmp_path / "set"
    made = {
        "design_1": write_case(source / "design_1", 1),
        "more/design_2": write_case(source / "more" / "design_2", 2, binary=True, compressed=True),
    }
    for folder in ("postProcessing/forces/0", "constant/triSurface", "VTK"):
        (source / "design_1" / folder).mkdir(parents=True)
        (source / "design_1" / folder / "force.dat").write_text("# 0 1\n", encoding="utf-8")
    (source / "pictures").mkdir()
    (source / "pictures" / "design_1.png").touch()
    report, reader = convert_by("openfoam", source, tmp_path / "store")
    assert (report.converted, report.broken) == (list(made), {})
    for seed, (sample_id, case) in enumerate(made.items(), start=1):
        assert_holds(reader, sample_id, "volume", of_volume(seed))
        assert_holds(reader, sample_id, "surface", of_wall(case, seed))


def test_the_source_may_be_a_case_in_parts_some_of_which_have_no_wall(tmp_path: Path) -> None:
    source = tmp_path / "case"
    part = write_case(source / "processor0", 1)
    shutil.move(source / "processor0" / "system", source / "system")
    away = GRID.translate((0, 0, 5))
    other = FoamCase(source / "processor1", away, cell_faces(away), wall="body_1")
    other.write_mesh()
    shutil.rmtree(source / "processor1" / "system")
    for name in (*SCALARS, "U", "wallShearStress", "yPlus"):
        other.write_field("500", name, values_of(600, name, GRID.n_cells), {})
    report, reader = convert_by("openfoam", source, tmp_path / "store")
    assert (report.converted, report.broken) == (["case"], {})
    assert_holds(reader, "case", "surface", of_wall(part, 1))
    both = {name: np.concatenate([values, of_volume(100)[name]]) for name, values in of_volume(1).items()}
    both["position"][GRID.n_cells :, 2] += 5
    assert_holds(reader, "case", "volume", both)


def test_what_is_no_case_is_said_to_lack_its_settings(tmp_path: Path) -> None:
    (tmp_path / "set" / "run_1").mkdir(parents=True)
    (tmp_path / "set" / "run_1" / "boundary_1.vtp").touch()
    with pytest.raises(InvalidSample, match=r"no sample of .* is complete: set lacks system/controlDict"):
        convert_by("openfoam", tmp_path / "set", tmp_path / "store")
