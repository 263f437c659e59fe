from __future__ import annotations

import math
import pickle
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import FIELDS, FILEMAP, sample_arrays
from drawpoint.errors import InvalidSample, MetadataDamaged
from drawpoint_store import (
    FileMap,
    RunningStats,
    ZarrChunkReader,
    ZarrStoreWriter,
    calculate_store_statistics,
    statistics_to_dict,
)
from drawpoint_store.reading.blocks import plan_blocks, read_block
from drawpoint_store.reading.statistics_file import read_statistics
from drawpoint_store.statistics.documents import statistics_json, statistics_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike

STATISTICS = ("mean", "std", "var", "min", "max", "logmean", "logstd")  # of the file
ALL = (*STATISTICS, "logvar")
CANONICAL = ["volume_sdf" if field == "volume_distance_to_surface" else field for field in FIELDS]


def pushed(*batches: ArrayLike) -> RunningStats:
    stats = RunningStats()
    for batch in batches:
        stats.push_tensor(batch)
    return stats


def columns(stats: RunningStats) -> dict[str, list[float]]:
    return {name: getattr(stats, name).tolist() for name in ALL}


def assert_near(value: float, exact: float, *, scale: float = 0.0) -> None:
    assert math.isclose(value, exact, rel_tol=1e-12, abs_tol=1e-15 * scale), (value, exact)


finite64 = st.floats(-1e100, 1e100)
halves = st.integers(0, 65_535).map(lambda bits: float(np.uint16(bits).view(np.float16))).filter(math.isfinite)


around_a_large_mean = st.builds(
    lambda mean, steps: mean + np.array(steps) * np.spacing(mean),
    st.floats(1e3, 1e9),
    st.lists(st.integers(-5, 5), min_size=2, max_size=100),
)
values_of_any_kind = (
    st.lists(finite64, min_size=2, max_size=40).map(np.array)
    | st.lists(halves, min_size=2, max_size=40).map(lambda values: np.array(values, np.float16))
    | around_a_large_mean
)


@settings(max_examples=100)
@given(values_of_any_kind, st.integers(0, 40))
def test_statistics_of_any_values_in_any_two_batches_are_exact(values: np.ndarray, cut: int) -> None:
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
    assert math.isclose(stats.logstd.item(), math.sqrt(stats.logvar.item()), rel_tol=1e-15)


@given(st.floats(1e-90, 1e90), st.integers(2, 20_000), st.sampled_from([np.float64, np.float16]))
def test_a_constant_field_has_no_variance(value: float, rows: int, dtype: type) -> None:
    constant = float(dtype(value % 1000))
    stats = pushed(np.full(rows, constant, dtype))
    assert stats.mean.item() == stats.min.item() == stats.max.item() == constant
    assert stats.std.item() <= 1e-20 * constant


REAL = [
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int32,
]


@pytest.mark.parametrize("dtype", REAL, ids=str)
def test_rows_may_have_any_real_dtype(dtype: torch.dtype) -> None:
    tensor = torch.tensor([1.0, 2.0, 5.0], dtype=dtype)
    for stats in (pushed(tensor), pushed(tensor.double().numpy()), pushed(tensor.double().requires_grad_())):
        assert stats.mean.tolist() == pytest.approx([8 / 3], rel=1e-15)
        assert stats.var.tolist() == pytest.approx([13 / 3], rel=1e-15)


def test_there_are_no_statistics_before_the_first_row_and_no_variance_of_one() -> None:
    stats = pushed(np.empty((0, 3)))
    assert stats.count == 0
    for name in ALL:
        with pytest.raises(ValueError, match="no rows have been pushed"):
            getattr(stats, name)
    one = pushed([[1.0, -2.0]])
    assert one.mean.tolist() == one.min.tolist() == one.max.tolist() == [1.0, -2.0]
    for name in ("var", "std", "logstd", "logvar"):
        assert getattr(one, name).isnan().all()
    assert one.to_dict()["var"] == [None, None]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_inf_are_refused_and_nothing_is_added(dtype: type, bad: float) -> None:
    stats = RunningStats("surface_pressure")
    stats.push_tensor(np.array([1.0, 2.0], dtype))
    with pytest.raises(ValueError, match="surface_pressure cannot take these rows: they hold NaN or inf"):
        stats.push_tensor(np.array([0.0] * 9_000 + [bad], dtype))
    assert stats.count == 2
    assert stats.max.tolist() == [2.0]


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 0, 4), (1, 2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, ">f2", ">f8"])
def test_rows_may_have_any_axes_before_the_components(shape: tuple[int, ...], dtype: str | type) -> None:
    values = np.random.default_rng(3).integers(-9, 9, shape).astype(dtype)
    rows = values.reshape(-1, 4)
    batched, flat = pushed(rows, values), pushed(rows, rows)
    assert batched.count == 2 * len(rows)
    assert batched.count == 0 or columns(batched) == columns(flat)
    assert pushed(torch.zeros(shape).transpose(0, 1), np.ones((1, 4))).count == len(rows) + 1
    with pytest.raises(ValueError, match=r"\(N,\) or \(..., dim\)"):
        pushed(values[..., :0])


@pytest.mark.parametrize(
    "wrong", [1.0, np.zeros((2, 0)), np.zeros((2, 2, 0)), ["a"], [1j], [True], torch.zeros(2, dtype=torch.bool)]
)
def test_other_values_than_rows_of_real_numbers_are_refused(wrong: ArrayLike) -> None:
    with pytest.raises(ValueError, match=r"\(N,\) or \(..., dim\)"):
        pushed(wrong)


def test_the_sign_of_zero_does_not_show() -> None:
    for dtype in (np.float16, np.float64):
        assert columns(pushed(np.array([0.0, -0.0], dtype))) == columns(pushed(np.array([-0.0, 0.0], dtype)))
        assert math.copysign(1, pushed(np.array([-0.0, -0.0], dtype)).min.item()) == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_rows_may_be_added_after_statistics_were_read(dtype: type) -> None:
    stats = pushed(np.array([1], dtype))
    assert stats.max.tolist() == [1]
    stats.push_tensor(np.array([5], dtype))
    assert stats.max.tolist() == [5]
    stats.merge(pushed(np.array([9], dtype)))
    assert stats.max.tolist() == [9]


@settings(max_examples=30)
@given(*[st.lists(st.tuples(finite64, halves), max_size=20)] * 2)
def test_merging_equals_pushing_both(first: list[tuple[float, float]], second: list[tuple[float, float]]) -> None:
    merged, together = pushed(), pushed()
    for rows in (first, second):
        batches = np.array([row[0] for row in rows]), np.array([row[1] for row in rows], np.float16)
        merged.merge(pushed(*batches))
        for batch in batches:
            together.push_tensor(batch)
    assert merged.count == together.count == 2 * len(first + second)
    if merged.count:
        assert merged.to_dict() == together.to_dict()


def test_merging_leaves_the_other_as_it_was_and_takes_itself() -> None:
    other = pushed(np.array([1, 2], np.float16), [7.0])
    before = columns(other)
    merged = pushed()
    merged.merge(other)
    merged.merge(other)
    merged.push_tensor(np.array([60_000], np.float16))
    assert columns(pickle.loads(pickle.dumps(other))) == columns(other) == before
    assert (other.count, merged.count) == (3, 7)
    other.merge(other)
    assert columns(other) == columns(pushed(np.array([1, 2, 1, 2], np.float16), [7.0, 7.0]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_empty_statistics_merge_and_those_of_another_dim_do_not(dtype: type) -> None:
    empty, full = pushed(np.empty((0, 3), dtype)), pushed(np.ones((2, 3), dtype))
    for first, second in ((pushed(), pushed()), (pushed(), empty), (empty, pushed())):
        first.merge(second)
        assert first.count == 0
    before = columns(full)
    full.merge(empty)
    full.merge(pushed())
    empty.merge(full)
    assert columns(full) == columns(empty) == before
    with pytest.raises(ValueError, match="3 components, not 1"):
        full.merge(pushed(np.empty((0, 1), dtype)))
    with pytest.raises(ValueError, match="3 components, not 1"):
        full.push_tensor([1.0])


def test_store_statistics_are_those_of_the_stored_values_and_the_same_bits_for_any_threads_and_order(
    store_root: Path,
) -> None:
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
    expected = {field: stats.to_dict() for field, stats in measured.items()}
    for options in (
        {"max_workers": 3, "read_concurrency": 2},
        {"sample_ids": ["param1/run", "param0/run", "param1/run"]},
    ):
        other = calculate_store_statistics(store_root, **options)
        assert {field: stats.to_dict() for field, stats in other.items()} == expected


@pytest.mark.parametrize(("block_points", "most"), [(1, 256), (1_000, 768), (4_096, 4_096), (10**6, 10_000)])
def test_blocks_are_of_bounded_size_and_hold_each_row_once_in_stored_order(
    store_root: Path, block_points: int, most: int
) -> None:
    reader = ZarrChunkReader(store_root)
    plans = plan_blocks(reader.manifest, "param0/run", block_points=block_points)
    rows = [block["volume_sdf"] for block in (read_block(reader, plan) for plan in plans) if "volume_sdf" in block]
    assert max(map(len, rows)) == most
    whole = reader.read_sample("param0/run", fields=["volume_sdf"])["volume_sdf"]
    np.testing.assert_array_equal(np.concatenate(rows).reshape(whole.shape), whole.numpy())


def test_store_statistics_are_of_the_chosen_fields_and_samples_in_manifest_order(store_root: Path) -> None:
    measured = calculate_store_statistics(store_root, fields={"volume_sdf", "surface_pressure"}, limit=1)
    assert list(measured) == ["surface_pressure", "volume_sdf"]
    assert measured["surface_pressure"].count == 1_500
    rest = calculate_store_statistics(store_root, exclude_fields=set(CANONICAL) - {"surface_area"})
    assert list(rest) == ["surface_area"]
    ids = ["param1/run", "gone", "param0/run"]
    with pytest.warns(UserWarning, match="1 sample ids are not in the store and left out: gone") as caught:
        chosen = calculate_store_statistics(store_root, fields=["surface_position"], sample_ids=ids, limit=1)
    assert caught[0].filename == __file__
    assert chosen["surface_position"].min.tolist()[1] == sample_arrays(1)["surface_position"][:, 1].min()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fields": {"nope"}}, "Unknown fields nope; the store has: surface_position, "),
        ({"exclude_fields": {"nope"}}, "non-existent fields nope; the store has: surface_position, "),
        ({"fields": "volume_sdf"}, r"\['volume_sdf'\], not one string"),
        ({"fields": ["volume_sdf"], "exclude_fields": ["volume_sdf"]}, "No fields"),
        ({"sample_ids": []}, "No samples are left to measure, of the 2 in the store"),
        ({"sample_ids": "param0/run"}, r"\['param0/run'\], not one string"),
        ({"limit": 0}, "No samples"),
        ({"limit": 1.5}, "limit must be an integer in 0"),
        ({"on_invalid": "ignore"}, 'on_invalid must be "error" or "skip", not \'ignore\''),
        ({"max_workers": 0}, "max_workers must be at least 1"),
        ({"read_concurrency": 0}, "read_concurrency must be an integer in 1"),
    ],
)
def test_an_invalid_or_empty_selection_is_refused(store_root: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        calculate_store_statistics(store_root, **arguments)


def test_fields_that_no_chosen_sample_holds_are_left_out(tmp_path: Path) -> None:
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


def poor_arrays(number: int) -> dict[str, np.ndarray]:
    """Make a sample of 12 points, of which samples 0, 2, 3 and 4 hold 1, 2, 1 and 1 with NaN or inf."""
    rng = np.random.default_rng(number)
    arrays: dict[str, np.ndarray] = {
        "surface_position": rng.standard_normal((12, 3)).astype(np.float32),
        "surface_friction": rng.standard_normal((12, 3)).astype(np.float32),
        "surface_pressure": rng.standard_normal(12).astype(np.float16),
    }
    if number != 1:
        arrays["surface_pressure"][3] = (np.nan, 0, np.inf, -np.inf, np.nan)[number]
    if number == 2:
        arrays["surface_friction"][[4, 5], [0, 2]] = np.inf, np.nan
    return arrays


@pytest.mark.usefixtures("unchecked_writer")
def test_points_that_are_not_finite_are_counted_in_an_error_or_skipped_with_all_components(
    tmp_path: Path,
) -> None:
    filemap = FileMap(surface_position="p", surface_friction="f", surface_pressure="q")
    writer = ZarrStoreWriter(tmp_path, filemap, "made", field_dtypes={"surface_friction": "float32"})
    for number, sample_id in enumerate("abcde"):
        writer.write_sample(sample_id, poor_arrays(number))
    writer.save_manifest()
    found = (
        "4 of 5 samples hold points with NaN or inf: 'a' (surface_pressure in 1), 'c' (surface_pressure in 1, "
        "surface_friction in 2), 'd' (surface_pressure in 1), ...; "
    )
    for max_workers in (1, 3):
        with pytest.raises(InvalidSample) as caught:
            calculate_store_statistics(tmp_path, max_workers=max_workers)
        assert str(caught.value) == (
            f"{found}leave out those samples or fields, or only those points, "
            'with on_invalid="skip" (--on-invalid skip).'
        )
        assert (caught.value.sample, caught.value.field) == ("a", "surface_pressure")
        with pytest.warns(UserWarning, match="4 of 5 samples") as warned:
            measured = calculate_store_statistics(tmp_path, max_workers=max_workers, on_invalid="skip")
        assert str(warned[0].message) == f"{found}the statistics of these fields are without these points."
        assert (len(warned), warned[0].filename) == (1, __file__)
    assert calculate_store_statistics(tmp_path, fields=["surface_position"])
    assert calculate_store_statistics(tmp_path, sample_ids=["b"])["surface_pressure"].count == 12
    for field, stats in measured.items():
        expected = RunningStats(field)
        for number in range(5):
            rows = poor_arrays(number)[field].reshape(12, -1)
            expected.push_tensor(rows[np.isfinite(rows).all(axis=1)])
        assert stats.count == {"surface_position": 60, "surface_pressure": 56, "surface_friction": 58}[field]
        for name, column in columns(stats).items():
            assert column == pytest.approx(columns(expected)[name], rel=1e-9), (field, name)


@pytest.mark.usefixtures("unchecked_writer")
def test_a_field_without_finite_points_is_left_out_and_one_too_large_to_square_is_not(tmp_path: Path) -> None:
    filemap = FileMap(surface_position="p", surface_pressure="q", surface_area="a")
    writer = ZarrStoreWriter(tmp_path, filemap, "made", values_dtype="float64")
    large = np.array([1e300, np.nan, -1e300])
    writer.write_sample(
        "a", {"surface_position": np.zeros((3, 3)), "surface_pressure": np.full(3, np.nan), "surface_area": large}
    )
    writer.save_manifest()
    with pytest.warns(UserWarning, match=r"'a' \(surface_pressure in 3\)"):
        found = calculate_store_statistics(tmp_path, exclude_fields=["surface_area"], on_invalid="skip")
    assert list(found) == ["surface_position"]
    with pytest.raises(ValueError, match="No samples hold finite values of surface_pressure; choose other"):
        calculate_store_statistics(tmp_path, fields=["surface_pressure"], on_invalid="skip")
    with pytest.raises(InvalidSample, match=r"sample 'a': .*surface_area.* so large that their squares"):
        calculate_store_statistics(tmp_path, fields=["surface_area"], on_invalid="skip")


def test_noethers_statistics_are_flat_and_hold_the_bounds_of_all_positions(store_root: Path) -> None:
    measured = calculate_store_statistics(store_root)
    flat = statistics_to_dict(measured)
    assert len(flat) == 7 * len(CANONICAL) + 2
    for field, stats in measured.items():
        for key, name in (("mean", "mean"), ("std", "std"), ("min", "min"), ("max", "max")):
            assert flat[f"{field}_{key}"] == getattr(stats, name).tolist()
        assert flat[f"{field}_logscale_mean"] == stats.logmean.tolist()
        assert flat[f"{field}_logscale_std"] == stats.logstd.tolist()
        assert flat[f"{field}_count"] == stats.count
    positions = [sample_arrays(number)[f"{domain}_position"] for number in (0, 1) for domain in ("surface", "volume")]
    assert flat["raw_pos_min"] == [min(float(each.min()) for each in positions)]
    assert flat["raw_pos_max"] == [max(float(each.max()) for each in positions)] == [9_999.0]


@settings(max_examples=30)
@given(st.lists(finite64, min_size=2, max_size=4))
def test_noethers_statistics_come_back_from_the_file_to_the_last_bit_as_floats(values: list[float]) -> None:
    stats = {"volume_position": pushed([values, [1e-5] * len(values)])}
    loaded = yaml.safe_load(statistics_yaml(stats, remark="made"))
    assert loaded == statistics_to_dict(stats)
    assert all(type(value) is float for key in loaded if not key.endswith("_count") for value in loaded[key])


def test_a_statistics_file_reads_back_with_its_revision_and_an_invalid_one_is_damaged(tmp_path: Path) -> None:
    assert read_statistics(tmp_path) is None
    data = statistics_json({"surface_pressure": pushed([1.0])}, revision="f00", split=None, n_samples=1)
    (tmp_path / "statistics.json").write_bytes(data)
    document = read_statistics(tmp_path)
    assert document is not None
    assert document["revision"] == "f00"
    assert document["fields"]["surface_pressure"]["std"] == [None]
    for invalid in (b"", b"\xff", b"[]", b"{}", b'{"revision": 1, "fields": {}}', b'{"revision": ""}'):
        (tmp_path / "statistics.json").write_bytes(invalid)
        with pytest.raises(MetadataDamaged, match=r"statistics\.json holds no statistics"):
            read_statistics(tmp_path)
