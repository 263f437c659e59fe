"""`drawpoint upgrade`: bind the bytes of a store that was written without tables of checksums to their places."""

from __future__ import annotations

import argparse
import sys

from drawpoint_cli.arguments import add_store_root, add_workers
from drawpoint_cli.wording import count, printable
from drawpoint_store.inspecting.upgrade import upgrade_store

DAMAGED = 1

_DESCRIPTION = """\
Give a store, of an earlier drawpoint or of another writer, what `drawpoint convert` writes: a table of the checksums of
each array's chunks, in order, and a digest of each sample that the manifest repeats. From then on a chunk, a shard or a
group in another's place is an error, as damage is.

Every chunk is read and checked, and nothing but metadata is written, in place: no data is copied. Readers and services
go on meanwhile. At the end the store has a new revision with the same values; its statistics stay valid. Arrays of
other writers that are not sharded get no table: the digest alone holds them.
"""
_EPILOG = """\
After an interruption the same command goes on. Samples that are damaged are named and stay as they are. Exit status:
0 all samples are upgraded, 1 some are damaged or the work failed, 2 wrong usage.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser(
        "upgrade",
        usage="drawpoint upgrade STORE_ROOT [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_store_root(parser)
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    """Upgrade, and print what came of it; damaged samples go to stderr, one a line."""
    try:
        report = upgrade_store(args.store_root, max_workers=args.workers, progress=True)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; samples that are upgraded stay so: run the same command again.") from None
    for reason in report.damaged.values():
        sys.stderr.write(f"damaged: {printable(reason)}\n")
    had = f", {len(report.unchanged):,} had been before" if report.unchanged else ""
    sys.stdout.write(
        f"{count(len(report.upgraded), 'sample')} upgraded{had}; the store is at revision {report.revision[:12]}\n"
    )
    if report.damaged:
        left = "left as it was" if len(report.damaged) == 1 else "left as they were"
        sys.stderr.write(
            f"drawpoint upgrade: {count(len(report.damaged), 'sample')} damaged and {left}; restore what is "
            "damaged from a copy or convert it anew, and run the same command again.\n"
        )
        return DAMAGED
    return 0
