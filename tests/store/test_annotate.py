"""A store that exists is annotated as if it had been converted so, in one step, and its values stay as they are."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import torch

import drawpoint
from drawpoint.errors import InvalidParameter, RevisionChanged, SampleNotFound, StoreExists, UnknownField
from drawpoint_store import FileMap, StoreManifest, ZarrChunkReader, ZarrStoreWriter, calculate_store_statistics
from drawpoint_store.convert import convert
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.maintenance import annotate
from drawpoint_store.maintenance.annotate import Annotations, annotate_store
from drawpoint_store.reading.splits import read_split
from drawpoint_store.statistics.documents import statistics_json
from drawpoint_store.storage import LocalStorage
from drawpoint_store.storage.bucket_access import open_client
from drawpoint_store.writing.layout import FieldSpec
from drawpoint_store.writing.lock import lock_store
from foreign import write_small_foreign
from live import LiveService
from s3 import Bucket, upload
from small import files_of, small_arrays
from waiting import wait_until

SAMPLES = ("param0/run", "param1/run")
SCALARS = {"param0/run": {"U_inf": 20.0, "yaw": 0.0}, "param1/run": {"yaw": 8.0, "U_inf": 30.0}}
VELOCITY = "volume_velocity"
FIELDS: dict[str, tuple[str, str, int, Literal["coord", "value"]]] = {
    "surface_position": ("surface", "position", 3, "coord"),
    "surface_pressure": ("surface", "pressure", 1, "value"),
    "volume_position": ("volume", "position", 3, "coord"),
    VELOCITY: ("volume", "velocity", 3, "value"),
}
EVERYTHING = Annotations(
    scalars=SCALARS,
    units={VELOCITY: "m/s", "surface_pressure": "m2/s2"},
    descriptions={VELOCITY: "mean over the last 1,000 steps"},
    splits={"train": ["param1/run"], "val": ["param0/run"]},
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "store")


def write(root: Path, *, annotated: bool = False) -> Path:
    said = EVERYTHING if annotated else Annotations()
    fields = [
        FieldSpec(f"{canonical}.pt", *FIELDS[canonical], said.units.get(canonical), said.descriptions.get(canonical))
        for canonical in FIELDS
    ]
    writer = ZarrStoreWriter(root, FileMap(), "made", chunk_points=4, fields=fields)
    for number, sample_id in enumerate(SAMPLES):
        writer.write_sample(sample_id, small_arrays(seed=number), scalars=said.scalars.get(sample_id))
    writer.save_manifest()
    return root


def measure(root: Path, split: str | None = None, **options: Any) -> None:
    ids = None if split is None else read_split(root, split)
    measured = calculate_store_statistics(root, sample_ids=ids, **options)
    revision = StoreManifest.load(root).revision
    (root / "statistics.json").write_bytes(statistics_json(measured, revision=revision, split=split, n_samples=2))


def test_an_annotated_store_has_the_bytes_of_one_that_was_converted_so(root: Path, tmp_path: Path) -> None:
    report = annotate_store(root, EVERYTHING)
    expected = files_of(write(tmp_path / "converted", annotated=True))
    expected |= {"splits/train.txt": b"param1/run\n", "splits/val.txt": b"param0/run\n"}
    assert files_of(root) == expected
    assert report.revision == StoreManifest.load(root).revision
    assert (report.scalars, report.statistics) == ({name: ["U_inf", "yaw"] for name in SAMPLES}, "none")
    assert (report.fields, report.splits) == ([VELOCITY, "surface_pressure"], {"train": 1, "val": 1})
    assert [check.problems for check in verify_store(root)] == [(), ()]
    again = annotate_store(root, EVERYTHING)
    assert (again.revision, again.scalars, again.fields) == (report.revision, {}, [])
    assert files_of(root) == expected


def test_what_was_said_is_corrected_and_removed_and_the_rest_stays(root: Path) -> None:
    before = StoreManifest.load(root).to_json()
    annotate_store(root, EVERYTHING)
    corrected = annotate_store(
        root, Annotations(scalars={"param0/run": {"U_inf": 25}}, units={VELOCITY: "mm/s"}, remove_scalars=["yaw"])
    )
    assert corrected.scalars == {"param0/run": ["U_inf", "yaw"], "param1/run": ["yaw"]}
    reader = ZarrChunkReader(root)
    assert [reader.scalars(sample_id) for sample_id in SAMPLES] == [{"U_inf": 25.0}, {"U_inf": 30.0}]
    layout = reader.manifest.fields[VELOCITY]
    assert (layout.units, layout.description) == ("mm/s", EVERYTHING.descriptions[VELOCITY])
    nothing = dict.fromkeys(reader.manifest.fields)
    annotate_store(root, Annotations(remove_scalars=["U_inf"], units=nothing, descriptions=nothing))
    assert StoreManifest.load(root).to_json() == before


def test_keys_of_other_programs_stay(tmp_path: Path) -> None:
    write_small_foreign(tmp_path, consolidated=True, checksums=False)
    annotate_store(tmp_path, Annotations(scalars={"a": {"U_inf": 20.0}}, units={"volume_velocity": "m/s"}))
    document = json.loads((tmp_path / "manifest.json").read_text())
    assert document["somebody"] == {"else's": "key"}
    assert (document["samples"]["a"]["theirs"], document["samples"]["a"]["scalars"]) == (1, {"U_inf": 20.0})
    assert ZarrChunkReader(tmp_path).read_sample("a")


INVALID: dict[str, tuple[Annotations, type[Exception], str]] = {
    "sample": (
        Annotations(scalars={"param2/run": {"U": 1.0}, "x": {}}),
        SampleNotFound,
        "the store at .* has no sample 'param2/run'; near names: param",
    ),
    "scalar": (Annotations(scalars={"param0/run": {"U inf": 1.0}}), InvalidParameter, "'param0/run': 'U inf' is no"),
    "number": (Annotations(scalars={"param0/run": {"U": float("nan")}}), InvalidParameter, "'U' is nan, which is no"),
    "field": (Annotations(units={"volume_velocty": "m"}), UnknownField, "near names: volume_velocity"),
    "units": (Annotations(units={VELOCITY: "m\n"}), InvalidParameter, "volume_velocity: units must be text that print"),
    "text": (Annotations(descriptions={VELOCITY: "x" * 501}), InvalidParameter, "not 501 characters"),
    "id": (
        Annotations(splits={"train": ["param0/run", "param0/rum"]}),
        SampleNotFound,
        r"the lines of split 'train' name 1 sample that are not there \(param0/rum\).*near names: param0/run",
    ),
    "twice": (Annotations(splits={"train": [*SAMPLES, SAMPLES[0]]}), InvalidParameter, "lists 'param0/run' 2 times"),
    "empty": (Annotations(splits={"train": []}), InvalidParameter, "split 'train' lists no sample ids"),
    "split": (Annotations(splits={"../train": ["param0/run"]}), InvalidParameter, r"split='../train' is refused"),
    "removed": (Annotations(remove_scalars=["Uinf"]), InvalidParameter, "no scalar 'Uinf' to remove; it has: none"),
}


@pytest.mark.parametrize("what", INVALID)
def test_an_invalid_annotation_is_named_and_nothing_is_written(root: Path, what: str) -> None:
    invalid, error, told = INVALID[what]
    before = files_of(root)
    valid = {name: value for name, value in vars_of(EVERYTHING).items() if not vars_of(invalid)[name]}
    with pytest.raises(error, match=told):
        annotate_store(root, replace(invalid, **valid))
    assert files_of(root) == before


def vars_of(annotations: Annotations) -> dict[str, Any]:
    return {name: getattr(annotations, name) for name in Annotations.__slots__}


class Killed(BaseException):
    """What ends an annotation at once, as a kill does."""


def test_one_that_is_killed_at_any_write_leaves_all_readable_and_goes_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure(root)
    shutil.copytree(root, tmp_path / "done")
    annotate_store(tmp_path / "done", EVERYTHING)
    old, new = files_of(root), files_of(tmp_path / "done")
    assert {old["manifest.json"], old["statistics.json"]}.isdisjoint(new.values())
    write = LocalStorage.write
    for writes in itertools.count():
        killed = Path(shutil.copytree(root, tmp_path / f"killed {writes}"))
        left = iter(range(writes))

        def write_some(*args: Any, left: Any = left) -> str:
            if next(left, None) is None:
                raise Killed
            return write(*args)

        ended = False
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            patch.setattr(LocalStorage, "write", write_some)
            annotate_store(killed, EVERYTHING)
            ended = True
        assert all(files_of(killed)[name] in (data, new[name]) for name, data in old.items())
        assert ZarrChunkReader(killed).read_sample("param0/run")
        assert annotate_store(killed, EVERYTHING).statistics == "kept"
        assert files_of(killed) == new
        if ended:
            break
    assert writes == 2 + 1 + 1  # two splits, the statistics, the manifest


def test_nothing_is_published_over_somebody_elses_revision_or_while_a_conversion_writes(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_while_others_publish(*arguments: Any) -> None:
        document = json.loads((root / "manifest.json").read_text())
        (root / "manifest.json").write_text(json.dumps({**document, "dataset_name": "other"}))

    with lock_store(str(root)), pytest.raises(StoreExists, match="wait for its end"):
        annotate_store(root, EVERYTHING)
    monkeypatch.setattr(annotate, "read_statistics", read_while_others_publish)
    with pytest.raises(RevisionChanged, match="run the same command again"):
        annotate_store(root, EVERYTHING)
    assert StoreManifest.load(root).dataset_name == "other"
    assert not ZarrChunkReader(root).scalars("param0/run")


def test_a_store_in_a_bucket_is_annotated_as_a_local_one(root: Path, bucket: Bucket, bucket_environment: None) -> None:
    measure(root)
    remote = upload(root, f"s3://{bucket.name}/annotated")
    reader = ZarrChunkReader(remote)
    assert annotate_store(remote, EVERYTHING) == annotate_store(root, EVERYTHING)
    client = open_client(remote)
    assert {name: bytes(client.get(name).bytes()) for name in files_of(root)} == files_of(root)
    assert reader.read_sample("param0/run").keys() == ZarrChunkReader(remote).read_sample("param0/run").keys()


class TestStatistics:
    def test_stay_valid_where_nothing_that_they_are_of_changed(self, root: Path) -> None:
        annotate_store(root, replace(EVERYTHING, units={}, descriptions={}))
        measure(root, "train", scale={VELOCITY: "U_inf"})
        values = ZarrChunkReader(root).statistics()["fields"]
        others = Annotations(
            scalars={"param0/run": {"yaw": 2.0}}, units={VELOCITY: "m/s"}, splits={"train": ["param1/run"]}
        )
        assert annotate_store(root, others).statistics == "kept"
        assert ZarrChunkReader(root).statistics()["fields"] == values

    @pytest.mark.parametrize(
        "change",
        [
            Annotations(scalars={"param0/run": {"U_inf": 25.0}}),
            Annotations(splits={"train": list(SAMPLES)}),
            Annotations(splits={"train": list(SAMPLES)}, units={VELOCITY: "m/s"}),
        ],
    )
    def test_are_stale_where_a_scale_or_their_split_changed(self, root: Path, change: Annotations) -> None:
        annotate_store(root, replace(EVERYTHING, units={}, descriptions={}))
        measure(root, "train", scale={VELOCITY: "U_inf"})
        assert annotate_store(root, change).statistics == "stale"
        with pytest.raises(RevisionChanged, match="measure it again with `drawpoint stats`"):
            ZarrChunkReader(root).statistics()
        assert annotate_store(root, Annotations(units={VELOCITY: "km/h"})).statistics == "stale"


def test_a_running_service_goes_to_the_new_revision_and_old_readers_are_told(root: Path) -> None:
    with (
        LiveService({"made": root}, revalidate_seconds=0.05) as service,
        drawpoint.connect(service.url) as connection,
    ):
        before = connection.store("made")
        old = before.read_sample("param0/run", seed=1)
        revision = annotate_store(root, EVERYTHING).revision
        wait_until(lambda: httpx.get(f"{service.url}/stores/made").json()["revision"] == revision)
        after = connection.store("made")
        assert after.scalars("param1/run") == SCALARS["param1/run"]
        assert after.manifest.fields[VELOCITY].units == "m/s"
        assert after.split("val") == ["param0/run"]
        assert all(tensor.equal(old[field]) for field, tensor in after.read_sample("param0/run", seed=1).items())
        with pytest.raises(RevisionChanged, match="open it anew"):
            before.read_sample("param0/run", seed=1)


def test_what_was_said_stays_when_samples_are_added(root: Path, tmp_path: Path) -> None:
    annotate_store(root, EVERYTHING)
    run = tmp_path / "runs" / "param2" / "run"
    run.mkdir(parents=True)
    for canonical, array in small_arrays(seed=2).items():
        torch.save(torch.from_numpy(array), run / f"{canonical}.pt")
    filemap = FileMap(**{canonical: f"{canonical}.pt" for canonical in FIELDS})
    convert(tmp_path / "runs", ZarrStoreWriter(root, filemap, "made", chunk_points=4), existing="append")
    manifest = StoreManifest.load(root)
    assert sorted(manifest.samples) == [*SAMPLES, "param2/run"]
    assert [manifest.samples.scalars_of(each) for each in (*SAMPLES, "param2/run")] == [*SCALARS.values(), {}]
    assert {name: layout.units for name, layout in manifest.fields.items()} == {
        **dict.fromkeys(FIELDS),
        **EVERYTHING.units,
    }
    assert manifest.fields[VELOCITY].description == EVERYTHING.descriptions[VELOCITY]
