"""FileMaps: presets, files, and what a tree's names tell."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawpoint_store import FIELD_SPECS, FileMap, build_domain_layouts, present_specs
from drawpoint_store.conversion.filemaps import (
    PRESETS,
    detect_filemap,
    find_filemap,
    fitting_presets,
    is_unmapped_field,
    load_filemap,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_stored(name: str) -> None:
    assert build_domain_layouts(PRESETS[name]).keys() == {"surface", "volume"}


@pytest.mark.parametrize(
    ("spelling", "preset"),
    [
        ("ShapeNet-Car", "shapenet-car"),
        ("shapenet_car", "shapenet-car"),
        ("AhmedML", "ahmedml"),
        ("DrivAerML", "drivaerml"),
        ("DrivAerNet++", "drivaernet"),
        ("EMMI-Wing", "emmi-wing"),
    ],
)
def test_presets_are_found_in_the_spelling_of_their_makers(spelling: str, preset: str) -> None:
    assert find_filemap(spelling) is PRESETS[preset]


def test_a_name_that_is_neither_preset_nor_file_lists_the_presets() -> None:
    with pytest.raises(ValueError, match=r"neither a preset \(auto, shapenet-car.*nor a file"):
        find_filemap("shapenet-plane")


def test_toml_and_json_files_name_the_same_fields(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text('surface_position = "x.pt"\nsurface_pressure = "p.pt"\n')
    (tmp_path / "map.json").write_text(json.dumps({"surface_position": "x.pt", "surface_pressure": "p.pt"}))
    expected = FileMap(surface_position="x.pt", surface_pressure="p.pt")
    assert load_filemap(tmp_path / "map.toml") == expected
    assert find_filemap(str(tmp_path / "map.json")) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"surface_presure": "p.pt"}', r"surface_presure: there is no such name; .*some of: surface_position"),
        ('{"surface_pressure": 3}', "surface_pressure: it must be a string, not 3; it gives"),
        ('{"surface_pressure": ["p.pt"]}', "surface_pressure: it must be a string, not a list; it gives"),
        ("[]", "no FileMap: it must be named values, not a list; it gives"),
        ("null", "no FileMap: it must be named values, not null; it gives"),
        ("{", "neither TOML nor JSON"),
        ("[" * 100_000, "neither TOML nor JSON"),
        ('{"surface_position": "../x.pt"}', "file in the sample's directory"),
        ('{"surface_position": ""}', "file in the sample's directory"),
        ('{"surface_position": "x.pt", "surface_normals": "x.pt"}', "surface_position and surface_normals both name"),
    ],
)
def test_a_file_that_is_no_filemap_is_refused_with_the_reason(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(ValueError, match=problem):
        load_filemap(tmp_path / "map.json")


@given(st.sets(st.sampled_from([spec.filemap_attr for spec in FIELD_SPECS])))
def test_auto_takes_exactly_the_fields_whose_files_are_there(attributes: set[str]) -> None:
    found = detect_filemap({f"{attribute}.pt" for attribute in attributes} | {"notes.txt", "volume_sdf.npy"})
    assert {spec.filemap_attr for spec in present_specs(found)} == attributes


@pytest.mark.parametrize("name", PRESETS)
def test_a_tree_of_a_public_set_is_told_its_preset(name: str) -> None:
    files = {getattr(PRESETS[name], spec.filemap_attr) for spec in present_specs(PRESETS[name])}
    assert name in fitting_presets(files | {"more.pt"})
    assert name not in fitting_presets(files - {next(iter(files))})


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("volume_velocty.pt", True),
        ("volume_temperature.pt", True),
        ("Volume_Velocity.PT", True),
        ("surface_stl_normals.pt", True),
        ("interior_temperature.pt", True),
        ("velocity.pt", True),
        ("volume_rho.pth", True),
        ("surface_pressure.pt", False),
        ("design_parameters.pt", False),
        ("mesh_info.pt", False),
        ("checkpoint.pt", False),
        ("volume_velocity.txt", False),
        ("._volume_velocity.pt", False),
    ],
)
def test_what_looks_like_a_field_is_told_from_what_tells_of_a_sample(name: str, *, left_out: bool) -> None:
    filemap = detect_filemap({"surface_position.pt", "surface_pressure.pt"})
    assert is_unmapped_field(name, filemap) == left_out


def test_a_map_of_ones_own_leaves_out_on_purpose_and_a_preset_does_not() -> None:
    own = FileMap(surface_position="xyz.pt")
    assert not is_unmapped_field("surface_pressure.pt", own)
    assert is_unmapped_field("surface_presure.pt", own)
    assert is_unmapped_field("volume_vorticity.pt", PRESETS["shapenet-car"])
