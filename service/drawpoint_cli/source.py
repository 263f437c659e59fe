"""The arguments that say what kind of files a source holds: --filemap for .pt trees, or --recipe."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from drawpoint_cli.arguments import local, nbytes
from drawpoint_cli.filemap import add_filemap
from drawpoint_store.conversion.recipes.recipe_file import load_recipe
from drawpoint_store.conversion.scratch.scratch import Scratch
from drawpoint_store.conversion.sources.file_tree import FileTree
from drawpoint_store.conversion.sources.filemaps import choose_fields
from drawpoint_store.conversion.sources.pt_source import PtSource
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from drawpoint_store.storage.locations import is_remote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drawpoint_store.conversion.recipes.recipe import Recipe
    from drawpoint_store.writing.layout import FieldSpec


def add_source_format(parser: argparse.ArgumentParser) -> None:
    """Add --filemap and --recipe, of which one may be given."""
    group = parser.add_mutually_exclusive_group()
    add_filemap(group)
    group.add_argument(
        "--recipe",
        metavar="NAME|FILE",
        type=recipe,
        help="how the files of SOURCE become fields: a recipe that `drawpoint recipes` lists, or a TOML file "
        "(docs/recipes.md)",
    )
    add_scratch(parser)


def add_scratch(parser: argparse.ArgumentParser) -> None:
    """Add --scratch and --scratch-bytes, for a source of a recipe that is a URL."""
    parser.add_argument(
        "--scratch",
        metavar="DIR",
        type=local("folder"),
        help="where samples of a URL are copied to while a recipe reads them, and removed from (default: TMPDIR); "
        "refused for what is not copied: files of this machine, and .pt trees",
    )
    parser.add_argument(
        "--scratch-bytes",
        metavar="N",
        type=nbytes,
        help="the most bytes that these copies take, such as 200G (default: half of what is free there)",
    )


def check_scratch(args: argparse.Namespace) -> None:
    """End with wrong usage where --scratch or --scratch-bytes would have no effect."""
    if args.scratch is None and args.scratch_bytes is None:
        return
    if args.recipe is None or args.source is None or not is_remote(args.source):
        args.wrong_usage(
            "--scratch and --scratch-bytes say where samples of a URL are copied to when a --recipe reads them; files "
            "of this machine and trees of .pt files are not copied: leave these options out"
        )


def open_source(args: argparse.Namespace, held: Sequence[FieldSpec]) -> PtSource | RecipeSource:
    """Return the source at `args.source`; `held` are the fields of the store that it is for, if there is one."""
    check_scratch(args)
    tree = FileTree.scan(args.source)
    if args.recipe is not None:
        return RecipeSource(tree, args.recipe, Scratch(args.scratch, args.scratch_bytes))
    return PtSource(tree, *choose_fields(args.filemap, tree, held))


def recipe(text: str) -> Recipe:
    """Return the shipped recipe of that name, or the one in the file; raises ArgumentTypeError for neither."""
    try:
        return load_recipe(text)
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
