"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING, TypeAlias

from drawpoint.errors import InvalidSettings
from drawpoint_store.storage import Storage, open_storage
from drawpoint_store.storage.locations import check_location, is_remote, local_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  argparse has no public name for it

MAX_DEFAULT_WORKERS = 4
"""More threads wait for the disk and for each other; more processes each hold a sample in memory."""


def add_command(
    subparsers: Subparsers, name: str, usage: str, *, description: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    """Add the command `drawpoint NAME USAGE`; its help keeps the line breaks of description and epilog.

    `run` may end with `args.wrong_usage(sentence)`, which exits with status 2.
    """
    parser = subparsers.add_parser(
        name,
        usage=f"drawpoint {name} {usage}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(wrong_usage=parser.error)
    return parser


def add_store_root(parser: argparse.ArgumentParser) -> None:
    """Add STORE_ROOT."""
    parser.add_argument(
        "store_root", metavar="STORE_ROOT", type=storage, help="the store: a path or URL (s3://bucket/store)"
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add --workers, a number of threads."""
    parser.add_argument(
        "--workers",
        metavar="N",
        type=integer(1),
        default=default_workers(),
        help=f"threads; the result is the same for any (default: one a core, at most {MAX_DEFAULT_WORKERS})",
    )


def default_workers() -> int:
    """Return a worker for each core of this process, at most MAX_DEFAULT_WORKERS."""
    return min(MAX_DEFAULT_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)


def location(text: str) -> str:
    """Return a path or URL as it was given; raises ArgumentTypeError for what is neither."""
    try:
        check_location(text)
    except InvalidSettings as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
    return text


def storage(text: str) -> Storage:
    """Return the storage at a path or URL; raises what `location` raises."""
    return open_storage(location(text))


def local(what: str) -> Callable[[str], Path]:
    """Return the type of an argument that takes the path of what is local, a "file" or a "folder"."""

    def parse(text: str) -> Path:
        if is_remote(location(text)):
            raise argparse.ArgumentTypeError(f"{text!r} is a URL; give a local {what}")
        return local_path(text)

    return parse


def nbytes(text: str) -> int:
    """Return the bytes that `500M` or `1.5T` stands for, in powers of 1,000; raises ArgumentTypeError."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([kMGT]?)B?", text)
    count = round(float(found[1]) * 1000 ** " kMGT".index(found[2] or " ")) if found else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes, such as 500M, 200G or 1.5T")
    return count


def integer(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return the type of an argument that takes integers from `low`, to `high` if there is one."""

    def parse(text: str) -> int:
        if text.isdecimal() and int(text) >= low and (high is None or int(text) <= high):
            return int(text)
        bounds = f"in {low}..{high}" if high is not None else f"of at least {low}"
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer {bounds}")

    return parse
