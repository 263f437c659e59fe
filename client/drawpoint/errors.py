"""Everything that can go wrong, as facts; what HTTP makes of them is the service's business.

    DrawpointError
    +-- UnknownName (KeyError, ValueError)      a name that is not there; `near` holds similar ones
    |   +-- StoreNotFound (FileNotFoundError)
    |   +-- SampleNotFound
    |   +-- SplitNotFound
    |   +-- UnknownDomain
    |   +-- UnknownField
    |   +-- UnknownParameter
    +-- StatisticsNotFound (LookupError)        the store ships no statistics
    +-- InvalidParameter (ValueError)           a parameter of a request with a value it cannot have
    +-- InvalidDraw (ValueError)                a count, seed or part that asks for no draw
    +-- InvalidSample (ValueError)              field arrays that cannot become a sample
    +-- InvalidManifest (ValueError)            a manifest that is damaged or not to be trusted
    +-- StoreExists (FileExistsError)           a store stands where one is to be written
    +-- ResponseTooLarge (ValueError)           the draw exceeds what the service sends at once
    +-- RevisionChanged                         the store is at another revision than the one pinned
    +-- DataDamaged (OSError)                   stored bytes that cannot be trusted
    |   +-- ChunkMissing
    |   +-- ChunkDamaged
    |   +-- MetadataDamaged
    +-- StoreUnreadable (OSError)               the storage did not answer; says nothing of what it holds
    +-- InvalidSettings (ValueError)            the service is told what it does not know or cannot do
    +-- ExtraMissing (ModuleNotFoundError)      drawpoint was installed without what this needs
    +-- Overloaded                              the service does as much at once as it is set to
    +-- RequestFailed (OSError)                 the client got no usable answer from the service
        +-- AccessDenied (PermissionError)
        +-- ServiceUnavailable (ConnectionError)
        +-- DeadlineExceeded (TimeoutError)
        +-- ResponseDamaged

Every error is built from one message, so that it survives pickling and re-raising in worker processes;
what it is about (store, sample, field, chunk) is also on it as attributes.
"""

from __future__ import annotations

import difflib
from bisect import bisect
from heapq import nlargest
from itertools import islice
from os.path import commonprefix
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

NEAR_NAMES_SEARCHED = 1_500
"""How many names a search for near names looks at: the event loop of the service does it, within a millisecond."""

NEAR_NEIGHBOURS = 8
"""How many names it takes from each side of where the unknown one would stand among them, sorted from either end."""

NEAR_NAMES_COMPARED = 6
"""How many of those it compares letter by letter: the ones that begin and end most alike."""

NEAR_LETTERS = 32
"""How many letters of a name it looks at, half of them at each end: what difflib takes grows with their square."""


def _ends(name: str) -> str:
    return name if len(name) <= NEAR_LETTERS else name[: NEAR_LETTERS // 2] + name[-NEAR_LETTERS // 2 :]


def _neighbours(name: str, names: list[str]) -> list[str]:
    """Return those of `names` that begin or end most like `name`."""
    begin = bisect(ordered := sorted(names), name)
    found = ordered[max(0, begin - NEAR_NEIGHBOURS) : begin + NEAR_NEIGHBOURS]
    turned = name[::-1]
    begin = bisect(ordered := sorted([other[::-1] for other in names]), turned)
    return found + [other[::-1] for other in ordered[max(0, begin - NEAR_NEIGHBOURS) : begin + NEAR_NEIGHBOURS]]


def _shared_ends(name: str, other: str) -> int:
    pairs = ([name, other], [name[::-1], other[::-1]])
    return sum(len(commonprefix(pair)) for pair in pairs)  # noqa: RUF071  letters are what is to be compared


class DrawpointError(Exception):
    """Base of all errors; `str()` is one plain sentence with the remedy.

    The keyword arguments become attributes: what the error is about, None where it does not apply.
    """

    def __init__(
        self,
        message: str,
        *,
        store: str | None = None,
        sample: str | None = None,
        field: str | None = None,
        chunk: int | None = None,
    ) -> None:
        super().__init__(message)
        self.store = store
        self.sample = sample
        self.field = field
        self.chunk = chunk

    def __str__(self) -> str:
        # KeyError would show the repr of its argument.
        return str(self.args[0]) if self.args else ""


class UnknownName(DrawpointError, KeyError, ValueError):
    """A name that the store does not hold; `near` are similar names that it does hold."""

    near: tuple[str, ...] = ()

    @classmethod
    def among(
        cls,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        where: str,
        store: str | None = None,
        sample: str | None = None,
    ) -> Self:
        """Build the error for `name`, naming the nearest of `known`, or a few of them if none is near."""
        name = str(name)[:200]
        names = list(islice(known, NEAR_NAMES_SEARCHED))
        ends = _ends(name)
        # Of names that differ in between only, one stands for all.
        by_ends = {_ends(other): other for other in reversed(_neighbours(name, names))}
        nearest = nlargest(NEAR_NAMES_COMPARED, by_ends, key=lambda other: _shared_ends(ends, other))
        near = tuple(by_ends[other] for other in difflib.get_close_matches(ends, nearest, n=3, cutoff=0.6))
        shown = near or tuple(names[:8])
        hint = f"near names: {', '.join(shown)}" if near else f"there is: {', '.join(shown) or 'none'}"
        more = ", ..." if not near and len(names) > len(shown) else ""
        error = cls(f"{where} has no {kind} {name!r}; {hint}{more}.", store=store, sample=sample)
        error.near = shown
        return error


class StoreNotFound(UnknownName, FileNotFoundError):
    """No store of that id is served, or no manifest lies at that root."""


class SampleNotFound(UnknownName):
    """The store's manifest lists no such sample."""


class SplitNotFound(UnknownName):
    """The store ships no split of that name."""


class UnknownDomain(UnknownName):
    """The store or the sample has no such domain."""


class UnknownField(UnknownName):
    """The store or the sample has no such field."""


class UnknownParameter(UnknownName):
    """The request names a parameter, or a domain in place of one, that means nothing there; `allowed` ones do."""

    parameter: str = ""
    allowed: tuple[str, ...] = ()


class StatisticsNotFound(DrawpointError, LookupError):
    """The store ships no statistics."""


class InvalidParameter(DrawpointError, ValueError):
    """A parameter of a request with a value it cannot have; `allowed` are those it can have, or their form."""

    parameter: str = ""
    allowed: tuple[str, ...] = ()

    @classmethod
    def of(cls, parameter: str, value: str, *allowed: str) -> Self:
        """Build the error for `parameter=value`, naming what is allowed."""
        error = cls(f"{parameter}={value[:200]!r} is refused: {parameter} is {' or '.join(allowed)}.")
        error.parameter = parameter
        error.allowed = allowed
        return error


class InvalidDraw(DrawpointError, ValueError):
    """A count, seed, part or selection that describes no draw."""


class InvalidSample(DrawpointError, ValueError):
    """Field arrays that cannot be stored as a sample without losing something."""


class InvalidManifest(DrawpointError, ValueError):
    """A manifest that is damaged, of an unknown format version, or not to be trusted."""


class StoreExists(DrawpointError, FileExistsError):
    """A store stands where a new one is to be written."""


class ResponseTooLarge(DrawpointError, ValueError):
    """The draw is larger than the service sends in one response."""


class RevisionChanged(DrawpointError):
    """The store is at another revision than the one that was asked for."""


class DataDamaged(DrawpointError, OSError):
    """Stored bytes that cannot be trusted; names sample, field and chunk where they are known."""


class ChunkMissing(DataDamaged):
    """A chunk, or the object that holds it, is not there."""


class ChunkDamaged(DataDamaged):
    """A chunk is short, fails its checksum or does not decode."""


class MetadataDamaged(DataDamaged):
    """Array metadata or a shard index that is damaged or disagrees with the manifest."""


class StoreUnreadable(DrawpointError, OSError):
    """The storage did not answer; whether the data is there is not known."""


class InvalidSettings(DrawpointError, ValueError):
    """A setting that is unknown, or whose value is out of bounds."""


class ExtraMissing(DrawpointError, ModuleNotFoundError):
    """Drawpoint was installed without the extra that brings what this needs."""


class Overloaded(DrawpointError):
    """The service does as much at once as it is set to; the same request may succeed a little later."""


class RequestFailed(DrawpointError, OSError):
    """The service gave no usable answer; `status` is the HTTP status, if there was one."""

    status: int | None = None
    request_id: str | None = None


class AccessDenied(RequestFailed, PermissionError):
    """The service wants a token, or another one (401, 403)."""


class ServiceUnavailable(RequestFailed, ConnectionError):
    """The service cannot be reached or is overloaded, also after retries."""


class DeadlineExceeded(RequestFailed, TimeoutError):
    """No usable answer within the total deadline."""


class ResponseDamaged(RequestFailed):
    """A response that is short, fails its digest or does not parse, also when asked for again."""
