"""`drawpoint verify`: all of a store is there and as it was written, or what is not."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tqdm import tqdm

from drawpoint_cli.arguments import add_store_root, add_workers, location
from drawpoint_cli.sources import add_filemap, choose_filemap
from drawpoint_cli.wording import count, printable
from drawpoint_store.conversion.tensors import require_torch
from drawpoint_store.conversion.tree import SourceTree
from drawpoint_store.inspecting.comparison import compare_fields, compare_samples
from drawpoint_store.inspecting.verify import find_leftovers, verify_store
from drawpoint_store.reading.manifest import StoreManifest

if TYPE_CHECKING:
    from drawpoint_store.writing.layout import FileMap

DAMAGED = 1
SHOWN = 5

_DESCRIPTION = """\
Read every chunk of every array of a store: is it there, is its checksum right, does its count agree with the
manifest, are the values finite, and those that were written? Each problem is printed with its sample, field and chunk;
one damaged sample does not keep the others from being checked.

With --source, every value is compared as well with the files that it came from, cast as the store has it, with the
shuffle undone. Samples and fields that only one of the two has are named, and so is the first row that differs.
"""
_EPILOG = """\
examples:
  drawpoint verify stores/cars
  drawpoint verify s3://bucket/cars --source runs/ --filemap drivaerml

Exit status: 0 no problem, 1 at least one, 2 wrong usage. Stores of other writers may carry no checksums and carry no
digests: their values can only be decoded, and shards that they left out not be told from lost ones; the last lines
say so, and what `drawpoint upgrade` would add.
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
    parser.add_argument(
        "--source",
        metavar="RUNS",
        type=location,
        help="also compare every value with the files that the store was converted from: a path or URL",
    )
    add_filemap(parser)
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    """Verify, and print each problem when it is found; then compare with the source, if there is one."""
    if args.source is None:
        return _verify(args)
    require_torch()
    source = SourceTree.scan(args.source)
    filemap = choose_filemap(args.filemap, source)
    return max(_verify(args), _compare(args, source, filemap))


def _compare(args: argparse.Namespace, source: SourceTree, filemap: FileMap) -> int:
    problems = compare_fields(StoreManifest.load(args.store_root), filemap)
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    samples = differing = values = foreign = 0
    found = len(problems)
    for compared in compare_samples(args.store_root, source, filemap, max_workers=args.workers, progress=True):
        samples += 1
        values += compared.n_values
        foreign += not compared.order_known
        differing += bool(compared.differences)
        found += len(compared.differences)
        for difference in compared.differences:
            tqdm.write(printable(difference.message), file=sys.stdout)
    if foreign:
        sys.stdout.write(
            f"remark: {foreign} of {count(samples, 'sample')} in an order that is not known here: rows were matched by "
            "position\n"
        )
    if found:
        sys.stderr.write(
            f"drawpoint verify: {count(found, 'difference')} from {args.source}, in {differing} of "
            f"{count(samples, 'sample')}; convert anew what differs, or name the source and the file map that it "
            "came from.\n"
        )
        return DAMAGED
    sys.stdout.write(f"{count(samples, 'sample')}, {count(values, 'value')}: as in {args.source}\n")
    return 0


def _verify(args: argparse.Namespace) -> int:
    samples = chunks = damaged = problems = unchecked = undigested = unbound = absent = 0
    for check in verify_store(args.store_root, max_workers=args.workers, progress=True):
        samples += 1
        chunks += check.n_chunks
        damaged += bool(check.problems)
        problems += len(check.problems)
        unchecked += not check.has_checksums
        undigested += not check.has_digest
        unbound += not check.has_tables
        absent += check.n_absent
        for problem in check.problems:
            tqdm.write(problem.message, file=sys.stdout)
    remedy = f"`drawpoint upgrade {args.store_root}`"
    unbound_means = (
        f"without tables of checksums, so that reads take a chunk in another's place: {remedy} adds them (to arrays in "
        "shards)"
    )
    for number, what in (
        (unchecked, "without checksums on their chunks: damage that still decodes is not found"),
        (undigested, "without a digest: values that were replaced are not found"),
        (unbound, unbound_means),
    ):
        if number:
            sys.stdout.write(f"remark: {number} of {count(samples, 'sample')} {what}\n")
    if absent:
        sys.stdout.write(
            f"remark: {count(absent, 'shard')} without an object, read as the fill value: other writers leave out what "
            "is nothing but that, so that absence cannot be told from loss there\n"
        )
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
