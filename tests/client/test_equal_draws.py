"""A draw over HTTP is the draw of the local reader, tensor for tensor, and leaves the generator where that does."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import drawpoint
from conftest import FILEMAP, sample_arrays
from drawpoint.errors import DrawpointError
from drawpoint_store import FileMap, ZarrChunkReader, ZarrStoreWriter
from live import LiveService

from .conftest import OpenStore, assert_equal

SAMPLE = "param1/run"
DRAWS: dict[str, dict[str, Any]] = {
    "full": {},
    "full by name": {"num_points": {"surface": None, "volume": None}},
    "subsampled": {"num_points": {"surface": 300, "volume": 1000}},
    "partly full": {"num_points": {"surface": 300, "volume": None}},
    "of more points than there are": {"num_points": {"surface": 10**9, "volume": 10**12}},
    "of one point": {"num_points": {"surface": 1, "volume": 1}},
    "restricted": {"num_points": {"volume": 1000}, "fields": ["volume_sdf", "surface_pressure", "volume_sdf"]},
    "restricted to one domain": {"num_points": {"volume": 1000, "surface": 5}, "fields": {"volume_velocity"}},
}


@pytest.fixture
def reader(service: LiveService, open_store: OpenStore) -> drawpoint.RemoteReader:
    return open_store(service.url)


@pytest.mark.parametrize("arguments", DRAWS.values(), ids=DRAWS.keys())
def test_a_remote_draw_is_the_local_one_for_equal_generator_state(
    reader: drawpoint.RemoteReader, local: ZarrChunkReader, arguments: dict[str, Any]
) -> None:
    ours, theirs = torch.Generator().manual_seed(11), torch.Generator().manual_seed(11)
    for _ in range(2):
        remote = reader.read_sample(SAMPLE, generator=ours, **arguments)
        assert_equal(remote, local.read_sample(SAMPLE, generator=theirs, **arguments))
    assert torch.equal(ours.get_state(), theirs.get_state())


@pytest.mark.parametrize("part", [0, 3, 24, 25, 10**15])
def test_a_remote_part_is_the_local_one(reader: drawpoint.RemoteReader, local: ZarrChunkReader, part: int) -> None:
    counts = {"surface": 400, "volume": 417}
    remote = reader.read_sample(SAMPLE, counts, seed=2**63 - 1, part=part)
    assert_equal(remote, local.read_sample(SAMPLE, counts, seed=2**63 - 1, part=part))


@pytest.mark.parametrize("count", [1, 700, 1500, 10**6, None])
def test_remote_coordinates_are_the_local_ones(
    reader: drawpoint.RemoteReader, local: ZarrChunkReader, count: int | None
) -> None:
    ours, theirs = torch.Generator().manual_seed(11), torch.Generator().manual_seed(11)
    remote = reader.read_coords(SAMPLE, "surface", count, ours)
    assert torch.equal(remote, local.read_coords(SAMPLE, "surface", count, theirs))
    assert torch.equal(ours.get_state(), theirs.get_state())
    remote = reader.read_coords(SAMPLE, "volume", count, seed=8)
    assert torch.equal(remote, local.read_coords(SAMPLE, "volume", count, seed=8))


def test_remote_tensors_can_be_written_and_saved_alone(reader: drawpoint.RemoteReader) -> None:
    counts = {"surface": 300, "volume": 1000}
    (batched,) = reader.read_batch([{"id": SAMPLE, "seed": 1}], counts)
    assert isinstance(batched, dict)
    for tensors in (reader.read_sample(SAMPLE, counts, seed=1), batched):
        for tensor in tensors.values():
            before = tensor.clone()
            assert torch.equal(tensor.add_(1), before + 1)
            assert tensor.untyped_storage().nbytes() == tensor.nbytes  # torch.save writes whole storages


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kinds")
    wide = ZarrStoreWriter(
        folder / "wide",
        FILEMAP,
        "wide",
        chunk_points=300,
        coords_dtype="float64",
        values_dtype="float32",
        field_dtypes={"volume_velocity": "float64"},
    )
    wide.write_sample("a", sample_arrays(1))
    wide.save_manifest()
    odd = ZarrStoreWriter(folder / "odd", FILEMAP, "odd", chunk_points=300)
    arrays = sample_arrays(2)
    odd.write_sample("50% ?#&+=/ü ñ,(1)~", arrays)
    odd.write_sample("flat", {field: array for field, array in arrays.items() if field.startswith("surface")})
    odd.save_manifest()
    one = ZarrStoreWriter(folder / "one", FileMap(surface_position="p.pt"), "one")
    one.write_sample("a", {"surface_position": arrays["surface_position"]})
    one.save_manifest()
    return {"wide": folder / "wide", "odd": folder / "odd", "one": folder / "one"}


@pytest.fixture(scope="module")
def kinds(roots: dict[str, Path]) -> Iterator[LiveService]:
    with LiveService(roots) as service:
        yield service


@pytest.mark.parametrize("options", [{}, {"http2": False}], ids=["http.client", "httpx"])
@pytest.mark.parametrize(
    ("store", "sample"), [("wide", "a"), ("odd", "50% ?#&+=/ü ñ,(1)~"), ("odd", "flat"), ("one", "a")]
)
def test_stores_of_other_kinds_draw_alike(
    kinds: LiveService, roots: dict[str, Path], store: str, sample: str, options: dict[str, Any]
) -> None:
    local = ZarrChunkReader(roots[store])
    with drawpoint.connect(kinds.url, **options) as connection:
        reader = connection.store(store)
        counts = dict.fromkeys(local.manifest.domains, 400)
        assert_equal(reader.read_sample(sample, counts, seed=4), local.read_sample(sample, counts, seed=4))
        remote = reader.read_coords(sample, "surface", 50, seed=4)
        assert torch.equal(remote, local.read_coords(sample, "surface", 50, seed=4))


COUNTED: list[Any] = [
    None,
    {"surface": 5, "volume": 7},
    {"surface": 5, "volume": None},
    {"surface": None, "surface_stl": 3},
    {"volume": 7, "surface_stl_resampled": None},
    {"surface": 10**9},
    {"volume": 0},
    {"volume": "all"},
    {"surface": 5, "volumes": 7},
    {"inlet": None},
    ["surface"],
]
CHOSEN: list[Any] = [
    None,
    ["surface_pressure"],
    {"surface_position", "volume_position"},
    ("volume_velocity", "volume_velocity"),
    ["volume_sdf", "volume_sfd"],
    ["surface_stl_position"],
    [],
    "surface_pressure",
]


def outcome_of(read: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return read(*arguments, **options)
    except DrawpointError as error:
        return error


def assert_alike(remote: Any, local: Any) -> None:
    if isinstance(local, DrawpointError):
        assert (type(remote), getattr(remote, "near", ())) == (type(local), getattr(local, "near", ()))
    elif isinstance(local, list):
        for one, other in zip(remote, local, strict=True):
            assert_alike(one, other)
    else:
        assert_equal(remote, local)


@pytest.mark.parametrize("num_points", COUNTED, ids=str)
@pytest.mark.parametrize("store", ["odd", "one"])
def test_a_selection_means_the_same_in_remote_samples_and_batches(
    kinds: LiveService, roots: dict[str, Path], store: str, num_points: Any
) -> None:
    remote, local = drawpoint.connect(kinds.url).store(store), ZarrChunkReader(roots[store])
    items = [{"id": sample, "seed": 4} for sample in [*local.manifest.samples, "nowhere"]]
    for fields, coords in itertools.product(CHOSEN, (None, {"surface": 5}, {"volume": 5})):
        found, expected = (
            outcome_of(reader.read_batch, items, num_points, fields, coords=coords) for reader in (remote, local)
        )
        assert_alike(found, expected)
    for item, fields, part in itertools.product(items, CHOSEN, (None, 3)):
        found, expected = (
            outcome_of(reader.read_sample, item["id"], num_points, fields=fields, seed=4, part=part)
            for reader in (remote, local)
        )
        assert_alike(found, expected)


def test_what_a_sample_lacks_is_absent_from_any_reader(kinds: LiveService, roots: dict[str, Path]) -> None:
    wanted = ["surface_pressure", "volume_sdf"]
    for reader in (drawpoint.connect(kinds.url).store("odd"), ZarrChunkReader(roots["odd"])):
        assert list(reader.read_sample("flat", {"volume": 5}, fields=wanted)) == ["surface_pressure"]
        assert reader.read_sample("flat", fields=["volume_sdf"]) == {}
        assert reader.read_batch(["flat"], fields=["volume_sdf"]) == [{}]
