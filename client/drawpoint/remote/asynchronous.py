"""The awaiting reader: the remote reader's calls and tensors, for an event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from drawpoint.remote.tls import speaks_tls
from drawpoint.remote.wire import LookForTls, Pause, TransportFailure

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import torch

    from drawpoint.errors import DrawpointError
    from drawpoint.format.manifest import StoreManifest
    from drawpoint.remote.httpx_engine import AsyncHttpxEngine
    from drawpoint.remote.reads import Reads
    from drawpoint.remote.wire import Answer, Step, Steps

Result = TypeVar("Result")


class AsyncRemoteReader:
    """Reads samples of a served store from the event loop that it was made in, by `Connection.async_store`.

    Its calls mean, return and raise what those of RemoteReader do, and many may be under way at once; one that is
    cancelled ends at once. Everything goes through httpx. It belongs to one loop: it neither pickles nor survives fork.
    """

    def __init__(self, reads: Reads, engine: AsyncHttpxEngine) -> None:
        self._reads = reads
        self._engine = engine

    def __repr__(self) -> str:
        return f"<drawpoint.AsyncRemoteReader {self.store_root}>"

    def __reduce__(self) -> Any:
        raise TypeError("an AsyncRemoteReader belongs to one event loop and does not pickle; pickle its connection.")

    @property
    def store_id(self) -> str:
        return self._reads.store_id

    @property
    def store_root(self) -> str:
        """The address of the store."""
        return self._reads.store_root

    @property
    def manifest(self) -> StoreManifest:
        return self._reads.manifest

    async def read_sample(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None = None,
        generator: torch.Generator | None = None,
        fields: Collection[str] | None = None,
        *,
        seed: int | None = None,
        part: int | None = None,
    ) -> dict[str, torch.Tensor]:
        """Read the fields of one sample; see RemoteReader.read_sample."""
        return await carry_out(self._reads.sample(sample_id, num_points, generator, fields, seed, part), self._engine)

    async def read_coords(
        self,
        sample_id: str,
        domain: str,
        num_points: int | None,
        generator: torch.Generator | None = None,
        *,
        seed: int | None = None,
    ) -> torch.Tensor:
        """Read positions of one domain; see RemoteReader.read_coords."""
        return await carry_out(self._reads.coords(sample_id, domain, num_points, generator, seed), self._engine)

    async def read_batch(
        self,
        samples: Sequence[Mapping[str, Any] | str],
        num_points: Mapping[str, int | None] | None = None,
        fields: Collection[str] | None = None,
        *,
        coords: Mapping[str, int | None] | None = None,
    ) -> list[dict[str, torch.Tensor] | DrawpointError]:
        """Read many draws at once; see RemoteReader.read_batch."""
        return await carry_out(self._reads.batch(samples, num_points, fields, coords), self._engine)


async def carry_out(steps: Steps[Result], engine: AsyncHttpxEngine) -> Result:
    """Take `steps` one after another, and return what they come to; the event loop goes on meanwhile."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await _take(step, engine)
            except TransportFailure as failure:
                step = steps.throw(failure)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: Result = end.value
        return result


async def _take(step: Step, engine: AsyncHttpxEngine) -> Answer | bool | None:
    if isinstance(step, LookForTls):
        return await asyncio.to_thread(speaks_tls, step.url, step.seconds)
    if isinstance(step, Pause):
        await asyncio.sleep(step.seconds)
        return None
    return await engine.send(step.target, step.headers, step.body, step.deadline, step.limit)
