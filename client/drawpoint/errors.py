"""All errors of drawpoint. They know nothing of HTTP: the service maps them to statuses.

    DrawpointError
    +-- UnknownName (KeyError, ValueError)      no such name; `near` holds similar ones
    |   +-- StoreNotFound (FileNotFoundError)
    |   +-- SampleNotFound
    |   +-- SplitNotFound
    |   +-- UnknownDomain
    |   +-- UnknownField
    |   +-- UnknownScalar
    |   +-- UnknownParameter
    +-- StatisticsNotFound (LookupError)        the store ships no statistics
    +-- UnknownOrder (LookupError)              the source's rows are not known: no rule of the shuffle that is known
    +-- InvalidParameter (ValueError)           a parameter with an invalid value
    +-- InvalidDraw (ValueError)                an invalid count, seed, part or selection
    +-- InvalidSample (ValueError)              field arrays that cannot be stored as a sample
    |   +-- ValueOverflow                       a finite value beyond the range of its dtype
    +-- InvalidManifest (ValueError)            a manifest that is damaged or unsafe
    +-- StoreExists (FileExistsError)           the root to write to holds a store already
    +-- ConversionUnfinished                    shares of a conversion are not done yet
    +-- ResponseTooLarge (ValueError)           the draw exceeds max_response_bytes
    +-- RevisionChanged                         the store has another revision than requested
    +-- DataDamaged (OSError)                   stored bytes are missing or wrong
    |   +-- ChunkMissing
    |   +-- ChunkDamaged
    |   +-- MetadataDamaged
    +-- StoreUnreadable (OSError)               the storage did not answer
    +-- InvalidSettings (ValueError)            an unknown or invalid setting of the service
    +-- ExtraMissing (ModuleNotFoundError)      an optional dependency is not installed
    +-- Overloaded                              the service is at its limit
    +-- RequestFailed (OSError)                 the client got no usable answer from the service
        +-- AccessDenied (PermissionError)
        +-- ServiceUnavailable (ConnectionError)
        +-- DeadlineExceeded (TimeoutError)
        +-- ResponseDamaged

Every error takes one message, so that it can be pickled and raised again in another process. What it is about
(store, sample, field, chunk) is kept in attributes.
"""

from __future__ import annotations

import difflib
from bisect import bisect
from heapq import nlargest
from itertools import islice
from os.path import commonprefix
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NEAR_NAMES_SEARCHED = 1_500
"""How many names are searched. The service does it on its event loop, within a millisecond."""

NEAR_NEIGHBOURS = 8
"""How many names before and after the unknown one, in sorted order, are candidates."""

NEAR_NAMES_COMPARED = 6
"""How many candidates are compared letter by letter: those with the longest common beginnings and ends."""

NEAR_LETTERS = 32
"""How many letters of a name are compared, half of them at each end. difflib's time grows with their square."""


def _ends(name: str) -> str:
    return name if len(name) <= NEAR_LETTERS else name[: NEAR_LETTERS // 2] + name[-NEAR_LETTERS // 2 :]


def _neighbours(name: str, names: list[str]) -> list[str]:
    """Return the `names` next to `name` when sorted from the beginning, and when sorted from the end."""
    begin = bisect(ordered := sorted(names), name)
    found = ordered[max(0, begin - NEAR_NEIGHBOURS) : begin + NEAR_NEIGHBOURS]
    begin = bisect(ordered := sorted([other[::-1] for other in names]), name[::-1])
    return found + [other[::-1] for other in ordered[max(0, begin - NEAR_NEIGHBOURS) : begin + NEAR_NEIGHBOURS]]


def _shared_ends(name: str, other: str) -> int:
    pairs = ([name, other], [name[::-1], other[::-1]])
    return sum(len(commonprefix(pair)) for pair in pairs)  # noqa: RUF071  names, not paths: letters are compared


class DrawpointError(Exception):
    """Base of all errors. `str()` is one plain sentence that names the remedy.

    `store`, `sample`, `field` and `chunk` say what the error is about; None where they do not apply.
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

    def __reduce__(self) -> tuple[Any, ...]:
        # As Exception has it. Of classes that have none of their own, what pickles the errors of Dask's workers (tblib)
        # makes instances by a __new__ of one of their bases, which is not that of the others.
        return type(self), self.args, self.__dict__

    def __str__(self) -> str:
        # KeyError would show the repr of its argument.
        return str(self.args[0]) if self.args else ""


class UnknownName(DrawpointError, KeyError, ValueError):
    """A name that does not exist. `near` holds similar names that do."""

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
        near, hint = _near_names(name, known)
        error = cls(f"{where} has no {kind} {name!r}; {hint}.", store=store, sample=sample)
        error.near = near
        return error


def _near_names(name: str, known: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """Return the nearest of `known`, or a few of them if none is near, and the words that say so."""
    names = list(islice(known, NEAR_NAMES_SEARCHED))
    ends = _ends(name)
    # One name stands for all that share its beginning and end.
    by_ends = {_ends(other): other for other in reversed(_neighbours(name, names))}
    nearest = nlargest(NEAR_NAMES_COMPARED, by_ends, key=lambda other: _shared_ends(ends, other))
    near = tuple(by_ends[other] for other in difflib.get_close_matches(ends, nearest, n=3, cutoff=0.6))
    if near:
        return near, f"near names: {', '.join(near)}"
    shown = tuple(names[:8])
    return shown, f"there is: {', '.join(shown) or 'none'}{', ...' if len(names) > len(shown) else ''}"


class StoreNotFound(UnknownName, FileNotFoundError):
    """No store with that id is served, or there is no manifest at that root."""


class SampleNotFound(UnknownName):
    """The store has no such sample."""


class SplitNotFound(UnknownName):
    """The store has no split of that name."""


class UnknownDomain(UnknownName):
    """The store or the sample has no such domain."""


class UnknownField(UnknownName):
    """The store or the sample has no such field."""


class UnknownScalar(UnknownName):
    """Samples have no scalar of that name."""

    @classmethod
    def lacking(cls, name: str, held: Mapping[str, Mapping[str, float]], *, of: str, store: str | None) -> Self:
        """Build the error for samples, given with the scalars that they hold, some or all of which have no `name`."""
        lacking = [sample_id for sample_id, scalars in held.items() if name not in scalars]
        near, hint = _near_names(name, dict.fromkeys(each for scalars in held.values() for each in scalars))
        if len(lacking) < len(held):
            near, hint = (), "add it with `drawpoint annotate STORE_ROOT --scalars FILE`, or leave these samples out"
        shown = ", ".join(lacking[:3]) + (", ..." if lacking[3:] else "")  # thousands may
        told = f"{len(lacking)} of {len(held)} samples{of} lack the scalar {name!r}: {shown}"
        error = cls(f"{told}; {hint}.", store=store, sample=lacking[0])
        error.near = near
        return error


class UnknownParameter(UnknownName):
    """The request has no such parameter. `allowed` holds those that it has."""

    parameter: str = ""
    allowed: tuple[str, ...] = ()


class StatisticsNotFound(DrawpointError, LookupError):
    """The store has no statistics."""


class UnknownOrder(DrawpointError, LookupError):
    """The manifest names no known rule of the order in which points were stored, as that of another writer."""


class InvalidParameter(DrawpointError, ValueError):
    """A parameter with an invalid value. `allowed` holds the valid values, or describes them."""

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
    """A count, seed, part or selection of fields that is invalid."""


class InvalidSample(DrawpointError, ValueError):
    """Field arrays that cannot be stored as a sample, or not without loss."""


class ValueOverflow(InvalidSample):
    """A finite value is beyond the range of the dtype that it is to be stored in; `wider` is one that holds it."""

    wider: str = "float64"


class InvalidManifest(DrawpointError, ValueError):
    """A manifest that is damaged, unsafe, or of an unknown format version."""


class StoreExists(DrawpointError, FileExistsError):
    """The root where a new store is to be written holds a store already."""


class ConversionUnfinished(DrawpointError):
    """Some samples of a conversion that several processes share are not converted yet."""


class ResponseTooLarge(DrawpointError, ValueError):
    """The draw is larger than the service sends in one response."""


class RevisionChanged(DrawpointError):
    """The store has another revision than the one requested."""


class DataDamaged(DrawpointError, OSError):
    """Stored bytes that are missing or wrong. The error names sample, field and chunk where they are known."""


class ChunkMissing(DataDamaged):
    """A chunk, or the shard that holds it, does not exist."""


class ChunkDamaged(DataDamaged):
    """A chunk is too short, fails its checksum or does not decode."""


class MetadataDamaged(DataDamaged):
    """Array metadata or a shard index that is damaged or disagrees with the manifest."""


class StoreUnreadable(DrawpointError, OSError):
    """The storage did not answer, so that nothing is known of the data."""


class InvalidSettings(DrawpointError, ValueError):
    """A setting of the service that is unknown, or whose value is invalid."""


class ExtraMissing(DrawpointError, ModuleNotFoundError):
    """An optional dependency is not installed. The message names the extra that brings it."""


class Overloaded(DrawpointError):
    """The service is at its limit of requests or memory. The same request may succeed a little later."""


class RequestFailed(DrawpointError, OSError):
    """The service gave no usable answer. `status` is the HTTP status, if there was one."""

    status: int | None = None
    request_id: str | None = None


class AccessDenied(RequestFailed, PermissionError):
    """The token is missing or wrong (401, 403)."""


class ServiceUnavailable(RequestFailed, ConnectionError):
    """The service could not be reached, or was overloaded, in all retries."""


class DeadlineExceeded(RequestFailed, TimeoutError):
    """There was no usable answer within the deadline."""


class ResponseDamaged(RequestFailed):
    """A response was too short, failed its checksum or did not parse, also when requested again."""
