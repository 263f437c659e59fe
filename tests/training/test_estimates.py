"""The estimate of an epoch is what the epoch costs."""

from __future__ import annotations

from typing import Any

import pytest

import drawpoint
from drawpoint import SampleDataset, SampleLoader, estimate
from drawpoint.errors import InvalidDraw, SampleNotFound, UnknownDomain, UnknownField
from drawpoint_store import ZarrChunkReader

from .conftest import Reader

COUNTS = {"surface": 4, "volume": 5}


def test_bytes_are_those_of_the_stored_dtypes(local: ZarrChunkReader) -> None:
    told = estimate(local.manifest, COUNTS, num_geometry_points=3)
    # Positions are stored in 4 bytes a component, pressure and velocity in 2.
    assert told.nbytes == 7 * (4 * (12 + 2) + 5 * (12 + 6) + 3 * 12)
    assert (told.samples, told.points, told.requests) == (7, 7 * (4 + 5 + 3), 14)
    assert told.seconds is None
    assert str(told) == "7 samples, 84 points, 14 requests, 0.00127 MB, time not measured"


def test_samples_that_the_store_lacks_are_left_out_with_a_warning(reader: Reader) -> None:
    with pytest.warns(UserWarning, match=r"^1 samples of sample_ids .* left out: run/99\.$"):
        assert estimate(reader, COUNTS, sample_ids=reader.split("torn"), probes=0).samples == 1


def test_a_loader_takes_what_was_estimated(reader: Reader) -> None:
    told = estimate(reader, COUNTS, num_geometry_points=3, batch_size=3)
    loader = SampleLoader(SampleDataset(reader, num_points=COUNTS, num_geometry_points=3), 3)
    assert len(list(loader)) == told.requests == 3
    assert loader.report.samples == told.samples
    assert loader.report.nbytes == 7 * 4 * (4 * 4 + 5 * 6 + 3 * 3)  # as float32


def test_concurrency_divides_the_time(local: ZarrChunkReader, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(ticks)))
    assert estimate(local, COUNTS).seconds == 7
    assert estimate(local, COUNTS, concurrency=2).seconds == 3.5


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"num_points": {"surfaces": 1}}, UnknownDomain),
        ({"sample_ids": ["run/77"]}, SampleNotFound),
        ({"sample_ids": []}, InvalidDraw),
        ({"fields": ["surface_friction"]}, UnknownField),
    ],
)
def test_invalid_draws_are_refused(
    local: ZarrChunkReader, options: dict[str, Any], error: type[drawpoint.errors.DrawpointError]
) -> None:
    with pytest.raises(error):
        estimate(local.manifest, **options)
