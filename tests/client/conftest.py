"""A live service with a real store, proxies that spoil its answers, and readers over both engines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import drawpoint
from drawpoint.remote import retry
from drawpoint.remote.settings import ConnectionSettings
from drawpoint_store import ZarrChunkReader
from faulty import FaultyProxy
from live import LiveService

OpenStore = Callable[..., drawpoint.RemoteReader]

CALLS: dict[str, Callable[[drawpoint.RemoteReader], object]] = {
    "a sample": lambda reader: reader.read_sample("param0/run", {"surface": 5, "volume": 5}, seed=1),
    "coordinates": lambda reader: reader.read_coords("param0/run", "surface", 5, seed=1),
    "a batch": lambda reader: reader.read_batch(["param0/run", "param1/run"], {"surface": 5, "volume": 5}),
    "a document": lambda reader: reader.splits(),
}


def assert_equal(found: object, expected: Mapping[str, torch.Tensor]) -> None:
    """Check that a draw came, and that it is the one expected, tensor for tensor."""
    assert isinstance(found, dict), found
    assert list(found) == list(expected)
    for field, tensor in expected.items():
        assert found[field].dtype == tensor.dtype == torch.float32
        assert torch.equal(found[field], tensor), field


@pytest.fixture(autouse=True)
def connections_end_with_their_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test leaves open: errors that it keeps hold their connections until somebody collects garbage."""
    made: list[retry.Transport] = []
    begin = retry.Transport.__init__

    def note(transport: retry.Transport, settings: ConnectionSettings) -> None:
        begin(transport, settings)
        made.append(transport)

    monkeypatch.setattr(retry.Transport, "__init__", note)
    yield
    for transport in made:
        transport.close()


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pauses between the attempts of a request begin with a hundredth of a second."""
    monkeypatch.setattr(retry, "BACKOFF_BASE_SECONDS", 0.01)


@pytest.fixture(scope="session")
def service(store_root: Path) -> Iterator[LiveService]:
    with LiveService({"made": store_root}) as service:
        yield service


@pytest.fixture(scope="session")
def local(store_root: Path) -> ZarrChunkReader:
    return ZarrChunkReader(store_root)


@pytest.fixture
def proxy(service: LiveService) -> Iterator[FaultyProxy]:
    with FaultyProxy(service.url) as proxy:
        yield proxy


@pytest.fixture(params=["http.client", "httpx"])
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """Opens the store `made` of the service at an address; what holds of one engine holds of the other.

    `deadline` is that of what the test is about: the manifest comes before, in time on a busy machine too.
    """
    # Told of anything but plain HTTP/1.1, be it to leave HTTP/2 off, all goes through httpx.
    told: dict[str, Any] = {} if request.param == "http.client" else {"http2": False}

    def open_store(url: str, *, deadline: float = 300.0, **options: Any) -> drawpoint.RemoteReader:
        connection = drawpoint.connect(url, **{**told, **options})
        reader = connection.store("made")
        transport = reader._transport  # noqa: SLF001  nothing public has a deadline for each call
        transport.settings = dataclasses.replace(transport.settings, deadline=deadline)
        return reader

    return open_store


@pytest.fixture
def open_unasked(local: ZarrChunkReader) -> OpenStore:
    """Opens the store `made` at an address with a manifest from elsewhere, so that the first request is a draw."""

    def open_unasked(url: str, **options: Any) -> drawpoint.RemoteReader:
        transport = drawpoint.connect(url, **options)._transport  # noqa: SLF001  nothing public asks for no manifest
        return drawpoint.RemoteReader(transport, "made", local.manifest)

    return open_unasked
