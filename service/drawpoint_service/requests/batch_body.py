"""The body of a batch: JSON in, checked draws out; as strict about names and values as a URL's query."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from drawpoint.draw.batch import MAX_BODY_BYTES, BatchItem, BatchSelection, check_selection
from drawpoint.draw.seeds import fresh_seed
from drawpoint.draw.selection import check_counts
from drawpoint.errors import InvalidDraw, InvalidParameter, ResponseTooLarge
from drawpoint_service.requests.validation import (
    SHOWN,
    BodyCount,
    Dtype,
    RequestModel,
    Revision,
    Seed,
    allowed,
    refusal_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from drawpoint.format.manifest import StoreManifest

BODY_TYPES = ("application/json", "application/x-www-form-urlencoded", "text/plain", "")
"""What a body may call itself: JSON, or what `curl -d` and a browser's fetch say of any text."""

_MOST_DIGITS = 20  # more than a seed has
_COUNTS_FORM = 'an object of counts by domain, such as {"surface": 4096}'
Counts = Annotated[dict[str, BodyCount] | None, allowed(_COUNTS_FORM, has_members=True)]


class BatchSample(RequestModel):
    """A draw of a batch."""

    # A part needs a seed: JSON Schema has no word for "and not null" in dependentRequired.
    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"part": {"type": "null"}}},
                {"required": ["seed"], "properties": {"seed": {"type": "integer"}}},
            ]
        }
    )

    id: Annotated[str, allowed("the id of a sample")]
    seed: Seed | None = None
    part: Seed | None = None


class BatchBody(RequestModel):
    """What a batch says: its draws in order, and what they share."""

    samples: Annotated[
        list[Annotated[BatchSample, allowed('an object: {"id", "seed", "part"}', has_members=True)]],
        Field(min_length=1, fail_fast=True),
        allowed('a list of {"id", "seed", "part"}, at least one', has_members=True),
    ]
    num_points: Annotated[Counts, Field(description="By domain; a domain that is left out comes in full.")] = None
    coords: Annotated[
        Counts, Field(description="By domain: positions to draw besides, independently, under the same seeds.")
    ] = None
    fields: Annotated[
        Annotated[list[str], Field(min_length=1, fail_fast=True)] | None,
        Field(description="Canonical fields to send; all unless given. What a sample lacks is absent."),
        allowed("a list of one or more names", "left out, for all fields"),
    ] = None
    dtype: Dtype = "float32"
    revision: Revision = None


@dataclass(frozen=True, slots=True)
class BatchQuery:
    """The draws that a body asks for: `items` in order, and what they share."""

    body: BatchBody
    items: tuple[BatchItem, ...]
    selection: BatchSelection


def is_json(headers: Mapping[str, str]) -> bool:
    """Return whether the headers of a request allow its body to be uncompressed JSON."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = headers.get("content-encoding", "identity").strip().lower()
    return coding == "identity" and (kind in BODY_TYPES or kind.endswith("+json"))


async def receive_body(chunks: AsyncIterator[bytes], seconds: float) -> bytes:
    """Return a request's body.

    Raises ResponseTooLarge, without taking more of it, once it is too long, and HTTPException (408) if it is not there
    after so many seconds.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in chunks:
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise ResponseTooLarge(
                        f"the request has more than {MAX_BODY_BYTES:,} bytes; ask for fewer samples at once."
                    )
    except TimeoutError:
        detail = f"the body was not there within {seconds:g} s; send it at once, or ask for fewer samples."
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, detail) from None
    except ClientDisconnect:
        # Nobody is left to read it, but it is not the service that failed.
        raise InvalidParameter("the client left before the end of the body.") from None
    return bytes(body)


def parse_batch(body: bytes, manifest: StoreManifest, most_samples: int, store: str | None = None) -> BatchQuery:
    """Return what a batch asks of `store`.

    A sample without a seed gets a fresh one. Raises InvalidParameter for what is no JSON or has an invalid
    value, UnknownParameter for a key that means nothing, UnknownDomain and UnknownField, InvalidDraw for a part
    without a seed, and ResponseTooLarge for more than `most_samples`.
    """
    members = _parse_json(body)
    # First of all what bounds the number of errors that a model can find.
    if isinstance(samples := members.get("samples"), list) and len(samples) > most_samples:
        raise ResponseTooLarge(
            f"the batch has {len(samples):,} samples and at most {most_samples:,} are sent at once; ask for them in "
            "several batches."
        )
    for name in ("num_points", "coords"):
        if isinstance(counts := members.get(name), dict):
            check_counts(manifest, dict.fromkeys(counts), store, required=True)
    try:
        asked = BatchBody.model_validate(members)
    except ValidationError as error:
        raise refusal_of(error, "body") from None
    selection = check_selection(manifest, asked.num_points, asked.fields, asked.coords, store)
    return BatchQuery(asked, tuple(_to_item(index, sample) for index, sample in enumerate(asked.samples)), selection)


def _parse_json(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode()
        members = json.loads(
            text, object_pairs_hook=_unique, parse_float=_parse_fraction, parse_constant=_refuse_constant
        )
        # Half of a surrogate pair can be written in JSON and stands for no character.
        json.dumps(members, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # a body nested a thousand deep ends in RecursionError
        refused = InvalidParameter(f"the body is no JSON: {str(error)[:SHOWN]}.")
        refused.parameter, refused.allowed = "body", ('{"samples": [{"id": "..."}]}',)
        raise refused from None
    if not isinstance(members, dict):
        raise InvalidParameter.of("body", json.dumps(members), 'an object such as {"samples": [{"id": "..."}]}')
    return members


def _to_item(index: int, sample: BatchSample) -> BatchItem:
    if sample.part is not None and sample.seed is None:
        raise InvalidDraw(
            f"samples[{index}]: part needs seed: the parts of a cycle are disjoint only under one seed; add a seed.",
            sample=sample.id,
        )
    return BatchItem(sample.id, fresh_seed() if sample.seed is None else sample.seed, sample.part)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands there twice")
    return members


def _parse_fraction(text: str) -> int | float:
    """Return a number that is written with a point or an exponent; 7.0 and 7e0 are integers to JSON Schema."""
    number = Decimal(text)
    is_integer = number.adjusted() < _MOST_DIGITS and number == number.to_integral_value()
    return int(number) if is_integer else float(text)  # by way of a float, a large one would become another


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
