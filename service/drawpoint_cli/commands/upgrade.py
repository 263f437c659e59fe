"""`drawpoint upgrade`: add checksums and digests to a store that was written without them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from drawpoint_cli.arguments import Subparsers, add_command, add_store_root, add_workers
from drawpoint_store.maintenance.upgrade import upgrade_store
from drawpoint_store.wording import count, printable

if TYPE_CHECKING:
    import argparse

DAMAGED = 1

_DESCRIPTION = """\
Add checksums to a store of drawpoint 0.1 or of another writer, as `drawpoint convert` writes them: a table of the
checksums of each array's chunks, and a digest of each sample. From then on a chunk, a shard or a group in the place of
another is reported as damage.

Every chunk is read and checked. Only metadata is written, in place: no data is copied. Readers and services go on
meanwhile. The store has a new revision afterwards with the same values, and its statistics stay valid. Arrays of other
writers that are not sharded get no table; the digest alone protects them.
"""
_EPILOG = """\
After an interruption the same command goes on. Damaged samples are named and stay as they are.

Exit status: 0 all samples are upgraded, 1 some are damaged or the work failed, 2 wrong usage.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = add_command(subparsers, "upgrade", "STORE_ROOT [options]", description=_DESCRIPTION, epilog=_EPILOG)
    add_store_root(parser)
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    """Upgrade, and print the result; damaged samples go to stderr, one a line."""
    try:
        report = upgrade_store(args.store_root, max_workers=args.workers, progress=True)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "interrupted; upgraded samples are kept: run the same command again to go on."
        ) from None
    sys.stderr.writelines(f"damaged: {printable(reason)}\n" for reason in report.damaged.values())
    had = f", {len(report.unchanged):,} had been before" if report.unchanged else ""
    sys.stdout.write(
        f"{count(len(report.upgraded), 'sample')} upgraded{had}; the store is at revision {report.revision[:12]}\n"
    )
    if not report.damaged:
        return 0
    left = "left as it was" if len(report.damaged) == 1 else "left as they were"
    sys.stderr.write(
        f"drawpoint upgrade: {count(len(report.damaged), 'sample')} damaged and {left}; restore what is damaged from "
        "a copy or convert it again, and run the same command again.\n"
    )
    return DAMAGED
