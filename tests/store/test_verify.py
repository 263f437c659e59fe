"""What verification reports: all harm, with its place, and nothing of a store that is whole."""

from __future__ import annotations

import json
import random
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest

from drawpoint_store import FileMap, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.inspecting.verify import Problem, verify_store
from foreign import write_small_foreign
from small import same
from unbinding import unbind

if TYPE_CHECKING:
    from collections.abc import Callable

FILEMAP = FileMap(surface_position="p", surface_pressure="p", volume_position="p", volume_velocity="v")
SAMPLES = ("a/one", "a/two")
SHARD = "a/one.zarr/surface/pressure/c/1/0"


def arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "surface_position": rng.random((130, 3)),
        "surface_pressure": rng.random(130),
        "volume_position": rng.random((50, 3)),
        "volume_velocity": rng.random((50, 3)),
    }


def write(root: str | Path, seed: int = 0) -> None:
    # 130 points in chunks of 20, two chunks a shard: 4 shards, the last with an unused slot and a short chunk.
    writer = ZarrStoreWriter(root, FILEMAP, "made", chunk_points=20, shard_points=40)
    for number, sample_id in enumerate(SAMPLES):
        writer.write_sample(sample_id, arrays(seed + number))
    writer.save_manifest()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    write(root)
    return root


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "store"))


def problems(root: str | Path) -> list[Problem]:
    return [problem for check in verify_store(root) for problem in check.problems]


def places(found: list[Problem]) -> list[tuple[str, str | None, int | None]]:
    return [(problem.sample, problem.field, problem.chunk) for problem in found]


def test_all_chunks_of_a_whole_store_are_read_without_a_problem(root: Path) -> None:
    checks = list(verify_store(root))
    assert [check.sample_id for check in checks] == list(SAMPLES)
    for check in checks:
        assert (check.problems, check.n_chunks) == ((), 2 * 7 + 2 * 3)
        assert check.has_checksums
        assert check.has_digest
        assert check.has_tables
    unbind(root)
    assert {(check.problems, check.has_digest, check.has_tables) for check in verify_store(root)} == {((), True, False)}


def test_a_store_in_memory_is_verified_like_one_on_disk() -> None:
    root = f"memory://verify-{secrets.token_hex(8)}"
    write(root)
    assert problems(root) == []
    fsspec.filesystem("memory").rm(f"{root}/a/two.zarr/volume/velocity/c/1/0")
    assert places(problems(root)) == [("a/two", "volume_velocity", 2)]


@pytest.mark.parametrize("checksums", [False, True])
@pytest.mark.parametrize("consolidated", [False, True])
def test_a_store_of_another_writer_is_reported_without_checksums_or_digest(
    tmp_path: Path, checksums: bool, consolidated: bool
) -> None:
    write_small_foreign(tmp_path, checksums=checksums, consolidated=consolidated)
    (check,) = verify_store(tmp_path)
    assert (check.problems, check.has_checksums, check.has_digest) == ((), checksums, False)
    shard = tmp_path / "a.zarr/surface/position/c/0/0"
    shard.write_bytes(b"\xff" * 40 + shard.read_bytes()[40:])  # does not decode
    assert ("a", "surface_position", 0) in places(problems(tmp_path))


def test_any_flipped_bit_of_a_shard_is_reported_as_damage_of_its_chunk(root: Path) -> None:
    shards = sorted(path for path in root.rglob("c/*/0"))
    rng = random.Random(0)
    for _ in range(60):
        shard = rng.choice(shards)
        data = shard.read_bytes()
        bit = rng.randrange(len(data) * 8)
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        shard.write_bytes(flipped)
        found = problems(root)
        shard.write_bytes(data)
        sample, array = str(shard.relative_to(root)).split(".zarr/")
        field = array.split("/c/")[0].replace("/", "_")
        assert {(problem.sample, problem.field) for problem in found} == {(sample, field)}, (shard, bit)
        in_index = bit // 8 >= len(data) - 2 * 16 - 4
        first = 2 * int(array.split("/")[-2])
        assert in_index or {problem.chunk for problem in found} <= {first, first + 1}, (shard, bit)
    assert problems(root) == []


def test_any_flipped_bit_of_metadata_is_reported_unless_it_changes_nothing(root: Path) -> None:
    files = sorted(root.rglob("zarr.json"))
    truth = {sample_id: ZarrChunkReader(root).read_sample(sample_id) for sample_id in SAMPLES}
    rng = random.Random(1)
    reported = 0
    for _ in range(60):
        file = rng.choice(files)
        data = bytearray(file.read_bytes())
        bit = rng.randrange(len(data) * 8)
        data[bit // 8] ^= 1 << bit % 8
        original = file.read_bytes()
        file.write_bytes(data)
        if problems(root):
            reported += 1
        else:
            reader = ZarrChunkReader(root)
            for sample_id, expected in truth.items():
                assert same(reader.read_sample(sample_id), expected), (file, bit)
        file.write_bytes(original)
    assert reported > 30


def test_a_truncated_shard_is_reported_as_damage(root: Path) -> None:
    shard = root / SHARD
    whole = shard.read_bytes()
    for length in (0, 3, 36, 100, -1):
        shard.write_bytes(whole[:length])
        assert {place[:2] for place in places(problems(root))} == {("a/one", "surface_pressure")}


@pytest.mark.parametrize(
    ("name", "field", "chunk"),
    [
        ("zarr.json", None, None),
        ("surface/zarr.json", None, None),
        ("volume/velocity/zarr.json", "volume_velocity", None),
        ("surface/pressure/c/1/0", "surface_pressure", 2),
    ],
)
def test_what_is_missing_or_cannot_be_read_is_reported(
    root: Path, name: str, field: str | None, chunk: int | None
) -> None:
    path = root / "a/two.zarr" / name
    path.unlink()
    (found,) = problems(root)
    assert places([found]) == [("a/two", field, chunk)]
    assert name.removesuffix("/zarr.json") in found.message
    assert list(verify_store(root, max_workers=3)) == list(verify_store(root))
    if chunk is not None:
        path.mkdir()
        assert places(problems(root)) == [("a/two", field, None)]
    shutil.rmtree(root / "a/two.zarr")
    assert places(problems(root)) == [("a/two", None, None)]


@pytest.mark.parametrize(("name", "field"), [("volume", None), ("volume/velocity", "volume_velocity")])
def test_metadata_that_contradicts_its_copy_is_reported(root: Path, name: str, field: str | None) -> None:
    file = root / "a/two.zarr" / name / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"attributes": {"unit": "m"}}))
    (found,) = problems(root)
    assert (found.sample, found.field) == ("a/two", field)
    assert f"zarr.json of {name} in sample 'a/two' disagrees" in found.message


CONTRADICTIONS: list[tuple[Callable[[Any, Any], object], list[str], str]] = [
    (lambda _, grids: grids["surface"].update(n_points=129), ["surface_position", "surface_pressure"], "(130, 3)"),
    (lambda _, it: it["volume"].update(chunk_points=10, n_chunks=5), ["volume_position", "volume_velocity"], "volume"),
    (lambda layouts, _: layouts["volume_velocity"].update(dtype="float32"), ["volume_velocity"], "float32"),
]


@pytest.mark.parametrize(("change", "fields", "words"), CONTRADICTIONS, ids=["count", "chunks", "dtype"])
def test_a_manifest_that_contradicts_the_arrays_is_reported(
    root: Path, change: Callable[[Any, Any], object], fields: list[str], words: str
) -> None:
    document = json.loads((root / "manifest.json").read_text())
    change(document["domains"]["volume"]["arrays"], document["samples"]["a/one"]["domains"])
    (root / "manifest.json").write_text(json.dumps(document))
    found = [problem for problem in problems(root) if problem.sample == "a/one"]
    assert places(found) == [("a/one", field, None) for field in fields]
    assert words in found[0].message


def test_replaced_values_with_valid_checksums_are_reported_by_chunk_or_by_sample_where_there_are_no_tables(
    root: Path, tmp_path: Path
) -> None:
    write(tmp_path / "other", seed=5)
    shutil.copy(tmp_path / "other" / SHARD, root / SHARD)
    found = problems(root)
    assert places(found) == [("a/one", "surface_pressure", 2), ("a/one", "surface_pressure", 3)]
    assert all("its crc32c is not that of its place" in problem.message for problem in found)
    unbind(root)
    (by_sample,) = problems(root)
    assert places([by_sample]) == [("a/one", None, None)]
    assert "digest" in by_sample.message


@pytest.mark.usefixtures("unchecked_writer")
def test_values_that_are_not_finite_are_counted_by_sample_and_field(tmp_path: Path) -> None:
    bad = arrays(1)
    bad["surface_pressure"][[3, 70, 129]] = np.nan, np.inf, -np.inf
    bad["volume_velocity"][5] = np.nan
    writer = ZarrStoreWriter(tmp_path, FILEMAP, "made", chunk_points=20, shard_points=40)
    writer.write_sample("good", arrays(0))
    writer.write_sample("bad", bad)
    writer.save_manifest()
    found = problems(tmp_path)
    assert places(found) == [("bad", "surface_pressure", None), ("bad", "volume_velocity", None)]
    rows = np.flatnonzero(~np.isfinite(ZarrChunkReader(tmp_path).read_sample("bad")["surface_pressure"].numpy()))
    assert found[0].message == (
        f"surface_pressure in sample 'bad' holds 1 NaN and 2 infinite of 130 values, the first in row {rows[0]} in "
        "stored order"
    )
    assert "holds 3 NaN of 150 values" in found[1].message
