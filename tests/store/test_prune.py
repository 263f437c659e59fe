"""What no manifest names is listed and removed, and nothing else is."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from pathlib import Path

import pytest

from conftest import FILEMAP, sample_arrays
from drawpoint.errors import StoreExists, StoreNotFound
from drawpoint_store import StoreManifest, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.maintenance import prune
from drawpoint_store.maintenance.prune import Leftover, find_leftovers, prune_store
from drawpoint_store.storage import open_storage
from drawpoint_store.writing.lock import lock_store
from small import same

DAY = 86_400.0


@pytest.fixture(params=["local", "memory", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name = secrets.token_hex(8)
    if request.param == "local":
        return str(tmp_path / name)
    if request.param == "memory":
        return f"memory://{name}"
    request.getfixturevalue("bucket_environment")
    return f"s3://cars/{name}"


def publish(root: str, *seeds: int) -> StoreManifest:
    """Publish samples s0, s1, ... with the values of `seeds`, and return the manifest."""
    writer = ZarrStoreWriter(root, FILEMAP, "made", chunk_points=256)
    for number, seed in enumerate(seeds):
        writer.write_sample(f"deep/s{number}", sample_arrays(seed))
    writer.save_manifest()
    return StoreManifest.load(root)


def groups(manifest: StoreManifest) -> set[str]:
    return {entry.relpath for entry in manifest.samples.values()}


def prune_all(root: str, older_than_seconds: float = 0.0, *, delete: bool = True) -> dict[str, Leftover]:
    return {found.path: found for found in prune_store(root, older_than_seconds=older_than_seconds, delete=delete)}


def test_replaced_groups_are_removed_and_the_present_ones_stay_whole(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = publish(root, 0, 1)
    new = publish(root, 2, 3)
    expected = ZarrChunkReader(root).read_sample("deep/s0")
    replaced = groups(old) - groups(new)
    for found in (prune_all(root, delete=False), prune_all(root, DAY)):  # a dry run, and groups that are too young
        assert set(found) == replaced
        assert find_leftovers(root, new) == sorted(replaced)
    in_two_days = time.time() + 2 * DAY
    monkeypatch.setattr(prune, "now", lambda: in_two_days)
    assert {found.is_old for found in prune_all(root, 3 * DAY).values()} == {False}
    found = prune_all(root, DAY)
    assert {path for path, each in found.items() if each.is_old} == replaced
    assert find_leftovers(root, new) == []
    assert [problem for check in verify_store(root) for problem in check.problems] == []
    assert same(ZarrChunkReader(root).read_sample("deep/s0"), expected)
    assert prune_all(root) == {}


def test_in_one_local_store_only_the_older_leftover_is_removed(tmp_path: Path) -> None:
    young, new = publish(str(tmp_path), 0, 1), publish(str(tmp_path), 2, 3)
    old, other = sorted(groups(young) - groups(new))
    for path in (tmp_path / old, *(tmp_path / old).rglob("*")):
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    found = prune_all(str(tmp_path), DAY)
    assert {path: each.is_old for path, each in found.items()} == {old: True, other: False}
    assert [(tmp_path / path).exists() for path in (old, other)] == [False, True]


def test_unfinished_files_are_leftovers_and_groups_at_any_path_of_the_manifest_are_not(tmp_path: Path) -> None:
    root, manifest = str(tmp_path), publish(str(tmp_path), 0)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "deep/s0.zarr").rename(tmp_path / "elsewhere/v2")
    manifest.samples["deep/s0"] = manifest.samples["deep/s0"].model_copy(update={"relpath": "elsewhere/v2"})
    manifest.save(root)
    assert find_leftovers(root, manifest) == []
    shutil.copytree(tmp_path / "elsewhere/v2", tmp_path / "deep/er/gone.zarr")
    for name in (".manifest.json.0a1b2c3d.tmp", "elsewhere/v2/.zarr.json.0a1b2c3d.tmp", "splits/train.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_leftovers(root, manifest) == [".manifest.json.0a1b2c3d.tmp", "deep/er/gone.zarr"]


def test_a_store_in_a_folder_of_the_store_is_none_of_its_leftovers(root: str) -> None:
    publish(root, 0)
    publish(f"{root}/other", 1)
    assert prune_all(root) == {}
    assert [problem for check in verify_store(f"{root}/other") for problem in check.problems] == []


def test_a_group_that_is_published_meanwhile_stays(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = publish(root, 0)
    publish(root, 1)
    listed = find_leftovers

    def list_and_restore(store_root: str, manifest: StoreManifest) -> list[str]:
        found = listed(store_root, manifest)
        first.save(store_root)  # somebody goes back to the first revision
        return found

    monkeypatch.setattr(prune, "find_leftovers", list_and_restore)
    assert prune_all(root) == {}
    assert ZarrChunkReader(root).read_sample("deep/s0")


def test_a_root_without_a_store_is_named_and_nothing_is_removed(root: str) -> None:
    ZarrStoreWriter(root, FILEMAP, "made").write_sample("a", sample_arrays(0))
    with pytest.raises(StoreNotFound):
        prune_all(root)
    assert open_storage(root).list("")[0]


def test_a_local_store_that_a_conversion_holds_is_left_alone(tmp_path: Path) -> None:
    publish(str(tmp_path), 0)
    publish(str(tmp_path), 1)
    with lock_store(str(tmp_path)), pytest.raises(StoreExists, match="another conversion"):
        prune_all(str(tmp_path))
    assert len(find_leftovers(tmp_path, StoreManifest.load(tmp_path))) == 1


def test_a_bucket_in_which_a_conversion_recorded_a_sample_lately_is_left_alone(
    bucket_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, in_two_days = "s3://cars/at-work", time.time() + 2 * DAY
    monkeypatch.setattr(prune, "now", lambda: in_two_days)
    publish(root, 0)
    publish(root, 1)
    open_storage(root).write(".convert/samples/1.json", b"{}")
    with pytest.raises(StoreExists, match=r"a conversion recorded a sample in .* ago; wait for its end"):
        prune_all(root, 3 * DAY)
    assert len(find_leftovers(root, StoreManifest.load(root))) == 1
    (found,) = prune_all(root, DAY).values()
    assert found.is_old
    assert find_leftovers(root, StoreManifest.load(root)) == []


def test_links_are_removed_and_not_what_they_lead_to(tmp_path: Path) -> None:
    root = tmp_path / "store"
    publish(str(root), 0)
    shutil.copytree(root / "deep/s0.zarr", tmp_path / "precious")
    (root / "old.zarr").mkdir()
    (root / "old.zarr/link").symlink_to(tmp_path / "precious")
    (root / "linked.zarr").symlink_to(tmp_path / "precious")  # not followed, and so not listed
    assert set(prune_all(str(root))) == {"old.zarr"}
    assert (tmp_path / "precious/zarr.json").is_file()
