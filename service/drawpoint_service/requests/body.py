"""The body of a batch: JSON in, a checked query out; as strict about names and values as a URL's query."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from drawpoint.draw.batch import ITEM_KEYS, MAX_BODY_BYTES, BatchItem, BatchSelection, check_selection
from drawpoint.draw.seeds import MAX_SEED, fresh_seed
from drawpoint.draw.selection import check_counts
from drawpoint.errors import InvalidDraw, InvalidParameter, ResponseTooLarge, UnknownParameter
from drawpoint_service.requests.query import ALL, DTYPES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from drawpoint.format.manifest import StoreManifest

BATCH_KEYS = ("samples", "num_points", "coords", "fields", "dtype", "revision")
BODY_TYPES = ("application/json", "application/x-www-form-urlencoded", "text/plain", "")
"""What a body may call itself: JSON, or what `curl -d` and a browser's fetch say of any text."""

_SHOWN = 200
_MOST_DIGITS = 20  # more than a seed has


@dataclass(frozen=True, slots=True)
class BatchQuery:
    """A batch as asked for: `items` in order, and what they share; `selection.fields` is None where not given."""

    items: tuple[BatchItem, ...]
    selection: BatchSelection
    dtype: str = DTYPES[0]
    revision: str | None = None

    @property
    def numpy_dtype(self) -> str | None:
        """The dtype of the tensors, None for each as it is stored."""
        return None if self.dtype == "stored" else self.dtype


def is_json(headers: Mapping[str, str]) -> bool:
    """Tell whether the headers of a request allow that its body is JSON as it stands."""
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
    """Return the query of a batch to `store`.

    A sample without a seed gets a fresh one. Raises InvalidParameter for what is no JSON or has a value out of
    place, UnknownParameter for a key that means nothing, UnknownDomain and UnknownField, InvalidDraw for a part
    without a seed, and ResponseTooLarge for more than `most_samples`.
    """
    members = _parse_object(body)
    _check_keys("the body", "", members, BATCH_KEYS)
    samples = members.get("samples")
    if not isinstance(samples, list) or not samples:
        raise _invalid("samples", samples, 'a list of {"id", "seed", "part"}, at least one')
    if len(samples) > most_samples:
        raise ResponseTooLarge(
            f"the batch has {len(samples):,} samples and at most {most_samples:,} are sent at once; ask for them in "
            "several batches."
        )
    fields = members.get("fields")
    if fields is not None and not (_is_list_of_texts(fields) and fields):
        raise _invalid("fields", fields, "a list of one or more names", "left out, for all fields")
    dtype = members.get("dtype", DTYPES[0])
    if dtype not in DTYPES:
        raise _invalid("dtype", dtype, *DTYPES)
    revision = members.get("revision")
    if revision is not None and not isinstance(revision, str):
        raise _invalid("revision", revision, "a text")
    counts, coords = (_parse_counts(name, members.get(name)) for name in ("num_points", "coords"))
    counts = check_counts(manifest, counts, store, required=True)
    selection = check_selection(manifest, counts, fields, coords, store)
    items = tuple(_parse_item(f"samples[{index}]", sample) for index, sample in enumerate(samples))
    return BatchQuery(items, selection, dtype, revision)


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        text = body.decode()
        members = json.loads(
            text, object_pairs_hook=_unique, parse_float=_parse_fraction, parse_constant=_refuse_constant
        )
        # Half of a surrogate pair can be written in JSON and stands for no character.
        json.dumps(members, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # a body nested a thousand deep ends in RecursionError
        refused = InvalidParameter(f"the body is no JSON: {str(error)[:_SHOWN]}.")
        refused.parameter, refused.allowed = "body", ('{"samples": [{"id": "..."}]}',)
        raise refused from None
    if not isinstance(members, dict):
        raise _invalid("body", members, 'an object such as {"samples": [{"id": "..."}]}')
    return members


def _parse_item(where: str, sample: Any) -> BatchItem:
    if not isinstance(sample, dict):
        raise _invalid(where, sample, 'an object: {"id", "seed", "part"}')
    _check_keys(where, f"{where}.", sample, ITEM_KEYS)
    sample_id = sample.get("id")
    if not isinstance(sample_id, str):
        raise _invalid(f"{where}.id", sample_id, "the id of a sample")
    seed, part = (_parse_seed(f"{where}.{name}", sample.get(name)) for name in ("seed", "part"))
    if part is not None and seed is None:
        raise InvalidDraw(
            f"{where}: part needs seed: the parts of a cycle are disjoint only under one seed; add a seed.",
            sample=sample_id,
        )
    return BatchItem(sample_id, fresh_seed() if seed is None else seed, part)


def _parse_seed(name: str, value: Any) -> int | None:
    if value is None:
        return None
    return _integer(name, value, 0)


def _parse_counts(name: str, counts: Any) -> dict[str, int | None]:
    if counts is None:
        return {}
    if not isinstance(counts, dict):
        raise _invalid(name, counts, 'an object of counts by domain, such as {"surface": 4096}')
    return {
        domain: None if count in (None, ALL) else _integer(f"{name}.{domain}", count, 1, f'"{ALL}"')
        for domain, count in counts.items()
    }


def _integer(name: str, value: Any, low: int, *others: str) -> int:
    # `type`, because True is an int to isinstance.
    if type(value) is not int or not low <= value <= MAX_SEED:
        raise _invalid(name, value, f"an integer in {low}..{MAX_SEED}", *others)
    return value


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _check_keys(where: str, prefix: str, members: Iterable[str], known: tuple[str, ...]) -> None:
    for key in members:
        if key not in known:
            error = UnknownParameter.among("key", key, known, where=where)
            error.parameter, error.allowed = f"{prefix}{key}"[:_SHOWN], known
            raise error


def _invalid(name: str, value: Any, *allowed: str) -> InvalidParameter:
    return InvalidParameter.of(name[:_SHOWN], json.dumps(value)[:_SHOWN], *allowed)


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
