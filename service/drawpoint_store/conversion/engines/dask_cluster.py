"""The connection to a Dask cluster that somebody has started: `convert --dask ADDRESS`."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drawpoint.errors import StoreUnreadable
from drawpoint.extras import importing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor

_ADDRESS = re.compile(r"(?:(?:tcp|tls|ws|wss|ucx)://)?[^/\s]+:[0-9]{1,5}")
_FILE_END = ".json"

_CONNECT_SECONDS = 30.0
"""For so long is waited for the scheduler and for its file: a script may have started it just now."""

_LOOK_SECONDS = 0.5
_CLOSE_SECONDS = 5.0


def check_address(address: str) -> None:
    """Raise ValueError for what is neither the address of a scheduler nor the path of its file."""
    if not address.endswith(_FILE_END) and not _ADDRESS.fullmatch(address):
        raise ValueError(
            f"{address!r} is no Dask scheduler: give its address, such as tcp://host:8786, or the path of the file "
            f"that `dask scheduler --scheduler-file FILE{_FILE_END}` writes."
        )


@contextlib.contextmanager
def dask_executor(address: str, tell: Callable[[str], object]) -> Iterator[Executor]:
    """Give the executor of a Dask cluster, once that has a worker: its workers may begin later than this.

    `address` is that of its scheduler, or the path of the scheduler's file; `tell` is told what is waited for. Raises
    ValueError as `check_address` does, ExtraMissing without distributed, and StoreUnreadable where no scheduler
    answers.
    """
    check_address(address)
    with importing("dask", "--dask"):
        from distributed import Client  # noqa: PLC0415  of an extra
    place = _address_in(Path(address)) if address.endswith(_FILE_END) else address
    connect: Any = Client  # of which it gives no types
    for name in ("distributed", "distributed.client", "concurrent.futures", "asyncio", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what it logs on stderr, we say in a sentence
    try:
        client = connect(place, timeout=_CONNECT_SECONDS, set_as_default=False)
    except OSError as error:
        raise _unreachable(place) from error
    try:
        if not _has_workers(client, place):
            tell(f"the Dask scheduler at {place} has no workers: waiting for the first; Ctrl-C ends this.")
        while not _has_workers(client, place):
            time.sleep(_LOOK_SECONDS)
        yield client.get_executor()
    finally:
        client.close(timeout=_CLOSE_SECONDS)


def _address_in(file: Path) -> str:
    """Return the address in a scheduler's file, which the scheduler may be about to write."""
    deadline = time.monotonic() + _CONNECT_SECONDS
    while True:
        try:
            return str(json.loads(file.read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if time.monotonic() > deadline:
                raise StoreUnreadable(
                    f"{file} is no scheduler's file after {_CONNECT_SECONDS:g} s; `dask scheduler --scheduler-file "
                    f"{file}` writes it."
                ) from error
        time.sleep(_LOOK_SECONDS)


def _has_workers(client: Any, place: str) -> bool:
    if client.status == "closed":  # it has tried to connect again for as long as for the first time
        raise _unreachable(place)
    try:
        return bool(client.scheduler_info()["workers"])
    except OSError as error:
        raise _unreachable(place) from error


def _unreachable(place: str) -> StoreUnreadable:
    return StoreUnreadable(
        f"no Dask scheduler answers at {place}; start one with `dask scheduler`, and give the address that it prints."
    )
