"""What a source of samples is told to a command by: its file map, and what that leaves out."""

from __future__ import annotations

import argparse
import difflib
import sys
import textwrap
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidSample
from drawpoint_cli.wording import count, printable
from drawpoint_store.conversion.filemaps import (
    PRESETS,
    detect_filemap,
    find_filemap,
    fitting_presets,
    near_fields,
    preset_with,
    without_absent_sdf,
)
from drawpoint_store.writing.layout import FIELD_SPECS, FileMap, present_specs

if TYPE_CHECKING:
    from drawpoint_store.conversion.tree import SourceTree

AUTO = "auto"
REMEDY = "rename them, or name them in a file for --filemap"
SHOWN = 20
"""How many files that look like fields are named; where there are more, they are likely of another kind."""


def add_filemap(parser: argparse.ArgumentParser) -> None:
    """Add --filemap, None for auto."""
    parser.add_argument(
        "--filemap",
        metavar="FILE|PRESET",
        type=_filemap,
        default=AUTO,
        help="the file of each field: a preset below, or a TOML or JSON file with lines such as "
        'surface_pressure = "p.pt" (default: auto, files are called as their field: surface_pressure.pt)',
    )


def choose_filemap(filemap: FileMap | None, source: SourceTree) -> FileMap:
    """Return `filemap`, or for None the one that the source's file names tell; raises InvalidSample if none."""
    names = source.file_names
    if filemap is not None:
        return without_absent_sdf(filemap, names)
    found = detect_filemap(names)
    fields = {spec.canonical for spec in present_specs(found)}
    lacking = [
        spec.canonical
        for spec in FIELD_SPECS
        if spec.kind == "coord"
        and spec.canonical not in fields
        and any(f.startswith(f"{spec.domain}_") for f in fields)
    ]
    if fields and not lacking:
        return found
    reason = f"has no file of {lacking[0]}" if lacking else "has no files that are called as a field"
    presets = fitting_presets(names)
    near = difflib.get_close_matches(f"{lacking[0]}.pt", names, 1, 0.85) if lacking else []
    if presets:
        remedy = f"its files are those of --filemap {presets[0]}"
    elif near:
        remedy = f"is it {printable(near[0])}? Rename that, or name it with --filemap"
    else:
        remedy = "name its files with --filemap"
    raise InvalidSample(f"{source.location} {reason} (such as surface_position.pt); {remedy}.")


def name_left_out(source: SourceTree, filemap: FileMap) -> str:
    """Name each file that looks like a field and is in no file map on stderr; return how many there are, or ""."""
    left_out = source.left_out(filemap)
    whole = source.folders_left_out(filemap)
    samples = len(source.sample_folders(filemap)) + len(whole)
    for name in list(left_out)[:SHOWN]:
        preset = preset_with(name, source.file_names)
        near = near_fields(name)
        if preset is not None:
            hint = f"; --filemap {preset[0]} has it as {preset[1]}"
        else:
            hint = f"; near names: {', '.join(near)}" if near else ""
        sys.stderr.write(f"left out: {printable(name)}, in {left_out[name]:,} of {count(samples, 'sample')}{hint}\n")
    for folder in whole[:SHOWN]:
        sys.stderr.write(
            f"left out: {printable(folder or source.location)} as a whole: none of its files is in the file map\n"
        )
    if len(whole) > SHOWN:
        sys.stderr.write(f"left out: {len(whole) - SHOWN:,} more as a whole\n")
    if not left_out:
        return ""
    more = f" ({len(left_out) - SHOWN:,} more than are named here)" if len(left_out) > SHOWN else ""
    verb = "looks like a field and is" if len(left_out) == 1 else "look like fields and are"
    return f"{count(len(left_out), 'file')}{more} {verb} in no file map"


def _filemap(text: str) -> FileMap | None:
    if text == AUTO:
        return None
    try:
        return find_filemap(text)
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def describe_presets() -> str:
    """Return the presets for a help text, with their files."""
    blocks = []
    for name, filemap in PRESETS.items():
        files = ", ".join(getattr(filemap, spec.filemap_attr) for spec in present_specs(filemap))
        blocks.append(textwrap.fill(files, 110, initial_indent=f"  {name:<13}", subsequent_indent=" " * 15))
    return "\n".join(blocks)
