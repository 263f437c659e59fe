"""`drawpoint verify`: all of a store is there and as it was written, or what is not."""

from __future__ import annotations

import argparse
import sys

from tqdm import tqdm

from drawpoint_service.commands.arguments import add_store_root, add_workers
from drawpoint_service.commands.wording import count
from drawpoint_store.manifest import StoreManifest
from drawpoint_store.verify import find_leftovers, verify_store

DAMAGED = 1
SHOWN = 5

_DESCRIPTION = """\
Read every chunk of every array of a store: is it there, is its checksum right, does its count agree with the
manifest, are the values finite, and those that were written? Each problem is printed with its sample, field and chunk;
one damaged sample does not keep the others from being checked.
"""
_EPILOG = """\
Exit status: 0 no problem, 1 at least one, 2 wrong usage. Stores of other writers may carry no checksums and carry no
digests: their values can only be decoded, and the last lines say so.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser(
        "verify",
        usage="drawpoint verify STORE_ROOT [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_store_root(parser)
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    """Verify, and print each problem when it is found."""
    samples = chunks = damaged = problems = unchecked = undigested = 0
    for check in verify_store(args.store_root, max_workers=args.workers, progress=True):
        samples += 1
        chunks += check.n_chunks
        damaged += bool(check.problems)
        problems += len(check.problems)
        unchecked += not check.has_checksums
        undigested += not check.has_digest
        for problem in check.problems:
            tqdm.write(problem.message, file=sys.stdout)
    for number, what in (
        (unchecked, "without checksums on their chunks: damage that still decodes is not found"),
        (undigested, "without a digest: values that were replaced are not found"),
    ):
        if number:
            sys.stdout.write(f"remark: {number} of {count(samples, 'sample')} {what}\n")
    leftovers = find_leftovers(args.store_root, StoreManifest.load(args.store_root))
    if leftovers:
        named = ", ".join(leftovers[:SHOWN]) + (", ..." if len(leftovers) > SHOWN else "")
        sys.stdout.write(
            f"remark: {count(len(leftovers), 'path')} that the manifest does not refer to, of a replaced revision or "
            f"of a conversion that has not ended: {named}\n"
        )
    if problems:
        sys.stderr.write(
            f"drawpoint verify: {count(problems, 'problem')} in {damaged} of {count(samples, 'sample')}; restore "
            "what is damaged from a copy or convert it anew.\n"
        )
        return DAMAGED
    sys.stdout.write(f"{count(samples, 'sample')}, {count(chunks, 'chunk')}: no problem\n")
    return 0
