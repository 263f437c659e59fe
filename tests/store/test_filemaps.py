"""Fields and the files that hold them: the format's table, presets, files, and what a tree's names tell."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import REPOSITORY
from drawpoint_store import FIELD_SPECS, FieldSpec, FileMap, build_domain_layouts, filename_to_canonical, present_specs
from drawpoint_store.conversion.sources.filemap_file import MappedFields, load_filemap
from drawpoint_store.conversion.sources.filemaps import (
    PRESETS,
    detect_filemap,
    find_filemap,
    fitting_presets,
    is_unmapped_field,
)

if TYPE_CHECKING:
    from pathlib import Path

# attribute, domain, name, dim, kind: the format, written out
TABLE = [
    ("surface_position", "surface", "position", 3, "coord"),
    ("surface_pressure", "surface", "pressure", 1, "value"),
    ("surface_friction", "surface", "friction", 3, "value"),
    ("surface_normals", "surface", "normals", 3, "value"),
    ("surface_area", "surface", "area", 1, "value"),
    ("volume_position", "volume", "position", 3, "coord"),
    ("volume_pressure", "volume", "pressure", 1, "value"),
    ("volume_velocity", "volume", "velocity", 3, "value"),
    ("volume_vorticity", "volume", "vorticity", 3, "value"),
    ("volume_normals", "volume", "normals", 3, "value"),
    ("surface_position_stl", "surface_stl", "position", 3, "coord"),
    ("surface_position_stl_resampled", "surface_stl_resampled", "position", 3, "coord"),
    ("volume_friction", "volume", "friction", 3, "value"),
    ("volume_distance_to_surface", "volume", "sdf", 1, "value"),
]


def test_the_fields_are_those_of_the_format_in_its_order() -> None:
    assert [dataclasses.astuple(spec) for spec in FIELD_SPECS] == [(*row, None, None) for row in TABLE]
    assert [*FileMap.model_fields] == [*(row[0] for row in TABLE), "design_parameters"]


@given(st.sets(st.sampled_from([row[0] for row in TABLE])))
def test_only_the_fields_with_a_file_are_present_in_the_order_of_the_format(attributes: set[str]) -> None:
    found = detect_filemap({f"{attribute}.pt" for attribute in attributes} | {"notes.txt", "volume_sdf.npy"})
    expected = [spec for spec in FIELD_SPECS if spec.filemap_attr in attributes]
    assert present_specs(found) == expected
    assert filename_to_canonical(found) == {f"{spec.filemap_attr}.pt": spec.canonical for spec in expected}


def test_a_layout_has_an_array_for_each_field_and_none_for_design_parameters() -> None:
    layouts = build_domain_layouts(
        FileMap(volume_distance_to_surface="d", volume_position="v", surface_position_stl="s", design_parameters="j")
    )
    assert {domain: layout.position for domain, layout in layouts.items()} == {
        "volume": "volume_position",
        "surface_stl": "surface_stl_position",
    }
    sdf = layouts["volume"].arrays["volume_sdf"]
    assert (sdf.array_name, sdf.field, sdf.dtype, sdf.dim) == ("volume/sdf", "volume_sdf", "float16", 1)
    assert layouts["surface_stl"].arrays["surface_stl_position"].array_name == "surface_stl/position"


def test_a_domain_without_a_coordinate_field_and_a_map_of_no_field_are_refused() -> None:
    with pytest.raises(ValueError, match=r"domain 'surface' needs exactly one coordinate field, has 0"):
        build_domain_layouts(FileMap(surface_pressure="x", surface_position_stl="s"))
    with pytest.raises(ValueError, match="names no field"):
        build_domain_layouts(FileMap(design_parameters="d"))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_stored_and_is_told_from_a_tree_of_its_set(name: str) -> None:
    assert build_domain_layouts(PRESETS[name]).keys() == {"surface", "volume"}
    files = {getattr(PRESETS[name], spec.filemap_attr) for spec in present_specs(PRESETS[name])}
    assert name in fitting_presets(files | {"more.pt"})
    assert name not in fitting_presets(files - {next(iter(files))})


def test_presets_are_found_in_the_spelling_of_their_makers() -> None:
    for spelling, preset in {
        "ShapeNet-Car": "shapenet-car",
        "shapenet_car": "shapenet-car",
        "AhmedML": "ahmedml",
        "DrivAerNet++": "drivaernet",
        "EMMI-Wing": "emmi-wing",
    }.items():
        assert find_filemap(spelling).filemap is PRESETS[preset]
    with pytest.raises(ValueError, match=r"neither a preset \(auto, shapenet-car.*nor a file"):
        find_filemap("shapenet-plane")


def test_toml_and_json_files_name_the_same_fields(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text('surface_position = "x.pt"\nsurface_pressure = "p.pt"\n')
    (tmp_path / "map.json").write_text(json.dumps({"surface_position": "x.pt", "surface_pressure": "p.pt"}))
    expected = MappedFields(FileMap(surface_position="x.pt", surface_pressure="p.pt"))
    assert load_filemap(tmp_path / "map.toml") == expected
    assert find_filemap(str(tmp_path / "map.json")) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"surface_presure": "p.pt"}', r"surface_presure: there is no such name; .*some of: surface_position"),
        ('{"surface_pressure": ["p.pt"]}', "surface_pressure: it must be a string, not a list; it gives"),
        ("null", "no FileMap: it must be named values, not null; it gives"),
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


FIELD_FILES = ["volume_velocty.pt", "Volume_Velocity.PT", "surface_stl_normals.pt", "interior_temperature.pt",
               "velocity.pt", "volume_rho.pth"]  # fmt: skip
OTHER_FILES = ["surface_pressure.pt", "design_parameters.pt", "mesh_info.pt", "checkpoint.pt", "volume_velocity.txt",
               "._volume_velocity.pt"]  # fmt: skip


def test_what_looks_like_a_field_is_told_from_what_tells_of_a_sample() -> None:
    filemap = detect_filemap({"surface_position.pt", "surface_pressure.pt"})
    assert [name for name in FIELD_FILES + OTHER_FILES if is_unmapped_field(name, filemap)] == FIELD_FILES
    own = FileMap(surface_position="xyz.pt")  # leaves out on purpose, which a preset does not
    assert not is_unmapped_field("surface_pressure.pt", own)
    assert is_unmapped_field("surface_presure.pt", own)
    assert is_unmapped_field("volume_vorticity.pt", PRESETS["shapenet-car"])


TABLES = """
volume_position = "xyz.pt"
volume_velocity = "U.pt"

[fields.volume_velocity]
units = "m/s"

[fields.volume_temperature]
file = "T.pt"
units = "K"
description = "static temperature"

[fields.nut]
domain = "volume"

[fields.R]
domain = "volume"
name = "stress"
dim = 6

[fields.wheels_position]
[fields.surface_position_stl]
"""


def test_tables_describe_fields_of_the_users_own_and_say_more_of_those_of_the_file_map(tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(TABLES)
    (tmp_path / "map.json").write_text(json.dumps(tomllib.loads(TABLES)))
    found = load_filemap(tmp_path / "map.toml")
    assert found == load_filemap(tmp_path / "map.json")
    assert found == MappedFields(
        FileMap(),
        (
            FieldSpec("xyz.pt", "volume", "position", 3, "coord"),
            FieldSpec("U.pt", "volume", "velocity", 3, "value", "m/s"),
            FieldSpec("surface_position_stl.pt", "surface_stl", "position", 3, "coord"),
            FieldSpec("T.pt", "volume", "temperature", 1, "value", "K", "static temperature"),
            FieldSpec("nut.pt", "volume", "nut", 1, "value"),
            FieldSpec("R.pt", "volume", "stress", 6, "value"),
            FieldSpec("wheels_position.pt", "wheels", "position", 3, "coord"),
        ),
    )


def test_the_file_map_of_the_documentation_is_one(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "converting.md").read_text()
    (tmp_path / "map.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    assert load_filemap(tmp_path / "map.toml").fields == (
        FieldSpec("xyz.pt", "volume", "position", 3, "coord"),
        FieldSpec("U.pt", "volume", "velocity", 3, "value", "m/s"),
        FieldSpec("volume_temperature.pt", "volume", "temperature", 1, "value", "K", "static temperature"),
        FieldSpec("R.pt", "volume", "stress", 6, "value", "m2/s2"),
        FieldSpec("wheels_position.pt", "wheels", "position", 3, "coord", "m"),
    )


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ("[fields.volume_T]\n", "field 'volume_T'.* has the name 'T'"),
        ('[fields."volume_\\u001b"]\n', r"field 'volume_\\x1b' .*has the name"),
        ("[fields.temperature]\n", "the table 'temperature' says no domain; give it one"),
        ('[fields.volume_t]\nunit = "K"\n', "fields.volume_t.unit: there is no such name; .*some of: file, domain"),
        ('[fields.volume_t]\ndim = "3"\n', "fields.volume_t.dim: it must be an integer, not '3'"),
        ("[fields.volume_t]\ndim = 17\n", "volume_t.* has the dim 17"),
        ("[fields.wheels_torque]\n", "domain 'wheels' needs exactly one coordinate field"),
        ('[fields.volume_t]\nfile = "p.pt"\n', "volume_position and volume_t both name 'p.pt'"),
        ('[fields.volume_t]\nfile = "../t.pt"\n', "volume_t must name a file in the sample's directory"),
        ('[fields.volume_t]\nfile = "t"\n', "the file 't' of volume_t has no suffix"),
        ('[fields.volume_position]\nfile = "q.pt"\n', "volume_position has two files, 'p.pt' and 'q.pt'"),
        ('fields = "volume_t"\n', "fields: it must be named values"),
    ],
)
def test_a_table_that_describes_no_field_is_refused_with_the_file_and_the_reason(
    tmp_path: Path, tables: str, problem: str
) -> None:
    path = tmp_path / "map.toml"
    path.write_text(f'volume_position = "p.pt"\n{tables}')
    with pytest.raises(ValueError, match=rf"^{path}.*{problem}"):
        load_filemap(path)
