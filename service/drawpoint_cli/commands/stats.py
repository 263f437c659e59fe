"""`drawpoint stats`: the statistics of each field, into the store and onto the screen."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, get_args

from drawpoint.errors import DrawpointError, InvalidParameter
from drawpoint.format.scale import Scale
from drawpoint_cli.arguments import Subparsers, add_command, add_store_root, add_workers, integer, location
from drawpoint_store.reading.reader import ZarrChunkReader
from drawpoint_store.reading.splits import find_split_file, read_split
from drawpoint_store.reading.statistics_file import STATISTICS_NAME
from drawpoint_store.statistics.documents import COLUMNS, statistics_json, statistics_yaml
from drawpoint_store.statistics.moments_table import MOMENTS_NAME, write_moments
from drawpoint_store.statistics.store_statistics import (
    OnInvalid,
    choose_fields,
    choose_samples,
    measure_fields,
    open_table,
)
from drawpoint_store.storage import open_storage
from drawpoint_store.storage.locations import split_path
from drawpoint_store.wording import count, first_few, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint_store.statistics.moments_table import MomentsTable
    from drawpoint_store.statistics.running_stats import RunningStats
    from drawpoint_store.statistics.store_statistics import Measurement

FAILED = 1
STDOUT = "-"
NOETHER = "noether"

_DESCRIPTION = f"""\
Measure each field of a store, component by component, over all points of all samples or of a split: mean, standard
deviation and variance (unbiased), minimum, maximum, and mean and deviation of sign(x) * log(1 + abs(x)).

They are written to STORE_ROOT/{STATISTICS_NAME}, bound to the store's revision, and `drawpoint serve` serves them.
Those of --limit and --split-file, which are neither of the store nor of a split of its own, go to --output alone, and
so does --format noether, by default to stdout.

A sample is read once: its moments are kept in STORE_ROOT/{MOMENTS_NAME}, where `drawpoint convert` puts
them too, and hold as long as its digest does. So another split, or a store that was appended to, takes little time.
Scaled fields are always read, and all samples with --reread.

With --scale, a field is measured after a division by an expression in the scalars of each sample, such as the dynamic
pressure of its inflow. The file names the expression, and a Normaliser of these statistics divides by it too.
"""
_EPILOG = """\
examples:
  drawpoint stats stores/cars
  drawpoint stats s3://bucket/cars --split train
  drawpoint stats stores/cars --fields surface_pressure,volume_velocity --output -
  drawpoint stats stores/cars --scale 'surface_pressure=0.5*rho_inf*U_inf**2'
  drawpoint stats stores/cars --split train --format noether --output stats.yaml

docs/statistics.md says how they are computed.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = add_command(subparsers, "stats", "STORE_ROOT [options]", description=_DESCRIPTION, epilog=_EPILOG)
    add_store_root(parser)
    samples = parser.add_mutually_exclusive_group()
    samples.add_argument("--split", metavar="NAME", help="measure the samples of this split only, the training one say")
    samples.add_argument(
        "--split-file",
        metavar="FILE",
        help="measure the samples that this file lists, one id a line; a relative path is that of a file below "
        "STORE_ROOT, or else of one here",
    )
    parser.add_argument("--limit", metavar="N", type=integer(1), help="measure the first N of the samples only")
    parser.add_argument(
        "--fields", metavar="A,B", type=_names, help="measure these fields only, by canonical name (default: all)"
    )
    parser.add_argument("--exclude-fields", metavar="A,B", type=_names, help="measure all fields but these")
    parser.add_argument(
        "--scale",
        metavar="FIELD=EXPRESSION",
        type=_scale,
        action="append",
        default=[],
        help="divide the values of this field by an expression of numbers, names of scalars, + - * / ** and "
        "parentheses; may be given several times",
    )
    parser.add_argument(
        "--reread",
        action="store_true",
        help=f"read all samples, also those whose moments STORE_ROOT/{MOMENTS_NAME} keeps",
    )
    parser.add_argument(
        "--on-invalid",
        choices=get_args(OnInvalid),
        default="error",
        help="what to do about NaN and inf: end with an error that names the samples, or skip these points, of the "
        "field that holds them (default: error)",
    )
    parser.add_argument(
        "--format",
        choices=("json", NOETHER),
        default="json",
        help="json, or the stats.yaml that noether's normalisers read (default: json)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=location,
        help=f"write there, a path or URL, or {STDOUT} for stdout (default: STORE_ROOT/{STATISTICS_NAME})",
    )
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, write the file, and print a table of it."""
    if args.scale and args.format == NOETHER:
        args.wrong_usage("noether's normalisers do not divide by a scale; give --scale or --format noether, not both")
    if len(scales := dict(args.scale)) < len(args.scale):
        args.wrong_usage("--scale names a field twice; give each field one expression")
    store = ZarrChunkReader(args.store_root)
    try:
        sample_ids, origin, table, (measured, _, n_read) = _measure(args, store, scales)
    except ValueError as error:
        if isinstance(error, DrawpointError):
            raise
        sys.stderr.write(f"drawpoint stats: {error}\n")
        return FAILED
    revision, n_samples = store.manifest.revision, len(sample_ids)
    what = f"statistics of {count(n_samples, 'sample')}{origin} at revision"
    if args.format == NOETHER:
        document = statistics_yaml(measured, remark=f"{what} {revision}, by drawpoint stats")
    else:
        split = args.split or args.split_file
        document = statistics_json(measured, revision=revision, split=split, n_samples=n_samples)
    if args.output == STDOUT or (args.output is None and args.format == NOETHER):
        sys.stdout.write(document.decode())
        return 0
    if args.output is None and (args.limit is not None or args.split_file is not None):
        place = "not written into the store, of which they are only a part; --output FILE writes them elsewhere"
    elif args.output is None:
        if n_read and len(table):  # samples without digests keep none
            write_moments(args.store_root, table)
        place = args.store_root.write(STATISTICS_NAME, document)
    else:
        folder, name = split_path(args.output)
        place = open_storage(folder).write(name, document)
    sys.stdout.write(f"{_table(measured)}{what} {revision[:12]}: {place}\n{_describe_kept(n_samples, n_read)}")
    return 0


def _measure(
    args: argparse.Namespace, store: ZarrChunkReader, scales: Mapping[str, Scale]
) -> tuple[list[str], str, MomentsTable, Measurement]:
    """Return the ids of the samples, the words that name their origin, their moments, and what is measured of them."""
    fields = choose_fields(store.manifest, args.fields, args.exclude_fields)
    listed, origin = _list_samples(args, store)
    sample_ids = choose_samples(store.manifest, listed, args.limit)
    table, damaged = open_table(store)
    if damaged is not None:
        sys.stderr.write(f"{damaged}\n")
    measured = measure_fields(
        store,
        fields,
        sample_ids,
        table,
        max_workers=args.workers,
        progress=True,
        on_invalid=args.on_invalid,
        scale=scales,
        reread=args.reread,
    )
    if measured.left_out is not None:
        sys.stderr.write(f"{measured.left_out}\n")
    return sample_ids, origin, table, measured


def _describe_kept(n_samples: int, n_read: int) -> str:
    """Return the line that says how many samples were not read, nothing where all were."""
    if n_read == n_samples:
        return ""
    return f"{n_read:,} of {count(n_samples, 'sample')} read, others kept in {MOMENTS_NAME}; --reread reads all\n"


def _list_samples(args: argparse.Namespace, store: ZarrChunkReader) -> tuple[list[str] | None, str]:
    """Return the ids to measure that the store holds, None for all, and the words that name their origin.

    The ids that the store lacks are named on stderr.
    """
    if args.split is not None:
        kind, name, ids = "split", args.split, read_split(args.store_root, args.split)
    elif args.split_file is not None:
        kind, (name, ids) = "split file", find_split_file(args.store_root, args.split_file)
        if not ids:
            raise ValueError(f"split file {name!r} lists no sample ids; it takes one a line.")
    else:
        return None, ""
    held = [sample_id for sample_id in ids if sample_id in store.manifest.samples]
    absent = [sample_id for sample_id in ids if sample_id not in store.manifest.samples]
    if absent:
        sys.stderr.write(
            f"{len(absent)} of the {len(ids)} ids of {kind} {name!r} are not in the store: {first_few(absent)}\n"
        )
    return held, f" ({kind} {printable(name)})"


def _table(measured: Mapping[str, RunningStats]) -> str:
    """Return one line a component, aligned in columns."""
    lines: list[tuple[str, ...]] = [("field", "points", *COLUMNS)]
    for field, stats in measured.items():
        values = stats.to_dict()
        dim = len(values["mean"])
        name = field if stats.scale is None else f"{field} / ({stats.scale})"
        for component in range(dim):
            axis = f" {'xyz'[component]}" if dim == len("xyz") else ""
            cells = (values[column][component] for column in COLUMNS)
            lines.append((name + axis, f"{values['count']:,}", *("-" if x is None else f"{x:.5g}" for x in cells)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ("  ".join((line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:]))) for line in lines)
    return "".join(f"{row}\n" for row in rows)


def _scale(text: str) -> tuple[str, Scale]:
    field, is_given, expression = text.partition("=")
    if not is_given:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=EXPRESSION")
    try:
        return field.strip(), Scale(expression)
    except InvalidParameter as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
