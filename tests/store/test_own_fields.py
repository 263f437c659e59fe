"""Fields and domains of the user's own, beside or instead of those of a FileMap."""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from pydantic import BaseModel

import drawpoint
from drawpoint.errors import InvalidManifest, StoreExists
from drawpoint_service.requests.query import SampleQuery, parameters_of
from drawpoint_store import (
    ArrayLayout,
    FieldSpec,
    FileMap,
    StoreManifest,
    ZarrChunkReader,
    ZarrStoreWriter,
    build_domain_layouts,
    calculate_store_statistics,
)
from drawpoint_store.convert import convert
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.reading.plan import plan_sample
from drawpoint_store.writing.layout import RESERVED_DOMAINS
from foreign import read_planned
from live import LiveService
from s3 import Bucket
from small import same

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
        ([value(name="T")], "volume_T.* has the name 'T'"),
        ([value(name="t\n")], r"has the name 't\\n'"),
        ([value(name="")], "has the name ''"),
        ([value(domain="2d")], "has the domain '2d'"),
        ([value(domain="../up")], "has the domain '../up'"),
        ([value(dim=0)], "volume_x.* has the dim 0; .*from 1 to 16"),
        ([value(dim=17)], "volume_x.* has the dim 17"),
        ([value(dim=True)], "volume_x.* has the dim True"),
        ([value(kind="vector")], "volume_x.* has the kind 'vector'"),
        ([value(name="position")], "volume_position.* has the kind 'value'"),
        ([value(domain="wheels")], "domain 'wheels' needs exactly one coordinate field, has 0"),
        ([WHEELS, value("wheels", "centre", 3, "coord")], "domain 'wheels' needs exactly one .*has 2"),
        ([value("wheels", "position", 2, "coord")], "wheels_position.* has the dim 2; coordinates have 3"),
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
        ([value("seed", "position", 3, "coord")], "seed_position.* parameter of HTTP requests"),
        ([value("geometry", "position", 3, "coord")], "geometry_position.* items of a SampleDataset"),
        ([value("sample", "id")], "sample_id.* items of a SampleDataset"),
        ([value(units="")], "volume_x.* units must be text that prints"),
        ([value(units="K\x1b[31m")], "volume_x.* units must be text that prints"),
        ([value(units=3)], "volume_x.* units must be text that prints"),
        ([value(units="m" * 65)], "volume_x.* units must .*of 1 to 64 characters, not 65 characters"),
        ([value(description="x" * 501)], "volume_x.* description must .*not 501 characters"),
        (["volume_temperature"], "'volume_temperature', which is no FieldSpec"),
    ],
)
def test_fields_that_cannot_be_stored_are_refused_by_name(tmp_path: Path, fields: list[Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        build_domain_layouts(FILEMAP, fields=fields)
    with pytest.raises(ValueError, match=problem):
        ZarrStoreWriter(tmp_path / "store", FILEMAP, "own", fields=fields)
    assert not (tmp_path / "store").exists()


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


COUNTS = {"volume": 20, "wheels": 30}


def test_own_domains_are_drawn_locally_and_over_http_as_those_of_the_format_are(tmp_path: Path) -> None:
    write_own(tmp_path / "store")
    local = ZarrChunkReader(tmp_path / "store")
    whole = local.read_sample("a")
    order = drawpoint.source_rows(local.manifest, "a", "wheels")
    torque = torch.from_numpy(arrays_of()["wheels_torque"])
    assert torch.equal(whole["wheels_torque"], torque[order].to(torch.float16).float())
    with LiveService({"own": local}) as service:
        remote = drawpoint.connect(service.url).store("own")
        assert same(remote.read_sample("a"), whole)
        drawn = local.read_sample("a", COUNTS, seed=3)
        assert {field: tuple(tensor.shape) for field, tensor in drawn.items() if field.startswith("wheels")} == {
            "wheels_position": (30, 3),
            "wheels_torque": (30, 16),
        }
        assert same(remote.read_sample("a", COUNTS, seed=3), drawn)
        coords = local.read_coords("a", "wheels", 10, seed=4)
        assert torch.equal(remote.read_coords("a", "wheels", 10, seed=4), coords)
        (batch,) = remote.read_batch([{"id": "a", "seed": 3}], COUNTS, coords={"wheels": 10})
        assert isinstance(batch, dict)
        assert batch.keys() == {*drawn, "coords/wheels_position"}
        normalise = {field: stats.to_dict() for field, stats in calculate_store_statistics(local.store_root).items()}
        items = [drawpoint.SampleDataset(each, num_points=COUNTS, normalise=normalise)[0] for each in (local, remote)]
        assert same(*items)
        assert items[0]["volume_stress"].shape == (20, 6)
        shown = httpx.get(f"{service.url}/stores/own").json()
        document = httpx.get(f"{service.url}/openapi.json").json()
    assert shown["domains"]["wheels"]["n_points_total"] == 70
    assert shown["fields"]["volume_temperature"] == {
        "domain": "volume", "dim": 1, "dtype": "float16", "units": "K", "description": "static"
    }  # fmt: skip
    assert shown["fields"]["wheels_torque"] == {"domain": "wheels", "dim": 16, "dtype": "float16"}
    draws = [
        operation for path in document["paths"].values() for operation in path.values() if "draws" in operation["tags"]
    ]
    asked = {each["name"] for operation in draws for each in operation["parameters"] if each["in"] == "query"}
    assert asked > COUNTS.keys()
    assert asked - COUNTS.keys() | set(parameters_of(SampleQuery)) == RESERVED_DOMAINS


def test_statistics_of_own_fields_have_a_number_a_component_and_verify_reads_them(tmp_path: Path) -> None:
    write_own(tmp_path)
    found = calculate_store_statistics(tmp_path, fields=["volume_stress", "wheels_torque"])
    for field, stats in found.items():
        stored = arrays_of()[field].astype(np.float16).astype(np.float64)
        np.testing.assert_allclose(stats.mean, stored.mean(axis=0))
        assert len(stats.mean) == stored.shape[1]
    assert [check.problems for check in verify_store(tmp_path)] == [()]


class TheirArray(BaseModel):
    array_name: str
    field: str
    dtype: str
    dim: int


class TheirDomain(BaseModel):
    position: str
    arrays: dict[str, TheirArray]


class TheirManifest(BaseModel):
    domains: dict[str, TheirDomain]


def test_a_reader_that_knows_nothing_of_it_opens_the_store(tmp_path: Path) -> None:
    writer = write_own(tmp_path)
    theirs = TheirManifest.model_validate(json.loads((tmp_path / "manifest.json").read_bytes()))
    assert theirs.domains["wheels"].arrays["wheels_torque"].array_name == "wheels/torque"
    assert theirs.domains.keys() == writer.layouts.keys()
    plan = plan_sample(StoreManifest.load(tmp_path), "a", COUNTS, seed=1)
    rows = read_planned(tmp_path, plan)
    read = ZarrChunkReader(tmp_path).read_sample("a", COUNTS, seed=1)
    for field, tensor in read.items():
        np.testing.assert_array_equal(tensor.numpy(), rows[field].astype(np.float32))


def write_source(folder: Path) -> Path:
    folder.mkdir(parents=True)
    names = {"volume_position": "v.pt", "volume_velocity": "u.pt", "volume_temperature": "T.pt"}
    for field, rows in arrays_of().items():
        torch.save(torch.from_numpy(rows), folder / names.get(field, f"{field}.pt"))
    return folder


def test_a_conversion_reads_own_fields_from_the_files_that_they_name_in_any_number_of_workers(tmp_path: Path) -> None:
    for run in ("a", "b"):
        write_source(tmp_path / "runs" / run)
    writers = [ZarrStoreWriter(tmp_path / f"store_{n}", FILEMAP, "own", chunk_points=16, fields=OWN) for n in (1, 2)]
    reports = [convert(tmp_path / "runs", writer, workers=n) for n, writer in enumerate(writers, 1)]
    assert [report.converted for report in reports] == [["a", "b"]] * 2
    assert reports[0].revision == reports[1].revision
    assert same(
        ZarrChunkReader(writers[1].store_root).read_sample("a"),
        ZarrChunkReader(write_own(tmp_path / "own").store_root).read_sample("a"),
    )


def test_two_fields_in_one_file_are_refused_and_nothing_written(tmp_path: Path) -> None:
    write_source(tmp_path / "runs" / "a")
    twin = FieldSpec("u.pt", "volume", "twin", 3, "value")
    writer = ZarrStoreWriter(tmp_path / "store", FILEMAP, "own", fields=[twin])
    with pytest.raises(ValueError, match="volume_velocity lies in the file of another field"):
        convert(tmp_path / "runs", writer)
    assert not (tmp_path / "store").exists()


def test_an_append_keeps_the_units_of_the_store_and_refuses_others(tmp_path: Path) -> None:
    write_source(tmp_path / "runs" / "a")
    root = tmp_path / "store"
    convert(tmp_path / "runs", ZarrStoreWriter(root, FILEMAP, "own", chunk_points=16, fields=OWN))
    write_source(tmp_path / "runs" / "b")

    def append(temperature: FieldSpec, wheels: FieldSpec = WHEELS) -> str | None:
        writer = ZarrStoreWriter(root, FILEMAP, "own", chunk_points=16, fields=[temperature, STRESS, wheels, TORQUE])
        return convert(tmp_path / "runs", writer, existing="append").revision

    celsius = FieldSpec("T", "volume", "temperature", 1, "value", "degC")
    with pytest.raises(StoreExists, match="its volume_temperature has the units 'K', not the units 'degC'"):
        append(celsius)
    with pytest.raises(StoreExists, match="its wheels_position has no description, not the description 'hubs'"):
        append(TEMPERATURE, FieldSpec("wheels_position", "wheels", "position", 3, "coord", "m", "hubs"))
    other = FieldSpec("T", "volume", "temperature", 3, "value")
    with pytest.raises(StoreExists, match=r"its volume_temperature is .*float16 x 1.* not .*float16 x 3"):
        append(other)
    assert append(FieldSpec("T", "volume", "temperature", 1, "value")) is not None
    manifest = StoreManifest.load(root)
    assert list(manifest.samples) == ["a", "b"]
    assert (manifest.fields["volume_temperature"].units, manifest.fields["volume_temperature"].description) == (
        "K", "static"
    )  # fmt: skip
    assert manifest.fields["wheels_position"].units == "m"


def test_what_is_said_of_a_field_is_in_no_group_and_in_no_name_of_one(
    bucket: Bucket, bucket_environment: None, tmp_path: Path
) -> None:
    plain = [FieldSpec(*astuple(spec)[:5]) for spec in OWN]
    entries = []
    for number, fields in enumerate((OWN, plain)):
        root = f"s3://{bucket.name}/{tmp_path.name}-{number}"
        writer = ZarrStoreWriter(root, FILEMAP, "own", chunk_points=16, fields=fields)
        entries.append(writer.write_group("a", arrays_of()))
    assert entries[0] == entries[1]
