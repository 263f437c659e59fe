"""`drawpoint stats`: the statistics of each field, into the store and onto the screen."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from drawpoint.errors import DrawpointError
from drawpoint_service.commands.arguments import add_store_root, add_workers
from drawpoint_service.commands.wording import count
from drawpoint_store import stores
from drawpoint_store.splits import read_split
from drawpoint_store.statistics import (
    STATISTICS_NAME,
    choose_fields,
    choose_samples,
    measure_fields,
    statistics_json,
)
from drawpoint_store.store import OpenStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint_store.measuring.running import RunningStats

FAILED = 1
STDOUT = "-"
COLUMNS = ("mean", "std", "min", "max", "logmean", "logstd")
SHOWN = 3

_DESCRIPTION = f"""\
Measure each field of a store, component by component, over all points of all samples or of a split: mean, standard
deviation and variance (unbiased), minimum, maximum, and mean and deviation of sign(x) * log(1 + abs(x)).

They are written to STORE_ROOT/{STATISTICS_NAME}, bound to the store's revision, and `drawpoint serve` serves them.
"""
_EPILOG = """\
examples:
  drawpoint stats stores/cars
  drawpoint stats s3://bucket/cars --split train
  drawpoint stats stores/cars --fields surface_pressure,volume_velocity --output -

docs/statistics.md says how they are computed.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's arguments."""
    parser = subparsers.add_parser(
        "stats",
        usage="drawpoint stats STORE_ROOT [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_store_root(parser)
    parser.add_argument("--split", metavar="NAME", help="measure the samples of this split only, the training one say")
    parser.add_argument(
        "--fields", metavar="A,B", type=_names, help="measure these fields only, by canonical name (default: all)"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help=f"write there, a path or URL, or {STDOUT} for stdout (default: STORE_ROOT/{STATISTICS_NAME})",
    )
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, write the file, and print a table of it."""
    store = OpenStore(args.store_root)
    try:
        fields = choose_fields(store.manifest, args.fields)
        sample_ids = choose_samples(store.manifest, _split_ids(args.store_root, args.split, store))
        measured = measure_fields(store, fields, sample_ids, max_workers=args.workers, progress=True)
    except ValueError as error:
        if isinstance(error, DrawpointError):
            raise
        sys.stderr.write(f"drawpoint stats: {error}\n")
        return FAILED
    revision = store.manifest.revision
    document = statistics_json(measured, revision=revision, split=args.split, n_samples=len(sample_ids))
    if args.output == STDOUT:
        sys.stdout.write(document.decode())
        return 0
    place = _write(args.store_root, args.output, document)
    split = "" if args.split is None else f" (split {args.split})"
    sys.stdout.write(_table(measured))
    sys.stdout.write(f"statistics of {count(len(sample_ids), 'sample')}{split} at revision {revision[:12]}: {place}\n")
    return 0


def _split_ids(store_root: str, split: str | None, store: OpenStore) -> list[str] | None:
    """Return the ids of the split that the store holds; the others are named on stderr."""
    if split is None:
        return None
    ids = read_split(store_root, split)
    absent = [sample_id for sample_id in ids if sample_id not in store.manifest.samples]
    if absent:
        named = ", ".join(absent[:SHOWN]) + (", ..." if len(absent) > SHOWN else "")
        sys.stderr.write(f"{len(absent)} of the {len(ids)} ids of split {split!r} are not in the store: {named}\n")
    return [sample_id for sample_id in ids if sample_id in store.manifest.samples]


def _write(store_root: str, output: str | None, document: bytes) -> str:
    if output is None:
        return stores.write_bytes(store_root, STATISTICS_NAME, document)
    folder, slash, name = output.rpartition("/")
    return stores.write_bytes((folder or slash) if slash else ".", name, document)


def _table(measured: Mapping[str, RunningStats]) -> str:
    """Return one line a component, aligned in columns."""
    lines: list[tuple[str, ...]] = [("field", "points", *COLUMNS)]
    for field, stats in measured.items():
        values = stats.to_dict()
        for component in range(len(values["mean"])):
            axis = f" {'xyz'[component]}" if len(values["mean"]) == len("xyz") else ""
            cells = (values[column][component] for column in COLUMNS)
            lines.append((field + axis, f"{values['count']:,}", *("-" if x is None else f"{x:.5g}" for x in cells)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ("  ".join((line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:]))) for line in lines)
    return "\n".join(rows) + "\n"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
