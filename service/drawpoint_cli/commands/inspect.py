"""`drawpoint inspect`: what a folder of data holds, which recipe fits, and what a conversion will take."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from drawpoint.errors import InvalidSettings
from drawpoint_cli.arguments import Subparsers, add_command, default_workers, local, location
from drawpoint_cli.source import add_scratch, check_scratch, recipe
from drawpoint_cli.survey_lines import survey_lines
from drawpoint_store.conversion.scratch.scratch import Scratch
from drawpoint_store.conversion.survey.source_survey import survey_source
from drawpoint_store.storage.locations import is_remote
from drawpoint_store.wording import printable

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from drawpoint_store.conversion.survey.source_survey import SourceSurvey

_DESCRIPTION = """\
Look at a folder of data before it is converted, or at one file: files by pattern, arrays with their place, dtype and
range, the recipe that fits, what a conversion would store, what is missing, and what it will take in time and bytes.

The names and sizes of all files are looked at, and a few samples are opened; of each array the first million values
are read. Nothing is changed.
"""
_EPILOG = """\
examples:
  drawpoint inspect /data/runs
  drawpoint inspect /data/runs --write-recipe mine.toml     # a first recipe, to edit
  drawpoint inspect /data/runs --recipe mine.toml           # how it fits
  drawpoint convert /data/runs stores/runs --recipe mine.toml

Exit status: 0 there is something to convert, 1 there is not, or it cannot be read, 2 wrong usage.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = add_command(
        subparsers,
        "inspect",
        "SOURCE [--recipe NAME|FILE] [--write-recipe FILE] [--json]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument("source", metavar="SOURCE", type=location, help="a folder of samples, or one file")
    parser.add_argument(
        "--recipe", metavar="NAME|FILE", type=recipe, help="say how this recipe fits, shipped or in a TOML file"
    )
    parser.add_argument(
        "--write-recipe",
        metavar="FILE",
        type=local("file"),
        help="write a first recipe, to edit; a file that exists is kept",
    )
    add_scratch(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON, for programs")


def run(args: argparse.Namespace) -> int:
    """Print what there is; the status is 1 where nothing of it can be converted."""
    if args.recipe is not None and args.write_recipe is not None:
        args.wrong_usage("--write-recipe writes a first recipe; it has nothing to do where --recipe is given")
    if args.write_recipe is not None and args.write_recipe.exists():
        args.wrong_usage(f"{args.write_recipe} exists already; give the name of a new file")
    check_scratch(args)
    survey = survey_source(
        args.source,
        args.recipe,
        workers=default_workers(),
        progress=True,
        scratch=Scratch(args.scratch, args.scratch_bytes),
    )
    if args.write_recipe is not None:
        _write(args.write_recipe, survey)
    if args.json:
        sys.stdout.write(json.dumps(_document(survey), indent=1, ensure_ascii=False) + "\n")
    else:
        written = None if args.write_recipe is None else shlex.quote(str(args.write_recipe))
        sys.stdout.writelines(f"{printable(line)}\n" for line in survey_lines(survey, written))
    return 0 if survey.can_be_converted else 1


def _write(path: Path, survey: SourceSurvey) -> None:
    if survey.first_recipe is None and is_remote(survey.source):
        raise InvalidSettings(
            f"no recipe can be written of {survey.source}: the files of a URL are looked at with a --recipe alone; "
            "copy a sample or two to this machine, and inspect these."
        )
    if survey.first_recipe is None:
        raise InvalidSettings(
            f"no recipe can be written of {survey.source}: it has no mesh, and no array named like positions (points, "
            "or x, y and z), or nothing could be read; without --write-recipe this command says what there is, and "
            "docs/recipes.md how a recipe names positions."
        )
    path.write_text(survey.first_recipe, encoding="utf-8")


def _document(survey: SourceSurvey) -> dict[str, Any]:
    return {**asdict(survey), "unreadable": survey.unreadable}
