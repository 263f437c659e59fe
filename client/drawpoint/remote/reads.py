"""What a reader of a served store can be asked, as the steps that it takes; blocking and awaiting readers share it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from drawpoint.draw.batch import COORDS_PREFIX, MAX_BODY_BYTES, BatchItem, BatchSelection, check_selection, list_items
from drawpoint.draw.seeds import resolve_seed
from drawpoint.draw.selection import Selection, select_coords, select_sample
from drawpoint.errors import (
    DataDamaged,
    DrawpointError,
    InvalidDraw,
    RequestFailed,
    ResponseTooLarge,
    StoreUnreadable,
)
from drawpoint.remote.batch_request import AskedBatch, BatchDraw
from drawpoint.remote.draw_request import Draw
from drawpoint.remote.retry import pause_before
from drawpoint.remote.wire import Pause, Request

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import torch

    from drawpoint.format.manifest import StoreManifest
    from drawpoint.remote.retry import Transport
    from drawpoint.remote.wire import Deadline, Steps

    Tensors = dict[str, torch.Tensor]
    Outcomes = dict[int, Tensors | DrawpointError]


class Reads:
    """The calls on the store `store_id` at the revision of `manifest`; see RemoteReader for what each means."""

    def __init__(self, transport: Transport, store_id: str, manifest: StoreManifest) -> None:
        self.transport = transport
        self.store_id = store_id
        self.manifest = manifest
        self._revision = manifest.revision

    @property
    def store_root(self) -> str:
        """The address of the store."""
        return f"{self.transport.settings.address}/stores/{quote(self.store_id, safe='')}"

    def sample(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None,
        generator: torch.Generator | None,
        fields: Collection[str] | None,
        seed: int | None,
        part: int | None,
    ) -> Steps[Tensors]:
        """Take the steps of read_sample."""
        drawn = resolve_seed(seed, generator)
        if part is not None and seed is None:
            raise InvalidDraw("part needs seed: the parts of a cycle are disjoint only under one seed.")
        draw = self._plan_sample(sample_id, num_points, drawn, part, fields)
        try:
            return (yield from self._draw(draw))
        except ResponseTooLarge as error:
            raise self._name_parts(error, sample_id) from None

    def coords(
        self,
        sample_id: str,
        domain: str,
        num_points: int | None,
        generator: torch.Generator | None,
        seed: int | None,
    ) -> Steps[torch.Tensor]:
        """Take the steps of read_coords."""
        drawn = resolve_seed(seed, generator)
        tensors = yield from self._draw(self._plan_coords(sample_id, {domain: num_points}, drawn))
        return tensors[self.manifest.domains[domain].position]

    def batch(
        self,
        samples: Sequence[Mapping[str, Any] | str],
        num_points: Mapping[str, int | None] | None,
        fields: Collection[str] | None,
        coords: Mapping[str, int | None] | None,
    ) -> Steps[list[Tensors | DrawpointError]]:
        """Take the steps of read_batch."""
        selection = check_selection(self.manifest, num_points, fields, coords, self.store_id)
        items = list_items(samples)
        outcomes: Outcomes = {}
        waiting: dict[int, BatchDraw] = {}
        for index, item in enumerate(items):
            try:
                waiting[index] = self._plan_item(item, selection)
            except DrawpointError as error:
                outcomes[index] = error
        deadline = self.transport.begin()
        rounds = 0
        while waiting:
            rounds += 1
            try:
                outcomes |= yield from self._draw_batch(waiting, selection, deadline)
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
                yield Pause(pause)
        return [outcomes[index] for index in range(len(items))]

    def _plan_sample(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None,
        seed: int,
        part: int | None,
        fields: Collection[str] | None,
    ) -> Draw:
        selection = select_sample(self.manifest, sample_id, num_points, part=part, fields=fields, store=self.store_id)
        return self._plan("samples", selection, seed, None if fields is None else tuple(fields))

    def _plan_coords(self, sample_id: str, num_points: Mapping[str, int | None], seed: int) -> Draw:
        return self._plan(
            "coords", select_coords(self.manifest, sample_id, num_points, store=self.store_id), seed, None
        )

    def _plan(self, kind: str, selection: Selection, seed: int, fields: tuple[str, ...] | None) -> Draw:
        chosen = [(array, domain.num_rows) for domain in selection.domains.values() for array in domain.arrays]
        return Draw(
            kind=kind,
            store=self.store_id,
            revision=self._revision,
            sample=selection.sample_id,
            counts={
                domain: wanted.count
                for domain, wanted in selection.domains.items()
                if kind == "coords" or wanted.count is not None
            },
            fields=fields,
            seed=seed,
            part=selection.part,
            arrays={array.field: array for array, _ in chosen},
            rows={array.field: rows for array, rows in chosen},
        )

    def _plan_item(self, item: BatchItem | DrawpointError, selection: BatchSelection) -> BatchDraw:
        if isinstance(item, DrawpointError):
            raise item
        counts, fields, coords = selection
        draws = {"": self._plan_sample(item.sample_id, counts, item.seed, item.part, fields)}
        if coords:
            draws[COORDS_PREFIX] = self._plan_coords(item.sample_id, coords, item.seed)
        return BatchDraw(item, draws)

    def _draw(self, draw: Draw) -> Steps[Tensors]:
        request = Request(
            draw.target,
            f"sample {draw.sample!r} of store {self.store_id!r}",
            store=self.store_id,
            sample=draw.sample,
            revision=self._revision,
            sealed=True,
            limit=draw.limit,
        )
        return (yield from self.transport.ask(request, lambda answer: draw.read(answer.body), hot=True))

    def _draw_batch(
        self, draws: Mapping[int, BatchDraw], selection: BatchSelection, deadline: Deadline
    ) -> Steps[Outcomes]:
        """Take the steps that bring each of `draws` or its error, in as many requests as the service wants."""
        outcomes: Outcomes = {}
        groups = [list(draws)]
        while groups:
            group = groups.pop()
            asked = AskedBatch(self.store_id, self._revision, selection, [draws[index] for index in group])
            try:
                found = yield from self._ask_batch(asked, deadline)
                outcomes |= dict(zip(group, found, strict=True))
            except ResponseTooLarge as error:
                if len(group) == 1:
                    outcomes[group[0]] = self._name_parts(error, draws[group[0]].item.sample_id)
                else:
                    half = len(group) // 2
                    groups += [group[half:], group[:half]]
        return outcomes

    def _ask_batch(self, asked: AskedBatch, deadline: Deadline) -> Steps[list[Tensors | DrawpointError]]:
        about = f"{len(asked.draws)} samples of store {self.store_id!r}"
        if len(asked.body) > MAX_BODY_BYTES:
            raise ResponseTooLarge(f"{about}: the request is larger than the service takes.", store=self.store_id)
        request = Request(
            asked.target,
            about,
            store=self.store_id,
            revision=self._revision,
            sealed=True,
            body=asked.body,
            limit=asked.limit,
        )
        return (yield from self.transport.ask(request, asked.read, hot=True, deadline=deadline))

    def _name_parts(self, error: ResponseTooLarge, sample_id: str) -> ResponseTooLarge:
        return ResponseTooLarge(
            f"{str(error).rstrip('.')}; in Python that is read_sample({sample_id!r}, num_points, seed=0, part=j) "
            "for j in 0, 1, ..., whose parts hold every point once.",
            store=self.store_id,
            sample=sample_id,
        )
