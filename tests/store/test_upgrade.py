"""Stores of earlier and of other writers get their tables and digests in place, and can be read at every moment."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr

from attacks import exchange
from conftest import REPOSITORY
from drawpoint.errors import ChunkDamaged, DataDamaged, RevisionChanged, StoreExists, StoreUnreadable
from drawpoint_store import StoreManifest, ZarrChunkReader, make_store
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.maintenance.upgrade import upgrade_store
from drawpoint_store.reading.digests import table_digest
from drawpoint_store.reading.statistics_file import read_statistics
from drawpoint_store.statistics.documents import statistics_json
from drawpoint_store.statistics.store_statistics import calculate_store_statistics
from drawpoint_store.storage import LocalStorage
from drawpoint_store.storage.bucket_access import open_client
from drawpoint_store.writing.lock import lock_store
from foreign import write_small_foreign
from s3 import Bucket, upload
from small import files_of, small_arrays, small_writer

SAMPLES = ("param0/run", "param1/run")
SETTINGS: dict[str, Any] = {"shard_points": 8, "shuffle_seed": 7}
"""What drawpoint 0.1 wrote data/stores_of_0.1.zip with: `small_arrays` of seeds 0 and 1, at levels 0 and 5."""


@pytest.fixture(scope="session")
def stores_of_0_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("0.1")
    with zipfile.ZipFile(REPOSITORY / "tests/store/data/stores_of_0.1.zip") as stored:
        stored.extractall(folder)
    return folder


@pytest.fixture
def old(stores_of_0_1: Path, tmp_path: Path) -> Path:
    """A store of drawpoint 0.1, byte for byte."""
    return Path(shutil.copytree(stores_of_0_1 / "level5", tmp_path / "level5"))


def written_anew(root: Path, **kwargs: Any) -> Path:
    writer = small_writer(root, **SETTINGS, **kwargs)
    for number, sample_id in enumerate(SAMPLES):
        writer.write_sample(sample_id, small_arrays(seed=number))
    writer.save_manifest()
    return root


def read(root: str | Path, manifest: StoreManifest | None = None) -> dict[str, Any]:
    reader = ZarrChunkReader(root, manifest)
    return {f"{sample_id} {field}": rows.numpy().tobytes() for sample_id in reader.manifest.samples
            for field, rows in reader.read_sample(sample_id).items()}  # fmt: skip


@pytest.mark.parametrize(("level", "workers"), [("level0", 1), ("level5", 3)])
def test_an_old_store_is_read_as_it_is_and_becomes_what_would_be_written_now(
    stores_of_0_1: Path, tmp_path: Path, level: str, workers: int
) -> None:
    old = Path(shutil.copytree(stores_of_0_1 / level, tmp_path / "old"))
    new = written_anew(tmp_path / "anew")
    assert read(old) == read(new)
    for check in verify_store(old):
        assert (check.problems, check.has_digest, check.has_tables) == ((), True, False)
    revision = StoreManifest.load(old).revision
    report = upgrade_store(old, max_workers=workers)
    assert (report.upgraded, report.unchanged, report.damaged) == (list(SAMPLES), [], {})
    upgraded = files_of(old)
    again = upgrade_store(old)
    assert (again.upgraded, again.unchanged, again.revision) == ([], list(SAMPLES), report.revision)
    assert files_of(old) == upgraded
    assert report.revision == StoreManifest.load(old).revision != revision
    assert read(old) == read(new)
    for check in verify_store(old):
        assert (check.problems, check.has_digest, check.has_tables) == ((), True, True)
    chunks = {name: data for name, data in files_of(new).items() if "/c/" in name}
    if level == "level5" and chunks.items() <= upgraded.items():  # by the same compressor: then all is the same
        assert upgraded == files_of(new)


def test_a_store_in_a_bucket_is_upgraded_in_place(old: Path, bucket: Bucket, bucket_environment: None) -> None:
    root = upload(old, f"s3://{bucket.name}/upgraded")
    client = open_client(root)
    reader = ZarrChunkReader(root)
    before = reader.read_sample("param0/run", fields=["surface_pressure"])
    assert upgrade_store(root, max_workers=2).revision == upgrade_store(old).revision
    assert {name: bytes(client.get(name).bytes()) for name in files_of(old)} == files_of(old)
    for each in (reader, ZarrChunkReader(root)):
        assert each.read_sample("param0/run")["surface_pressure"].equal(before["surface_pressure"])
    assert all(check.problems == () and check.has_tables for check in verify_store(root))


def test_what_is_exchanged_in_an_upgraded_store_is_damage(old: Path) -> None:
    reader = ZarrChunkReader(old)
    reader.read_sample("param0/run", fields=["surface_pressure"])
    upgrade_store(old)
    exchange(old / "param0/run.zarr/volume/position/c/0/0", old / "param0/run.zarr/volume/position/c/1/0")
    with pytest.raises(ChunkDamaged, match="volume_position in sample 'param0/run'"):
        ZarrChunkReader(old).read_sample("param0/run")
    exchange(old / "param0/run.zarr", old / "param1/run.zarr")
    with pytest.raises(DataDamaged, match="another sample or revision"):
        ZarrChunkReader(old).read_sample("param1/run", fields=["surface_pressure"])
    with pytest.raises(StoreUnreadable, match="was replaced by another group"):  # the reader holds the old manifest
        reader.read_sample("param0/run")


class Killed(BaseException):
    """What ends an upgrade at once, as a kill does."""


def test_an_upgrade_that_is_killed_at_any_write_leaves_all_readable_and_goes_on(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = LocalStorage.write
    whole = tmp_path / "whole"
    shutil.copytree(old, whole)
    statistics = statistics_json(
        calculate_store_statistics(whole), revision=StoreManifest.load(whole).revision, split=None, n_samples=2
    )
    (whole / "statistics.json").write_bytes(statistics)
    shutil.copytree(whole, tmp_path / "done")
    done = upgrade_store(tmp_path / "done")
    expected, manifest = read(whole), StoreManifest.load(whole)
    for writes in itertools.count():
        root = tmp_path / f"killed {writes}"
        shutil.copytree(whole, root)
        left = iter(range(writes))

        def write_some(*args: Any, left: Any = left) -> str:
            if next(left, None) is None:
                raise Killed
            return write(*args)

        reader = ZarrChunkReader(root)  # opened before, with some files open and others not
        reader.read_sample(SAMPLES[0], fields=["surface_pressure"])
        ended = False
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr(LocalStorage, "write", write_some)
            upgrade_store(root)
            ended = True
        for found in (read(root), read(root, manifest)):
            assert found == expected
        for sample_id in SAMPLES:
            rows = reader.read_sample(sample_id)
            assert all(expected[f"{sample_id} {field}"] == each.numpy().tobytes() for field, each in rows.items())
        assert [check.problems for check in verify_store(root)] == [(), ()]
        again = upgrade_store(root)
        assert again.damaged == {}
        assert files_of(root) == files_of(tmp_path / "done")
        if ended:
            break
    assert writes == 2 * (4 + 1) + 2  # four arrays and a group each, the statistics, the manifest
    assert (read_statistics(tmp_path / "done") or {})["revision"] == done.revision


def test_a_damaged_sample_is_named_and_left_as_it_was(old: Path) -> None:
    group = old / "param1/run.zarr"
    exchange(group / "volume/position/c/0/0", group / "volume/position/c/1/0")
    before = files_of(group)
    report = upgrade_store(old)
    assert report.upgraded == ["param0/run"]
    assert report.damaged == {
        "param1/run": "the values of sample 'param1/run' are not those that were written: its digest (sha256) differs"
    }
    assert files_of(group) == before
    assert (StoreManifest.load(old).samples["param1/run"].digest or "").startswith("sha256:")
    shard = group / "surface/pressure/c/0/0"
    shard.write_bytes(bytes(3) + shard.read_bytes()[3:])
    report = upgrade_store(old)
    assert report.unchanged == ["param0/run"]
    assert "chunk 0 of surface_pressure in sample 'param1/run'" in report.damaged["param1/run"]
    assert ZarrChunkReader(old).read_sample("param0/run")


@pytest.mark.parametrize("checksums", [False, True])
@pytest.mark.parametrize("consolidated", [False, True])
def test_a_store_of_another_writer_is_bound_with_its_gaps_and_keys(
    tmp_path: Path, consolidated: bool, checksums: bool
) -> None:
    write_small_foreign(tmp_path, consolidated=consolidated, checksums=checksums)
    before = read(tmp_path)
    report = upgrade_store(tmp_path)
    assert (report.upgraded, report.damaged) == (["a"], {})
    assert read(tmp_path) == before
    (check,) = verify_store(tmp_path)
    assert (check.problems, check.has_checksums, check.has_digest, check.has_tables) == ((), True, True, True)
    document = json.loads((tmp_path / "manifest.json").read_text())
    assert document["somebody"] == {"else's": "key"}
    assert document["samples"]["a"]["theirs"] == 1
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group.attrs["owner"] == "somebody"
    assert group["volume/velocity"].attrs["units"] == "m"
    place = tmp_path / "a.zarr/volume/position/c"
    exchange(place / "0/0", place / "1/0")
    with pytest.raises(ChunkDamaged, match="chunk 0 of volume_position in sample 'a'"):
        ZarrChunkReader(tmp_path).read_sample("a")
    (place / "0/0").unlink()  # and it is not taken for one of zeros alone
    with pytest.raises(DataDamaged, match="volume_position in sample 'a'"):
        ZarrChunkReader(tmp_path).read_sample("a")


def test_arrays_that_zarr_python_alone_reads_get_a_digest_and_no_table(tmp_path: Path) -> None:
    write_small_foreign(tmp_path, consolidated=True, checksums=True, sharded=False)
    before = read(tmp_path)
    assert upgrade_store(tmp_path).upgraded == ["a"]
    assert read(tmp_path) == before
    (check,) = verify_store(tmp_path)
    assert (check.problems, check.has_digest, check.has_tables) == ((), True, False)
    assert upgrade_store(tmp_path).unchanged == ["a"]


@pytest.mark.parametrize("through_store", [False, True])
def test_a_reader_that_holds_the_old_manifest_goes_on_also_where_a_shard_was_left_out(
    tmp_path: Path, through_store: bool
) -> None:
    write_small_foreign(tmp_path, consolidated=True, checksums=False)
    expected = read(tmp_path)
    reader = ZarrChunkReader(tmp_path, store_factory=make_store) if through_store else ZarrChunkReader(tmp_path)
    reader.read_sample("a", fields=["surface_pressure"])
    upgrade_store(tmp_path)
    rows = reader.read_sample("a")
    assert {f"a {field}": each.numpy().tobytes() for field, each in rows.items()} == expected


def test_nothing_is_published_over_somebody_elses_revision_or_while_a_conversion_writes(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_while_others_publish(table: bytes | None) -> str | None:
        document = json.loads((old / "manifest.json").read_text())
        (old / "manifest.json").write_text(json.dumps({**document, "dataset_name": "other"}))
        return table_digest(table)

    with lock_store(str(old)), pytest.raises(StoreExists, match="wait for its end"):
        upgrade_store(old)
    monkeypatch.setattr("drawpoint_store.maintenance.upgrade.table_digest", find_while_others_publish)
    with pytest.raises(RevisionChanged, match="run the same command again"):
        upgrade_store(old)
    assert StoreManifest.load(old).dataset_name == "other"
    monkeypatch.undo()
    assert upgrade_store(old).unchanged == list(SAMPLES)


MANGLED: dict[str, Callable[[Any], Any]] = {
    "no base64": lambda table: "*" + table[1:],
    "of another length": lambda table: table[:-4],
    "no text": lambda _: 7,
    "of other chunks": lambda table: "AAAA" + table[4:],
}


@pytest.mark.parametrize("mangled", MANGLED)
def test_a_table_that_is_damaged_is_named(tmp_path: Path, mangled: str) -> None:
    root = written_anew(tmp_path)
    document = json.loads((root / "param0/run.zarr/zarr.json").read_text())
    held = document["consolidated_metadata"]["metadata"]["surface/pressure"]["attributes"]["drawpoint"]
    held["chunks_crc32c"] = MANGLED[mangled](held["chunks_crc32c"])
    (root / "param0/run.zarr/zarr.json").write_text(json.dumps(document))
    with pytest.raises(DataDamaged, match=r"surface/pressure is damaged: its table of checksums") as caught:
        ZarrChunkReader(root).read_sample("param0/run")
    assert (caught.value.sample, caught.value.field) == ("param0/run", "surface_pressure")


def test_a_manifest_or_a_group_without_its_digest_is_held_to_the_other(tmp_path: Path) -> None:
    root = written_anew(tmp_path)
    whole = (root / "manifest.json").read_text()
    document = json.loads(whole)
    for entry in document["samples"].values():
        del entry["digest"]
    (root / "manifest.json").write_text(json.dumps(document))
    assert ZarrChunkReader(root).read_sample("param0/run")
    (root / "param1/run.zarr/surface/pressure/c/0/0").unlink()
    with pytest.raises(DataDamaged, match="missing"):  # the group's digest says that it is ours
        ZarrChunkReader(root).read_sample("param1/run")
    exchange(root / "param0/run.zarr/volume/velocity/c/0/0", root / "param1/run.zarr/volume/velocity/c/0/0")
    with pytest.raises(ChunkDamaged):
        ZarrChunkReader(root).read_sample("param0/run")
    (root / "manifest.json").write_text(whole)
    place = root / "param0/run.zarr/zarr.json"
    document = json.loads(place.read_text())
    for kept in ({"drawpoint": {"arrays": document["attributes"]["drawpoint"]["arrays"]}}, None):
        place.write_text(json.dumps({**document, "attributes": kept or {}}))
        with pytest.raises(DataDamaged, match="is not the manifest's: it has none"):
            ZarrChunkReader(root).read_sample("param0/run")


def test_a_store_of_0_1_is_upgraded_after_a_sample_was_added_to_it(old: Path) -> None:
    before = read(old)
    writer = small_writer(old, **SETTINGS)
    writer.manifest.samples.update(StoreManifest.load(old).samples)
    writer.write_sample("param2/run", small_arrays(seed=2))
    writer.save_manifest()
    report = upgrade_store(old)
    assert (report.upgraded, report.unchanged) == (list(SAMPLES), ["param2/run"])
    assert before.items() < read(old).items()
    assert all(check.has_tables and not check.problems for check in verify_store(old))
