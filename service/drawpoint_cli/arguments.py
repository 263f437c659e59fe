"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSettings
from drawpoint_store.storage.locations import check_location, is_remote, local_path

if TYPE_CHECKING:
    from pathlib import Path

MAX_DEFAULT_WORKERS = 4
"""Threads beyond these wait for the disk and for each other."""


def location(text: str) -> str:
    """Return a path or URL as it was given; raises ArgumentTypeError for what is neither."""
    try:
        check_location(text)
    except InvalidSettings as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
    return text


def folder(text: str) -> Path:
    """Return the path of a local folder; raises ArgumentTypeError for a URL of anything else."""
    if is_remote(location(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is a URL; give a local folder")
    return local_path(text)


def add_store_root(parser: argparse.ArgumentParser) -> None:
    """Add STORE_ROOT."""
    parser.add_argument(
        "store_root", metavar="STORE_ROOT", type=location, help="the store: a path or URL (s3://bucket/store)"
    )


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add --workers, a number of threads."""
    parser.add_argument(
        "--workers",
        metavar="N",
        type=positive,
        default=_default_workers(),
        help=f"threads; the result is the same for any (default: one a core, at most {MAX_DEFAULT_WORKERS})",
    )


def positive(text: str) -> int:
    """Return an integer of at least 1, as an argument's type."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return int(text)


def _default_workers() -> int:
    return min(MAX_DEFAULT_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
