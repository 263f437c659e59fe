"""The manifest: its bytes, its revision, and what of it is not to be trusted."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import drawpoint
from drawpoint.errors import InvalidManifest, StoreNotFound
from drawpoint_store import (
    ArrayLayout,
    DomainSample,
    FileMap,
    SampleEntry,
    StoreManifest,
    build_domain_layouts,
)

GRID = {"n_points": 10, "chunk_points": 4, "shard_points": 12, "n_chunks": 3}
GOLDEN = """{
 "dataset_name": "made",
 "format_version": 1,
 "shuffle_seed": 7,
 "coords_dtype": "float32",
 "values_dtype": "float16",
 "compressor": "blosc-zstd",
 "domains": {
  "surface": {
   "position": "surface_position",
   "arrays": {
    "surface_position": {
     "array_name": "surface/position",
     "field": "surface_position",
     "dtype": "float32",
     "dim": 3
    },
    "surface_pressure": {
     "array_name": "surface/pressure",
     "field": "surface_pressure",
     "dtype": "float16",
     "dim": 1
    }
   }
  }
 },
 "samples": {
  "a": {
   "relpath": "elsewhere/a.zarr",
   "domains": {}
  },
  "b/ü": {
   "relpath": "b/ü.zarr",
   "domains": {
    "surface": {
     "n_points": 10,
     "chunk_points": 4,
     "shard_points": 12,
     "n_chunks": 3
    }
   },
   "digest": "sha256:00"
  }
 }
}
"""

HOSTILE_PATHS = [
    "/etc", "//etc", "../x", "a/../b", "a/..", "..", ".", "./a", "a/./b", "", "a//b", "a/", "s3://bucket/x", "file:x",
    "C:\\x", "C:/x", "a\\..\\..\\b", "a\0b", "a\nb", "a\x7fb", "%2e%2e/x", "a/%2E./b", "%2Fetc", "a/b::file",
]  # fmt: skip


def made(*, backwards: bool = False) -> StoreManifest:
    layouts = build_domain_layouts(FileMap(surface_position="a.pt", surface_pressure="b.pt"))
    manifest = StoreManifest(dataset_name="made", shuffle_seed=7, domains=layouts)
    entries = {
        "b/ü": SampleEntry(relpath="b/ü.zarr", domains={"surface": DomainSample(**GRID)}, digest="sha256:00"),
        "a": SampleEntry(relpath="elsewhere/a.zarr", domains={}),
    }
    for sample_id in reversed(entries) if backwards else entries:
        manifest.samples[sample_id] = entries[sample_id]
    return manifest


def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(GOLDEN)
    return loaded


def load(tmp_path: Path, content: Any) -> StoreManifest:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (tmp_path / "manifest.json").write_bytes(data)
    return StoreManifest.load(tmp_path)


def test_the_bytes_of_a_manifest_are_golden_in_whatever_order_samples_were_added() -> None:
    again = made()
    del again.samples["a"]
    again.samples["a"] = made().samples["a"]
    for manifest in (made(), made(backwards=True), again):
        assert manifest.to_json().decode() == GOLDEN


def test_a_manifest_survives_saving_loading_pickling_and_copying(tmp_path: Path) -> None:
    manifest = made()
    assert manifest.save(tmp_path) == f"{tmp_path}/manifest.json"
    assert (tmp_path / StoreManifest.MANIFEST_NAME).read_text() == GOLDEN
    loaded = StoreManifest.load(tmp_path)
    for other in (loaded, pickle.loads(pickle.dumps(loaded)), copy.deepcopy(manifest), copy.copy(manifest)):
        assert isinstance(other, drawpoint.StoreManifest)
        assert (dict(other.samples), other.domains) == (dict(manifest.samples), manifest.domains)
        assert other.to_json().decode() == GOLDEN
        assert other.revision == manifest.revision


def change_samples(manifest: StoreManifest, sample_id: str, **update: Any) -> None:
    manifest.samples[sample_id] = manifest.samples[sample_id].model_copy(update=update)


CHANGES: dict[str, Callable[[StoreManifest], Any]] = {
    "an attribute": lambda it: setattr(it, "dataset_name", "other"),
    "a sample that is added": lambda it: it.samples.update(c=made().samples["b/ü"].model_copy(update={"relpath": "c"})),
    "a sample that is gone": lambda it: it.samples.pop("a"),
    "all samples gone": lambda it: it.samples.clear(),
    "another digest": lambda it: change_samples(it, "a", digest="sha256:01"),
    "another path": lambda it: change_samples(it, "a", relpath="elsewhere.zarr"),
    "other samples": lambda it: setattr(it, "samples", {}),
    "a domain that is gone": lambda it: it.domains.clear(),
    "another dtype": lambda it: setattr(it.fields["surface_pressure"], "dtype", "float64"),
    "a retired group": lambda it: it.retired.append("a.rewritten-1.zarr"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_of_a_manifest_that_was_read_changes_its_revision(
    tmp_path: Path, change: Callable[[StoreManifest], Any]
) -> None:
    data = json.dumps(document(), indent=7).encode()
    manifest = load(tmp_path, data)
    before = manifest.revision
    change(manifest)
    changed = manifest.revision
    assert changed == hashlib.sha256(manifest.to_json()).hexdigest()
    assert changed != before
    manifest.save(tmp_path)
    assert manifest.revision == changed == hashlib.sha256((tmp_path / "manifest.json").read_bytes()).hexdigest()
    assert copy.deepcopy(manifest).revision == pickle.loads(pickle.dumps(manifest)).revision == changed


def test_a_refused_change_of_a_manifest_leaves_it_as_it_was() -> None:
    manifest = made()
    layout = manifest.domains["surface"]
    for name, value, reason in (
        ("domains", {}, "samples have domains without a layout: surface"),
        ("values_dtype", "int8", "values_dtype: dtype 'int8' is not one of float16, float32, float64"),
        ("datasetname", "cars", "datasetname: there is no such name"),
    ):
        with pytest.raises(InvalidManifest, match=f"^the change of the manifest is refused: {reason}"):
            setattr(manifest, name, value)
    with pytest.raises(InvalidManifest, match="position names 'a', which is none of its arrays"):
        layout.position = "a"
    with pytest.raises(InvalidManifest, match="dim: it must be greater than 0, not 0"):
        layout.arrays["surface_pressure"].dim = 0
    assert manifest.to_json().decode() == GOLDEN
    assert not hasattr(manifest, "datasetname")


def test_an_entry_that_was_looked_up_refuses_changes_that_the_manifest_would_not_notice() -> None:
    manifest = made()
    entry = manifest.samples["b/ü"]
    grids: Any = entry.domains
    refused: list[Callable[[], Any]] = [
        lambda: setattr(entry, "digest", None),
        lambda: delattr(entry, "digest"),
        lambda: setattr(grids["surface"], "n_points", 11),
        lambda: grids.__setitem__("surface", grids["surface"]),
        lambda: grids.__delitem__("surface"),
        lambda: grids.update(surface=grids["surface"]),
        lambda: grids.__ior__({}),
        lambda: grids.setdefault("volume", grids["surface"]),
        lambda: grids.pop("surface"),
        grids.popitem,
        grids.clear,
    ]
    for change in refused:
        with pytest.raises(AttributeError, match=r"manifest\.samples\[sample_id\] = entry"):
            change()
    assert manifest.to_json().decode() == GOLDEN


def test_an_entry_is_changed_by_assigning_another_one() -> None:
    manifest = made()
    entry = manifest.samples["b/ü"]
    for own in (copy.deepcopy(entry), pickle.loads(pickle.dumps(entry))):
        assert own == entry
        own.domains["surface"] = DomainSample(**{**GRID, "shard_points": 4})  # nobody else's
        table = copy.copy(manifest.samples)
        assert table["b/ü"] is table["b/ü"]  # remembered, as long as it holds
        manifest.samples["b/ü"] = own
        assert table["b/ü"].domains == manifest.samples["b/ü"].domains == own.domains
    assert entry.domains["surface"].shard_points == 12


def test_extra_keys_are_ignored_at_every_level(tmp_path: Path) -> None:
    extended = document()
    extended["comment"] = {"relpath": "../x", "n_points": -1}
    extended["domains"]["surface"]["colour"] = 1
    extended["domains"]["surface"]["arrays"]["surface_pressure"]["unit"] = "Pa"
    extended["samples"]["b/ü"]["quality"] = [1, 2]
    extended["samples"]["b/ü"]["domains"]["surface"]["hull"] = None
    loaded = load(tmp_path, extended)
    assert loaded.samples == made().samples
    assert loaded.to_json() == made().to_json()


def test_what_has_a_default_may_be_absent(tmp_path: Path) -> None:
    short = {"dataset_name": "a", "shuffle_seed": 0, "domains": {}, "samples": {}}
    loaded = load(tmp_path, short)
    assert loaded.format_version == 1
    assert (loaded.coords_dtype, loaded.values_dtype, loaded.compressor) == ("float32", "float16", "blosc-zstd")
    del short["samples"]
    assert StoreManifest.model_validate(short).to_json() == loaded.to_json()


@pytest.mark.parametrize("version", [2, 0, "1", None, [1], 1.5])
def test_an_unknown_format_version_is_refused_by_name_before_whatever_else_is_new_in_it(
    tmp_path: Path, version: Any
) -> None:
    with pytest.raises(InvalidManifest, match=r"format_version .* is not known here") as caught:
        load(tmp_path, {"format_version": version, "everything": "else"})
    assert repr(version) in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_path_that_could_leave_the_store_is_refused(tmp_path: Path, path: str) -> None:
    reason = "not a plain relative path"
    hostile = document()
    hostile["samples"]["a"]["relpath"] = path
    with pytest.raises(InvalidManifest, match=rf"a\.relpath.*{reason} inside the store"):
        load(tmp_path, hostile)
    hostile = document()
    hostile["domains"]["surface"]["arrays"]["surface_pressure"]["array_name"] = path
    with pytest.raises(InvalidManifest, match=f"{reason} inside the store"):
        load(tmp_path, hostile)
    with pytest.raises(ValueError, match=reason):
        SampleEntry(relpath=path, domains={})
    with pytest.raises(ValueError, match=reason):
        ArrayLayout(array_name=path, field="f", dtype="float32", dim=1)
    manifest = made()
    with pytest.raises(ValueError, match=reason):
        change_samples(manifest, "a", relpath=path)
    assert manifest.to_json().decode() == GOLDEN


BAD_GRIDS: list[dict[str, Any]] = [
    {"n_chunks": 2}, {"n_points": 0}, {"n_points": -10}, {"chunk_points": 0, "n_chunks": 1},
    {"chunk_points": -4, "n_chunks": -2}, {"shard_points": 0}, {"shard_points": 10}, {"n_points": "many"},
    {"n_points": None}, {"n_points": 10.5},
]  # fmt: skip


@pytest.mark.parametrize("change", BAD_GRIDS)
def test_a_grid_that_does_not_add_up_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    wrong = document()
    wrong["samples"]["b/ü"]["domains"]["surface"].update(change)
    with pytest.raises(InvalidManifest, match=r"manifest\.json is refused: .*b/ü\.domains\.surface"):
        load(tmp_path, wrong)
    with pytest.raises(ValueError):
        DomainSample(**{**GRID, **change})


CONTRADICTIONS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a domain without a layout": (
        lambda it: it["samples"]["b/ü"]["domains"].update(volume=GRID),
        "domains without a layout: volume",
    ),
    "a position that is no array": (
        lambda it: it["domains"]["surface"].update(position="surface_place"),
        "domains.surface: position names 'surface_place'",
    ),
    "an array of another field": (
        lambda it: it["domains"]["surface"]["arrays"]["surface_pressure"].update(field="surface_area"),
        "names another field, 'surface_area'",
    ),
    "a field in two domains": (lambda it: it["domains"].update(other=it["domains"]["surface"]), "more than one domain"),
    "an unknown dtype": (
        lambda it: it["domains"]["surface"]["arrays"]["surface_pressure"].update(dtype="int8"),
        "'int8' is not one of float16, float32, float64",
    ),
    "two fields in one array": (
        lambda it: it["domains"]["surface"]["arrays"]["surface_pressure"].update(array_name="surface/position"),
        "two fields lie in one array",
    ),
    "two samples in one group": (
        lambda it: it["samples"]["a"].update(relpath="b/ü.zarr"),
        "two samples lie in one group",
    ),
    "an id that does not print": (
        lambda it: it["samples"].update({"a\u202e": it["samples"].pop("a")}),
        "characters that do not print",
    ),
    "no samples, not even none": (lambda it: it.pop("samples"), "it has no samples"),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_what_contradicts_itself_is_refused_by_name(tmp_path: Path, what: str) -> None:
    change, reason = CONTRADICTIONS[what]
    wrong = document()
    change(wrong)
    with pytest.raises(InvalidManifest, match=re.escape(reason)):
        load(tmp_path, wrong)


@pytest.mark.parametrize(("key", "value"), [("samples", "{}"), ("relpath", '"x.zarr"'), ("n_points", "7")])
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, key: str, value: str) -> None:
    twice = GOLDEN.replace(f'"{key}":', f'"{key}": {value}, "{key}":', 1)
    with pytest.raises(InvalidManifest, match=f"'{key}' stands twice"):
        load(tmp_path, twice.encode())


DAMAGED = [b"", b"{", b"[]", b"null", b"5", b'"text"', b"\xff\xfe\x00", b'{"dataset_name":"\xff"}', b"[" * 100_000,
           b'{"a":' * 100_000, b'{"shuffle_seed":' + b"9" * 5000 + b"}"]  # fmt: skip


@pytest.mark.parametrize("data", DAMAGED, ids=lambda data: repr(data[:20]))
def test_damaged_bytes_are_refused_as_a_manifest(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InvalidManifest, match=r"manifest\.json is refused: "):
        load(tmp_path, data)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 1) | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def paths_of(value: Any) -> list[list[str]]:
    if not isinstance(value, dict):
        return []
    return [path for key in value for path in ([key], *([key, *rest] for rest in paths_of(value[key])))]


@settings(max_examples=300)
@given(st.sampled_from(paths_of(json.loads(GOLDEN))), json_values)
def test_any_value_in_any_place_gives_a_manifest_or_a_refusal_in_our_own_words(path: list[str], value: Any) -> None:
    content = document()
    place = content
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    try:
        manifest = StoreManifest.from_json(json.dumps(content).encode())
    except InvalidManifest as error:
        words = str(error)
        assert not re.search("Input|Field |valid |Unable|dictionary|instance|another value|pydantic", words)
        assert words.isprintable()
        assert len(words) < 1000
        return
    assert StoreManifest.from_json(manifest.to_json()).to_json() == manifest.to_json()


def test_a_store_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "nowhere", str(tmp_path / "nowhere"), tmp_path / "file"):
        with pytest.raises(StoreNotFound, match=r"there is no store at .*(nowhere|file)"):
            StoreManifest.load(root)
