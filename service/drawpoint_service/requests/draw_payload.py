"""What is known of an answer before anything is read: its tensors, its metadata and its ETag; pure."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from drawpoint.draw.rows import DRAW_VERSION
from drawpoint.errors import ResponseTooLarge, RevisionChanged
from drawpoint.format.payload import PAYLOAD_VERSION, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint.draw.selection import Selection
    from drawpoint_service.requests.query import DrawQuery
    from drawpoint_store.reading.plan import ReadPlan

_compact = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def list_tensors(plan: ReadPlan, dtype: str | None) -> tuple[TensorSpec, ...]:
    """Return the tensors of the answer: one a field, as `dtype` or as stored."""
    return tuple(TensorSpec(field, dtype or array.layout.dtype, array.shape) for field, array in plan.arrays.items())


def count_chunk_reads(plan: ReadPlan) -> int:
    """Return how many chunks a plan reads, those of each array for themselves."""
    return sum(len(array.draw.rows) for array in plan.arrays.values())


def spread_of(plan: ReadPlan) -> float:
    """Return how many rows the chunks of a plan have for each that is drawn, in the domain where that is most."""
    spreads = [
        draw.grid.chunk_points * len({rows.chunk for rows in draw.rows}) / draw.num_rows for draw in plan.draws.values()
    ]
    return max(spreads, default=1.0)


def describe_draw(
    store_id: str, revision: str, plan: ReadPlan, query: DrawQuery, scalars: Mapping[str, float]
) -> dict[str, str]:
    """Return the payload's metadata: what was drawn, enough to draw it again, and the sample's scalars if it has any.

    All values are text.
    """
    metadata = {
        "store": store_id,
        "revision": revision,
        "sample": plan.sample_id,
        "seed": str(plan.seed),
        "draw_version": str(DRAW_VERSION),
        "dtype": query.dtype,
        "num_points": _compact({domain: draw.num_rows for domain, draw in plan.draws.items()}),
    }
    if plan.part is not None:
        metadata["part"] = str(plan.part)
    if scalars:
        metadata["scalars"] = _compact(scalars)
    return metadata


def etag_for(store_id: str, revision: str, plan: ReadPlan, query: DrawQuery) -> str:
    """Return the ETag of the answer: requests whose answers are equal have equal ones, whatever their spelling."""
    counts = {
        domain: None if (count := query.counts.get(domain)) is None or count >= draw.grid.n_points else count
        for domain, draw in plan.draws.items()
    }
    key = [
        *(PAYLOAD_VERSION, DRAW_VERSION, store_id, revision, plan.stream, plan.sample_id, plan.seed, plan.part),
        *(query.dtype, counts, sorted(plan.arrays)),
    ]
    return f'"{hashlib.sha256(_compact(key).encode()).hexdigest()[:32]}"'


def check_size(selection: Selection, dtype: str | None, limit: int) -> None:
    """Raise ResponseTooLarge if the tensors have more than `limit` bytes."""
    size = selection.nbytes(dtype)
    if size > limit:
        counts = " and ".join(f"{domain}=" for domain in selection.domains)
        remedies = [f"fewer points with {counts}"]
        if selection.stream == "fields":
            remedies += ["fewer fields with fields=", "one part at a time with part= and seed="]
        raise ResponseTooLarge(
            f"the answer would have {size:,} bytes and at most {limit:,} are sent at once; ask for "
            f"{', or '.join(remedies)}.",
            sample=selection.sample_id,
        )


def check_revision(store_id: str, revision: str, asked: str | None) -> None:
    """Raise RevisionChanged if a request is meant for another revision of the store."""
    if asked is not None and asked != revision:
        raise RevisionChanged(
            f"store {store_id!r} is at revision {revision}, not {asked[:200]!r}; fetch its manifest again, "
            "or leave revision= out."
        )
