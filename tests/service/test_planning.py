"""What is too large is refused before it is drawn, and planning a large draw keeps nobody waiting."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from drawpoint_service.routes import draws
from drawpoint_store.reading.plan import ReadPlan, plan_draw
from live import LiveService

SAMPLE = "param0/run"
PATH = f"/stores/made/samples/{SAMPLE}"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [PATH, f"/stores/made/coords/{SAMPLE}"])
def test_what_is_too_large_is_refused_before_it_is_planned(
    store_root: Path, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    def never(*_: Any, **__: Any) -> ReadPlan:
        raise AssertionError("it was planned")

    with LiveService({"made": store_root}, max_response_bytes=1000) as service:
        monkeypatch.setattr(draws, "plan_draw", never)
        assert httpx.request(method, f"{service.url}{path}?volume=900000000&seed=1").status_code == 413


@pytest.mark.parametrize("query", ["volume=9000&seed=1", "volume=300&seed=1&part=3"])
def test_a_long_plan_blocks_nothing_and_takes_a_place(
    store_root: Path, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    begun, go = threading.Event(), threading.Event()

    def plan_slowly(*args: Any, **kwargs: Any) -> ReadPlan:
        begun.set()
        assert go.wait(30)
        return plan_draw(*args, **kwargs)

    monkeypatch.setattr(draws, "PLANNED_AT_ONCE", 8)
    monkeypatch.setattr(draws, "plan_draw", plan_slowly)
    with LiveService({"made": store_root}, max_requests=1) as service, ThreadPoolExecutor(1) as pool:
        planned = pool.submit(httpx.head, f"{service.url}{PATH}?{query}", timeout=30)
        assert begun.wait(30)
        assert httpx.get(service.url + "/healthz").status_code == 200
        assert httpx.get(f"{service.url}{PATH}?{query}").status_code == 503
        go.set()
        assert planned.result().status_code == 200
        assert httpx.get(f"{service.url}{PATH}?{query}").status_code == 200
