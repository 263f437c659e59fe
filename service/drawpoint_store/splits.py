"""Splits: named lists of sample ids that a store ships beside its manifest.

`<root>/splits/<name>.txt` holds one id a line. `train_design_ids.txt`, `val_design_ids.txt` and
`test_design_ids.txt` at the root, as stores of other writers ship them, are the splits `train`, `val` and
`test` where `splits/` has none of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawpoint.errors import MetadataDamaged, SplitNotFound
from drawpoint_store import stores

if TYPE_CHECKING:
    import os

FOLDER = "splits"
_SUFFIX = ".txt"
_MOST_LINES = 2**21
"""Lines of a split that are read, some 200 MB as a list; twenty times the largest data sets' samples."""
_ROOT_FILES = {name: f"{name}_design_ids.txt" for name in ("train", "val", "test")}


def list_splits(store_root: str | os.PathLike[str]) -> list[str]:
    """Return the names of the splits that the store ships, sorted; empty if it ships none.

    Raises StoreUnreadable where the storage does not answer.
    """
    at_root = {name for name, file in _ROOT_FILES.items() if stores.read_bytes(store_root, file) is not None}
    return sorted(at_root | _in_folder(store_root))


def read_split(store_root: str | os.PathLike[str], name: str) -> list[str]:
    """Return the sample ids of a split in the order of its file, without blank lines and surrounding spaces.

    The ids are those of the file: samples that the store lacks are among them. `train_design_ids` and its
    kin name the files at the root. Raises SplitNotFound, with near names, MetadataDamaged for a file that is
    no text, and StoreUnreadable where the storage does not answer.
    """
    # A name is looked up among those listed and never joined to a path, so none can lead out of the folder.
    if name in _in_folder(store_root):
        file = f"{FOLDER}/{name}{_SUFFIX}"
    else:
        file = _ROOT_FILES.get(name.removesuffix("_design_ids"), "")
    data = stores.read_bytes(store_root, file) if file else None
    if data is None:
        names = list_splits(store_root)
        if not names:
            raise SplitNotFound(
                f"the store at {store_root} has no split {name[:200]!r}, nor any other; list its sample ids, one a "
                f"line, in {FOLDER}/{name[:200]}{_SUFFIX} below the store's root.",
                store=str(store_root),
            )
        raise SplitNotFound.among("split", name, names, where=f"the store at {store_root}", store=str(store_root))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = stores.join(store_root, file)
        raise MetadataDamaged(
            f"{place} is not UTF-8 text; write it again with one sample id a line.", store=str(store_root)
        ) from error
    if (lines := data.count(b"\n")) > _MOST_LINES:
        place = stores.join(store_root, file)
        raise MetadataDamaged(
            f"{place} has {lines:,} lines, and {_MOST_LINES:,} are read at most; split it.",
            store=str(store_root),
        )
    # Not splitlines, which also cuts at characters that an id may hold.
    return [line.strip() for line in text.split("\n") if line.strip()]


def _in_folder(store_root: str | os.PathLike[str]) -> set[str]:
    stems = {file[: -len(_SUFFIX)] for file in stores.list_names(store_root, FOLDER) if file.endswith(_SUFFIX)}
    return {stem for stem in stems if stem and stem.isprintable()}
