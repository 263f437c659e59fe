"""`drawpoint verify`: find what is missing, damaged or changed in a store."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tqdm import tqdm

from drawpoint.errors import MetadataDamaged
from drawpoint_cli.arguments import Subparsers, add_command, add_store_root, add_workers, location
from drawpoint_cli.source import add_source_format, check_scratch, open_source
from drawpoint_store.conversion.planning.compatibility import held_fields
from drawpoint_store.inspecting.comparison import compare_fields, compare_samples
from drawpoint_store.inspecting.verify import verify_store
from drawpoint_store.maintenance.prune import find_leftovers
from drawpoint_store.reading.manifest import StoreManifest
from drawpoint_store.statistics.moments_table import read_moments
from drawpoint_store.wording import count, first_few, printable

if TYPE_CHECKING:
    import argparse

    from drawpoint_store.conversion.sources.source import Source

DAMAGED = 1
SHOWN = 5

_DESCRIPTION = """\
Read every chunk of every array of a store. Check that it is there and that its checksum is right, that counts agree
with the manifest, and that the values are finite and those that were written. Each problem is printed with its sample,
field and chunk; a damaged sample does not keep the others from being checked.

With --source, every value is also compared with the file that it came from, cast to the store's dtype and with the
shuffle undone. Samples and fields that only one of the two has are named, and so is the first row that differs.
"""
_EPILOG = """\
examples:
  drawpoint verify stores/cars
  drawpoint verify s3://bucket/cars --source runs/ --filemap drivaerml
  drawpoint verify stores/cars --source /data/drivaerml --recipe drivaerml

Exit status: 0 no problem, 1 at least one, 2 wrong usage. Stores of other writers have no digests and may have no
checksums: then damage that still decodes, and lost shards, are not found. The last lines say so, and what
`drawpoint upgrade` would add.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = add_command(subparsers, "verify", "STORE_ROOT [options]", description=_DESCRIPTION, epilog=_EPILOG)
    add_store_root(parser)
    parser.add_argument(
        "--source",
        metavar="RUNS",
        type=location,
        help="also compare every value with the files that the store was converted from: a path or URL",
    )
    add_source_format(parser)
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    """Verify, and print each problem when it is found; then compare with the source, if there is one."""
    if args.source is None:
        if args.recipe is not None or args.filemap is not None:
            args.wrong_usage("--recipe and --filemap say how a source is read; name it with --source")
        check_scratch(args)
        return _verify(args)
    source = open_source(args, held_fields(StoreManifest.load(args.store_root)))
    return max(_verify(args), _compare(args, source))


def _verify(args: argparse.Namespace) -> int:
    checks = []
    for check in verify_store(args.store_root, max_workers=args.workers, progress=True):
        checks.append(check)
        for problem in check.problems:
            tqdm.write(problem.message, file=sys.stdout)
    total = count(len(checks), "sample")
    no_tables = (
        "without tables of checksums, so that reads take a chunk in another's place: "
        f"`drawpoint upgrade {args.store_root}` adds them (to arrays in shards)"
    )
    for missing, remark in (
        ("has_checksums", "without checksums on their chunks: damage that still decodes is not found"),
        ("has_digest", "without a digest: values that were replaced are not found"),
        ("has_tables", no_tables),
    ):
        number = sum(not getattr(check, missing) for check in checks)
        if number:
            sys.stdout.write(f"remark: {number} of {total} {remark}\n")
    absent = sum(check.n_absent for check in checks)
    if absent:
        sys.stdout.write(
            f"remark: {count(absent, 'shard')} without an object, read as the fill value: other writers leave out "
            "shards of the fill value alone, so that a lost shard is not noticed there\n"
        )
    leftovers = find_leftovers(args.store_root, StoreManifest.load(args.store_root))
    if leftovers:
        sys.stdout.write(
            f"remark: {count(len(leftovers), 'path')} that the manifest does not refer to, of a replaced revision or "
            f"of a conversion that has not ended: {first_few(leftovers, SHOWN)}\n"
        )
    try:
        read_moments(args.store_root)
    except MetadataDamaged as error:
        sys.stdout.write(f"remark: {error}\n")
    problems = [len(check.problems) for check in checks if check.problems]
    if problems:
        sys.stderr.write(
            f"drawpoint verify: {count(sum(problems), 'problem')} in {len(problems)} of {total}; restore what is "
            "damaged from a copy or convert it again.\n"
        )
        return DAMAGED
    sys.stdout.write(f"{total}, {count(sum(check.n_chunks for check in checks), 'chunk')}: no problem\n")
    return 0


def _compare(args: argparse.Namespace, source: Source) -> int:
    fields = compare_fields(StoreManifest.load(args.store_root), source)
    sys.stdout.writelines(f"{difference}\n" for difference in fields)
    samples = []
    for sample in compare_samples(args.store_root, source, max_workers=args.workers, progress=True):
        samples.append(sample)
        for difference in sample.differences:
            tqdm.write(printable(difference.message), file=sys.stdout)
    total = count(len(samples), "sample")
    reordered = sum(not sample.order_known for sample in samples)
    if reordered:
        sys.stdout.write(
            f"remark: {reordered} of {total} in the order of another writer: rows were matched by position\n"
        )
    differences = [len(sample.differences) for sample in samples if sample.differences]
    if fields or differences:
        sys.stderr.write(
            f"drawpoint verify: {count(len(fields) + sum(differences), 'difference')} from {args.source}, in "
            f"{len(differences)} of {total}; convert again what differs, or name the source and the file map or "
            "recipe that the store was converted from.\n"
        )
        return DAMAGED
    sys.stdout.write(f"{total}, {count(sum(sample.n_values for sample in samples), 'value')}: as in {args.source}\n")
    return 0
