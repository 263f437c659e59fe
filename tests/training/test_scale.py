"""Scales are numbers computed from the scalars of a sample, and text of them does nothing else."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import drawpoint
from drawpoint import Normaliser, SampleDataset
from drawpoint.errors import InvalidParameter, UnknownField, UnknownScalar
from drawpoint.format.scale import FLOAT32_RANGE, Scale
from drawpoint_store import RunningStats, ZarrChunkReader, calculate_store_statistics, statistics_to_dict
from drawpoint_store.statistics.documents import statistics_json
from live import LiveService
from small import small_arrays, small_writer

from .conftest import IDS, Reader

DYNAMIC = "0.5 * rho_inf * U_inf**2"
SCALE = {"surface_pressure": DYNAMIC, "volume_velocity": "U_inf"}
SCALARS = {sample_id: {"U_inf": 10.0 + number, "rho_inf": 1.25} for number, sample_id in enumerate(IDS)}


def divisor(sample_id: str, field: str) -> float:
    speed = SCALARS[sample_id]["U_inf"]
    return {"surface_pressure": 0.5 * 1.25 * speed**2, "volume_velocity": speed}.get(field, 1.0)


leaves = st.one_of(
    st.sampled_from(["a", "b", "c"]), st.floats(0.01, 100).map(repr), st.integers(1, 20).map(str), st.just("1e-3")
)
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" + ", "-", "*", " / ", "**"]), inner).map("".join),
        inner.map("({})".format),
        inner.map("-{}".format),
    ),
    max_leaves=6,
)


@given(expressions, st.fixed_dictionaries({name: st.floats(-9, 9) for name in "abc"}))
def test_an_expression_has_the_value_that_python_gives_it(text: str, scalars: dict[str, float]) -> None:
    try:
        expected = eval(text, {}, {**scalars})
    except (ArithmeticError, ValueError):
        expected = math.nan
    if isinstance(expected, complex) or not FLOAT32_RANGE[0] <= abs(expected) <= FLOAT32_RANGE[1]:
        with pytest.raises(InvalidParameter, match="nothing can be divided by that"):
            Scale(text).value(scalars, "surface_pressure")
    else:
        assert math.isclose(Scale(text).value(scalars, "surface_pressure"), float(expected), rel_tol=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a b", "1 +", "(a", "a\0", "0.5 * rho_inf * ", "9" * 201, "-" * 150),
        *("__import__('os').abort()", "a.real", "a[0]", "print(a)", "lambda: 1", "[a]", "{a}", "(x := 1)"),
        *("'a'", "True", "None", "1j", "1e999", "a if b else c", "a < b", "a and b", "not a", "~a"),
        *("a % b", "a // b", "a ^ 2", "a @ b", "a << 99", None, 3, b"a"),
    ],
)
def test_any_other_text_is_refused_with_what_may_be_in_it(text: Any) -> None:
    with pytest.raises(InvalidParameter, match=r"scale is an expression such as '0.5 \* rho_inf \* U_inf\*\*2'"):
        Scale(text)


def test_texts_that_differ_in_spaces_alone_are_equal_and_pickle() -> None:
    scale: Scale = pickle.loads(pickle.dumps(Scale("0.5*rho_inf *U_inf ** 2")))
    assert (scale, hash(scale), scale.names) == (Scale(DYNAMIC), hash(Scale(DYNAMIC)), ("rho_inf", "U_inf"))
    assert scale != Scale("0.5 * rho_inf * U_inf**3")


@pytest.mark.parametrize(
    ("text", "scalars", "error", "told"),
    [
        ("rho_inf", {"rho_ref": 1.0}, UnknownScalar, "sample 'run' has no scalar 'rho_inf'; near names: rho_ref"),
        ("U", {}, UnknownScalar, "sample 'run' has no scalar 'U'; there is: none"),
        ("U - 3", {"U": 3.0}, InvalidParameter, r"the scale 'U - 3' of p is 0 for sample 'run' \(U = 3\)"),
        ("1 / U", {"U": 0.0}, InvalidParameter, r"is nan for sample 'run' \(U = 0\)"),
        ("U ** 0.5", {"U": -2.0}, InvalidParameter, "is nan"),
        ("9**9**9**9", {}, InvalidParameter, "is nan for sample 'run', and nothing"),
        ("U", {"U": 1e-40}, InvalidParameter, "is 1e-40"),  # float32 has no reciprocal of it
    ],
)
def test_a_scale_that_a_sample_cannot_have_is_named(
    text: str, scalars: dict[str, float], error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        Scale(text).value(scalars, "p", "run")


@pytest.fixture(scope="module")
def scaled_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with scalars, and statistics of scaled pressure and velocity."""
    root = tmp_path_factory.mktemp("scaled")
    writer = small_writer(root)
    for number, sample_id in enumerate(IDS):
        writer.write_sample(sample_id, small_arrays(seed=number), scalars=SCALARS[sample_id])
    writer.save_manifest()
    measured = calculate_store_statistics(root, scale=SCALE)
    document = statistics_json(measured, revision=writer.manifest.revision, split=None, n_samples=len(IDS))
    (root / "statistics.json").write_bytes(document)
    return root


@pytest.fixture(scope="module", params=["local", "served"])
def scaled(request: pytest.FixtureRequest, scaled_root: Path) -> Iterator[Reader]:
    if request.param == "local":
        yield ZarrChunkReader(scaled_root)
        return
    with LiveService({"small": scaled_root}) as service, drawpoint.connect(service.url) as connection:
        yield connection.store("small")


def test_shipped_statistics_scale_each_sample_by_its_own_scalars_and_back(scaled: Reader) -> None:
    dataset = SampleDataset(scaled, normalise=True, with_sample_id=True)
    normaliser = dataset.normaliser
    assert normaliser is not None
    assert normaliser.scale == SCALE
    items = [dataset[index] for index in range(len(dataset))]
    for field in ("surface_pressure", "volume_velocity"):
        every = torch.cat([item[field] for item in items])
        assert torch.allclose(every.mean(dim=0), torch.zeros(()), atol=1e-5)
        assert torch.allclose(every.std(dim=0), torch.ones(()), atol=1e-5)
    stored = [scaled.read_sample(sample_id) for sample_id in IDS]
    (mean,), (std,) = (scaled.statistics()["fields"]["surface_pressure"][name] for name in ("mean", "std"))
    for sample_id, item, tensors in zip(IDS, items, stored, strict=True):
        pressure = (tensors["surface_pressure"] / divisor(sample_id, "surface_pressure") - mean) / std
        assert torch.allclose(item["surface_pressure"], pressure, atol=1e-5)
        back = normaliser.denormalise({field: item[field] for field in SCALE}, scaled.scalars(sample_id))
        assert all(torch.allclose(back[field], tensors[field], rtol=1e-5, atol=1e-6) for field in SCALE)
    together = {field: torch.stack([item[field] for item in items]) for field in SCALE}
    back = normaliser.denormalise(together, [scaled.scalars(item["sample_id"]) for item in items])
    for field in SCALE:
        assert torch.allclose(back[field], torch.stack([tensors[field] for tensors in stored]), rtol=1e-5, atol=1e-6)


def test_statistics_are_those_of_the_divided_values_for_any_number_of_workers(scaled_root: Path) -> None:
    reader = ZarrChunkReader(scaled_root)
    measured = calculate_store_statistics(scaled_root, scale=SCALE)
    for field, stats in measured.items():
        stored = {sample_id: reader.read_sample(sample_id, fields=[field])[field].double() for sample_id in IDS}
        every = torch.cat([rows.reshape(len(rows), -1) / divisor(each, field) for each, rows in stored.items()])
        assert torch.allclose(stats.mean, every.mean(dim=0), rtol=1e-12, atol=1e-15)
        assert torch.allclose(stats.std, every.std(dim=0), rtol=1e-12)
        assert torch.equal(stats.max, every.max(dim=0).values)
        assert stats.scale == SCALE.get(field)
    again = calculate_store_statistics(scaled_root, scale=SCALE, max_workers=3)
    assert {field: stats.to_dict() for field, stats in again.items()} == {
        field: stats.to_dict() for field, stats in measured.items()
    }


@pytest.mark.parametrize(
    ("scale", "error", "told"),
    [
        ({"surface_presure": "U_inf"}, UnknownField, "near names: surface_pressure"),
        (
            {"surface_pressure": "U_ref"},
            UnknownScalar,
            r"^7 of 7 samples, .*, lack the scalar 'U_ref': run/0, run/1, run/2, \.\.\.; near names: U_inf\.$",
        ),
        ({"surface_pressure": "U_inf - 12"}, InvalidParameter, "is 0 for sample 'run/2'"),
        ("U_inf", InvalidParameter, "a mapping from fields to expressions"),
    ],
)
def test_a_scale_that_some_sample_cannot_have_is_refused_before_anything_is_read(
    scaled_root: Path, monkeypatch: pytest.MonkeyPatch, scale: Any, error: type[Exception], told: str
) -> None:
    monkeypatch.setattr(ZarrChunkReader, "read_into", None)
    monkeypatch.setattr(ZarrChunkReader, "read_sample", None)
    with pytest.raises(error, match=told):
        calculate_store_statistics(scaled_root, scale=scale)
    own = {"surface_pressure": {"mean": [0.0], "std": [1.0]}}
    with pytest.raises(error, match=told) as caught:
        SampleDataset(ZarrChunkReader(scaled_root), fields=["surface_pressure"], normalise=Normaliser(own, scale=scale))
    assert error is not UnknownScalar or getattr(caught.value, "store", None) == str(scaled_root)


def test_a_scale_may_be_negative_and_geometry_is_scaled_as_surface_positions() -> None:
    own = {"surface_position": {"mean": [0.0] * 3, "std": [1.0] * 3, "logmean": [0.0] * 3, "logstd": [1.0] * 3}}
    tensors = {"geometry_position": torch.tensor([[2.0, -4.0, 0.0]])}
    for log in ([], ["surface_position"]):
        normaliser = Normaliser(own, scale={"surface_position": "-L"}, log=log)
        normalised = normaliser.normalise(tensors, {"L": 2.0})
        first = math.log1p(1) if log else 1.0
        assert torch.allclose(normalised["geometry_position"][0, 0], torch.tensor(-first))
        back = normaliser.denormalise(normalised, {"L": 2.0})
        assert torch.allclose(back["geometry_position"], tensors["geometry_position"])


class TestStatisticsOfAnotherScale:
    def test_are_refused(self, scaled_root: Path) -> None:
        reader = ZarrChunkReader(scaled_root)
        same = Normaliser(reader.statistics(), scale={"surface_pressure": "0.5*rho_inf*U_inf**2"})
        assert {field: Scale(text) for field, text in same.scale.items()} == {
            field: Scale(text) for field, text in SCALE.items()
        }
        with pytest.raises(
            InvalidParameter, match=r"divided by '0.5 \* rho_inf \* U_inf\*\*2', not divided by 'U_inf'"
        ):
            Normaliser(reader.statistics(), scale={"surface_pressure": "U_inf"})
        for plain in (reader.statistics()["fields"], calculate_store_statistics(scaled_root)):
            with pytest.raises(InvalidParameter, match=r"as they are stored, not .* stats STORE_ROOT --scale 'surface"):
                Normaliser(plain, scale={"surface_position": "U_inf"})

    def test_do_not_merge(self) -> None:
        scaled, plain = RunningStats("p", scale="U"), RunningStats("p")
        with pytest.raises(ValueError, match="is of rows divided by U, the other one of rows divided by nothing"):
            scaled.merge(plain)

    def test_are_none_for_noether(self, scaled_root: Path) -> None:
        with pytest.raises(ValueError, match="do not divide by a scale, as these statistics of surface_pressure, vol"):
            statistics_to_dict(calculate_store_statistics(scaled_root, scale=SCALE))


@pytest.mark.parametrize(
    ("scalars", "told"),
    [
        (None, "give them as scalars=reader.scalars"),
        ([{"U_inf": 1.0}] * 3, r"of 3 samples, but volume_velocity has the shape \(2, 5, 3\)"),
    ],
)
def test_scalars_that_are_missing_or_too_many_are_an_error(scalars: Any, told: str) -> None:
    normaliser = Normaliser({"volume_velocity": {"mean": [0], "std": [1]}}, scale={"volume_velocity": "U_inf"})
    with pytest.raises(InvalidParameter, match=told):
        normaliser.normalise({"volume_velocity": torch.zeros(2, 5, 3)}, scalars)


def test_a_field_is_not_both_left_and_scaled() -> None:
    with pytest.raises(InvalidParameter, match="named by scale and by leave"):
        Normaliser({"p": {"mean": [0], "std": [1]}}, scale={"p": "U"}, leave=["p"])
    left = Normaliser({"p": {"mean": [0], "std": [1], "scale": "U"}}, leave=["p"])
    assert left.normalise({"p": torch.full((2,), 3.0)})["p"].tolist() == [3.0, 3.0]
