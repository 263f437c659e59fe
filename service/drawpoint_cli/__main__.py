"""The `drawpoint` command: runs a subcommand, and turns errors into sentences and exit statuses."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING

import drawpoint
from drawpoint.errors import DrawpointError, ExtraMissing
from drawpoint.extras import how_to_install

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

FAILED = 1
INTERRUPTED = 130
"""What shells report for a process that SIGINT ended."""


COMMANDS = {
    "convert": ("write a store from a tree of per-field .pt files, or by a recipe from files of VTK", "convert"),
    "inspect": ("say what a folder of data holds, which recipe fits, and what a conversion will take", "raw"),
    "recipes": ("list the recipes of public data sets, or print one", "store"),
    "serve": ("serve stores over HTTP", "service"),
    "stats": ("compute per-field statistics of a store for normalisation", "store"),
    "verify": ("read every chunk of a store and check it", "store"),
    "check": ("compare a store with physics: forces, pressures, normals, areas, inflow", "store"),
    "upgrade": ("add checksums to a store of drawpoint 0.1 or of another writer", "store"),
    "annotate": ("add or correct scalars, units, descriptions and splits of a store", "store"),
    "prune": ("remove groups and files that the manifest does not name", "store"),
    "info": ("show what a store holds", "store"),
    "demo": ("convert the shipped runs, serve them and draw one sample", "client,convert,service"),
}
"""The line of each command in `drawpoint --help`, and the extras that it needs."""

_DESCRIPTION = """\
Random draws of huge CFD samples: convert a data set to a store, serve the store over HTTP, and draw training
samples from it.
"""
_EPILOG = """\
examples:
  drawpoint convert runs/ stores/cars
  drawpoint serve --store cars=stores/cars

`drawpoint COMMAND --help` explains a command. Exit status: 0 success, 1 the work failed, 2 wrong usage.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 success, 1 the work failed, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = next((word for word in words if not word.startswith("-")), "")
    try:
        try:
            status = _run(name, words)
        except SystemExit as end:  # argparse, after --help or wrong usage
            status = end.code if isinstance(end.code, int) else FAILED
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output has left, as `head` does; the interpreter must not flush to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, DrawpointError, ModuleNotFoundError, OSError) as error:
        sys.stderr.write(f"drawpoint {name}: {_explain(name, error)}\n")
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED
    return status


def _run(name: str, words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="drawpoint",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"drawpoint {drawpoint.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for known, (summary, _) in COMMANDS.items():
        if known == name:
            command = _load(name)
            command.add_parser(subparsers)
        else:
            subparsers.add_parser(known, help=summary)
    args = parser.parse_args(words)  # which ends the command for any other name
    args.words = words
    status: int = command.run(args)
    return status


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"drawpoint_cli.commands.{name}")
    except ExtraMissing as error:  # which names the extra of one package: the command needs more
        raise ModuleNotFoundError(str(error), name=error.name) from error


def _explain(name: str, error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted."
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, ExtraMissing):
        missing = (error.name or "").partition(".")[0]
        if name in COMMANDS and missing and not missing.startswith("drawpoint"):
            return f"{missing} is not installed: {how_to_install(COMMANDS[name][1])}."
        raise error
    if isinstance(error, OSError) and not isinstance(error, DrawpointError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}."
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
