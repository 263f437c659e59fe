"""What `drawpoint convert` prints of a conversion that has ended."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from drawpoint.errors import DrawpointError
from drawpoint_cli.precision import precision_table
from drawpoint_cli.shared_conversion import unshared_words
from drawpoint_store.reading.statistics_file import STATISTICS_NAME, read_statistics, renewal_command
from drawpoint_store.wording import count, first_few, printable

if TYPE_CHECKING:
    import argparse

    from drawpoint.format.sample_table import SampleTable
    from drawpoint_store.conversion.publishing.report import ConversionReport
    from drawpoint_store.storage import Storage
    from drawpoint_store.writing.writer import ZarrStoreWriter

SHOWN = 4
"""How many groups of a replaced revision are named; `drawpoint prune` lists all."""


def print_report(report: ConversionReport, writer: ZarrStoreWriter, args: argparse.Namespace) -> None:
    """Print the result on stdout; broken samples, warnings and remarks go to stderr, one a line."""
    for sample_id, reason in report.broken.items():
        sys.stderr.write(f"broken: {printable(sample_id)}: {printable(reason)}\n")
    if report.broken:
        total = len(report.broken) + len(report.converted) + len(report.skipped)
        verb = "is" if len(report.broken) == 1 else "are"
        remedy = (
            "mend them, then add them with --append" if report.converted or report.skipped else "no store is written"
        )
        sys.stderr.write(f"{len(report.broken)} of {count(total, 'sample')} {verb} broken and left out: {remedy}.\n")
    if report.overflows:
        sys.stderr.write(_explain_overflows(report, args))
    if report.skipped:
        sys.stdout.write(f"skipped {count(len(report.skipped), 'sample')} that the store holds already\n")
    if report.revision is None:
        return
    resumed = f" ({report.resumed} of them finished by an interrupted run)" if report.resumed else ""
    written = f"{_megabytes(report.bytes_read)} read, {_megabytes(report.bytes_written)} written"
    if report.kept:
        written += f", {count(report.kept, 'array')} kept of an earlier run"
    sys.stdout.write(
        f"converted {count(len(report.converted), 'sample')}{resumed} with {report.n_points:,} points in "
        f"{report.seconds:.1f} s: {written}\n"
        f"store {writer.store_root}: dataset {writer.manifest.dataset_name}, revision {report.revision}\n"
    )
    for name, size in report.splits.items():
        absent = f"; {size.listed - size.held:,} more are not in the store" if size.held < size.listed else ""
        sys.stdout.write(f"split {name}: {count(size.held, 'sample')}{absent}\n")
    _print_precision(report, writer)
    _report_zero_normals(report)
    _report_scalars(writer.manifest.samples)
    if report.replaced:
        sys.stdout.write(
            f"{count(len(report.replaced), 'group')} of the replaced revision stay for its readers; drawpoint prune "
            f"{writer.store_root} removes them later: {first_few(report.replaced, SHOWN)}\n"
        )
    _print_statistics(report, writer)


def _print_statistics(report: ConversionReport, writer: ZarrStoreWriter) -> None:
    """Print of which samples there are statistics now, or why there are none and what measures them."""
    found, store = report.statistics, writer.store_root
    of = "" if found is None or found.split is None else f" of split {printable(found.split)}"
    if found is not None and not found.refusal:
        sys.stdout.write(
            f"statistics{of}, of {count(found.n_samples, 'sample')}: {writer.storage.join(STATISTICS_NAME)}; those of "
            f"another split take no read: {shlex.join(['drawpoint', 'stats', store, '--split', 'NAME'])}\n"
        )
        return
    reason = "" if found is None else f": {printable(found.refusal)}"
    if _has_stale_statistics(writer.storage, report.revision or ""):
        renewal = renewal_command(writer.storage)
        sys.stdout.write(f"its statistics are of another revision{reason}; renew them: {renewal}\n")
    elif found is not None:
        words = ["drawpoint", "stats", store, *(["--split", found.split] if found.split else [])]
        sys.stdout.write(f"it has no statistics{of}{reason}; measure them: {shlex.join(words)}\n")


def _report_zero_normals(report: ConversionReport) -> None:
    """Print on stderr how many points have a normal that is none."""
    for field, found in report.zero_normals.items():
        sys.stderr.write(
            f"remark: {field} is (0, 0, 0), as where a cell has no area, at {count(sum(found.values()), 'point')} in "
            f"{len(found):,} of {count(len(report.converted), 'sample')}: {printable(first_few(list(found), SHOWN))}\n"
        )


def _report_scalars(samples: SampleTable) -> None:
    """Print the names of scalars, and on stderr those that some of the samples lack."""
    found = samples.scalar_values()
    if found:
        sys.stdout.write(f"scalars: {', '.join(found)}\n")
    for name, values in found.items():
        lacking = [sample_id for sample_id in samples if sample_id not in values]
        if lacking:
            sys.stderr.write(
                f"remark: {len(lacking):,} of {count(len(samples), 'sample')} lack the scalar {name}: "
                f"{printable(first_few(sorted(lacking), SHOWN))}\n"
            )


def _print_precision(report: ConversionReport, writer: ZarrStoreWriter) -> None:
    dtypes = {field: array.dtype for field, array in writer.manifest.fields.items()}
    for line in precision_table({field: found.summary() for field, found in report.precision.items()}, dtypes):
        sys.stdout.write(f"{line}\n")
    for field, underflow in report.underflows.items():
        if underflow.matters:
            sys.stderr.write(f"warning: {underflow.explain(field, dtypes[field])}.\n")


def _explain_overflows(report: ConversionReport, args: argparse.Namespace) -> str:
    """Return the lines that name the fields that overflow, their samples, and the command that stores them wider."""
    lines = [
        f"{field_dtype.partition('=')[0]} exceeds the range of its dtype in {count(len(ids), 'sample')}: "
        f"{printable(first_few(ids, SHOWN))}"
        for field_dtype, ids in report.overflows.items()
    ]
    if args.append:
        lines.append("an append cannot store a field wider: convert all sources of the store again with --field-dtype.")
    else:
        wider = {each.partition("=")[0]: each for each in sorted(report.overflows)}  # the widest of each field
        words = [*unshared_words(args.words), *(f"--field-dtype={each}" for each in wider.values())]
        if report.revision is not None and not args.overwrite:
            words.append("--overwrite")
        lines.append(f"store wider what overflows: drawpoint {shlex.join(words)}")
    return "\n".join(lines) + "\n"


def _has_stale_statistics(storage: Storage, revision: str) -> bool:
    try:
        statistics = read_statistics(storage)
    except DrawpointError:
        return True  # a file that cannot be read is to be written again; the conversion itself is done
    return statistics is not None and statistics["revision"] != revision


def _megabytes(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.1f} MB"
