"""A manifest may be another library's object: whatever has its attributes opens a store, and is trusted no more."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from drawpoint import SampleDataset
from drawpoint.errors import InvalidManifest, RevisionChanged
from drawpoint_cli.__main__ import main
from drawpoint_store import StoreManifest, ZarrChunkReader
from small import same, small_arrays, small_writer


def as_objects(value: Any, *, is_mapping: bool = False) -> Any:
    """Return a document with an object in the place of each dict that is no mapping from names."""
    if not isinstance(value, dict):
        return value
    made = {
        key: as_objects(each, is_mapping=not is_mapping and key in {"domains", "arrays", "samples"})
        for key, each in value.items()
    }
    return made if is_mapping else SimpleNamespace(**made)


KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "objects": as_objects,
    "a dict": lambda document: document,
    "one without what has a default": lambda document: SimpleNamespace(
        **{key: document[key] for key in ("dataset_name", "shuffle_seed", "compressor", "domains", "samples")}
    ),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    writer = small_writer(root)
    for number in range(2):
        writer.write_sample(f"run/{number}", small_arrays(seed=number))
    writer.write_sample("flat", {name: each for name, each in small_arrays().items() if name.startswith("surface")})
    writer.save_manifest()
    return root


def document_of(root: Path) -> dict[str, Any]:
    """Return what the other library keeps of our manifest: no digests, and no rule of the shuffle."""
    found: dict[str, Any] = json.loads((root / "manifest.json").read_text())
    found.pop("shuffle", None)
    for entry in found["samples"].values():
        del entry["digest"]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_takes_it_and_draws_alike(root: Path, kind: str) -> None:
    reader, own = ZarrChunkReader(root, KINDS[kind](document_of(root))), ZarrChunkReader(root)
    assert isinstance(reader.manifest, StoreManifest)
    assert json.loads(reader.manifest.to_json()) == document_of(root)
    for each in (reader, pickle.loads(pickle.dumps(reader))):
        for sample_id in own.manifest.samples:
            assert same(*(it.read_sample(sample_id, {"surface": 5, "volume": 6}, seed=3) for it in (each, own)))
            assert torch.equal(*(it.read_coords(sample_id, "surface", 5, seed=3) for it in (each, own)))
    assert len(SampleDataset(reader, num_points={"surface": 5})) == 3


@pytest.mark.parametrize("path", ["../x", "/etc", "s3://bucket/x"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_path_in_it_that_could_leave_the_store_is_refused(root: Path, kind: str, path: str) -> None:
    reason = "is not a plain relative path inside the store"
    hostile = document_of(root)
    hostile["domains"]["surface"]["arrays"]["surface_pressure"]["array_name"] = path
    with pytest.raises(InvalidManifest, match=reason):
        ZarrChunkReader(root, KINDS[kind](hostile))
    hostile = document_of(root)
    hostile["samples"]["run/1"]["relpath"] = path
    with pytest.raises(InvalidManifest, match=rf"run/1\.relpath: .* {reason}"):
        ZarrChunkReader(root, KINDS[kind](hostile))


WRONG: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another version": (lambda it: it.update(format_version=2), "format_version 2 is not known here"),
    "no data set": (lambda it: it.pop("dataset_name"), "dataset_name"),
    "a grid that does not add up": (
        lambda it: it["samples"]["run/0"]["domains"]["surface"].update(n_chunks=9),
        r"run/0\.domains\.surface.*are not 9 chunks",
    ),
    "a domain without a layout": (lambda it: it["domains"].pop("volume"), "domains without a layout: volume"),
    "an entry that is none": (lambda it: it["samples"].update(a=5), r"a: "),
    "an id that is no text": (lambda it: it["samples"].update({7: it["samples"]["run/0"]}), "sample id 7"),
    "samples that are no mapping": (lambda it: it.update(samples=[1]), "samples must be a mapping"),
}


@pytest.mark.parametrize("given", ["manifest.json", 4, []])
def test_what_is_no_manifest_at_all_is_refused_by_its_kind(root: Path, given: Any) -> None:
    with pytest.raises(InvalidManifest, match=f"it is {type(given).__name__}, not a StoreManifest"):
        ZarrChunkReader(root, given)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("kind", ["objects", "a dict"])
def test_one_that_is_wrong_is_refused_by_name(root: Path, kind: str, wrong: str) -> None:
    change, message = WRONG[wrong]
    document = document_of(root)
    change(document)
    with pytest.raises(InvalidManifest, match=f"the manifest given for .* is refused: .*{message}"):
        ZarrChunkReader(root, KINDS[kind](document))


def test_an_entry_of_it_can_be_assigned(root: Path) -> None:
    manifest = StoreManifest.load(root)
    foreign = as_objects(document_of(root)).samples
    manifest.samples["run/0"] = foreign["run/0"]
    assert manifest.samples["run/0"].digest is None
    foreign["run/1"].relpath = "../x"
    with pytest.raises(ValueError, match="not a plain relative path"):
        manifest.samples["run/1"] = foreign["run/1"]


@pytest.mark.parametrize("kind", ["objects", "a dict"])
def test_a_reader_with_it_takes_the_statistics_of_the_store_while_they_are_of_its_groups(
    tmp_path: Path, root: Path, kind: str
) -> None:
    shutil.copytree(root, tmp_path / "store")
    given = KINDS[kind](document_of(root))
    assert main(["stats", str(tmp_path / "store")]) == 0
    found, own = (ZarrChunkReader(tmp_path / "store", manifest) for manifest in (given, None))
    assert found.statistics()["fields"] == own.statistics()["fields"]
    assert same(*(SampleDataset(it, num_points={"surface": 5}, normalise=True)[0] for it in (found, own)))

    manifest = StoreManifest.load(tmp_path / "store")
    del manifest.samples["flat"]
    manifest.save(tmp_path / "store")
    assert main(["stats", str(tmp_path / "store")]) == 0
    with pytest.raises(RevisionChanged, match="are of revision"):
        ZarrChunkReader(tmp_path / "store", given).statistics()
