"""`drawpoint check`: compare what a store holds with physics."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from drawpoint_cli.arguments import Subparsers, add_command, add_store_root, add_workers
from drawpoint_cli.findings_table import explain, findings_table
from drawpoint_cli.source import recipe
from drawpoint_store.inspecting.physics.physics_check import check_physics
from drawpoint_store.wording import count, first_few, printable

if TYPE_CHECKING:
    import argparse

    from drawpoint_store.inspecting.physics.finding import Finding

FAILED = 1
_SHOWN = 3
_EXPLAINED = 20
"""Of so many samples it is explained what does not hold of a check; --json has all."""

_DESCRIPTION = """\
Compare what a store holds with physics: wrong signs, units, axes and pressures are found before a training is.

Normals are of unit length and point out of a closed surface, and areas are positive and fit the positions. With
--recipe, the recipe's [checks] hold too: forces summed over the surface are the coefficients that were published,
pressures as coefficients are those of the data set, and the flow comes in as it should. Where a sum does not hold, the
signs, axes and units are tried with which it would. docs/recipes.md has the keys of [checks].
"""
_EPILOG = """\
examples:
  drawpoint check stores/cars
  drawpoint check stores/cars --recipe drivaerml
  drawpoint check s3://bucket/cars --recipe mine.toml --sample run_1 run_2

Exit status: 0 all that was checked holds, 1 something does not, or nothing could be checked (with --strict: or not
all), 2 wrong usage. Remarks, such as an open surface of which no recipe says that it is closed, do not count.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = add_command(subparsers, "check", "STORE_ROOT [options]", description=_DESCRIPTION, epilog=_EPILOG)
    add_store_root(parser)
    parser.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        type=recipe,
        help="also check what this recipe says in [checks], shipped or in a TOML file",
    )
    parser.add_argument(
        "--sample", metavar="ID", nargs="+", action="extend", help="check these samples only (default: all)"
    )
    parser.add_argument("--strict", action="store_true", help="what could not be checked is a failure, too")
    parser.add_argument("--json", action="store_true", help="print all that was found as JSON, for programs")
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    """Check; print what does not hold when it is found, and a table at the end."""
    findings: list[Finding] = []
    told: Counter[tuple[str, str]] = Counter()
    checked = check_physics(
        args.store_root, args.recipe, sample_ids=args.sample, max_workers=args.workers, progress=True
    )
    for of_sample in checked:
        findings += of_sample
        if not args.json:
            _explain(of_sample, told)
    verdicts = Counter(finding.verdict for finding in findings)
    if args.json:
        sys.stdout.write(json.dumps([_document(each) for each in findings], indent=1, ensure_ascii=False) + "\n")
    else:
        _print_summary(args, findings, told)
    failed = verdicts["fails"] > 0 or (args.strict and verdicts["not checked"] > 0)
    checked_any = verdicts["fails"] > 0 or any(finding.found is not None for finding in findings)
    samples = {finding.sample for finding in findings if finding.verdict == "fails"}
    if verdicts["fails"]:
        sys.stderr.write(
            f"drawpoint check: {count(verdicts['fails'], 'check')} of {first_few(sorted(samples), _SHOWN)} "
            f"{'does' if verdicts['fails'] == 1 else 'do'} not hold; correct the recipe or the file map, and convert "
            "again.\n"
        )
    elif not checked_any:
        sys.stderr.write(
            "drawpoint check: nothing could be checked; give a --recipe with [checks] whose fields and scalars the "
            "store has.\n"
        )
    return FAILED if failed or not checked_any else 0


def _explain(findings: list[Finding], told: Counter[tuple[str, str]]) -> None:
    """Print what does not hold in a sample, and count it by verdict and check in `told`."""
    for finding in findings:
        if finding.verdict not in ("fails", "remark"):
            continue
        told[finding.verdict, finding.check] += 1
        if told[finding.verdict, finding.check] <= _EXPLAINED:
            for line in explain(finding):
                tqdm.write(printable(line), file=sys.stdout)


def _print_summary(args: argparse.Namespace, findings: list[Finding], told: Counter[tuple[str, str]]) -> None:
    for (verdict, check), number in told.items():
        if number > _EXPLAINED:
            more = f"{verdict}: {count(number - _EXPLAINED, 'more sample')}, {check}: --json has them"
            sys.stdout.write(f"{printable(more)}\n")
    sys.stdout.writelines(f"{printable(line)}\n" for line in findings_table(findings))
    lacking: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        if finding.verdict == "not checked":
            lacking.setdefault((finding.check, finding.message), []).append(finding.sample)
    for (check, reason), samples in lacking.items():
        where = f"{count(len(samples), 'sample')} ({first_few(samples, _SHOWN)})"
        sys.stdout.write(printable(f"not checked: {check} in {where}: {reason}") + "\n")
    if args.recipe is not None and not args.recipe.checks:
        sys.stdout.write(
            f"remark: the recipe {args.recipe.name} has no [checks]: only normals and areas were looked at\n"
        )


def _document(finding: Finding) -> dict[str, Any]:
    numbers = {**asdict(finding), "difference": finding.difference}
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }
