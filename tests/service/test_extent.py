"""How much a draw is, is known without drawing it, and planning a large one keeps nobody waiting."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawpoint.format.manifest import StoreManifest
from drawpoint_service.requests.extent import measure_coords, measure_sample
from drawpoint_service.routes import draws
from drawpoint_store import ZarrChunkReader
from drawpoint_store.reading.plan import ReadPlan, plan_coords, plan_sample
from live import LiveService

SAMPLE = "param0/run"
PATH = f"/stores/made/samples/{SAMPLE}"
COUNTS = st.none() | st.integers(1, 12_000)


@pytest.fixture(scope="module")
def manifest(store_root: Path) -> StoreManifest:
    return ZarrChunkReader(store_root).manifest


@given(
    counts=st.fixed_dictionaries({}, optional={"surface": COUNTS, "volume": COUNTS}),
    part=st.none() | st.integers(0, 100),
    fields=st.none() | st.sets(st.sampled_from(["surface_pressure", "volume_velocity", "volume_sdf"]), min_size=1),
    dtype=st.sampled_from([None, "float32", "float64"]),
)
def test_a_draw_is_as_large_as_it_was_measured(
    manifest: StoreManifest, counts: dict[str, int | None], part: int | None, fields: set[str] | None, dtype: str | None
) -> None:
    plan = plan_sample(manifest, SAMPLE, counts, seed=1, part=part, fields=fields)
    extent = measure_sample(manifest, SAMPLE, counts, part=part, fields=fields)
    assert extent.rows == {domain: draw.num_rows for domain, draw in plan.draws.items()}
    assert extent.nbytes(dtype) == plan.nbytes(dtype)
    if counts:
        coords = plan_coords(manifest, SAMPLE, counts, seed=1)
        assert measure_coords(manifest, SAMPLE, counts).nbytes(dtype) == coords.nbytes(dtype)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [PATH, f"/stores/made/coords/{SAMPLE}"])
def test_what_is_too_large_is_refused_before_it_is_planned(
    store_root: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    def never(*_: Any, **__: Any) -> ReadPlan:
        raise AssertionError("it was planned")

    with LiveService({"made": store_root}, max_response_bytes=1000) as service:
        monkeypatch.setattr(draws, "plan_sample", never)
        monkeypatch.setattr(draws, "plan_coords", never)
        assert httpx.request(method, f"{service.url}{path}?volume=900000000&seed=1").status_code == 413


@pytest.mark.parametrize("query", ["volume=9000&seed=1", "volume=300&seed=1&part=3"])
def test_a_long_plan_blocks_nothing_and_takes_a_place(
    store_root: Path, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    begun, go = threading.Event(), threading.Event()

    def plan_slowly(*args: Any, **kwargs: Any) -> ReadPlan:
        begun.set()
        assert go.wait(30)
        return plan_sample(*args, **kwargs)

    monkeypatch.setattr(draws, "PLANNED_AT_ONCE", 8)
    monkeypatch.setattr(draws, "plan_sample", plan_slowly)
    with LiveService({"made": store_root}, max_requests=1) as service, ThreadPoolExecutor(1) as pool:
        planned = pool.submit(httpx.head, f"{service.url}{PATH}?{query}", timeout=30)
        assert begun.wait(30)
        assert httpx.get(service.url + "/healthz").status_code == 200
        assert httpx.get(f"{service.url}{PATH}?{query}").status_code == 503
        go.set()
        assert planned.result().status_code == 200
        assert httpx.get(f"{service.url}{PATH}?{query}").status_code == 200
