"""The remote reader: the local reader's calls and tensors, over HTTP."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from drawpoint.draw.batch import MAX_BODY_BYTES, BatchSelection, check_selection, list_items
from drawpoint.draw.parts import Part, iter_parts
from drawpoint.draw.seeds import resolve_seed
from drawpoint.draw.selection import find_sample, select_coords, select_sample
from drawpoint.errors import (
    DataDamaged,
    DrawpointError,
    RequestFailed,
    ResponseTooLarge,
    RevisionChanged,
    StoreUnreadable,
)
from drawpoint.remote.answers import Split, Splits, Statistics, read_document
from drawpoint.remote.engine import Request
from drawpoint.remote.requests import BatchRequest, DrawRequest, ItemRequest
from drawpoint.remote.retry import pause_before

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import torch

    from drawpoint.format.manifest import StoreManifest
    from drawpoint.remote.engine import Deadline
    from drawpoint.remote.retry import Transport

    Outcomes = dict[int, dict[str, torch.Tensor] | DrawpointError]

Document = TypeVar("Document")


class RemoteReader:
    """Reads samples of a served store, subsampled or in full, at the revision of `manifest`.

    Made by `Connection.store`. It pickles with its manifest, survives fork, and is safe to share between threads.
    Equal arguments and generator states give the tensors that the local reader gives. Its calls raise what the
    local reader raises, and besides RevisionChanged once the store was written anew, ResponseTooLarge for a draw
    that the service does not send at once, and RequestFailed where there is no usable answer within the deadline.
    """

    def __init__(self, transport: Transport, store_id: str, manifest: StoreManifest) -> None:
        self._transport = transport
        self._revision = manifest.revision
        self.store_id = store_id
        self.manifest = manifest

    def __repr__(self) -> str:
        return f"<drawpoint.RemoteReader {self.store_root}>"

    @property
    def store_root(self) -> str:
        """The address of the store."""
        return f"{self._transport.settings.address}/stores/{quote(self.store_id, safe='')}"

    def read_sample(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None = None,
        generator: torch.Generator | None = None,
        fields: Collection[str] | None = None,
        *,
        seed: int | None = None,
        part: int | None = None,
    ) -> dict[str, torch.Tensor]:
        """Read the fields of one sample, float32, keyed by canonical field; rows of a domain belong together.

        `num_points` maps a domain to its count; a domain that is None or left out is read in full, in stored order.
        Scalars come as (T,), vectors as (T, dim). What the store has and the sample lacks is absent, also where
        `num_points` or `fields` name it, and a count for a usual domain (FIELD_SPECS) that the store lacks means
        nothing. The draw is named by `seed`, or else by one number taken from `generator`, or else by fresh entropy.
        `part` (with `seed`) takes one of the ceil(n / T) disjoint parts instead of a random draw.

        Raises SampleNotFound, UnknownDomain, UnknownField, InvalidDraw, and DataDamaged (naming sample, field and
        chunk) for stored bytes that cannot be trusted.
        """
        drawn = resolve_seed(seed, generator, part)
        draw = self._request_sample(sample_id, num_points, drawn, part, fields)
        try:
            return self._draw(draw)
        except ResponseTooLarge as error:
            raise self._name_parts(error, sample_id) from None

    def read_coords(
        self,
        sample_id: str,
        domain: str,
        num_points: int | None,
        generator: torch.Generator | None = None,
        *,
        seed: int | None = None,
    ) -> torch.Tensor:
        """Read positions of one domain, float32 (T, 3), drawn independently of what read_sample draws.

        None reads all of them in stored order. Raises what read_sample raises, and UnknownDomain for a domain that
        the sample lacks.
        """
        drawn = resolve_seed(seed, generator)
        tensors = self._draw(self._request_coords(sample_id, {domain: num_points}, drawn))
        return tensors[self.manifest.domains[domain].position]

    def read_batch(
        self,
        samples: Sequence[Mapping[str, Any] | str],
        num_points: Mapping[str, int | None] | None = None,
        fields: Collection[str] | None = None,
        *,
        coords: Mapping[str, int | None] | None = None,
    ) -> list[dict[str, torch.Tensor] | DrawpointError]:
        """Read many draws at once: for each of `samples`, in order, what read_sample returns or the error that it met.

        That is one request, or several where the service sends less at once.

        Each of `samples` is a sample id or `{"id", "seed", "part"}`. `coords` maps domains to counts, and adds to
        each what read_coords returns for them under the same seed, as `coords/<position field>`
        (`coords/surface_position`).

        Raises only what concerns all of them: UnknownDomain, UnknownField and InvalidDraw for `num_points`, `fields`
        and `coords`, RevisionChanged, and RequestFailed where there is no usable answer within the deadline.
        """
        selection = check_selection(self.manifest, num_points, fields, coords, self.store_id)
        items = list_items(samples)
        outcomes: Outcomes = {}
        waiting: dict[int, ItemRequest] = {}
        for index, item in enumerate(items):
            try:
                if isinstance(item, DrawpointError):
                    raise item
                waiting[index] = ItemRequest(
                    item,
                    self._request_sample(item.sample_id, selection.counts, item.seed, item.part, selection.fields),
                    self._request_coords(item.sample_id, selection.coords, item.seed) if selection.coords else None,
                )
            except DrawpointError as error:
                outcomes[index] = error
        deadline = self._transport.begin()
        rounds = 0
        while waiting:
            rounds += 1
            try:
                outcomes |= self._draw_batch(waiting, selection, deadline)
            except RequestFailed:
                if rounds == 1:
                    raise
                break  # what else there is has come, and these have an error that says more
            pause = pause_before(rounds + 1)
            again = [
                index
                for index in waiting
                if (isinstance(outcomes[index], DataDamaged) and rounds == 1)
                or (isinstance(outcomes[index], StoreUnreadable) and deadline.remaining() > pause)
            ]
            waiting = {index: waiting[index] for index in again}
            if any(isinstance(outcomes[index], StoreUnreadable) for index in again):
                time.sleep(pause)
        return [outcomes[index] for index in range(len(items))]

    def iter_parts(
        self,
        sample_id: str,
        domain: str,
        num_points: int,
        *,
        fields: Collection[str] | None = None,
        seed: int = 0,
    ) -> Iterator[Part]:
        """Read one domain of a sample in parts of `num_points` points, each point exactly once.

        One part, a mapping of tensors by canonical field that can `scatter` values back to stored order or to that of
        the source, is in memory at a time. Raises what `drawpoint.iter_parts` raises.
        """
        return iter_parts(self, sample_id, domain, num_points, fields=fields, seed=seed)

    def scalars(self, sample_id: str) -> dict[str, float]:
        """Return the scalars of a sample, sorted by name: the manifest has them, and nothing is asked for.

        A sample without any has an empty dict. Raises SampleNotFound.
        """
        return dict(find_sample(self.manifest, sample_id, self.store_id).scalars)

    def statistics(self) -> dict[str, Any]:
        """Return the statistics that the store ships, of this reader's revision.

        Raises StatisticsNotFound if it ships none, RevisionChanged if they are of another revision.
        """
        statistics = self._read_document("statistics", "the statistics", Statistics)
        if statistics.revision != self._revision:
            raise RevisionChanged(
                f"the statistics of store {self.store_id!r} are of revision {statistics.revision}, this reader is "
                f"of {self._revision}; open it anew with connection.store({self.store_id!r}).",
                store=self.store_id,
            )
        return statistics.model_dump()

    def splits(self) -> list[str]:
        """Return the names of the splits that the store ships; raises SplitNotFound if it ships none."""
        return [split.name for split in self._read_document("splits", "the splits", Splits).splits]

    def split(self, name: str) -> list[str]:
        """Return the sample ids of a split; raises SplitNotFound naming near ones."""
        return self._read_document(f"splits/{quote(name, safe='')}", f"split {name!r}", Split).samples

    def _request_sample(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None,
        seed: int,
        part: int | None,
        fields: Collection[str] | None,
    ) -> DrawRequest:
        selection = select_sample(self.manifest, sample_id, num_points, part=part, fields=fields, store=self.store_id)
        return DrawRequest(self.store_id, self._revision, selection, seed, fields)

    def _request_coords(self, sample_id: str, num_points: Mapping[str, int | None], seed: int) -> DrawRequest:
        selection = select_coords(self.manifest, sample_id, num_points, store=self.store_id)
        return DrawRequest(self.store_id, self._revision, selection, seed)

    def _draw(self, draw: DrawRequest) -> dict[str, torch.Tensor]:
        return self._transport.ask(draw.request, lambda answer: draw.read(answer.body))

    def _draw_batch(
        self, waiting: Mapping[int, ItemRequest], selection: BatchSelection, deadline: Deadline
    ) -> Outcomes:
        """Return what each of `waiting` comes to, asked for in as many requests as the service wants."""
        outcomes: Outcomes = {}
        groups = [list(waiting)]
        while groups:
            group = groups.pop()
            halves = [group[len(group) // 2 :], group[: len(group) // 2]] if len(group) > 1 else []
            batch = BatchRequest(self.store_id, self._revision, selection, [waiting[index] for index in group])
            request = batch.request
            if halves and len(request.body or b"") > MAX_BODY_BYTES:
                groups += halves
                continue
            try:
                found = self._transport.ask(request, batch.read, deadline=deadline)
                outcomes |= dict(zip(group, found, strict=True))
            except ResponseTooLarge as error:
                groups += halves
                if not halves:
                    outcomes[group[0]] = self._name_parts(error, waiting[group[0]].item.sample_id)
        return outcomes

    def _name_parts(self, error: ResponseTooLarge, sample_id: str) -> ResponseTooLarge:
        return ResponseTooLarge(
            f"{str(error).rstrip('.')}; in Python that is read_sample({sample_id!r}, num_points, seed=0, part=j) "
            "for j in 0, 1, ..., whose parts hold every point once.",
            store=self.store_id,
            sample=sample_id,
        )

    def _read_document(self, path: str, what: str, kind: type[Document]) -> Document:
        target = f"/stores/{quote(self.store_id, safe='')}/{path}"
        request = Request(target, f"{what} of store {self.store_id!r}", store=self.store_id)
        return self._transport.ask(request, partial(read_document, kind))
