"""`drawpoint prune`: remove groups and files that the manifest does not name."""

from __future__ import annotations

import argparse
import re
import sys

from drawpoint_cli.arguments import Subparsers, add_command, add_store_root
from drawpoint_store.maintenance.prune import prune_store
from drawpoint_store.wording import count, printable

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DEFAULT_AGE = "7d"

_DESCRIPTION = """\
List the groups and files that the manifest of a store does not name: those of replaced revisions, and of conversions
that were killed. With --delete, remove those that are old enough. Nothing that the present manifest names is ever
removed.
"""
_EPILOG = """\
Readers that opened the store at an earlier revision, and conversions that have not ended, still need such groups:
choose an age beyond the longest training and the longest conversion. Exit status: 0 success, 1 the work failed (a
conversion is at work, or the storage does not answer), 2 wrong usage.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = add_command(
        subparsers, "prune", "STORE_ROOT [--older-than AGE] [--delete]", description=_DESCRIPTION, epilog=_EPILOG
    )
    add_store_root(parser)
    parser.add_argument(
        "--older-than",
        metavar="AGE",
        type=_age,
        default=_age(_DEFAULT_AGE),
        help=f"keep what was changed within this time: a number with s, m, h, d or w, or 0 (default: {_DEFAULT_AGE})",
    )
    parser.add_argument("--delete", action="store_true", help="remove it; without this nothing is changed")


def run(args: argparse.Namespace) -> int:
    """Prune, and print each path with what became of it."""
    found = old = 0
    for leftover in prune_store(args.store_root, older_than_seconds=args.older_than, delete=args.delete):
        age = leftover.age_seconds
        found += 1
        old += leftover.is_old
        word = "recent" if not leftover.is_old else "removed" if args.delete else "old"
        changed = "at a time that the storage does not tell" if age is None else f"{_in_words(age)} ago"
        sys.stdout.write(f"{word:8}{printable(leftover.path)}, changed {changed}\n")
    if not found:
        sys.stdout.write("nothing that the manifest does not name\n")
    elif args.delete:
        sys.stdout.write(f"{count(old, 'path')} removed, {found - old:,} left\n")
    else:
        sys.stdout.write(f"{count(old, 'path')} of {found:,} would be removed: repeat it with --delete\n")
    return 0


def _age(text: str) -> float:
    matched = re.fullmatch(r"(\d{1,9})([smhdw])|0", text)
    if matched is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age such as 12h or 7d")
    return 0.0 if text == "0" else float(matched[1]) * _SECONDS[matched[2]]


def _in_words(seconds: float) -> str:
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds >= _SECONDS[unit] or unit == "s")
    return f"{seconds / _SECONDS[unit]:.0f} {unit}"
