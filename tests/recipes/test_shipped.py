"""The shipped recipes on small trees with the names, encodings and traps of the public sets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv
import torch

from conftest import AHMED, AHMED_VTK
from drawpoint import source_rows
from drawpoint_store import ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.conversion.recipes.recipe_file import load_recipe, parse_recipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from drawpoint_store.convert import ConversionReport, convert
from vtk_files import add_arrays, block, body, save, split


def convert_by(name: str, source: Path, root: Path) -> tuple[ConversionReport, ZarrChunkReader]:
    found = RecipeSource.scan(source, load_recipe(name))
    report = convert(found, ZarrStoreWriter(root, **found.writer_settings))
    return report, ZarrChunkReader(root)


def assert_holds(reader: ZarrChunkReader, sample_id: str, domain: str, expected: Mapping[str, Any]) -> None:
    """Compare every value of a domain, in the order of the source, with what is expected in the dtype stored."""
    rows = source_rows(reader.manifest, sample_id, domain)
    fields = reader.manifest.domains[domain].arrays
    assert set(fields) == {f"{domain}_{name}" for name in expected}
    stored = reader.read_sample(sample_id, fields=list(fields))
    for field, layout in fields.items():
        values = np.asarray(expected[field.removeprefix(f"{domain}_")], layout.dtype)
        found = stored[field].numpy()
        # VTK's areas and centres are rounded to float64 and float32 in another order.
        exact = field.removeprefix(f"{domain}_") not in ("position", "normals", "area")
        assert np.allclose(found, values[rows], rtol=0 if exact else 1e-3, atol=0 if exact else 1e-6), field


def write_csv(path: Path, **values: float) -> None:
    """Write a table of one row, with a blank after each comma."""
    lines = (", ".join(map(str, cells)) for cells in (values, values.values()))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def outward(surface: pv.PolyData) -> Any:
    """Return the unit normals of a body whose polygons turn into it, by VTK."""
    turned = surface.compute_normals(consistent_normals=False, auto_orient_normals=False, split_vertices=False)
    return -turned.cell_data["Normals"]


def of_surface(surface: pv.PolyData, arrays: Mapping[str, str]) -> dict[str, Any]:
    return {
        "position": surface.cell_centers().points,
        "normals": outward(surface),
        "area": surface.compute_cell_sizes().cell_data["Area"],
        **{field: surface.cell_data[array] for field, array in arrays.items()},
    }


def of_volume(volume: pv.UnstructuredGrid, arrays: Mapping[str, str]) -> dict[str, Any]:
    centres = np.stack([np.asarray(volume.points)[cell.point_ids].mean(axis=0) for cell in volume.cell])
    return {"position": centres, **{field: volume.cell_data[array] for field, array in arrays.items()}}


REAL = """
name = "ahmed"
sample = "slant_{n}"
[surface]
file = "boundary.vtp"
place = "cell"
centre = "centroid"
[surface.fields]
pressure = "p"
friction = "wallShearStress"
normals = { derive = "normals", mode = "flip" }
area = { derive = "area" }
"""


def test_a_surface_of_openfoam_becomes_the_field_arrays_that_were_exported_with_it() -> None:
    found = RecipeSource.scan(AHMED_VTK, parse_recipe(REAL, "ahmed.toml"))
    for spec in found.specs:
        exported = torch.load(AHMED / "slant_25" / f"{spec.canonical}.pt", weights_only=True).numpy()
        values = found.read("slant_25", spec.canonical)
        assert np.abs(values - exported.reshape(values.shape)).max() <= (1e-6 if spec.name == "position" else 0)


DRIVAER_SURFACE = {
    "pressure": ("pMeanTrim", 1),
    "pressure_coefficient": ("CpMeanTrim", 1),
    "pressure_variance": ("pPrime2MeanTrim", 1),
    "friction": ("wallShearStressMeanTrim", 3),
}
DRIVAER_VOLUME = {
    "pressure": ("pMeanTrim", 1),
    "velocity": ("UMeanTrim", 3),
    "pressure_coefficient": ("CpMeanTrim", 1),
    "total_pressure_coefficient": ("CptMeanTrim", 1),
    "eddy_viscosity": ("nutMeanTrim", 1),
    "velocity_ratio": ("magUMeanNormTrim", 1),
    "micro_drag": ("microDragMeanTrim", 1),
    "pressure_variance": ("pPrime2MeanTrim", 1),
    "resolved_stress": ("UPrime2MeanTrim", 6),
    "modelled_stress": ("turbulenceProperties:RMeanTrim", 6),
}


def names(fields: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    return {field: name for field, (name, _) in fields.items()}


def test_drivaerml_reads_the_cells_of_volumes_in_two_and_three_pieces(tmp_path: Path) -> None:
    made = {}
    for number, pieces in ((1, 2), (112, 3), (500, 2)):
        run = tmp_path / "set" / f"run_{number}"
        surface, volume = body(number), block(number)
        add_arrays(surface, dict(DRIVAER_SURFACE.values()), seed=number)
        both = dict(DRIVAER_VOLUME.values())  # on cells and on points, under the same names
        add_arrays(volume, both, both, seed=number)
        save(surface, run / f"boundary_{number}.vtp")
        save(volume, run / f"volume_{number}.vtu")
        split(run / f"volume_{number}.vtu", pieces)
        save(surface, run / f"drivaer_{number}.stl")
        save(volume.slice(), run / "slices" / "xNormal_0.vtp")
        made[number] = surface, volume
        write_csv(run / f"force_mom_{number}.csv", Cd=0.3, Cl=0.2)  # by the car's own area
        write_csv(run / f"force_mom_constref_{number}.csv", Cd=0.28, Cl=0.18)
        write_csv(run / f"geo_ref_{number}.csv", aRef=2.3, aRefRef=2.17)
    (tmp_path / "set" / "run_500" / "volume_500.vtu.00.part").unlink()
    report, reader = convert_by("drivaerml", tmp_path / "set", tmp_path / "store")
    assert report.converted == ["run_1", "run_112"]
    assert list(report.broken) == ["run_500"]
    known = {"U_inf": 38.889, "rho_inf": 1.0, "nu": 1.507e-5, "A_ref": 2.17}
    assert reader.scalars("run_1") == {**known, "Cd": 0.28, "Cl": 0.18, "A_front": 2.3}
    for number in (1, 112):
        surface, volume = made[number]
        assert_holds(reader, f"run_{number}", "surface", of_surface(surface, names(DRIVAER_SURFACE)))
        assert_holds(reader, f"run_{number}", "volume", of_volume(volume, names(DRIVAER_VOLUME)))


AHMED_SURFACE = {
    "pressure": ("pMean", 1),
    "pressure_coefficient": ("static(p)_coeffMean", 1),
    "friction": ("wallShearStressMean", 3),
    "yplus": ("yPlusMean", 1),
}
AHMED_VOLUME = {
    "pressure": ("pMean", 1),
    "velocity": ("UMean", 3),
    "total_pressure_coefficient": ("total(p)_coeffMean", 1),
    "vorticity": ("vorticityMean", 3),
}


def test_ahmedml_reads_the_cells_of_both_files(tmp_path: Path) -> None:
    made = {}
    for number in (1, 2):
        run = tmp_path / "set" / f"run_{number}"
        surface, volume = body(number), block(number)
        add_arrays(surface, dict(AHMED_SURFACE.values()), seed=number)
        add_arrays(volume, dict(AHMED_VOLUME.values()), dict(AHMED_VOLUME.values()), seed=number)
        save(surface, run / f"boundary_{number}.vtp")
        save(volume, run / f"volume_{number}.vtu")
        save(surface, run / f"ahmed_{number}.stl")
        write_csv(run / f"force_mom_{number}.csv", cd=0.238, cl=-0.0945)
        write_csv(run / f"force_mom_varref_{number}.csv", cd=0.25, cl=-0.1)
        made[f"run_{number}"] = surface, volume
    report, reader = convert_by("ahmedml", tmp_path / "set", tmp_path / "store")
    assert (report.converted, report.broken) == (["run_1", "run_2"], {})
    known = {"U_inf": 1.0, "rho_inf": 1.0, "nu": 3.75e-7, "A_ref": 0.112}
    assert reader.scalars("run_2") == {**known, "Cd": 0.238, "Cl": -0.0945}
    for sample_id, (surface, volume) in made.items():
        assert_holds(reader, sample_id, "surface", of_surface(surface, names(AHMED_SURFACE)))
        assert_holds(reader, sample_id, "volume", of_volume(volume, names(AHMED_VOLUME)))
