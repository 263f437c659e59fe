"""The argument --filemap, and the report of files that it leaves out."""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from typing import TYPE_CHECKING

from drawpoint_store.conversion.sources.filemaps import PRESETS, find_filemap, find_preset, near_fields
from drawpoint_store.wording import count, printable
from drawpoint_store.writing.layout import filename_to_canonical

if TYPE_CHECKING:
    from drawpoint_store.conversion.sources.filemap_file import MappedFields
    from drawpoint_store.conversion.sources.pt_source import PtSource

AUTO = "auto"
REMEDY = "rename them, or name them in a file for --filemap"
SHOWN = 20
"""How many unmapped files are named; where there are more, they are likely of another kind."""
_MISSPELT = 0.9
"""From here on a name that is near that of a field is taken for a slip of it, and not for another field."""
_KEY = re.compile(r"([a-z][a-z0-9]*_[a-z0-9_]+)\.pt$")


def add_filemap(parser: argparse._ActionsContainer) -> None:
    """Add --filemap, None for auto."""
    parser.add_argument(
        "--filemap",
        metavar="FILE|PRESET",
        type=_filemap,
        default=AUTO,
        help="the file of each field: a preset below, or a TOML or JSON file with lines such as "
        'surface_pressure = "p.pt", and tables such as [fields.volume_temperature] for fields of your own '
        "(default: auto, files are named like their field: surface_pressure.pt)",
    )


def report_unmapped_files(source: PtSource) -> str:
    """Name each file that looks like a field and is in no file map on stderr; return how many there are, or ""."""
    unmapped, folders = source.unmapped_files, source.unmapped_folders
    samples = len(source.sample_folders) + len(folders)
    for name in list(unmapped)[:SHOWN]:
        preset = find_preset(name, source.tree.file_names)
        near = near_fields(name, source.own)
        key = None if near_fields(name, source.own, _MISSPELT) else _KEY.match(name)
        if preset is not None:
            hint = f"; --filemap {preset[0]} has it as {preset[1]}"
        else:
            hint = f"; near names: {', '.join(near)}" if near else ""
            hint += f"; to store it, a file for --filemap has a table [fields.{key[1]}]" if key else ""
        sys.stderr.write(f"left out: {printable(name)}, in {unmapped[name]:,} of {count(samples, 'sample')}{hint}\n")
    for folder in folders[:SHOWN]:
        place = printable(folder or source.location)
        sys.stderr.write(f"left out: {place} as a whole: none of its files is in the file map\n")
    if len(folders) > SHOWN:
        sys.stderr.write(f"left out: {len(folders) - SHOWN:,} more as a whole\n")
    if not unmapped:
        return ""
    more = f" ({len(unmapped) - SHOWN:,} more than are named here)" if len(unmapped) > SHOWN else ""
    verb = "looks like a field and is" if len(unmapped) == 1 else "look like fields and are"
    return f"{count(len(unmapped), 'file')}{more} {verb} in no file map"


def describe_presets() -> str:
    """Return the presets for a help text, with their files."""
    return "\n".join(
        textwrap.fill(
            ", ".join(filename_to_canonical(filemap)), 110, initial_indent=f"  {name:<13}", subsequent_indent=" " * 15
        )
        for name, filemap in PRESETS.items()
    )


def _filemap(text: str) -> MappedFields | None:
    if text == AUTO:
        return None
    try:
        return find_filemap(text)
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
