"""The body of a batch: JSON in, checked draws out; as strict about names and values as a URL's query."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from drawpoint.draw.batch import MAX_BODY_BYTES
from drawpoint.errors import DrawpointError, InvalidDraw, InvalidParameter, ResponseTooLarge
from drawpoint_service.requests.query import (
    SHOWN,
    Count,
    Dtype,
    RequestModel,
    Revision,
    Seed,
    path_of,
    refusal_of,
    unknown_name,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


_EXACT = 2**53
"""Below it a float is the integer that was written with a point or an exponent."""

_MOST_KEYS = 1024
"""Of one object. A model finds an error for each, and holds the interpreter's lock until it has found all: of those in
a body of 1 MiB for seconds, in which nothing else is answered."""

_ALLOWED = {"fields": ("a list of one or more names", "left out, for all fields")}
"""What differs from a URL's query."""


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

    id: str
    seed: Seed | None = None
    part: Seed | None = None

    @model_validator(mode="after")
    def _check_part(self) -> Self:
        if self.part is not None and self.seed is None:
            reason = "the parts of a cycle are disjoint only under one seed"
            raise InvalidDraw(f"part of {self.id[:SHOWN]!r} needs seed: {reason}; add a seed.", sample=self.id)
        return self


class BatchBody(RequestModel):
    """What a batch says: its draws in order, and what they share."""

    samples: Annotated[list[BatchSample], Field(min_length=1, fail_fast=True)]
    num_points: Annotated[
        dict[str, Count] | None, Field(description="By domain; a domain that is left out comes in full.")
    ] = None
    coords: Annotated[
        dict[str, Count] | None,
        Field(description="By domain: positions to draw besides, independently, under the same seeds."),
    ] = None
    fields: Annotated[
        Annotated[list[str], Field(min_length=1, fail_fast=True)] | None,
        Field(description="Canonical fields to send; all unless given. What a sample lacks is absent."),
    ] = None
    dtype: Dtype = "float32"
    revision: Revision = None


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


def parse_batch(body: bytes, most_samples: int) -> BatchBody:
    """Return what a batch asks for.

    Raises InvalidParameter for what is no JSON, has a key twice or an invalid value, UnknownParameter for a key that
    means nothing, InvalidDraw for a part without a seed, and ResponseTooLarge for more than `most_samples`.
    """
    try:
        members = json.loads(body.decode(), parse_float=_parse_fraction, object_pairs_hook=_unique)
        if b"\\u" in body:  # half of a surrogate pair can be written so, and stands for no character
            json.dumps(members, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # a body nested a thousand deep ends in RecursionError
        remedy = "; it is sent as UTF-8, not compressed" if isinstance(error, UnicodeDecodeError) else ""
        refused = InvalidParameter(f"the body is no JSON: {str(error)[:SHOWN]}{remedy}.")
        refused.parameter = "body"
        raise refused from None
    if not isinstance(members, dict):
        raise InvalidParameter.of("body", json.dumps(members), 'an object such as {"samples": [{"id": "..."}]}')
    # First of all what bounds the work of a model.
    if isinstance(samples := members.get("samples"), list) and len(samples) > most_samples:
        raise ResponseTooLarge(
            f"the batch has {len(samples):,} samples and at most {most_samples:,} are sent at once; ask for them in "
            "several batches."
        )
    try:
        return BatchBody.model_validate(members)
    except ValidationError as error:
        raise _refusal_of(error) from None


def _refusal_of(error: ValidationError) -> DrawpointError:
    for found in error.errors(include_url=False):
        *where, name = found["loc"]
        if found["type"] == "extra_forbidden":
            model = BatchSample if where else BatchBody
            unknown = unknown_name("key", str(name), model.model_fields, where=path_of(where) or "the body")
            unknown.parameter = path_of(found["loc"])[:SHOWN]
            return unknown
    return refusal_of(error, _ALLOWED)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MOST_KEYS:
        raise ValueError(f"an object has more than {_MOST_KEYS:,} keys")
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key stands there twice")
    return members


def _parse_fraction(text: str) -> int | float:
    """Return a number that is written with a point or an exponent; 7.0 and 7e0 are integers to JSON Schema."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < _EXACT else number
