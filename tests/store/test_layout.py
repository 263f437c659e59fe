"""Fields, domains and dtypes: what a FileMap describes."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawpoint_store import (
    FIELD_SPECS,
    FileMap,
    build_domain_layouts,
    filename_to_canonical,
    present_specs,
)

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
    assert [dataclasses.astuple(spec) for spec in FIELD_SPECS] == TABLE
    assert [*FileMap.model_fields] == [*(row[0] for row in TABLE), "design_parameters"]


@given(st.sets(st.sampled_from([row[0] for row in TABLE])))
def test_only_the_fields_with_a_file_are_present_in_the_order_of_the_format(attributes: set[str]) -> None:
    filemap = FileMap.model_validate({attribute: f"{attribute}.pt" for attribute in attributes})
    expected = [spec for spec in FIELD_SPECS if spec.filemap_attr in attributes]
    assert present_specs(filemap) == expected
    assert filename_to_canonical(filemap) == {f"{spec.filemap_attr}.pt": spec.canonical for spec in expected}


def test_design_parameters_are_no_point_field() -> None:
    filemap = FileMap(surface_position="p.pt", design_parameters="d.json")
    assert [spec.canonical for spec in present_specs(filemap)] == ["surface_position"]
    assert filename_to_canonical(filemap) == {"p.pt": "surface_position"}
    assert list(build_domain_layouts(filemap)) == ["surface"]


def test_a_layout_has_an_array_for_each_field() -> None:
    layouts = build_domain_layouts(
        FileMap(volume_distance_to_surface="d", surface_position="p", volume_position="v", surface_position_stl="s")
    )
    assert list(layouts) == ["surface", "volume", "surface_stl"]
    assert [domain.position for domain in layouts.values()] == [
        "surface_position",
        "volume_position",
        "surface_stl_position",
    ]
    sdf = layouts["volume"].arrays["volume_sdf"]
    assert (sdf.array_name, sdf.field, sdf.dtype, sdf.dim) == ("volume/sdf", "volume_sdf", "float16", 1)
    position = layouts["surface_stl"].arrays["surface_stl_position"]
    assert (position.array_name, position.dtype, position.dim) == ("surface_stl/position", "float32", 3)


def test_a_field_has_its_own_dtype_or_that_of_its_kind() -> None:
    filemap = FileMap(surface_position="p", surface_pressure="q", surface_area="a")
    (layout,) = build_domain_layouts(filemap, "float64", "float32", {"surface_area": "float16"}).values()
    assert {field: array.dtype for field, array in layout.arrays.items()} == {
        "surface_position": "float64",
        "surface_pressure": "float32",
        "surface_area": "float16",
    }


@pytest.mark.parametrize("attribute", [row[0] for row in TABLE if row[4] == "value"])
def test_a_domain_without_a_coordinate_field_is_refused(attribute: str) -> None:
    domain = attribute.split("_", maxsplit=1)[0]
    with pytest.raises(ValueError, match=rf"domain '{domain}' needs exactly one coordinate field, has 0"):
        build_domain_layouts(FileMap.model_validate({attribute: "x", "surface_position_stl": "s"}))


def test_a_filemap_of_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="surface_speed"):
        FileMap.model_validate({"surface_speed": "s.pt"})


def test_a_filemap_of_nothing_is_refused() -> None:
    for filemap in (FileMap(), FileMap(design_parameters="d")):
        with pytest.raises(ValueError, match="names no field"):
            build_domain_layouts(filemap)


@pytest.mark.parametrize("dtype", ["int8", "half", "<f4", "bfloat16", "", "Float32"])
def test_a_dtype_that_cannot_be_stored_is_refused(dtype: str) -> None:
    filemap = FileMap(surface_position="p")
    for arguments in ((dtype,), ("float32", dtype), ("float32", "float16", {"surface_position": dtype})):
        with pytest.raises(ValueError, match="cannot be stored; choose one of float16, float32, float64"):
            build_domain_layouts(filemap, *arguments)


def test_a_dtype_for_a_field_that_is_not_stored_is_refused() -> None:
    with pytest.raises(ValueError, match="not stored: volume_velocity; there is: surface_position"):
        build_domain_layouts(FileMap(surface_position="p"), field_dtypes={"volume_velocity": "float32"})
