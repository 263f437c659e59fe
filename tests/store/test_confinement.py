"""Whoever can write a store can make its readers read nothing but the store, and no more of it than they can bear."""

from __future__ import annotations

import json
import os
import shutil
import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr.codecs as zc
from numcodecs import zstd
from zarr.codecs.numcodecs import LZ4

from conftest import FILEMAP
from drawpoint.errors import (
    ChunkDamaged,
    DataDamaged,
    DrawpointError,
    InvalidManifest,
    InvalidSettings,
    MetadataDamaged,
)
from drawpoint_store import (
    FileMap,
    StoreManifest,
    ZarrChunkReader,
    ZarrStoreWriter,
    build_domain_layouts,
)
from drawpoint_store.inspecting.summary import describe_store
from drawpoint_store.maintenance.prune import find_leftovers
from drawpoint_store.reading.splits import list_splits, read_split
from drawpoint_store.reading.statistics_file import read_statistics
from drawpoint_store.statistics.moments_table import (
    MOMENTS_NAME,
    MOST_DOCUMENTS,
    MomentsTable,
    read_moments,
    write_moments,
)
from drawpoint_store.storage import BucketAccess, open_storage
from drawpoint_store.storage.bounds import LEAST_DOCUMENT_BYTES
from foreign import write_foreign

SAMPLE = "param0/run"
SHARD = f"{SAMPLE}.zarr/surface/pressure/c/0/0"
METADATA = f"{SAMPLE}.zarr/zarr.json"
Read = Callable[[Path], Any]


def read_everything(root: Path) -> object:
    return ZarrChunkReader(root).read_sample(SAMPLE)


READS: dict[str, Read] = {
    "manifest.json": StoreManifest.load,
    "statistics.json": read_statistics,
    MOMENTS_NAME: read_moments,
    "splits/train.txt": lambda root: read_split(root, "train"),
    "val_design_ids.txt": lambda root: read_split(root, "val"),
    METADATA: read_everything,
    SHARD: read_everything,
}


@pytest.fixture
def root(copied_root: Path) -> Path:
    root = copied_root
    (root / "splits").mkdir()
    for name in ("splits/train.txt", "val_design_ids.txt"):
        (root / name).write_text(f"{SAMPLE}\n")
    (root / "statistics.json").write_text(json.dumps({"revision": "1", "fields": {}}))
    write_moments(root, MomentsTable.of(StoreManifest.load(root)))
    return root


@pytest.mark.parametrize("name", READS)
def test_a_file_may_be_a_link_to_a_file_inside_the_store_whose_root_is_a_link(
    root: Path, tmp_path: Path, name: str
) -> None:
    (root / name).rename(root / "moved")
    (root / name).symlink_to(root / "moved")
    (root / "circle").symlink_to(root)
    (tmp_path / "link").symlink_to(root)
    assert READS[name](tmp_path / "link") is not None


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("kind", ["a link", "a relative link", "a folder that is a link"])
def test_a_file_that_links_out_of_the_store_is_refused(root: Path, tmp_path: Path, name: str, kind: str) -> None:
    linked, outside = root / name, tmp_path / "outside"
    if kind == "a folder that is a link" and linked.parent != root:
        linked = linked.parent
    shutil.move(linked, outside)
    linked.symlink_to(os.path.relpath(outside, linked.parent) if kind == "a relative link" else outside)
    with pytest.raises((DataDamaged, InvalidManifest), match=r"leads out of .* by a link"):
        READS[name](root)


@pytest.mark.parametrize("name", READS)
def test_what_is_no_regular_file_is_refused_at_once(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = root / name
    monkeypatch.chdir(path.parent)  # the address of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        makes: list[Callable[[], object]] = [
            lambda: os.mkfifo(path),
            lambda: path.symlink_to("/dev/zero"),
            lambda: listener.bind(path.name),
        ]
        for make in makes:
            path.unlink()
            make()
            with pytest.raises(DrawpointError):
                READS[name](root)
    path.unlink()
    path.mkdir()
    with pytest.raises(DrawpointError):
        READS[name](root)


@pytest.mark.parametrize("name", [name for name in READS if name != SHARD])
def test_a_document_larger_than_the_environment_or_its_settings_say_is_refused_unread(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    limit = LEAST_DOCUMENT_BYTES * (MOST_DOCUMENTS if name == MOMENTS_NAME else 1)
    os.truncate(root / name, limit + 1)  # a hole: reading it would be wrong in another way
    message = f"{limit + 1:,} bytes, and {limit:,} are read at most"
    refused = pytest.raises((DataDamaged, InvalidManifest), match=message)
    if name == "manifest.json":
        with refused:
            StoreManifest.load(open_storage(str(root), BucketAccess(document_bytes=LEAST_DOCUMENT_BYTES)))
    monkeypatch.setenv("DRAWPOINT_DOCUMENT_BYTES", str(LEAST_DOCUMENT_BYTES))
    with refused:
        READS[name](root)
    for value in ("1", "many"):  # less than large samples need
        monkeypatch.setenv("DRAWPOINT_DOCUMENT_BYTES", value)
        with pytest.raises(InvalidSettings, match="DRAWPOINT_DOCUMENT_BYTES is a number of bytes, 67108864 or more"):
            READS[name](root)


@pytest.mark.parametrize("filler", [b"[],", b'"",', b"1,"])
@pytest.mark.parametrize("name", ["manifest.json", "statistics.json", METADATA])
def test_a_document_whose_values_would_fill_the_memory_is_refused_unparsed(
    root: Path, name: str, filler: bytes
) -> None:
    (root / name).write_bytes(b'{"more":[' + filler * 3_000_000 + b"0]}")
    with pytest.raises((DataDamaged, InvalidManifest), match="more than such a document has"):
        READS[name](root)


def test_a_manifest_of_many_samples_with_scalars_is_far_from_that_bound(root: Path) -> None:
    document = json.loads((root / "manifest.json").read_text())
    grids, scalars = document["samples"][SAMPLE]["domains"], {f"a{number}": 1 for number in range(20)}
    document["samples"] = {
        f"r{number}": {"relpath": f"r{number}.zarr", "domains": grids, "scalars": scalars} for number in range(60_000)
    }
    (root / "manifest.json").write_text(json.dumps(document, separators=(",", ":")))
    assert len(StoreManifest.load(root).samples) == 60_000


def test_a_split_of_more_lines_than_any_data_set_has_samples_is_refused(root: Path) -> None:
    (root / "splits" / "train.txt").write_bytes(b"a\n" * (2**21 + 1))
    with pytest.raises(MetadataDamaged, match="2,097,153 lines"):
        read_split(root, "train")
    assert list_splits(root) == ["train", "val"]


def test_a_root_that_is_a_link_may_lead_to_another_folder_later(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(root)
    reader = ZarrChunkReader(link)
    reader.read_sample(SAMPLE, fields=["surface_pressure"])
    shutil.copytree(root, tmp_path / "next")
    link.unlink()
    link.symlink_to(tmp_path / "next")
    assert reader.read_sample("param1/run", fields=["surface_pressure"])["surface_pressure"].numel()


def test_links_out_of_the_store_are_not_weighed_and_those_in_a_circle_end(root: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (root / name).symlink_to(root)
    assert find_leftovers(root, StoreManifest.load(root)) == []
    group = root / f"{SAMPLE}.zarr"
    whole = describe_store(root)["stored_bytes"]
    weight = sum(path.stat().st_size for path in group.rglob("*") if path.is_file())
    shutil.move(group, tmp_path / "outside.zarr")
    group.symlink_to(tmp_path / "outside.zarr")
    assert describe_store(root)["stored_bytes"] == whole - weight


# An array that is left to zarr-python: not sharded, as other writers may have it, one object a chunk


def write_unsharded(root: Path, *compressors: Any, filters: Any = None) -> np.ndarray[Any, Any]:
    values = np.random.default_rng(0).standard_normal((10_000, 3)).astype("float32")
    write_foreign(
        root,
        {"a": {"surface_position": values}},
        build_domain_layouts(FileMap(surface_position="x")),
        chunk=4096,
        sharded=False,
        consolidated=False,
        compressors=compressors or None,
        filters=filters,
    )
    return values


CHAINS: list[list[Any]] = [
    [],
    [zc.GzipCodec()],
    [zc.ZstdCodec(checksum=True)],
    [zc.BloscCodec(cname="lz4"), zc.Crc32cCodec()],
    [zc.Crc32cCodec(), zc.GzipCodec(), zc.ZstdCodec(), zc.BloscCodec()],
]


@pytest.mark.parametrize("compressors", CHAINS)
def test_an_unsharded_array_reads_as_it_was_written(tmp_path: Path, compressors: list[Any]) -> None:
    for filters in (None, [zc.TransposeCodec(order=(1, 0))]):
        root = tmp_path / str(bool(filters))
        values = write_unsharded(root, *compressors, filters=filters)
        assert np.array_equal(ZarrChunkReader(root).read_sample("a")["surface_position"].numpy(), values)


def test_an_unsharded_chunk_that_stands_for_more_than_a_chunk_is_damaged_before_it_is_decoded(tmp_path: Path) -> None:
    write_unsharded(tmp_path, zc.ZstdCodec())
    (tmp_path / "a.zarr/surface/position/c/1/0").write_bytes(zstd.compress(bytes(64 * 2**20)))
    with pytest.raises(ChunkDamaged, match="its zstd frame promises 67108864 bytes"):
        ZarrChunkReader(tmp_path).read_sample("a")


def test_an_unsharded_array_with_a_codec_that_cannot_be_bounded_is_refused_by_name(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # zarr-python's own: other readers may not have the codec
        write_unsharded(tmp_path, LZ4())
        with pytest.raises(ChunkDamaged, match=r"the codec 'numcodecs\.lz4', and what can be read is blosc, bytes"):
            ZarrChunkReader(tmp_path).read_sample("a")


def test_absurd_metadata_of_an_unsharded_array_is_refused(tmp_path: Path) -> None:
    write_unsharded(tmp_path)
    path = tmp_path / "a.zarr/surface/position/zarr.json"
    whole = path.read_text()
    document = json.loads(whole)
    document["chunk_grid"]["configuration"]["chunk_shape"] = [2**28, 3]
    path.write_text(json.dumps(document))
    with pytest.raises(DataDamaged, match="1,073,741,824 are the most"):
        ZarrChunkReader(tmp_path).read_sample("a")
    path.write_text('{"x": [' + "[]," * 2**20 + "[]], " + whole.removeprefix("{"))
    with pytest.raises(DataDamaged, match="more than such a document has"):
        ZarrChunkReader(tmp_path).read_sample("a")


@pytest.mark.parametrize("name", ["c/1/0", "zarr.json"])
def test_an_unsharded_file_that_is_a_link_out_of_the_store_or_larger_than_it_can_be_is_not_read(
    tmp_path: Path, name: str
) -> None:
    root, outside = tmp_path / "store", tmp_path / "outside"
    write_unsharded(root)
    path = root / "a.zarr/surface/position" / name
    shutil.move(path, outside)
    path.symlink_to(outside)
    with pytest.raises(DataDamaged, match=r"leads out of .* by a link") as caught:
        ZarrChunkReader(root).read_sample("a")
    assert caught.value.sample == "a"
    outside.replace(path)
    os.truncate(path, 512 * 2**20)  # sparse: no more space than before
    with pytest.raises(DataDamaged, match=r"has 536,870,912 bytes, and .* most"):
        ZarrChunkReader(root).read_sample("a")


@pytest.mark.parametrize("half", [rb"\ud800", rb"\udc00\ud800", b"\xed\xa0\x80", b"\xff"])
@pytest.mark.parametrize("name", ["manifest.json", "statistics.json"])
def test_a_document_that_is_no_text_is_refused(root: Path, name: str, half: bytes) -> None:
    document = (root / name).read_bytes()
    (root / name).write_bytes(document.replace(b"{", b'{"note": "' + half + b'",', 1))
    with pytest.raises((InvalidManifest, MetadataDamaged)):
        READS[name](root)
    (root / name).write_bytes(document.replace(b"{", rb'{"note": "\ud83d\ude80",', 1))  # an escaped pair is text
    assert READS[name](root) is not None


@pytest.mark.parametrize("dataset_name", ["\udcff", "a\x1b[2Jb"])
def test_a_dataset_name_that_does_not_print_is_refused_by_the_writer(tmp_path: Path, dataset_name: str) -> None:
    with pytest.raises(ValueError, match="characters that do not print"):
        ZarrStoreWriter(tmp_path, FILEMAP, dataset_name)
