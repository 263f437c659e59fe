"""What the stored dtypes round: how it is counted, added up, limited and kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from drawpoint.errors import InvalidSample, ValueOverflow
from drawpoint.format.precision import FieldPrecision
from drawpoint_store import StoreManifest, ZarrChunkReader
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.losses import choose_probes
from drawpoint_store.conversion.sample_conversion import Task
from drawpoint_store.conversion.sources.pt_source import PtSource
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.writing.rounding import measure_precision
from small import same
from trees import RUN_FILEMAP, SURFACE, VOLUME, files_below, write_run, write_runs, writer_at

PAIRS = [("float64", "float16"), ("float32", "float16"), ("float64", "float32"), ("int32", "float16")]


def measured(rows: np.ndarray[Any, Any], target: str) -> tuple[FieldPrecision, np.ndarray[Any, Any]]:
    """Return what is measured, and the errors of the values that stay other than zero, in double precision."""
    stored = rows.astype(target)
    found = measure_precision(rows, stored)
    assert found is not None
    values, kept = (each.astype(np.float64)[stored != 0] for each in (rows, stored))
    return found, np.abs(kept - values) / np.abs(values)


@pytest.mark.parametrize(("given_dtype", "target"), PAIRS)
@given(st.data())
def test_errors_are_those_of_double_precision_up_to_the_width_of_a_bin(
    given_dtype: str, target: str, data: st.DataObject
) -> None:
    whole = given_dtype == "int32"
    elements: Any = st.integers(-60_000, 60_000) if whole else st.floats(-60_000, 60_000, width=32)
    shape = st.tuples(st.integers(1, 40), st.integers(1, 3))
    found, errors = measured(data.draw(npst.arrays(given_dtype, shape, elements=elements)), target)
    assert sum(found.bins.values()) == found.n_values - found.n_zeroed == len(errors)
    assert found.largest == pytest.approx(errors.max(initial=0), rel=1e-6, abs=1e-12)
    lowest = np.finfo(target).eps / 16
    exact = np.sort(errors)[::-1][len(errors) // 100] if len(errors) else 0.0
    assert exact * (1 - 1e-6) <= found.percentile_99 <= max(exact * 1.1251, lowest * 1.1251 if exact else 0)


def test_values_that_become_zero_are_counted_apart_and_zeros_are_not() -> None:
    found, _ = measured(np.array([[0.0], [-0.0], [1e-9], [-1e-9], [1.0], [1 / 3]]), "float16")
    assert (found.n_values, found.n_zeroed, found.bins[0]) == (4, 2, 1)
    assert found.largest == pytest.approx(abs(np.float64(np.float16(1 / 3)) - 1 / 3) * 3, rel=1e-6)
    assert measure_precision(np.ones((2, 1), np.float16), np.ones((2, 1), np.float32)) is None


def test_parts_add_up_to_the_whole_in_any_order() -> None:
    rows = np.random.default_rng(0).standard_normal((50_000, 3)) ** 5
    whole, _ = measured(rows, "float16")
    parts = [measured(part, "float16")[0] for part in np.array_split(rows, 7)]
    for order in (parts, parts[::-1]):
        total = order[0]
        for part in order[1:]:
            total += part
        assert total == whole
        assert total.model_dump_json() == whole.model_dump_json()


def test_a_conversion_keeps_what_is_rounded_whatever_its_workers_and_appends_add_to_it(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", 3)
    (tmp_path / "runs" / "run_2").rename(tmp_path / "run_2")
    first = convert(tmp_path / "runs", writer_at(tmp_path / "store"))
    assert list(first.precision) == ["surface_pressure", "volume_sdf"]  # positions are not rounded
    assert StoreManifest.load(tmp_path / "store").precision == first.precision
    (tmp_path / "run_2").rename(tmp_path / "runs" / "run_2")
    convert(tmp_path / "runs", writer_at(tmp_path / "store"), existing="append")
    whole = convert(tmp_path / "runs", writer_at(tmp_path / "whole"), workers=2, n_probes=3)
    assert whole.precision["volume_sdf"].n_values == 3 * VOLUME
    assert files_below(tmp_path / "store") == files_below(tmp_path / "whole")


def test_an_append_to_a_store_that_does_not_tell_tells_nothing(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", 1)
    convert(tmp_path / "runs", writer_at(tmp_path / "store"))
    path = tmp_path / "store" / "manifest.json"
    for other in (None, "precision of another writer"):
        manifest = json.loads(path.read_bytes())
        del manifest["precision"]
        path.write_text(json.dumps(manifest if other is None else {**manifest, "precision": other}))
        assert StoreManifest.load(tmp_path / "store").precision == {}
        write_run(tmp_path / "runs" / f"more_{other}")
        convert(tmp_path / "runs", writer_at(tmp_path / "store"), existing="append")
        manifest = json.loads(path.read_bytes())
        assert "precision" not in manifest
        path.write_text(json.dumps({**manifest, "precision": {}}))


def interrupt(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def runs_with(folder: Path, count: int, **changes: torch.Tensor) -> Path:
    """Write runs of which the one of each name has that pressure."""
    write_runs(folder, count)
    for name, pressure in changes.items():
        write_run(folder / name, surface_pressure=pressure)
    return folder


LARGE = torch.full((SURFACE,), 1e6)


@pytest.mark.parametrize(
    ("count", "probes"),
    [(0, []), (1, []), (2, [1]), (9, [4]), (19, [9]), (20, [5, 15]), (30, [5, 15, 25]), (600, [100, 300, 500])],
)
def test_one_sample_of_ten_is_probed_in_the_middle_of_its_part(count: int, probes: list[int]) -> None:
    chosen = choose_probes([Task(str(number), "", "") for number in range(count)], 3)
    assert [(int(task.sample_id), task.probe) for task in chosen] == [(number, True) for number in probes]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_overflow_in_a_probe_ends_the_conversion_before_anything_is_written(tmp_path: Path, workers: int) -> None:
    runs = runs_with(tmp_path / "runs", 6, run_3=LARGE)
    with pytest.raises(
        ValueOverflow,
        match=r"^sample 'run_3' exceeds the float16 range: surface_pressure peaks at 1e\+06, .*--field-dtype "
        r"surface_pressure=float32\); nothing is written\.$",
    ):
        convert(runs, writer_at(tmp_path / "store"), n_probes=3, workers=workers)
    assert not (tmp_path / "store").exists()


def test_an_overflow_elsewhere_is_listed_and_does_not_end_the_conversion(tmp_path: Path) -> None:
    runs = runs_with(tmp_path / "runs", 6, run_0=LARGE, run_2=LARGE.double() * 1e33)
    report = convert(runs, writer_at(tmp_path / "store"), n_probes=3)
    assert report.converted == ["run_1", "run_3", "run_4", "run_5"]
    assert report.overflows == {"surface_pressure=float32": ["run_0"], "surface_pressure=float64": ["run_2"]}


def test_a_field_that_loses_more_than_is_allowed_is_refused_by_the_probes_or_before_publication(tmp_path: Path) -> None:
    tiny = torch.linspace(1e-7, 2e-7, SURFACE)  # a few units of the smallest float16
    runs = runs_with(tmp_path / "runs", 7, run_0=tiny)
    lost = r"^surface_pressure loses too much as float16: the 99th percentile of its relative error is 0\.\d+, .*"
    with pytest.raises(InvalidSample, match=lost + r"--field-dtype surface_pressure=float32\)\.$"):
        convert(runs, writer_at(tmp_path / "store"), n_probes=3, max_relative_error=1e-2)
    assert not (tmp_path / "store" / "manifest.json").exists()
    assert (tmp_path / "store" / "run_0.zarr").exists()  # no probe was concerned: it came out at the end
    runs_with(tmp_path / "runs", 7, run_3=tiny)
    with pytest.raises(InvalidSample, match=lost):
        convert(runs, writer_at(tmp_path / "probed"), n_probes=3, max_relative_error=1e-2)
    assert not (tmp_path / "probed").exists()
    zeroed = torch.where(torch.arange(SURFACE) % 10 == 0, 1e-9, 1.0)
    with pytest.raises(InvalidSample, match=r"is 0, and 60 of 600 values become zero, where an error of 1 is allowed"):
        convert(
            runs_with(tmp_path / "noise", 2, run_0=zeroed, run_1=zeroed),
            writer_at(tmp_path / "zeroed"),
            max_relative_error=1.0,
        )


def test_the_allowed_error_is_not_exceeded_by_what_is_stored(tmp_path: Path) -> None:
    runs = runs_with(tmp_path / "runs", 2)
    convert(runs, writer_at(tmp_path / "store"), n_probes=3, max_relative_error=1e-3)
    for name in ("run_0", "run_1"):
        stored = ZarrChunkReader(tmp_path / "store").read_sample(name)["surface_pressure"].flatten().sort().values
        given = torch.load(runs / name / "surface_pressure.pt", weights_only=True).flatten().sort().values
        assert ((stored - given).abs() / given.abs()).quantile(0.99) < 1e-3


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list that the fields of a source come into as they are read."""
    asked: list[str] = []
    original = PtSource.read

    def read(source: PtSource, sample_id: str, field: str) -> np.ndarray[Any, Any]:
        asked.append(f"{sample_id} {field}")
        return original(source, sample_id, field)

    monkeypatch.setattr(PtSource, "read", read)
    return asked


WIDE = {"field_dtypes": {"surface_pressure": "float32"}}


def test_after_an_overflow_a_wider_field_alone_is_read_and_written_again(tmp_path: Path, read: list[str]) -> None:
    runs, store = runs_with(tmp_path / "runs", 3, run_0=LARGE), tmp_path / "store"
    assert convert(runs, writer_at(store), keep_finished=True).converted == ["run_1", "run_2"]
    reader = ZarrChunkReader(store)
    before = reader.read_sample("run_1")
    read.clear()
    report = convert(runs, writer_at(store, **WIDE), existing="overwrite", n_probes=3)
    fields = [f"run_0 {field}" for field in reader.manifest.fields]
    assert read == [*fields, "run_1 surface_pressure", "run_2 surface_pressure"]
    assert (report.kept, report.broken, report.overflows) == (6, {}, {})
    assert not (store / ".convert").exists()
    assert [problem for check in verify_store(store) for problem in check.problems] == []
    assert same(reader.read_sample("run_1"), before)
    whole = convert(runs, writer_at(tmp_path / "whole", **WIDE))
    assert report.precision == whole.precision
    for name in ("run_0", "run_1", "run_2"):
        entry = StoreManifest.load(store).samples[name]
        assert files_below(store / entry.relpath) == files_below(tmp_path / "whole" / f"{name}.zarr")


def test_an_interrupted_run_gives_one_with_other_dtypes_what_stays_the_same(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, store = runs_with(tmp_path / "runs", 2), tmp_path / "store"
    with monkeypatch.context() as patch:
        patch.setattr("drawpoint_store.conversion.convert.publish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            convert(runs, writer_at(store))
    write_run(runs / "run_0", 7)  # whose arrays are of another state of the source
    values, index = (store / "run_1.zarr" / f"volume/{name}/c/0/0" for name in ("sdf", "position"))
    values.write_bytes(bytes(30) + values.read_bytes()[30:])  # damaged, and so read again
    index.write_bytes(index.read_bytes()[:-30] + b"\xff" * 30)  # which says that chunks have 2**64 - 1 bytes
    read.clear()
    report = convert(runs, writer_at(store, **WIDE))
    again = ["surface_pressure", "volume_position", "volume_sdf"]
    assert (read[4:], report.kept) == ([f"run_1 {field}" for field in again], 1)
    convert(runs, writer_at(tmp_path / "whole", **WIDE))
    assert files_below(store) == files_below(tmp_path / "whole")


def test_arrays_are_not_kept_where_the_source_changes_after_its_listing(tmp_path: Path) -> None:
    runs, store = runs_with(tmp_path / "runs", 2, run_0=LARGE), tmp_path / "store"
    convert(runs, writer_at(store), keep_finished=True)
    source = PtSource.scan(runs, RUN_FILEMAP)
    write_run(runs / "run_1", 9)
    assert convert(source, writer_at(store, **WIDE), existing="overwrite").kept == 0
    convert(runs, writer_at(tmp_path / "whole", **WIDE))
    assert same(*(ZarrChunkReader(root).read_sample("run_1") for root in (store, tmp_path / "whole")))
