"""What HTTP makes of an error: one table of statuses, and RFC 9457 problem documents."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from drawpoint import errors

if TYPE_CHECKING:
    from drawpoint_service.stores.catalog import ServedStore

CONTENT_TYPE = "application/problem+json"
ALLOWED_SHOWN = 64
"""How many allowed names a problem lists; a store has few fields, but a manifest may claim any number."""

_STATUSES: dict[int, tuple[type[errors.DrawpointError], ...]] = {
    404: (errors.StoreNotFound, errors.SampleNotFound, errors.SplitNotFound, errors.StatisticsNotFound),
    409: (errors.RevisionChanged,),
    413: (errors.ResponseTooLarge,),
    422: (errors.UnknownName, errors.InvalidParameter, errors.InvalidDraw),
    502: (errors.DataDamaged, errors.StoreUnreadable),
    503: (errors.Overloaded,),
}


class Problem(BaseModel):
    """A problem document; members that do not apply are absent."""

    model_config = ConfigDict(frozen=True)

    type: str = Field(examples=["urn:drawpoint:unknown-field"])
    title: str
    status: int
    detail: str
    instance: str = Field(description="the request's id, also in X-Request-ID")
    parameter: str | None = None
    near: tuple[str, ...] | None = Field(default=None, description="similar names that there are")
    allowed: tuple[str, ...] | None = Field(default=None, description="what may stand in its place")
    store: str | None = None
    sample: str | None = None
    field: str | None = None
    chunk: int | None = None

    def to_json(self) -> bytes:
        """Return the document's bytes."""
        return self.model_dump_json(exclude_none=True).encode()


def status_of(error: errors.DrawpointError) -> int:
    """Return the status of an error, 500 for one that no request can bring about."""
    return next((status for status, kinds in _STATUSES.items() if isinstance(error, kinds)), 500)


def describe(error: errors.DrawpointError, request_id: str, store: ServedStore | None) -> Problem:
    """Return the document of an error that came up in a request to `store`, if it got that far."""
    allowed = _allowed(error, store)[:ALLOWED_SHOWN]
    near = getattr(error, "near", ())
    detail = str(error)
    if near and not set(allowed) <= set(near):
        detail = f"{detail.removesuffix('.')}; allowed: {', '.join(allowed)}."
    if is_server_fault(error):
        detail = f"{public_message(error)}; the service's log says why, under this request's id."
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__)
    return Problem(
        type=_urn(words),
        title=words.capitalize(),
        status=status_of(error),
        detail=detail,
        instance=quote(request_id),
        parameter=getattr(error, "parameter", None) or None,
        near=near or None,
        allowed=allowed or None,
        store=None if store is None else store.id,
        sample=error.sample,
        field=error.field,
        chunk=error.chunk,
    )


def is_server_fault(error: errors.DrawpointError) -> bool:
    """Return whether the service or its storage failed, and not the request: its message is for the log only."""
    return status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, errors.Overloaded)


def public_message(error: Exception) -> str:
    """Return what failed without naming a path or URL: where a store lies is not the clients' business."""
    if not isinstance(error, errors.DrawpointError):
        return "the store cannot be read"
    about = {"chunk": error.chunk, "field": error.field, "sample": error.sample}
    names = [f"{kind} {name!r}" for kind, name in about.items() if name is not None]
    failed = {errors.ChunkMissing: "is missing", errors.StoreUnreadable: "cannot be read"}
    what = " of ".join(names) or ("the store" if isinstance(error, errors.StoreUnreadable) else "a file of the store")
    return f"{what} {failed.get(type(error), 'is damaged')}"


def _allowed(error: errors.DrawpointError, store: ServedStore | None) -> tuple[str, ...]:
    if isinstance(error, (errors.InvalidParameter, errors.UnknownParameter)):
        return error.allowed
    if store is None or not isinstance(error, (errors.UnknownDomain, errors.UnknownField)):
        return ()
    entry = store.manifest.samples.get(error.sample or "")
    domains = tuple(store.manifest.domains if entry is None else entry.domains)
    if isinstance(error, errors.UnknownDomain):
        return domains
    return tuple(field for domain in domains for field in store.manifest.domains[domain].arrays)


def problem_from_status(status: int, detail: str, request_id: str) -> Problem:
    """Return a problem that HTTP itself has a name for: an unknown path, a missing token, a failure inside."""
    phrase = HTTPStatus(status).phrase
    return Problem(
        type=_urn(phrase), title=phrase.capitalize(), status=status, detail=detail, instance=quote(request_id)
    )


def _urn(words: str) -> str:
    return f"urn:drawpoint:{words.lower().replace(' ', '-')}"
