"""`drawpoint convert`: a tree of per-field .pt files, or of what a recipe reads, becomes a store."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import posixpath
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drawpoint.draw.seeds import MAX_SEED
from drawpoint.errors import InvalidSample
from drawpoint.format.manifest import FIELD_DTYPES
from drawpoint_cli.arguments import (
    MAX_DEFAULT_WORKERS,
    Subparsers,
    add_command,
    default_workers,
    integer,
    location,
    storage,
)
from drawpoint_cli.conversion_report import print_report
from drawpoint_cli.filemap import REMEDY, describe_presets, report_unmapped_files
from drawpoint_cli.shared_conversion import add_shares, print_share
from drawpoint_cli.source import add_source_format, open_source
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.engines.dask_cluster import check_address, dask_executor
from drawpoint_store.conversion.planning.compatibility import held_fields, writer_settings
from drawpoint_store.conversion.planning.target import (
    Existing,
    check_locations,
    check_target,
    check_workers,
    load_manifest,
)
from drawpoint_store.conversion.scalars import read_scalar_table
from drawpoint_store.conversion.sharing.shares import check_unpublished, convert_share, publish_shares
from drawpoint_store.conversion.sources.pt_source import PtSource
from drawpoint_store.storage.locations import is_in_memory, is_remote, local_path
from drawpoint_store.writing.layout import FIELD_SPECS
from drawpoint_store.writing.writer import ZarrStoreWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drawpoint_store.reading.manifest import StoreManifest
    from drawpoint_store.writing.layout import FieldSpec

_DESCRIPTION = """\
Convert a tree of per-field .pt files to a store, or with --recipe files of VTK, arrays and tables.

A sample is a directory below SOURCE that holds the file of every field; its id is its path below SOURCE. A directory
that holds only some of them, or tensors that cannot be stored (NaN or inf, counts that disagree, values out of range),
is broken: it is left out, and named with the reason at the end. Files that look like fields and are in no file map are
named at the beginning. A recipe says itself what a sample is (docs/recipes.md).

The store appears at the end, in one piece. After an interruption the same command goes on where it was.
"""
_EPILOG = """\
presets for --filemap (their files; each sample is a directory):
{presets}

examples:
  drawpoint convert runs/ stores/cars
  drawpoint convert runs/ s3://bucket/cars --field-dtype volume_vorticity=float32
  drawpoint convert drivaernet/ stores/drivaernet --filemap drivaernet --workers 8
  drawpoint convert /data/drivaerml s3://bucket/drivaerml --recipe drivaerml
  drawpoint convert /data/drivaerml s3://bucket/drivaerml --recipe drivaerml --dask tcp://scheduler:8786
  drawpoint convert more_runs/ stores/cars --append
  drawpoint convert runs/ s3://bucket/cars --task 3/8     # in a process of its own, as 1/8 to 8/8; then, once:
  drawpoint convert runs/ s3://bucket/cars --publish      # docs/converting.md has it as a SLURM array

Exit status: 0 all samples are in the store, or with --task all of the share are converted; 1 some were broken (unless
--skip-broken), the work failed, or --publish found shares that are not done; 2 wrong usage.
"""

PROBES = 3
"""How many samples, spread over the source, are probed at most before anything is written."""

DEFAULT_COMPRESSION_LEVEL = 0
"""Measured on real runs (tests/benchmarks/compression.py): points in random order shrink by a tenth
at most, and decoding them takes longer than a disk or a 1 Gbit/s link takes for that tenth."""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = add_command(
        subparsers,
        "convert",
        "SOURCE STORE_ROOT [options]",
        description=_DESCRIPTION,
        epilog=_EPILOG.format(presets=describe_presets()),
    )
    parser.add_argument(
        "source", metavar="SOURCE", type=location, help="the directory of samples: a path or a URL (s3://...)"
    )
    parser.add_argument("store_root", metavar="STORE_ROOT", type=storage, help="the store to write: a path or a URL")
    add_source_format(parser)
    parser.add_argument(
        "--scalars",
        metavar="FILE",
        type=location,
        help="numbers of each sample, such as U_inf or Cd: a CSV file with a row a sample and its id in the first "
        "column, or in one named sample or id; or JSON or TOML with named numbers by id (docs/converting.md)",
    )
    parser.add_argument(
        "--dataset-name", metavar="NAME", help="name in the manifest (default: that of the recipe, or of SOURCE)"
    )
    parser.add_argument(
        "--chunk-points",
        metavar="N",
        type=integer(1),
        help="points a chunk; choose about as many as one draw takes (default: 4096)",
    )
    parser.add_argument(
        "--shard-points", metavar="N", type=integer(1), help="most points a shard (default: all of an array)"
    )
    parser.add_argument("--values-dtype", choices=FIELD_DTYPES, help="dtype of all but positions (default: float16)")
    parser.add_argument(
        "--field-dtype",
        metavar="FIELD=D",
        type=_field_dtype,
        action="append",
        default=[],
        help="dtype of one field, such as volume_vorticity=float32; may be given several times",
    )
    parser.add_argument(
        "--compression-level",
        metavar="N",
        type=integer(0, 9),
        help="of blosc-zstd, 1 to 9, or 0 to store chunks as they are: shuffled points hardly compress, and reading is "
        f"several times faster without (default: {DEFAULT_COMPRESSION_LEVEL}; ZarrStoreWriter's is 5)",
    )
    parser.add_argument(
        "--shuffle-seed", metavar="N", type=integer(0, MAX_SEED), help="seed of the points' order (default: 0)"
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=integer(1),
        help=f"processes, each with one field in memory (default: one a core, at most {MAX_DEFAULT_WORKERS})",
    )
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="have the workers of a Dask cluster convert, which see SOURCE and STORE_ROOT under the same absolute "
        "paths or URLs: the address of its scheduler, such as tcp://host:8786, or the path of the scheduler's file "
        "(docs/converting.md)",
    )
    parser.add_argument("--skip-broken", action="store_true", help="exit with 0 although some samples are broken")
    parser.add_argument(
        "--strict", action="store_true", help="refuse a source with files that look like fields and are in no file map"
    )
    parser.add_argument(
        "--stats",
        action=argparse.BooleanOptionalAction,
        help="measure what is written, without another read, and write the statistics of the training split, or of all "
        "samples where no split is one (default: where SOURCE or the store has splits, and with --append where the "
        "store keeps moments)",
    )
    parser.add_argument(
        "--max-relative-error",
        metavar="E",
        type=_share,
        help="refuse a field of which more than 1 value in 100 would lose more than this, such as 1e-2, or more than 5 "
        "in 100 would become zero (default: no limit)",
    )
    add_shares(parser)
    existing = parser.add_mutually_exclusive_group()
    existing.add_argument(
        "--append",
        action="store_true",
        help="add to a store the samples that it does not list, with its settings where none are given",
    )
    existing.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a store; the files of the old samples stay for its readers",
    )


def run(args: argparse.Namespace) -> int:
    """Convert, and print the report; broken samples go to stderr, one a line."""
    existing: Existing = "append" if args.append else "overwrite" if args.overwrite else "refuse"
    in_memory = any(is_in_memory(location) for location in (args.source, args.store_root))
    workers = args.workers or (1 if in_memory or args.dask else default_workers())
    try:
        _check_engine(args, in_memory=in_memory)
        check_locations(args.source, args.store_root)
        check_workers(workers, args.source, args.store_root.root)
    except ValueError as error:
        args.wrong_usage(str(error))
    is_shared = args.publish or args.task is not None
    if is_shared and is_in_memory(args.store_root):
        args.wrong_usage(f"{args.store_root} lives in the memory of one process: shares are put together elsewhere")
    (check_unpublished if is_shared else check_target)(args.store_root, existing)
    store = load_manifest(args.store_root) if args.append else None
    source = open_source(args, held_fields(store) if store else ())
    fields = source.writer_settings
    try:
        writer = ZarrStoreWriter(args.store_root, **_writer_settings(args, store, source.specs, fields))
    except ValueError as error:
        args.wrong_usage(str(error))
        raise
    scalars = None if args.scalars is None else read_scalar_table(args.scalars)
    unmapped = report_unmapped_files(source) if isinstance(source, PtSource) else ""
    if unmapped and args.strict:
        raise InvalidSample(f"{unmapped}: {REMEDY}, or convert without --strict.")
    if unmapped:
        sys.stderr.write(f"{unmapped}: {REMEDY}.\n")
    options: dict[str, Any] = {
        "scalars": scalars,
        "existing": existing,
        "max_relative_error": args.max_relative_error,
        "stats": args.stats,
    }
    if args.publish:
        report = publish_shares(source, writer, **options, keep_finished=True)
    else:
        with contextlib.nullcontext() if args.dask is None else dask_executor(args.dask, _tell) as executor:
            engine: dict[str, Any] = {"workers": workers, "executor": executor, "progress": True, "n_probes": PROBES}
            if args.task is not None:
                report = convert_share(source, writer, args.task, **options, **engine)
            else:
                report = convert(source, writer, **options, **engine, keep_finished=True)
    if args.task is not None:
        print_share(report, args.task, args.words)
        return 1 if report.broken and not args.skip_broken else 0
    print_report(report, writer, args)
    return 1 if report.broken and not (args.skip_broken and (report.converted or report.skipped)) else 0


def _check_engine(args: argparse.Namespace, *, in_memory: bool) -> None:
    """Raise ValueError for options that do not go with --dask, and for an address that is none."""
    if args.dask is None:
        return
    if args.workers is not None:
        raise ValueError("--dask and --workers exclude each other: a Dask cluster has the workers that were started.")
    if in_memory:
        raise ValueError("memory:// lives in the memory of one process, which the workers of --dask do not share.")
    check_address(args.dask)


def _tell(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def _writer_settings(
    args: argparse.Namespace, store: StoreManifest | None, specs: Sequence[FieldSpec], fields: Mapping[str, Any]
) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "dataset_name": _name_of(args.source),
        "compression_level": DEFAULT_COMPRESSION_LEVEL,
        **fields,
    }
    if store is not None:
        settings |= writer_settings(store)
    for name in ("dataset_name", "chunk_points", "shard_points", "values_dtype", "compression_level", "shuffle_seed"):
        if getattr(args, name) is not None:
            settings[name] = getattr(args, name)
    settings["field_dtypes"] = settings.get("field_dtypes", {}) | {
        _find_field(name, specs): dtype for name, dtype in args.field_dtype
    }
    return settings


def _name_of(source: str) -> str:
    path = str(Path(local_path(source)).resolve()) if not is_remote(source) else source
    return posixpath.basename(path.rstrip("/")) or "dataset"


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number in 0..1")
    return share


def _field_dtype(text: str) -> tuple[str, str]:
    name, _, dtype = text.partition("=")
    if dtype not in FIELD_DTYPES:
        raise argparse.ArgumentTypeError(f"{text!r} is not FIELD=D with D one of {', '.join(FIELD_DTYPES)}")
    return name, dtype


def _find_field(name: str, specs: Sequence[FieldSpec]) -> str:
    """Return the canonical field that `name` or a FileMap attribute stands for; raises ValueError with near names."""
    fields = {each: spec.canonical for spec in (*FIELD_SPECS, *specs) for each in (spec.canonical, spec.filemap_attr)}
    if name in fields:
        return fields[name]
    near = difflib.get_close_matches(name, fields)
    hint = f"near names: {', '.join(near)}" if near else f"there is: {', '.join(spec.canonical for spec in specs)}"
    raise ValueError(f"--field-dtype: {name!r} is no field; {hint}.")
