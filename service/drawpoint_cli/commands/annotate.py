"""`drawpoint annotate`: add or correct scalars, units, descriptions and splits of a store."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from drawpoint_cli.arguments import Subparsers, add_command, add_store_root
from drawpoint_store.conversion.scalars import read_scalar_table
from drawpoint_store.maintenance.annotate import Annotations, annotate_store
from drawpoint_store.reading.splits import read_split_ids
from drawpoint_store.reading.statistics_file import renewal_command
from drawpoint_store.wording import count, first_few, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from drawpoint_store.maintenance.annotate import AnnotationReport

_DESCRIPTION = """\
Add or correct what a store says of its samples and fields, without converting again: scalars of samples, units and
descriptions of fields, and splits. No sample's data is read or written. The store has a new revision afterwards, which
running services go to by themselves; a split alone changes no revision.
"""
_EPILOG = """\
examples:
  drawpoint annotate stores/cars --scalars inflow.csv
  drawpoint annotate stores/cars --units volume_velocity=m/s --description volume_velocity='mean of 1,000 steps'
  drawpoint annotate s3://bucket/cars --split train=train_ids.txt --split val=val_ids.txt

The statistics of the store stay valid, unless they are of a split that is changed, or of values divided by a scalar
that is. The manifest is replaced in one step: after an interruption, run the same command again.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = add_command(subparsers, "annotate", "STORE_ROOT [options]", description=_DESCRIPTION, epilog=_EPILOG)
    add_store_root(parser)
    parser.add_argument(
        "--scalars",
        metavar="FILE",
        help="numbers by sample id, as of `drawpoint convert --scalars`: added to those of the samples, in place of "
        "those of the same name",
    )
    _add_repeated(parser, "--remove-scalar", "NAME", str, "remove this scalar from all samples")
    _add_repeated(parser, "--units", "FIELD=UNITS", _pair, "the units of a field; FIELD= removes them")
    _add_repeated(parser, "--description", "FIELD=TEXT", _pair, "what a field is; FIELD= removes it")
    _add_repeated(
        parser, "--split", "NAME=FILE", _pair, "the samples of a split: a file of sample ids of the store, one a line"
    )


def run(args: argparse.Namespace) -> int:
    """Annotate, and print what changed."""
    if not (args.scalars or args.remove_scalar or args.units or args.description or args.split):
        args.wrong_usage("there is nothing to write; give --scalars, --units, --description or --split")
    for option in ("units", "description", "split"):
        names = [name for name, _ in getattr(args, option)]
        if len(set(names)) < len(names):
            args.wrong_usage(f"--{option} names {max(names, key=names.count)} twice")
    annotations = Annotations(
        scalars={} if args.scalars is None else read_scalar_table(args.scalars),
        remove_scalars=args.remove_scalar,
        units={name: text or None for name, text in args.units},
        descriptions={name: text or None for name, text in args.description},
        splits={name: read_split_ids(file) for name, file in args.split},
    )
    _print_report(annotate_store(args.store_root, annotations), args)
    return 0


def _print_report(report: AnnotationReport, args: argparse.Namespace) -> None:
    names = sorted({name for each in report.scalars.values() for name in each})
    done = [
        *([f"scalars {first_few(names, 8)} of {count(len(report.scalars), 'sample')}"] if names else []),
        *([f"units and descriptions of {', '.join(report.fields)}"] if report.fields else []),
        *(f"split {name} of {count(n_ids, 'sample')}" for name, n_ids in report.splits.items()),
    ]
    written = f"wrote {'; '.join(done)}" if done else "nothing to write: the store says all of this already"
    sys.stdout.write(f"{printable(written)}\nthe store is at revision {report.revision[:12]}\n")
    if report.statistics == "stale":
        sys.stdout.write(f"its statistics are stale; renew them: {renewal_command(args.store_root)}\n")


def _add_repeated(
    parser: argparse.ArgumentParser, option: str, metavar: str, kind: Callable[[str], object], text: str
) -> None:
    parser.add_argument(
        option, metavar=metavar, type=kind, action="append", default=[], help=f"{text}; may be given several times"
    )


def _pair(text: str) -> tuple[str, str]:
    name, is_pair, value = text.partition("=")
    if not is_pair or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
