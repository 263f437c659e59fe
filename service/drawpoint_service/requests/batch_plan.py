"""A batch: draws that are planned together, read one by one into one body, and left out where they fail."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from drawpoint.draw.batch import COORDS_PREFIX, check_selection
from drawpoint.draw.rows import DRAW_VERSION
from drawpoint.draw.seeds import fresh_seed
from drawpoint.draw.selection import select_coords, select_sample
from drawpoint.errors import DrawpointError, ResponseTooLarge, SampleNotFound
from drawpoint.format import payload
from drawpoint_service import problems
from drawpoint_service.requests.query import numpy_dtype
from drawpoint_store.reading.plan import plan_draw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint_service.requests.batch_body import BatchBody
    from drawpoint_service.stores.catalog import ServedStore
    from drawpoint_store.reading.plan import ReadPlan

NEAR_SEARCHES = 8
"""How many unknown samples of a batch are given near names: each search takes milliseconds."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What a batch reads: by index, the plans of an item by the prefix of their keys; `errors` hold the others."""

    asked: BatchBody
    seeds: tuple[int, ...]
    reads: dict[int, dict[str, ReadPlan]] = field(default_factory=dict)
    errors: dict[int, DrawpointError] = field(default_factory=dict)

    def tensors(self) -> list[payload.TensorSpec]:
        """Return the tensors of the answer, in its order."""
        dtype = numpy_dtype(self.asked.dtype)
        return [
            payload.TensorSpec(f"{prefix}{name}", dtype or array.layout.dtype, array.shape)
            for reads in self.reads.values()
            for prefix, read in reads.items()
            for name, array in read.arrays.items()
        ]


def plan_batch(store: ServedStore, asked: BatchBody, limit: int) -> BatchPlan:
    """Plan all reads of a batch; a sample without a seed gets a fresh one.

    Raises UnknownDomain and UnknownField for what the store lacks, and ResponseTooLarge if the tensors have more than
    `limit` bytes.
    """
    counts, fields, coords = check_selection(store.manifest, asked.num_points, asked.fields, asked.coords, store.id)
    plan = BatchPlan(asked, tuple(fresh_seed() if item.seed is None else item.seed for item in asked.samples))
    size = searches = 0
    for index, item in enumerate(asked.samples):
        try:
            if item.id not in store.manifest.samples:
                searches += 1
                if searches > NEAR_SEARCHES:
                    raise SampleNotFound(f"store {store.id!r} has no sample {item.id[:200]!r}.", sample=item.id)
            selected = {
                f"{index}/": select_sample(
                    store.manifest, item.id, counts, part=item.part, fields=fields, store=store.id
                )
            }
            if coords:
                selected[f"{index}/{COORDS_PREFIX}"] = select_coords(store.manifest, item.id, coords, store=store.id)
        except DrawpointError as error:
            plan.errors[index] = error
            continue
        size += sum(selection.nbytes(numpy_dtype(asked.dtype)) for selection in selected.values())
        if size > limit:
            raise ResponseTooLarge(
                f"samples 0 to {index} of the batch would have {size:,} bytes and at most {limit:,} are sent at "
                "once; ask for fewer samples, fewer points with num_points, or fewer fields.",
                sample=item.id,
            )
        plan.reads[index] = {prefix: plan_draw(selection, plan.seeds[index]) for prefix, selection in selected.items()}
    return plan


def allocate_batch(store: ServedStore, plan: BatchPlan) -> payload.Payload:
    """Make the body of a batch; its tensors are to be filled."""
    return payload.allocate(plan.tensors(), _describe(store, plan))


def finish_batch(
    store: ServedStore, plan: BatchPlan, filled: payload.Payload, failures: Mapping[int, DrawpointError]
) -> tuple[bytearray, str]:
    """Return the body and its Content-Digest.

    Without the tensors of `failures`, whose bytes mean nothing: that takes a second allocation and a copy.
    """
    if failures:
        kept = {index: reads for index, reads in plan.reads.items() if index not in failures}
        whole = filled
        filled = allocate_batch(store, replace(plan, reads=kept, errors={**plan.errors, **failures}))
        for name, tensor in filled.tensors.items():
            tensor[...] = whole.tensors[name]
    return filled.body, payload.content_digest(filled.body)


def _describe(store: ServedStore, plan: BatchPlan) -> dict[str, str]:
    """Return the payload's metadata: what was drawn, enough to draw it again, and scalars if an item has any.

    All values are text.
    """
    items = plan.asked.samples
    described: dict[str, Any] = {
        "samples": [item.id for item in items],
        "seeds": plan.seeds,
        "parts": [item.part for item in items],
        "num_points": [_count_rows(plan, index, "") for index in range(len(items))],
        "coords": [_count_rows(plan, index, COORDS_PREFIX) for index in range(len(items))],
        # A problem names its request, and a body holds nothing that varies from one request to the next.
        "errors": {
            str(index): problems.describe(error, "", store).model_dump(exclude_none=True, exclude={"instance"})
            for index, error in plan.errors.items()
        },
    }
    scalars = [
        store.manifest.samples[item.id].scalars if index in plan.reads else {} for index, item in enumerate(items)
    ]
    if any(scalars):
        described["scalars"] = scalars
    return {
        "store": store.id,
        "revision": store.revision,
        "draw_version": str(DRAW_VERSION),
        "dtype": plan.asked.dtype,
        **{name: json.dumps(value, sort_keys=True, separators=(",", ":")) for name, value in described.items()},
    }


def _count_rows(plan: BatchPlan, index: int, prefix: str) -> dict[str, int]:
    read = plan.reads.get(index, {}).get(f"{index}/{prefix}")
    return {} if read is None else {domain: draw.num_rows for domain, draw in read.draws.items()}
