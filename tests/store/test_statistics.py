from __future__ import annotations

import json
import math
import pickle
import shutil
import subprocess
import sys
import warnings
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import FIELDS, FILEMAP, sample_arrays
from drawpoint.errors import MetadataDamaged, UnknownField
from drawpoint_store import FileMap, RunningStats, StoreManifest, ZarrStoreWriter, calculate_store_statistics
from drawpoint_store.statistics import choose_samples, read_statistics, statistics_json

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

STATISTICS = ("mean", "std", "var", "min", "max", "logmean", "logstd")
CANONICAL = ["volume_sdf" if field == "volume_distance_to_surface" else field for field in FIELDS]


def pushed(*batches: ArrayLike) -> RunningStats:
    stats = RunningStats()
    for batch in batches:
        stats.push_tensor(batch)
    return stats


def columns(stats: RunningStats) -> dict[str, list[float]]:
    return {name: getattr(stats, name).tolist() for name in STATISTICS}


def assert_near(value: float, exact: float, *, scale: float = 0.0) -> None:
    assert math.isclose(value, exact, rel_tol=1e-12, abs_tol=1e-15 * scale), (value, exact)


finite64 = st.floats(-1e100, 1e100)
halves = st.integers(0, 65_535).map(lambda bits: float(np.uint16(bits).view(np.float16))).filter(math.isfinite)


class TestStatisticsAreThoseOfAllRows:
    @settings(deadline=None)  # the machine may be busy
    @given(st.lists(finite64, min_size=2, max_size=40), st.integers(0, 40))
    def test_of_any_float64_values_in_any_two_batches(self, values: list[float], cut: int) -> None:
        check_against_exact_arithmetic(np.array(values), cut)

    @settings(deadline=None)  # the machine may be busy
    @given(st.lists(halves, min_size=2, max_size=40), st.integers(0, 40))
    def test_of_any_float16_values_in_any_two_batches(self, values: list[float], cut: int) -> None:
        check_against_exact_arithmetic(np.array(values, np.float16), cut)

    @settings(deadline=None)  # the machine may be busy
    @given(st.floats(1e3, 1e9), st.integers(1, 5), st.integers(2, 200), st.integers(0, 2**32 - 1), st.integers(0, 200))
    def test_of_a_large_mean_with_a_tiny_variance(self, mean: float, ulps: int, rows: int, seed: int, cut: int) -> None:
        steps = np.random.default_rng(seed).integers(-ulps, ulps + 1, rows)
        check_against_exact_arithmetic(mean + steps * np.spacing(mean), cut)

    @settings(deadline=None)  # the machine may be busy
    @given(st.floats(1e-90, 1e90), st.integers(2, 20_000), st.sampled_from([np.float64, np.float16]))
    def test_of_a_constant_field_that_has_no_variance(self, value: float, rows: int, dtype: type) -> None:
        constant = float(dtype(value % 1000))
        stats = pushed(np.full(rows, constant, dtype))
        assert stats.mean.item() == stats.min.item() == stats.max.item() == constant
        assert stats.std.item() <= 1e-20 * constant

    def test_of_many_rows_in_float32(self) -> None:
        values = np.random.default_rng(1).standard_normal((50_001, 3)).astype(np.float32) * 100 + 5_000
        stats, exact = pushed(torch.from_numpy(values)), values.astype(np.longdouble)
        logs = np.sign(exact) * np.log1p(np.abs(exact))
        np.testing.assert_allclose(stats.mean, exact.mean(axis=0).astype(float), rtol=1e-14)
        np.testing.assert_allclose(stats.var, exact.var(axis=0, ddof=1).astype(float), rtol=1e-12)
        np.testing.assert_allclose(stats.logmean, logs.mean(axis=0).astype(float), rtol=1e-14)
        np.testing.assert_allclose(stats.logstd, logs.std(axis=0, ddof=1).astype(float), rtol=1e-12)
        np.testing.assert_array_equal(stats.min, values.min(axis=0))
        np.testing.assert_array_equal(stats.max, values.max(axis=0))


def check_against_exact_arithmetic(values: np.ndarray, cut: int) -> None:
    stats = pushed(values[:cut], values[cut:])
    exact = [Fraction(float(value)) for value in values]
    mean = sum(exact) / len(exact)
    var = float(sum((value - mean) ** 2 for value in exact) / (len(exact) - 1))
    size = max(abs(float(value)) for value in values)
    assert stats.count == len(values)
    assert_near(stats.mean.item(), float(mean), scale=size)
    # Rounding of the mean itself, eps * size, is all that may blur a deviation.
    assert math.isclose(stats.var.item(), var, rel_tol=1e-12, abs_tol=(1e-15 * size) ** 2)
    assert math.isclose(stats.std.item(), math.sqrt(stats.var.item()), rel_tol=1e-15)
    assert stats.min.item() == min(values)
    assert stats.max.item() == max(values)
    logs = [math.copysign(math.log1p(abs(float(value))), float(value)) for value in values]
    logmean = math.fsum(logs) / len(logs)
    logvar = math.fsum((value - logmean) ** 2 for value in logs) / (len(logs) - 1)
    largest = max(map(abs, logs))
    assert_near(stats.logmean.item(), logmean, scale=largest)
    assert math.isclose(stats.logstd.item(), math.sqrt(logvar), rel_tol=1e-6, abs_tol=2e-15 * largest)


class TestRunningStats:
    def test_gives_float64_tensors_a_component(self) -> None:
        stats = pushed(torch.zeros(4, 3))
        for name in STATISTICS:
            value = getattr(stats, name)
            assert value.dtype == torch.float64
            assert value.shape == (3,)
        assert stats.count == 4
        assert type(stats.count) is int

    @pytest.mark.parametrize(
        "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32], ids=str
    )
    def test_takes_any_real_dtype_and_arrays_too(self, dtype: torch.dtype) -> None:
        tensor = torch.tensor([1.0, 2.0, 5.0], dtype=dtype)
        for stats in (pushed(tensor), pushed(tensor.double().numpy()), pushed([1, 2, 5])):
            assert stats.mean.tolist() == pytest.approx([8 / 3], rel=1e-15)
            assert stats.var.tolist() == pytest.approx([13 / 3], rel=1e-15)

    def test_takes_tensors_that_need_gradients(self) -> None:
        assert pushed(torch.tensor([1.0, 3.0], requires_grad=True)).mean.tolist() == [2.0]

    def test_takes_float16_that_is_not_contiguous(self) -> None:
        values = np.arange(24, dtype=np.float16).reshape(4, 6)[::2, ::3]
        assert pushed(values).mean.tolist() == [6.0, 9.0]

    def test_has_no_statistics_before_the_first_row(self) -> None:
        stats = pushed(np.empty((0, 3)))
        assert stats.count == 0
        for name in STATISTICS:
            with pytest.raises(ValueError, match="no rows have been pushed"):
                getattr(stats, name)

    def test_has_no_variance_of_a_single_row(self) -> None:
        stats = pushed([[1.0, -2.0]])
        assert stats.mean.tolist() == stats.min.tolist() == stats.max.tolist() == [1.0, -2.0]
        for name in ("var", "std", "logstd"):
            assert getattr(stats, name).isnan().all()
        assert stats.to_dict()["var"] == [None, None]

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_refuses_nan_and_inf_and_stays_as_it_was(self, dtype: type, bad: float) -> None:
        stats = RunningStats("surface_pressure")
        stats.push_tensor(np.array([1.0, 2.0], dtype))
        with pytest.raises(ValueError, match="surface_pressure cannot take these rows: they hold NaN or inf"):
            stats.push_tensor(np.array([0.0] * 9_000 + [bad], dtype))
        assert stats.count == 2
        assert stats.max.tolist() == [2.0]

    def test_refuses_values_whose_squares_overflow(self) -> None:
        with pytest.raises(ValueError, match="so large that their squares"):
            pushed([1e300, -1e300])

    @pytest.mark.parametrize(
        "wrong", [1.0, np.zeros((2, 2, 2)), np.zeros((2, 0)), ["a"], [1j], [True], torch.zeros(2, dtype=torch.bool)]
    )
    def test_refuses_what_is_no_rows_of_real_numbers(self, wrong: ArrayLike) -> None:
        with pytest.raises(ValueError, match=r"\(N,\) or \(N, dim\)"):
            pushed(wrong)

    def test_refuses_rows_of_another_dim(self) -> None:
        stats = pushed(np.zeros((2, 3)))
        with pytest.raises(ValueError, match="3 components, not 1"):
            stats.push_tensor([1.0])
        with pytest.raises(ValueError, match="3 components, not 1"):
            stats.merge(pushed([1.0]))

    def test_does_not_show_the_sign_of_zero(self) -> None:
        for dtype in (np.float16, np.float64):
            assert columns(pushed(np.array([0.0, -0.0], dtype))) == columns(pushed(np.array([-0.0, 0.0], dtype)))
            assert math.copysign(1, pushed(np.array([-0.0, -0.0], dtype)).min.item()) == 1

    @pytest.mark.parametrize("dtype", [np.float16, np.float64])
    def test_takes_more_rows_after_it_was_asked(self, dtype: type) -> None:
        stats = pushed(np.array([1], dtype))
        assert stats.max.tolist() == [1]
        stats.push_tensor(np.array([5], dtype))
        assert stats.max.tolist() == [5]
        stats.merge(pushed(np.array([9], dtype)))
        assert stats.max.tolist() == [9]

    def test_pickles_with_its_counts(self) -> None:
        stats = pushed(np.array([1, 2, 4], np.float16), [0.5])
        assert columns(pickle.loads(pickle.dumps(stats))) == columns(stats)


class TestMergeEqualsPushingBoth:
    @settings(deadline=None)  # the machine may be busy
    @given(
        st.lists(st.tuples(finite64, halves), max_size=20),
        st.lists(st.tuples(finite64, halves), max_size=20),
    )
    def test_for_dense_and_counted_rows(
        self, first: list[tuple[float, float]], second: list[tuple[float, float]]
    ) -> None:
        parts = [
            pushed(np.array([row[0] for row in rows]), np.array([row[1] for row in rows], np.float16))
            for rows in (first, second)
        ]
        merged, together = pushed(), pushed()
        for part, rows in zip(parts, (first, second), strict=True):
            merged.merge(part)
            together.push_tensor(np.array([row[0] for row in rows]))
            together.push_tensor(np.array([row[1] for row in rows], np.float16))
        assert merged.count == together.count == 2 * len(first + second)
        if merged.count:
            assert merged.to_dict() == together.to_dict()

    def test_and_leaves_the_other_as_it_was(self) -> None:
        other = pushed(np.array([1, 2], np.float16), [7.0])
        before = columns(other)
        merged = pushed()
        merged.merge(other)
        merged.merge(other)
        merged.push_tensor(np.array([60_000], np.float16))
        assert columns(pickle.loads(pickle.dumps(other))) == columns(other) == before
        assert (other.count, merged.count) == (3, 7)

    def test_also_with_itself(self) -> None:
        stats = pushed(np.array([1, 2], np.float16), [7.0, 8.0])
        stats.merge(stats)
        assert columns(stats) == columns(pushed(np.array([1, 2, 1, 2], np.float16), [7.0, 8.0, 7.0, 8.0]))


class TestStoreStatistics:
    def test_are_those_of_the_stored_values(self, store_root: Path) -> None:
        measured = calculate_store_statistics(store_root)
        assert list(measured) == CANONICAL
        samples = [sample_arrays(number) for number in range(2)]
        for field, stats in measured.items():
            stored = np.float32 if field.endswith("_position") else np.float16
            values = np.concatenate([sample[field] for sample in samples]).astype(stored).astype(np.float64)
            values = values.reshape(len(values), -1)
            logs = np.sign(values) * np.log1p(np.abs(values))
            assert stats.count == len(values)
            np.testing.assert_allclose(stats.mean, values.mean(axis=0), rtol=1e-10, atol=1e-15)
            np.testing.assert_allclose(stats.std, values.std(axis=0, ddof=1), rtol=1e-12)
            np.testing.assert_allclose(stats.logmean, logs.mean(axis=0), rtol=1e-10, atol=1e-15)
            np.testing.assert_allclose(stats.logstd, logs.std(axis=0, ddof=1), rtol=1e-12)
            np.testing.assert_array_equal(stats.min, values.min(axis=0))
            np.testing.assert_array_equal(stats.max, values.max(axis=0))

    def test_are_the_same_bits_for_any_threads_and_any_order_of_ids(self, store_root: Path) -> None:
        ids = ["param1/run", "param0/run", "param1/run"]
        base = calculate_store_statistics(store_root)
        for other in (
            calculate_store_statistics(store_root, max_workers=3, read_concurrency=2),
            calculate_store_statistics(store_root, sample_ids=ids),
        ):
            assert {field: stats.to_dict() for field, stats in other.items()} == {
                field: stats.to_dict() for field, stats in base.items()
            }

    def test_are_of_the_fields_and_samples_chosen_in_manifest_order(self, store_root: Path) -> None:
        measured = calculate_store_statistics(store_root, fields={"volume_sdf", "surface_pressure"}, limit=1)
        assert list(measured) == ["surface_pressure", "volume_sdf"]
        assert measured["surface_pressure"].count == 1_500
        rest = calculate_store_statistics(store_root, exclude_fields=set(CANONICAL) - {"surface_area"})
        assert list(rest) == ["surface_area"]
        chosen = calculate_store_statistics(store_root, fields=["surface_position"], sample_ids=["param1/run"])
        assert chosen["surface_position"].min.tolist()[1] == sample_arrays(1)["surface_position"][:, 1].min()

    def test_warn_of_ids_that_are_not_in_the_store(self, store_root: Path) -> None:
        with pytest.warns(UserWarning, match="1 sample ids are not in the store and left out: gone") as caught:
            measured = calculate_store_statistics(store_root, sample_ids=["param0/run", "gone"], fields=["volume_sdf"])
        assert caught[0].filename == __file__
        assert measured["volume_sdf"].count == 10_000

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"fields": {"nope"}}, "Unknown fields nope; the store has: surface_position, "),
            ({"exclude_fields": {"nope"}}, "non-existent fields nope; the store has: surface_position, "),
            ({"fields": "volume_sdf"}, r"\['volume_sdf'\], not one string"),
            ({"fields": []}, "No fields"),
            ({"fields": ["volume_sdf"], "exclude_fields": ["volume_sdf"]}, "No fields"),
            ({"sample_ids": []}, "No samples"),
            ({"sample_ids": "param0/run"}, r"\['param0/run'\], not one string"),
            ({"limit": 0}, "No samples"),
            ({"limit": -1}, "limit must be at least 0"),
            ({"max_workers": 0}, "max_workers must be at least 1"),
            ({"read_concurrency": 0}, "read_concurrency must be at least 1"),
        ],
    )
    def test_refuse_a_selection_that_leaves_nothing_or_is_none(
        self, store_root: Path, arguments: dict[str, object], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            calculate_store_statistics(store_root, **arguments)  # type: ignore[arg-type]

    def test_refuse_unknown_fields_as_the_error_that_means_it(self, store_root: Path) -> None:
        with pytest.raises(UnknownField):
            calculate_store_statistics(store_root, fields=["nope"])

    def test_refuse_when_no_id_is_known(self, store_root: Path) -> None:
        with (
            pytest.raises(ValueError, match="No samples are left to measure, of the 2 in the store"),
            warnings.catch_warnings(action="ignore"),
        ):
            calculate_store_statistics(store_root, sample_ids=["gone"])

    def test_leave_out_fields_that_no_chosen_sample_holds(self, tmp_path: Path) -> None:
        arrays = sample_arrays()
        writer = ZarrStoreWriter(tmp_path, FILEMAP, "half")
        writer.write_sample("a", {field: rows for field, rows in arrays.items() if field.startswith("surface")})
        writer.write_sample("b", arrays)
        writer.save_manifest()
        assert calculate_store_statistics(tmp_path)["volume_sdf"].count == 10_000
        alone = calculate_store_statistics(tmp_path, sample_ids=["a"])
        assert list(alone) == [field for field in CANONICAL if field.startswith("surface")]
        with pytest.raises(ValueError, match="No samples hold volume_sdf"):
            calculate_store_statistics(tmp_path, sample_ids=["a"], fields=["volume_sdf"])

    @pytest.mark.usefixtures("unchecked_writer")
    def test_name_the_sample_and_field_that_hold_nan(self, tmp_path: Path) -> None:
        filemap = FileMap(surface_position="p", surface_pressure="q")
        writer = ZarrStoreWriter(tmp_path, filemap, "made")
        bad = np.array([0, np.nan, 1], np.float32)
        writer.write_sample("good", {"surface_position": np.zeros((3, 3)), "surface_pressure": np.zeros(3)})
        writer.write_sample("poor", {"surface_position": np.zeros((3, 3)), "surface_pressure": bad})
        writer.save_manifest()
        with pytest.raises(ValueError, match=r"'poor': .*surface_pressure.* NaN or inf; exclude"):
            calculate_store_statistics(tmp_path, max_workers=2)
        assert list(calculate_store_statistics(tmp_path, exclude_fields=["surface_pressure"])) == ["surface_position"]

    def test_need_no_torch_until_a_tensor_is_asked_for(self, store_root: Path) -> None:
        code = (
            "import sys; from drawpoint_store import calculate_store_statistics as c; "
            f"s = c({str(store_root)!r}, fields=['volume_sdf'])['volume_sdf']; s.to_dict(); "
            "assert 'torch' not in sys.modules; print(s.mean.dtype)"
        )
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert (ran.stdout, ran.stderr) == ("torch.float64\n", "")


class TestStatisticsFile:
    def test_of_the_same_store_is_the_same_bytes(self, store_root: Path, tmp_path: Path) -> None:
        shutil.copytree(store_root, tmp_path / "copy")
        files = []
        for root, workers in ((store_root, 1), (tmp_path / "copy", 3)):
            manifest = StoreManifest.load(root)
            measured = calculate_store_statistics(root, max_workers=workers)
            files.append(statistics_json(measured, revision=manifest.revision, split="train", n_samples=2))
        assert files[0] == files[1]
        document = json.loads(files[0])
        assert list(document) == ["version", "revision", "split", "n_samples", "fields"]
        assert list(document["fields"]) == CANONICAL
        assert list(document["fields"]["volume_velocity"]) == ["count", *STATISTICS]
        assert document["fields"]["volume_velocity"]["mean"] == measured["volume_velocity"].mean.tolist()

    def test_reads_back_with_its_revision(self, tmp_path: Path) -> None:
        stats = {"surface_pressure": pushed([1.0])}
        data = statistics_json(stats, revision="f00", split=None, n_samples=1)
        assert read_statistics(tmp_path) is None
        (tmp_path / "statistics.json").write_bytes(data)
        document = read_statistics(tmp_path)
        assert document is not None
        assert document["revision"] == "f00"
        assert document["fields"]["surface_pressure"]["std"] == [None]

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\xff",
            b"[]",
            b"{}",
            b'{"revision": 1, "fields": {}}',
            b'{"revision": ""}',
        ],
    )
    def test_that_is_no_statistics_is_reported_as_damaged(self, tmp_path: Path, data: bytes) -> None:
        (tmp_path / "statistics.json").write_bytes(data)
        with pytest.raises(MetadataDamaged, match=r"statistics\.json holds no statistics"):
            read_statistics(tmp_path)


def test_samples_are_chosen_in_the_order_given_and_measured_in_that_of_their_ids(store_root: Path) -> None:
    manifest = StoreManifest.load(store_root)
    assert choose_samples(manifest, ["param1/run", "param0/run"], limit=1) == ["param1/run"]
    assert choose_samples(manifest, ["param1/run", "param0/run"]) == ["param0/run", "param1/run"]
