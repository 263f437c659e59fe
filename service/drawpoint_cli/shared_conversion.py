"""`drawpoint convert --task I/N` and `--publish`: the arguments, and what a task prints."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from typing import TYPE_CHECKING

from drawpoint_cli.sizes import size
from drawpoint_store.conversion.sharing.shares import Share
from drawpoint_store.wording import count, first_few, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drawpoint_store.conversion.publishing.report import ConversionReport


def add_shares(parser: argparse.ArgumentParser) -> None:
    """Add --task and --publish."""
    shared = parser.add_mutually_exclusive_group()
    shared.add_argument(
        "--task",
        metavar="I/N",
        type=_share,
        help="convert share I of N, each in a process of its own, such as 3/8 in a SLURM array, and publish nothing",
    )
    shared.add_argument(
        "--publish",
        action="store_true",
        help="convert nothing: publish what all shares have converted, with the options that they had",
    )


def unshared_words(words: Sequence[str]) -> list[str]:
    """Return the words of a command line without --task I/N and --publish."""
    kept: list[str] = []
    given = iter(words)
    for word in given:
        name, has_value, _ = word.partition("=")
        if _is_short_for("--task", name):
            if not has_value:
                next(given, None)
        elif not _is_short_for("--publish", name):
            kept.append(word)
    return kept


def print_share(report: ConversionReport, share: Share, words: Sequence[str]) -> None:
    """Print what one share has converted and how all are published; broken samples go to stderr, one a line."""
    for sample_id, reason in report.broken.items():
        sys.stderr.write(f"broken: {printable(sample_id)}: {printable(reason)}\n")
    if report.broken:
        sys.stderr.write(
            f"{count(len(report.broken), 'sample')} of share {share} broken: mend and run the share again, or publish "
            "without.\n"
        )
    for field_dtype, ids in report.overflows.items():
        sys.stderr.write(
            f"{field_dtype.partition('=')[0]} exceeds the range of its dtype in {count(len(ids), 'sample')}: "
            f"{printable(first_few(ids))}; run all shares again with --field-dtype {field_dtype}.\n"
        )
    total = len(report.converted) + len(report.broken)
    resumed = f" ({report.resumed:,} of them finished by an earlier run)" if report.resumed else ""
    sys.stdout.write(
        f"share {share}, {count(total, 'sample')}: {len(report.converted):,} converted{resumed}, "
        f"{len(report.broken):,} broken, in {report.seconds:.1f} s: {size(report.bytes_read)} read, "
        f"{size(report.bytes_written)} written\n"
        "nothing is published yet; when all shares are done: "
        f"drawpoint {shlex.join([*unshared_words(words), '--publish'])}\n"
    )


def _share(text: str) -> Share:
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, share I of N, such as 3/8")
    try:
        return Share(int(found[1]), int(found[2]))
    except ValueError:
        raise argparse.ArgumentTypeError(f"there is no share {text}: give 1/N to N/N") from None


def _is_short_for(option: str, word: str) -> bool:
    return word.startswith("--") and word != "--" and option.startswith(word)
