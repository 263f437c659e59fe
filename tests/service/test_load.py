"""Slow reads, many requests, and stores that hang: the service goes on answering, or says that it is busy."""

from __future__ import annotations

import logging
import shutil
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from drawpoint_service.routes import health
from drawpoint_service.stores import catalog
from drawpoint_service.stores.catalog import ServedStore
from drawpoint_store import FileMap, ZarrChunkReader, ZarrStoreWriter
from drawpoint_store.reading.plan import ReadPlan, plan_draw
from live import LiveService
from waiting import wait_until

SAMPLE = "/stores/made/samples/param0/run?surface=5&volume=5&seed=1"


class HeldStore(ZarrChunkReader):
    """A store whose reads wait until they are let go: a read that is as slow as a test wants it."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()

    def read_into(self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> None:
        self.begun.release()
        assert self.go.wait(30)
        super().read_into(plan, out)

    def read_into_nowait(self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> bool:  # noqa: ARG002  the real one's
        return False  # whatever is slow is not in memory

    def wait_for_reads(self, count: int) -> None:
        for _ in range(count):
            assert self.begun.acquire(timeout=30)


@pytest.fixture
def held(store_root: Path) -> HeldStore:
    return HeldStore(store_root)


def test_a_read_that_blocks_blocks_nothing_else(held: HeldStore) -> None:
    with LiveService({"made": held}) as service, ThreadPoolExecutor(1) as pool:
        read = pool.submit(httpx.get, service.url + SAMPLE, timeout=30)
        held.wait_for_reads(1)
        for path in ("/healthz", "/stores", "/stores/made/manifest", "/stores/made/samples", "/stores/made/splits"):
            assert httpx.get(service.url + path).status_code in (200, 404)
        assert httpx.head(service.url + SAMPLE).status_code == 200
        assert not read.done()
        held.go.set()
        assert read.result().status_code == 200


def test_requests_beyond_max_requests_get_503(held: HeldStore) -> None:
    with (
        LiveService({"made": held}, read_threads=1, max_requests=2, retry_after_seconds=7) as service,
        ThreadPoolExecutor(6) as pool,
    ):
        reading = pool.submit(httpx.get, service.url + SAMPLE, timeout=30)
        held.wait_for_reads(1)
        # One more is taken on and waits for the thread, whichever comes first; the others are not.
        others = [pool.submit(httpx.get, service.url + SAMPLE, timeout=30) for _ in range(5)]
        refused = [done.result() for done in islice(as_completed(others), 4)]
        assert httpx.get(service.url + "/stores/made/splits").status_code == 503
        assert httpx.get(service.url + "/stores/made").status_code == 200
        held.go.set()
        assert reading.result().status_code == 200
        assert sorted(other.result().status_code for other in others) == [200, 503, 503, 503, 503]
        assert httpx.get(service.url + SAMPLE).status_code == 200
    for answer in refused:
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "7"
        assert answer.json()["type"] == "urn:drawpoint:overloaded"


def test_a_client_that_leaves_gives_its_place_back(held: HeldStore) -> None:
    with LiveService({"made": held}, max_requests=1) as service:
        with socket.create_connection(("127.0.0.1", service.port)) as leaver:
            leaver.sendall(f"GET {SAMPLE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            held.wait_for_reads(1)
            assert httpx.get(service.url + SAMPLE).status_code == 503
        held.go.set()
        wait_until(lambda: httpx.get(service.url + SAMPLE).status_code == 200)


def test_the_bytes_of_answers_bound_what_is_taken_on(held: HeldStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drawpoint_service.app.MEMORY_SECONDS", 0.05)
    with (
        LiveService({"made": held}, memory_bytes=2000, retry_after_seconds=7, read_threads=4) as service,
        ThreadPoolExecutor(3) as pool,
    ):
        body = {"samples": [{"id": "param0/run"}] * 9, "num_points": {"surface": 5, "volume": 5}}
        reading = pool.submit(httpx.get, service.url + SAMPLE, timeout=30)
        held.wait_for_reads(1)
        beside = pool.submit(httpx.get, f"{service.url}{SAMPLE}&fields=volume_pressure", timeout=30)
        held.wait_for_reads(1)
        for refused in (
            httpx.get(f"{service.url}/stores/made/samples/param0/run"),
            httpx.post(f"{service.url}/stores/made/batch", json=body),
        ):
            assert refused.status_code == 503
            assert refused.headers["Retry-After"] == "7"
            assert refused.json()["type"] == "urn:drawpoint:overloaded"
            assert "memory" in refused.json()["detail"]
        assert httpx.head(f"{service.url}/stores/made/samples/param0/run").status_code == 200
        held.go.set()
        assert reading.result().status_code == beside.result().status_code == 200
        # One is always taken on, however large.
        assert httpx.get(f"{service.url}/stores/made/samples/param0/run").status_code == 200
        assert httpx.post(f"{service.url}/stores/made/batch", json=body).status_code == 200


def test_an_answer_that_nobody_reads_holds_its_memory(big_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drawpoint_service.app.MEMORY_SECONDS", 0.05)
    with LiveService({"big": big_root}, memory_bytes=24 * 2**20) as service:
        small = f"{service.url}/stores/big/samples/s?volume=5"
        with socket.create_connection(("127.0.0.1", service.port)) as slow:
            slow.sendall(b"GET /stores/big/samples/s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            slow.recv(1000)
            assert httpx.get(small).status_code == 503
            while slow.recv(2**20):
                pass
        assert httpx.get(small).status_code == 200
        with socket.create_connection(("127.0.0.1", service.port)) as leaver:
            leaver.sendall(b"GET /stores/big/samples/s HTTP/1.1\r\nHost: x\r\n\r\n")
            leaver.recv(1000)
            assert httpx.get(small).status_code == 503
        wait_until(lambda: httpx.get(small).status_code == 200)


def test_few_requests_are_worked_on_at_once_and_hang_nothing_else(
    held: HeldStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = threading.Semaphore(0)

    def plan(*args: Any, **kwargs: Any) -> ReadPlan:
        planned.release()
        return plan_draw(*args, **kwargs)

    monkeypatch.setattr("drawpoint_service.routes.draws.plan_draw", plan)
    with LiveService({"made": held}, read_threads=1) as service, ThreadPoolExecutor(20) as pool:
        reading = [pool.submit(httpx.get, service.url + SAMPLE, timeout=30) for _ in range(20)]
        for _ in range(4):
            assert planned.acquire(timeout=30)
        for path in ("/healthz", "/stores", "/stores/made/samples"):
            assert httpx.get(service.url + path).status_code == 200
        assert not planned.acquire(blocking=False)
        held.go.set()
        assert {read.result().status_code for read in reading} == {200}


def test_a_busy_service_does_not_look_at_what_it_refuses(held: HeldStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with LiveService({"made": held}, max_requests=1) as service, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(httpx.get, service.url + SAMPLE, timeout=30)
        held.wait_for_reads(1)
        for number in range(20):
            refused = httpx.get(f"{service.url}/stores/none/samples/x?nonsense={number}")
            assert refused.status_code == 503
            assert refused.headers["X-Request-ID"] == refused.json()["instance"]
        assert httpx.get(f"{service.url}/healthz").status_code == 200
        held.go.set()
        assert reading.result().status_code == 200
    # Each refusal is no line: that alone would cost more than the refusal.
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("drawpoint")]
    assert sum("refused" in line or "/none/" in line for line in lines) == 1


def test_a_request_whose_client_did_not_wait_is_not_read_for(held: HeldStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drawpoint_service.admission.admission.QUEUE_SECONDS", 30)
    with LiveService({"made": held}, max_requests=1) as service, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(httpx.get, service.url + SAMPLE, timeout=30)
        held.wait_for_reads(1)
        with socket.create_connection(("127.0.0.1", service.port)) as leaver:
            leaver.sendall(f"GET {SAMPLE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert httpx.get(service.url + "/healthz").status_code == 200  # so that the service knows
        held.go.set()
        assert reading.result().status_code == 200
        assert httpx.get(service.url + SAMPLE, timeout=30).status_code == 200
        held.wait_for_reads(1)
        assert not held.begun.acquire(blocking=False)


def test_a_long_plan_blocks_nothing_and_takes_a_place(store_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()

    def plan_slowly(*args: Any, **kwargs: Any) -> ReadPlan:
        begun.set()
        assert go.wait(30)
        return plan_draw(*args, **kwargs)

    monkeypatch.setattr("drawpoint_service.routes.draws.PLANNED_AT_ONCE", 8)
    monkeypatch.setattr("drawpoint_service.routes.draws.plan_draw", plan_slowly)
    with LiveService({"made": store_root}, max_requests=1) as service, ThreadPoolExecutor(1) as pool:
        path = f"{service.url}/stores/made/samples/param0/run"
        planned = pool.submit(httpx.head, f"{path}?volume=9000&seed=1", timeout=30)
        assert begun.wait(30)
        assert httpx.get(service.url + "/healthz").status_code == 200
        assert httpx.get(f"{path}?volume=9").status_code == 503
        go.set()
        assert planned.result().status_code == 200


def test_readiness_is_a_chunk_of_every_store_really_read(store_root: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(store_root, tmp_path / "store"))
    ZarrStoreWriter(tmp_path / "empty", FileMap(volume_position="p"), "empty").save_manifest()
    stores = {"good": store_root, "bad": root, "empty": tmp_path / "empty"}
    with LiveService(stores, ready_cache_seconds=0) as service:
        assert httpx.get(service.url + "/readyz").json() == {"status": "ready"}
        for shard in root.rglob("c/0/0"):
            shard.write_bytes(bytes(shard.stat().st_size))
        answer = httpx.get(service.url + "/readyz")
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert "store 'bad'" in answer.json()["detail"]
        assert "store 'good'" not in answer.json()["detail"]
        assert str(root) not in answer.text
        assert httpx.get(service.url + "/healthz").status_code == 200


def test_readiness_is_bounded_in_time_and_kept_for_a_while(held: HeldStore, store_root: Path) -> None:
    stores: dict[str, Path | ZarrChunkReader] = {"good": store_root, "made": held}
    for cache_seconds in (1000, 0):  # without a cache it waits for the read that is under way
        settings = {"ready_timeout_seconds": 0.5, "ready_cache_seconds": cache_seconds}
        with LiveService(stores, **settings) as service:
            answers = [httpx.get(service.url + "/readyz") for _ in range(2)]
            assert [answer.status_code for answer in answers] == [503] * 2
            assert answers[0].json()["detail"] == "store 'made': no chunk was read within 0.5 s"
            held.wait_for_reads(1)
            assert not held.begun.acquire(blocking=False)
            held.go.set()
            if not cache_seconds:
                wait_until(lambda: httpx.get(service.url + "/readyz").status_code == 200)
        held.go.clear()


def test_stores_that_hang_keep_no_other_from_being_read_and_looked_at(
    store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than the threads of the event loop's own executor, which has 32 at most.
    stores = {**{f"bad{number}": store_root for number in range(33)}, "good": store_root}
    go = threading.Event()

    def wait_if_bad(call: Callable[..., Any]) -> Callable[..., Any]:
        def wait(store: ServedStore, *arguments: Any) -> Any:
            assert not store.id.startswith("bad") or go.wait(30)
            return call(store, *arguments)

        return wait

    monkeypatch.setattr(health, "read_canary", wait_if_bad(health.read_canary))
    monkeypatch.setattr(catalog, "find_revision", wait_if_bad(catalog.find_revision))
    settings = {"revalidate_seconds": 0.01, "ready_timeout_seconds": 0.5}
    with LiveService(stores, **settings) as service, httpx.Client(base_url=service.url) as http:
        not_ready = http.get("/readyz").json()["detail"]
        assert "store 'bad32'" in not_ready
        assert "store 'good'" not in not_ready
        assert http.get("/stores/good/samples/param0/run?revision=older").status_code == 409
        go.set()


def test_what_nobody_foresaw_is_logged_once_and_ends_no_watch(
    store_root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looks = threading.Semaphore(0)

    def fail(*_: Any) -> Any:
        looks.release()
        raise KeyError("inside")

    whole = catalog.find_revision
    monkeypatch.setattr(catalog, "find_revision", fail)
    with LiveService({"made": store_root}, revalidate_seconds=0.01):
        for _ in range(3):
            assert looks.acquire(timeout=30)
        monkeypatch.setattr(catalog, "find_revision", whole)
        wait_until(lambda: "can be read again" in caplog.text)
    assert caplog.text.count("stays at revision") == 2
    assert caplog.text.count("Traceback") == 1
    assert "KeyError('inside')" in caplog.text


def test_readiness_does_not_suffer_from_a_busy_service(held: HeldStore) -> None:
    class OnlyCanaries(HeldStore):
        def read_into(self, plan: ReadPlan, out: Mapping[str, np.ndarray[Any, Any]]) -> None:
            if len(plan.arrays) > 1:
                super().read_into(plan, out)

    store = OnlyCanaries(Path(held.store_root))
    with LiveService({"made": store}, read_threads=1, max_requests=1) as service, ThreadPoolExecutor(1) as pool:
        read = pool.submit(httpx.get, service.url + SAMPLE, timeout=30)
        store.wait_for_reads(1)
        assert httpx.get(service.url + "/readyz").status_code == 200
        store.go.set()
        assert read.result().status_code == 200
