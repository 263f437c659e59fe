"""What a source's names tell before it is opened: where its samples lie, and what its fields are called."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawpoint_store.conversion.survey.drafting.field_name import domain_name, field_name
from drawpoint_store.conversion.survey.layout.layout_search import find_layout
from drawpoint_store.conversion.survey.layout.source_unit import SourceUnit

NUMBERS = range(1, 13)
HASHES = [f"{number * 7919:x}ab" for number in NUMBERS]


def names(paths: Iterable[str]) -> list[SourceUnit]:
    """Files of 10 bytes."""
    return [SourceUnit(path, posixpath.splitext(path.rstrip("*"))[1], 10, (path,)) for path in paths]


LAYOUTS = {
    "numbered runs with slices and numbers beside them": (
        [f"run_{n}/{file}" for n in NUMBERS for file in (f"b_{n}.vtp", f"f_{n}.csv", "cut/x_1.vtp", "cut/x_2.vtp")],
        ("run_{n}", 12, ["b_{n}.vtp", "f_{n}.csv"]),
    ),
    "hashes in numbered folders": (
        [f"param{k}/{name}/{file}.vtk" for k in range(3) for name in HASHES for file in ("press", "velo")],
        ("{class}/{id}", 36, ["press.vtk", "velo.vtk"]),
    ),
    "folders whose names are in those of their files": (
        [f"foil_{n}_{n * 3}/foil_{n}_{n * 3}_{end}" for n in NUMBERS for end in ("internal.vtu", "body.vtp")],
        ("{id}", 12, ["{id}_body.vtp", "{id}_internal.vtu"]),
    ),
    "a number that all runs have in common": (
        [f"run_{n}/p1.npy" for n in NUMBERS] + [f"run_{n}/x.npy" for n in NUMBERS],
        ("run_{n}", 12, ["p1.npy", "x.npy"]),
    ),
    "numbered folders in classes": (
        [f"case_{c}/{n}/x.vtk" for c in "EF" for n in NUMBERS],
        ("{class}/{n}", 24, ["x.vtk"]),
    ),
    "numbered files": ([f"data/car_{n:04}.vtk" for n in NUMBERS], ("data/car_{n}.vtk", 12, [""])),
    "numbered files of two kinds": (
        [f"{name}" for n in NUMBERS for name in (f"boundary_{n}.vtp", f"volume_{n}.vtu")],
        ("boundary_{n}.vtp", 12, ["", "/volume_{n}.vtu"]),
    ),
    "files in classes": ([f"{c}/{c}_x_{n}.vtk" for c in "EF" for n in NUMBERS], ("{id}.vtk", 24, [""])),
    "the same ids below two folders": (
        [f"{field}/{c}/{c}_x_{n}.vtk" for field in ("Press", "Velo") for c in "EF" for n in NUMBERS],
        ("Press/{id}.vtk", 24, ["", "/Velo/{id}.vtk"]),
    ),
    "one run": (["run_7/boundary_7.vtp", "run_7/volume_7.vtu"], ("run_{n}", 1, ["boundary_{n}.vtp", "volume_{n}.vtu"])),
    "the files of one sample": (["boundary.vtp", "volume.vtu"], (".", 1, ["boundary.vtp", "volume.vtu"])),
    "fields in folders of their domains": (
        ["surface/p.npy", "volume/p.npy"],
        (".", 1, ["surface/p.npy", "volume/p.npy"]),
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_samples_are_found_by_the_names_of_files(layout: str) -> None:
    paths, (sample, count, patterns) = LAYOUTS[layout]
    found = find_layout(names(paths))
    assert found is not None
    assert (found.sample, len(found.samples)) == (sample, count)
    assert [group.pattern for group in found.groups] == patterns
    assert all(not found.lacking(group) for group in found.groups)


def test_a_sample_without_a_file_is_known_by_name() -> None:
    found = find_layout(names(f"run_{n}/{file}.vtp" for n in NUMBERS for file in ("a", "b") if (n, file) != (5, "b")))
    assert found is not None
    assert [found.lacking(group) for group in found.groups] == [[], ["run_5"]]


KNOWN = {
    ("p", 1): "pressure",
    ("pMeanTrim", 1): "pressure",
    ("PROJ(AVG(P))", 1): "pressure",
    ("Pressure (Pa)", 1): "pressure",
    ("surface_pressure", 1): "pressure",
    ("CpMeanTrim", 1): "pressure_coefficient",
    ("U", 3): "velocity",
    ("U", 1): "u",
    ("Wall Shear Stress (N/m²)", 3): "friction",
    ("wallShearStressMean", 3): "friction",
    ("static(p)_coeffMean", 1): "static_p_coeff_mean",
    ("t0_fields/velocity", 3): "velocity",
    ("position", 3): "position_array",
    ("2nd", 1): "field_2nd",
    ("压力", 1): "field",
}


@pytest.mark.parametrize(("name", "components"), KNOWN)
def test_fields_have_the_common_names_of_arrays_or_their_own(name: str, components: int) -> None:
    assert field_name(name, components, "surface", ()) == KNOWN[name, components]


@given(st.lists(st.tuples(st.text(max_size=12), st.sampled_from([1, 3])), max_size=8), st.text(max_size=12))
def test_any_names_make_distinct_ones_that_a_store_takes(arrays: list[tuple[str, int]], label: str) -> None:
    domain = domain_name(label, ())
    taken = {"position"}
    for name, components in arrays:
        field = field_name(name, components, domain, taken)
        assert field not in taken
        taken.add(field)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", name) for name in (domain, *taken))
    assert domain not in ("seed", "part", "fields", "name", "sample", "splits", "scalars", "id", "exclude")
