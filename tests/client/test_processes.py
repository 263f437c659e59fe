"""A reader travels to worker processes of every kind, and no two of them ever share a connection."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext
from typing import Any

import httpx
import pytest
import torch

import drawpoint
from children import draw_bytes, make_client, tell_pid, to_bytes
from drawpoint_store import ZarrChunkReader
from faulty import FaultyProxy
from live import LiveService

SAMPLE = "param0/run"
COUNTS = {"surface": 300, "volume": 1000}
# Python 3.12 and later warn of any fork in a process with threads; that it is harmless here is the claim.
FORKS = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@FORKS
class TestWorkers:
    @pytest.mark.parametrize(
        ("method", "options"),
        [
            ("fork", {}),
            ("fork", {"http2": False}),
            ("forkserver", {"client": make_client}),
        ],
        ids=["fork", "fork-httpx", "forkserver-made"],
    )
    def test_draw_what_their_parent_draws_over_connections_of_their_own(
        self, proxy: FaultyProxy, local: ZarrChunkReader, method: str, options: dict[str, Any]
    ) -> None:
        if method not in multiprocessing.get_all_start_methods():
            pytest.skip(f"this system has no {method}")
        reader = drawpoint.connect(proxy.url, **options).store("made")
        reader.read_sample(SAMPLE, COUNTS, seed=0)
        parents = {seen.port for seen in proxy.seen}
        context: BaseContext = multiprocessing.get_context(method)
        # Two that are forked; one of the other kind, which loads torch for itself.
        with ProcessPoolExecutor(2 if method == "fork" else 1, mp_context=context) as pool:
            drawn = list(pool.map(draw_bytes, [reader] * 6, [SAMPLE] * 6, [COUNTS] * 6, range(6)))
            # The processes are others indeed.
            assert pool.submit(tell_pid).result() != os.getpid()
        assert drawn == [to_bytes(local.read_sample(SAMPLE, COUNTS, seed=seed)) for seed in range(6)]
        before = len(proxy.seen)
        reader.read_sample(SAMPLE, COUNTS, seed=0)
        parents |= {seen.port for seen in proxy.seen[before:]}
        assert parents.isdisjoint(seen.port for seen in proxy.draws[1:-1])
        assert len([seen for seen in proxy.seen if seen.target.endswith("/manifest")]) == 1


class TestPickling:
    def test_keeps_settings_and_manifest(self, service: LiveService, local: ZarrChunkReader) -> None:
        reader = drawpoint.connect(service.url, headers={"x-a": "b"}, timeout=7).store("made")
        twin: drawpoint.RemoteReader = pickle.loads(pickle.dumps(reader))
        assert twin.store_root == reader.store_root
        assert twin.manifest == reader.manifest
        assert twin.manifest.revision == reader.manifest.revision
        assert torch.equal(
            twin.read_coords(SAMPLE, "surface", 9, seed=1), local.read_coords(SAMPLE, "surface", 9, seed=1)
        )

    def test_is_refused_with_a_client_that_cannot_travel(self, service: LiveService) -> None:
        with httpx.Client() as client:
            reader = drawpoint.connect(service.url, client=client).store("made")
            with pytest.raises(TypeError, match="client=make_client"):
                pickle.dumps(reader)

    def test_is_refused_with_a_tls_context(self, service: LiveService) -> None:
        connection = drawpoint.connect(service.url, verify=httpx.create_ssl_context())
        with pytest.raises(TypeError, match="does not pickle"):
            pickle.dumps(connection)


@FORKS
class TestAClientOfTheParent:
    def test_is_not_used_in_a_forked_child(self, service: LiveService) -> None:
        with httpx.Client() as client:
            reader = drawpoint.connect(service.url, client=client).store("made")
            mine, theirs = multiprocessing.Pipe()

            def draw() -> None:
                try:
                    reader.read_sample(SAMPLE, COUNTS, seed=1)
                except BaseException as error:  # noqa: BLE001  the parent looks at it
                    theirs.send(error)

            child = multiprocessing.get_context("fork").Process(target=draw)
            child.start()
            assert mine.poll(30)
            error = mine.recv()
            child.join()
        assert isinstance(error, RuntimeError)
        assert "belongs to another process" in str(error)
