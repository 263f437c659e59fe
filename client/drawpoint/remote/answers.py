"""What an answer says: whether it is the one that was asked for, which error it reports, which document it holds."""

from __future__ import annotations

import contextlib
import json
import re
import time
import zlib
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from drawpoint import errors
from drawpoint.format.invalid_values import explain
from drawpoint.format.payload import content_digest
from drawpoint.remote.engine import MAX_DOCUMENT_BYTES, YEAR_SECONDS, Busy, check_length
from drawpoint.remote.sockets import TLS

if TYPE_CHECKING:
    from drawpoint.remote.engine import Answer, Request

Document = TypeVar("Document")

PROBLEM_TYPE = "application/problem+json"

_SHOWN_BYTES = 60
"""Of a body that is not what was asked for: enough to tell the page of a proxy."""

_TEXTS = ("type", "title", "detail", "sample", "field")
_NUMBERS = ("status", "chunk")

_GZIP = 16 + zlib.MAX_WBITS
_DIGEST = re.compile(r"crc32c=:[A-Za-z0-9+/=]*:")
_OVERLOADED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_GATEWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT)

_BY_STATUS: dict[int, type[errors.DrawpointError]] = {
    401: errors.AccessDenied,
    403: errors.AccessDenied,
    409: errors.RevisionChanged,
    413: errors.ResponseTooLarge,
    422: errors.InvalidDraw,
    502: errors.DataDamaged,
}
_BY_NAME: dict[str, type[errors.DrawpointError]] = {
    name.lower(): kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.DrawpointError)
}


def check_answer(answer: Answer, request: Request, request_id: str) -> None:
    """Return if `answer` is a whole answer to this very request.

    Raises Busy, ResponseDamaged for one that is not, and for a problem the error that it reports.
    """
    headers = answer.headers
    echoed = headers.get("x-request-id")
    # A cache (it says so by Age) gives the id of the request that filled it; the payload tells what it is.
    if echoed is not None and echoed != request_id and "age" not in headers:
        raise errors.ResponseDamaged(f"the answer belongs to another request, {echoed[:100]!r}.")
    digest = _DIGEST.search(headers.get("content-digest", ""))
    if digest is not None and digest[0] != (actual := content_digest(answer.body)):
        raise errors.ResponseDamaged(f"the body has the digest {actual}, announced was {digest[0]}.")
    if answer.status != HTTPStatus.OK and not (answer.status == HTTPStatus.NOT_MODIFIED and request.etag):
        raise _read_problem(answer, request, request_id)
    if not request.require_digest:
        return
    for name, found in (("Content-Digest", digest), ("X-Request-ID", echoed)):
        if found is None:
            raise errors.ResponseDamaged(f"the answer has no {name}: no drawpoint sent it, or a proxy strips it.")
    revision = headers.get("x-drawpoint-revision")
    if revision != request.revision:
        raise errors.ResponseDamaged(f"the answer is of revision {revision}, asked for was {request.revision}.")


def _read_problem(answer: Answer, request: Request, request_id: str) -> Exception:
    problem: dict[str, Any] = {}
    if answer.headers.get("content-type", "").startswith(PROBLEM_TYPE):
        with contextlib.suppress(ValueError, RecursionError):
            problem = check_problem(json.loads(answer.body))
    status = answer.status
    detail = (problem.get("detail") or problem.get("title") or f"the service answered {status}").rstrip(".")
    kind = name_error(status, problem)
    if status in _OVERLOADED or (status in _GATEWAY and not problem) or kind is errors.StoreUnreadable:
        # What a gateway says, and what a storage that does not answer says, may both pass.
        busy = Busy(detail, status, _parse_retry_after(answer.headers.get("retry-after")))
        if kind is errors.StoreUnreadable:
            busy.error = kind
        return busy
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        detail += f", a redirection to {answer.headers.get('location')}; connect to that address"
    elif status == HTTPStatus.BAD_REQUEST and not problem and b"HTTPS" in answer.body:
        # As nginx, Apache and Go's servers answer who speaks plain HTTP to them.
        detail += f"; {TLS}"
    elif status == HTTPStatus.NOT_FOUND and kind is errors.RequestFailed:
        detail += "; check the address given to connect()"
    elif kind is errors.AccessDenied:
        detail += "; give connect() a token=, or set DRAWPOINT_TOKEN to one, that the service knows"
    elif kind is errors.RevisionChanged:
        detail += f"; open it anew with connection.store({request.store!r})"
    error = report_problem(
        {**problem, "detail": detail},
        kind,
        description=request.description,
        store=request.store,
        sample=request.sample,
        request_id=request_id,
    )
    if isinstance(error, errors.RequestFailed):
        error.status = status
    return error


def report_problem(
    problem: dict[str, Any],
    kind: type[errors.DrawpointError],
    *,
    description: str,
    store: str | None,
    sample: str | None,
    request_id: str,
) -> errors.DrawpointError:
    """Return the error of `kind` that a checked problem reports; `description` names what was asked for."""
    detail = (problem.get("detail") or problem.get("title") or "it failed").rstrip(".")
    if store is None or f"store {store!r}" not in detail:  # else it says already what it is about
        detail = f"{description}: {detail}"
    error = kind(
        f"{detail} (request {request_id}).",
        store=store,
        sample=problem.get("sample", sample),
        field=problem.get("field"),
        chunk=problem.get("chunk"),
    )
    if isinstance(error, errors.RequestFailed):
        error.request_id = request_id
    if isinstance(error, errors.UnknownName):
        error.near = tuple(problem.get("near", ()))
    return error


def check_problem(document: Any) -> dict[str, Any]:
    """Return the members of a problem document that are known and of their type; another one counts as absent."""
    if not isinstance(document, dict):
        return {}
    problem = {name: document[name] for name in _TEXTS if isinstance(document.get(name), str)}
    # `type`, because True is an int to isinstance.
    problem |= {name: document[name] for name in _NUMBERS if type(document.get(name)) is int}
    near = document.get("near")
    if isinstance(near, list) and all(isinstance(name, str) for name in near):
        problem["near"] = near
    return problem


def name_error(status: int, problem: dict[str, Any]) -> type[errors.DrawpointError]:
    """Return the error that the problem's type names, or else what its status means."""
    name = re.split("[/#:]", problem.get("type", ""))[-1].replace("-", "").lower()
    return _BY_NAME.get(name) or _BY_STATUS.get(status, errors.RequestFailed)


def _parse_retry_after(value: str | None) -> float:
    """Return the seconds that a Retry-After field asks to wait: a number, or an HTTP date."""
    if value is None:
        return 0.0
    digits = value.strip()
    if digits.isascii() and digits.isdigit():
        # Not int(): it refuses thousands of digits, of which float() makes infinity.
        return min(float(digits), YEAR_SECONDS)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):  # a year of many digits overflows
        return 0.0
    return min(max(0.0, seconds), YEAR_SECONDS)


def decode_body(answer: Answer, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """Return the body without its content coding, gzip if any.

    Raises ResponseDamaged if that does not undo, and Oversized before more than `limit` bytes come of it.
    """
    coding = answer.headers.get("content-encoding", "identity").lower()
    if coding == "identity":
        return bytes(answer.body)
    if coding not in ("gzip", "x-gzip"):
        raise errors.ResponseDamaged(f"the body has the content coding {coding[:40]!r}, asked for was gzip.")
    # Not through httpx: it undoes all of what it is given at once, and a thousand times that may come of it.
    decoder = zlib.decompressobj(_GZIP)
    try:
        body = decoder.decompress(answer.body, limit + 1)
    except zlib.error as error:
        raise errors.ResponseDamaged(f"the body does not decode from gzip: {error}.") from error
    check_length(len(body), limit)
    if not decoder.eof or decoder.unused_data:
        raise errors.ResponseDamaged("the body is more or less than one gzip stream.")
    return body


class Statistics(BaseModel, extra="allow"):
    """The statistics of a store, of which only the revision is looked at here."""

    revision: str


class SplitName(BaseModel):
    name: str


class Splits(BaseModel):
    """The list of a store's splits."""

    splits: list[SplitName]


class Split(BaseModel):
    """One split, by the ids of its samples."""

    samples: list[str]


def read_document(kind: type[Document], answer: Answer) -> Document:
    """Return the JSON document of an answer as a `kind`; raises ResponseDamaged for another one."""
    body = decode_body(answer)
    try:
        return TypeAdapter(kind).validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            reason = f"{first['ctx']['error']}; it begins with {bytes(body[:_SHOWN_BYTES])!r}"
            raise errors.ResponseDamaged(f"the body is no JSON: {reason}.") from error
        raise errors.ResponseDamaged(f"the body is another document than asked for: {explain(error)}.") from error
