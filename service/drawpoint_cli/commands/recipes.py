"""`drawpoint recipes`: list the recipes that are shipped, or print one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from drawpoint_cli.arguments import Subparsers, add_command
from drawpoint_store.conversion.recipes.recipe_file import find_shipped, load_recipe, shipped_recipes

if TYPE_CHECKING:
    import argparse

_DESCRIPTION = """\
List the recipes that drawpoint ships, or print one, to read, or to edit and give to `drawpoint convert --recipe FILE`.
docs/recipes.md describes every key.
"""
_EPILOG = """\
examples:
  drawpoint recipes
  drawpoint recipes drivaerml > mine.toml

Exit status: 0 success, 1 there is no such recipe, 2 wrong usage.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = add_command(subparsers, "recipes", "[NAME]", description=_DESCRIPTION, epilog=_EPILOG)
    parser.add_argument("name", metavar="NAME", nargs="?", help="print this recipe as TOML")


def run(args: argparse.Namespace) -> int:
    """Print the list, or the recipe."""
    if args.name is not None:
        sys.stdout.write(find_shipped(args.name)[1])
        return 0
    names = list(shipped_recipes())
    width = max(map(len, names))
    sys.stdout.writelines(f"{name.ljust(width)}  {load_recipe(name).description}\n" for name in names)
    return 0
