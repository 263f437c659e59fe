"""A batch: draws that are planned together, read one by one into one body, and left out where they fail."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drawpoint.draw.batch import COORDS_PREFIX
from drawpoint.draw.rows import DRAW_VERSION
from drawpoint.draw.selection import select_coords, select_sample
from drawpoint.errors import DrawpointError, ResponseTooLarge, SampleNotFound
from drawpoint.format import payload
from drawpoint_service import problems
from drawpoint_service.requests.validation import numpy_dtype
from drawpoint_store.reading.plan import plan_draw

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from drawpoint.draw.selection import Selection
    from drawpoint_service.read_pool import ReadPool
    from drawpoint_service.requests.batch_body import BatchQuery
    from drawpoint_service.stores.catalog import ServedStore
    from drawpoint_store.reading.plan import ReadPlan

NEAR_SEARCHES = 8
"""How many unknown samples of a batch are given near names: each search takes milliseconds."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What a batch reads: by index, the plans of an item by the prefix of their keys; `errors` hold the others.

    `nbytes` is the size of all its tensors.
    """

    query: BatchQuery
    reads: dict[int, dict[str, ReadPlan]] = field(default_factory=dict)
    errors: dict[int, DrawpointError] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors())

    def tensors(self) -> list[payload.TensorSpec]:
        dtype = numpy_dtype(self.query.body.dtype)
        return [
            payload.TensorSpec(f"{prefix}{name}", dtype or array.layout.dtype, array.shape)
            for reads in self.reads.values()
            for prefix, read in reads.items()
            for name, array in read.arrays.items()
        ]


def plan_batch(store: ServedStore, query: BatchQuery, limit: int) -> BatchPlan:
    """Plan all reads of a batch; raises ResponseTooLarge if its tensors have more than `limit` bytes."""
    plan = BatchPlan(query)
    size = 0
    searches = 0
    for index, item in enumerate(query.items):
        if item.sample_id not in store.manifest.samples:
            searches += 1
            if searches > NEAR_SEARCHES:
                plan.errors[index] = SampleNotFound(
                    f"store {store.id!r} has no sample {item.sample_id[:200]!r}.", sample=item.sample_id
                )
                continue
        try:
            selected = _select_item(store, query, index)
        except DrawpointError as error:
            plan.errors[index] = error
            continue
        needed = size + sum(selection.nbytes(numpy_dtype(query.body.dtype)) for selection in selected.values())
        if needed > limit:
            raise ResponseTooLarge(
                f"samples 0 to {index} of the batch would have {needed:,} bytes and at most {limit:,} are sent at "
                "once; ask for fewer samples, fewer points with num_points, or fewer fields.",
                sample=item.sample_id,
            )
        size = needed
        plan.reads[index] = {prefix: plan_draw(selection, item.seed) for prefix, selection in selected.items()}
    return plan


def allocate_batch(store: ServedStore, plan: BatchPlan) -> payload.Payload:
    """Make the body of a batch; its tensors are to be filled."""
    return payload.allocate(plan.tensors(), _describe(store, plan))


async def read_item(
    store: ServedStore, reads: Mapping[str, ReadPlan], tensors: Mapping[str, np.ndarray[Any, Any]], pool: ReadPool
) -> DrawpointError | None:
    """Fill the tensors of one item, and return the error that it met, if any."""
    try:
        for prefix, read in reads.items():
            await store.reader.read_into_async(
                read, {name: tensors[f"{prefix}{name}"] for name in read.arrays}, pool.run
            )
    except DrawpointError as error:
        return error
    return None


def finish_batch(
    store: ServedStore, plan: BatchPlan, filled: payload.Payload, failures: Mapping[int, DrawpointError]
) -> tuple[bytearray, str]:
    """Return the body and its Content-Digest.

    Without the tensors of `failures`, whose bytes mean nothing: that takes a second allocation and a copy.
    """
    if failures:
        kept = {index: reads for index, reads in plan.reads.items() if index not in failures}
        whole, filled = filled, allocate_batch(store, BatchPlan(plan.query, kept, {**plan.errors, **failures}))
        for name, tensor in filled.tensors.items():
            tensor[...] = whole.tensors[name]
    return filled.body, payload.content_digest(filled.body)


def _select_item(store: ServedStore, query: BatchQuery, index: int) -> dict[str, Selection]:
    """Return what an item takes, by the prefix of its keys."""
    item, (counts, fields, coords) = query.items[index], query.selection
    found = {
        f"{index}/": select_sample(
            store.manifest, item.sample_id, counts, part=item.part, fields=fields, store=store.id
        )
    }
    if coords:
        found[f"{index}/{COORDS_PREFIX}"] = select_coords(store.manifest, item.sample_id, coords, store=store.id)
    return found


def _describe(store: ServedStore, plan: BatchPlan) -> dict[str, str]:
    """Return the payload's metadata: what was drawn, enough to draw it again; all values are text."""
    items = plan.query.items
    described: dict[str, Any] = {
        "samples": [item.sample_id for item in items],
        "seeds": [item.seed for item in items],
        "parts": [item.part for item in items],
        "num_points": [_count_rows(plan.reads.get(index, {}).get(f"{index}/")) for index in range(len(items))],
        "coords": [
            _count_rows(plan.reads.get(index, {}).get(f"{index}/{COORDS_PREFIX}")) for index in range(len(items))
        ],
        # A problem names its request, and a body holds nothing that varies from one request to the next.
        "errors": {
            str(index): problems.describe(error, "", store).model_dump(exclude_none=True, exclude={"instance"})
            for index, error in plan.errors.items()
        },
    }
    return {
        "store": store.id,
        "revision": store.revision,
        "draw_version": str(DRAW_VERSION),
        "dtype": plan.query.body.dtype,
        **{name: json.dumps(value, sort_keys=True, separators=(",", ":")) for name, value in described.items()},
    }


def _count_rows(read: ReadPlan | None) -> dict[str, int]:
    return {} if read is None else {domain: draw.num_rows for domain, draw in read.draws.items()}
