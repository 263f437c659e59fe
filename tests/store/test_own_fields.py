"""Fields and domains of the user's own, beside or instead of those of a FileMap."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawpoint.errors import InvalidManifest
from drawpoint_service.requests.query import SampleQuery, parameters_of
from drawpoint_store import (
    ArrayLayout,
    FieldSpec,
    FileMap,
    StoreManifest,
    ZarrStoreWriter,
    build_domain_layouts,
)
from drawpoint_store.writing.layout import RESERVED_DOMAINS

TEMPERATURE = FieldSpec("T", "volume", "temperature", 1, "value", "K", "static")
STRESS = FieldSpec("volume_stress", "volume", "stress", 6, "value", "m2/s2")
WHEELS = FieldSpec("wheels_position", "wheels", "position", 3, "coord", "m")
TORQUE = FieldSpec("wheels_torque", "wheels", "torque", 16, "value")
OWN = [TEMPERATURE, STRESS, WHEELS, TORQUE]
FILEMAP = FileMap(volume_position="v.pt", volume_velocity="u.pt")


def arrays_of(count: int = 70) -> dict[str, np.ndarray[Any, Any]]:
    """Return a sample whose rows can be told from one another."""
    rng = np.random.default_rng(count)
    dims = {"volume_position": 3, "volume_velocity": 3, **{spec.canonical: spec.dim for spec in OWN}}
    return {field: rng.standard_normal((count, dim), np.float32) for field, dim in dims.items()}


def write_own(root: Path, **settings: Any) -> ZarrStoreWriter:
    writer = ZarrStoreWriter(root, FILEMAP, "own", chunk_points=16, fields=OWN, **settings)
    writer.write_sample("a", arrays_of())
    writer.save_manifest()
    return writer


def test_own_fields_follow_those_of_the_file_map_and_may_make_domains_of_their_own() -> None:
    layouts = build_domain_layouts(FILEMAP, field_dtypes={"volume_temperature": "float32"}, fields=OWN)
    assert {domain: list(layout.arrays) for domain, layout in layouts.items()} == {
        "volume": ["volume_position", "volume_velocity", "volume_temperature", "volume_stress"],
        "wheels": ["wheels_position", "wheels_torque"],
    }
    assert layouts["wheels"].position == "wheels_position"
    assert layouts["volume"].arrays["volume_temperature"] == ArrayLayout(
        array_name="volume/temperature",
        field="volume_temperature",
        dtype="float32",
        dim=1,
        units="K",
        description="static",
    )
    assert build_domain_layouts(FileMap(), fields=[WHEELS, TORQUE]) == {"wheels": layouts["wheels"]}


def value(domain: str = "volume", name: str = "x", dim: Any = 1, kind: Any = "value", **texts: Any) -> FieldSpec:
    return FieldSpec("x", domain, name, dim, kind, **texts)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ([value(name="T")], "volume_T .*has the name 'T'"),
        ([value(name="t\n")], r"has the name 't\\n'"),
        ([value(name="")], "has the name ''"),
        ([value(domain="2d")], "has the domain '2d'"),
        ([value(domain="../up")], "has the domain '../up'"),
        ([value(dim=0)], "volume_x .*has the dim 0; .*from 1 to 16"),
        ([value(dim=17)], "volume_x .*has the dim 17"),
        ([value(dim=True)], "volume_x .*has the dim True"),
        ([value(kind="vector")], "volume_x .*has the kind 'vector'"),
        ([value(name="position")], "volume_position .*has the kind 'value'"),
        ([value(domain="wheels")], "domain 'wheels' needs exactly one coordinate field, has 0"),
        ([WHEELS, value("wheels", "centre", 3, "coord")], "domain 'wheels' needs exactly one .*has 2"),
        ([value("wheels", "position", 2, "coord")], "wheels_position .*has the dim 2; coordinates have 3"),
        ([value(name="velocity", dim=3)], "two fields are called volume_velocity"),
        ([TEMPERATURE, TEMPERATURE], "two fields are called volume_temperature"),
        (
            [
                value("surface", "position", 3, "coord"),
                value("surface", "stl_position", 3),
                value("surface_stl", "position", 3, "coord"),
            ],
            "two fields are called surface_stl_position: surface/stl_position and surface_stl/position",
        ),
        ([value("seed", "position", 3, "coord")], "seed_position .*parameter of HTTP requests"),
        ([value(units="")], "volume_x .*units must be text that prints"),
        ([value(units="K\x1b[31m")], "volume_x .*units must be text that prints"),
        ([value(units=3)], "volume_x .*units must be text that prints"),
        ([value(units="m" * 65)], "volume_x .*units must .*of 1 to 64 characters, not 65 characters"),
        ([value(description="x" * 501)], "volume_x .*description must .*not 501 characters"),
        (["volume_temperature"], "'volume_temperature', which is no FieldSpec"),
    ],
)
def test_fields_that_cannot_be_stored_are_refused_by_name(tmp_path: Path, fields: list[Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        build_domain_layouts(FILEMAP, fields=fields)
    with pytest.raises(ValueError, match=problem):
        ZarrStoreWriter(tmp_path / "store", FILEMAP, "own", fields=fields)
    assert not (tmp_path / "store").exists()


def test_no_domain_can_be_called_like_a_parameter_of_a_draw() -> None:
    assert set(parameters_of(SampleQuery)) <= RESERVED_DOMAINS


def test_a_writer_of_own_fields_is_built_again_from_its_arguments(tmp_path: Path) -> None:
    writer = write_own(tmp_path)
    twin = ZarrStoreWriter(**writer.to_init_kwargs())
    assert (twin.fields, twin.layouts) == (OWN, writer.layouts)


def test_units_and_descriptions_are_in_the_manifest_where_somebody_gave_them(tmp_path: Path) -> None:
    manifest = StoreManifest.load(write_own(tmp_path).store_root)
    texts = {field: (layout.units, layout.description) for field, layout in manifest.fields.items()}
    assert texts == {
        "volume_position": (None, None),
        "volume_velocity": (None, None),
        "volume_temperature": ("K", "static"),
        "volume_stress": ("m2/s2", None),
        "wheels_position": ("m", None),
        "wheels_torque": (None, None),
    }
    assert b'"units": null' not in manifest.to_json()
    assert StoreManifest.from_json(manifest.to_json()) == manifest


def test_units_that_mean_something_else_to_another_writer_are_none_and_those_that_do_not_print_are_refused() -> None:
    layout: dict[str, Any] = {"array_name": "a/b", "field": "a_b", "dtype": "float32", "dim": 1}
    assert ArrayLayout(**layout, units={"si": "m"}, description="").model_dump() == layout  # type: ignore[arg-type]  # theirs
    with pytest.raises(InvalidManifest, match="units must be text that prints"):
        ArrayLayout(**layout, units="m\n")
    with pytest.raises(InvalidManifest, match="description must be"):
        ArrayLayout(**layout).description = "x" * 501
