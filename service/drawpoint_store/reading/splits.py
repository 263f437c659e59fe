"""Splits: named lists of sample ids that a store ships beside its manifest.

`<root>/splits/<name>.txt` holds one id a line. `train_design_ids.txt`, `val_design_ids.txt` and
`test_design_ids.txt` at the root, as stores of other writers ship them, are the splits `train`, `val` and
`test` where `splits/` has none of that name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from drawpoint.draw.selection import BLACKLISTS, leave_out
from drawpoint.errors import InvalidParameter, MetadataDamaged, SplitNotFound
from drawpoint_store.storage import open_storage
from drawpoint_store.storage.locations import split_path

if TYPE_CHECKING:
    from drawpoint_store.storage import Storage

FOLDER = "splits"
_SUFFIX = ".txt"
_MOST_LETTERS = 60
_FORBIDDEN = set("/\\:%")
_MOST_LINES = 2**21
"""Lines of a split that are read, some 200 MB as a list; twenty times the largest data sets' samples."""
_ROOT_FILES = {name: f"{name}_design_ids.txt" for name in ("train", "val", "test")}


def split_file(name: str) -> str:
    """Return the path below the root of the file of a split; raises InvalidParameter for what is no name of one."""
    if not name or len(name) > _MOST_LETTERS or not name.isprintable() or name[0] == "." or set(name) & _FORBIDDEN:
        raise InvalidParameter.of(
            "split",
            name,
            f"a name of at most {_MOST_LETTERS} letters that print, without {' '.join(sorted(_FORBIDDEN))}",
        )
    return f"{FOLDER}/{name}{_SUFFIX}"


def list_splits(store_root: str | os.PathLike[str]) -> list[str]:
    """Return the names of the splits that the store ships, sorted; empty if it ships none.

    Raises StoreUnreadable where the storage does not answer.
    """
    storage = open_storage(store_root)
    at_root = {name for name, file in _ROOT_FILES.items() if storage.read(file) is not None}
    return sorted(at_root | _in_folder(storage))


def read_split(store_root: str | os.PathLike[str], name: str) -> list[str]:
    """Return the sample ids of a split in the order of its file, without blank lines and surrounding spaces.

    The ids are those of the file, without those that `blacklist.txt` and `blacklist2.txt` at the root name: samples
    that the store lacks are among them. `train_design_ids` and its kin name the files at the root. Raises
    SplitNotFound, with near names, MetadataDamaged for a file that is no text, and StoreUnreadable where the storage
    does not answer.
    """
    storage = open_storage(store_root)
    # A name is looked up among those listed and never joined to a path, so none can lead out of the folder.
    if name in _in_folder(storage):
        file = f"{FOLDER}/{name}{_SUFFIX}"
    else:
        file = _ROOT_FILES.get(name.removesuffix("_design_ids"), "")
    data = storage.read(file) if file else None
    if data is None:
        names = list_splits(storage)
        if not names:
            raise SplitNotFound(
                f"the store at {store_root} has no split {name[:200]!r}, nor any other; list its sample ids, one a "
                f"line, in {FOLDER}/{name[:200]}{_SUFFIX} below the store's root.",
                store=storage.root,
            )
        raise SplitNotFound.among("split", name, names, where=f"the store at {store_root}", store=storage.root)
    ids = _parse(data, storage, storage.join(file))
    blacklist: list[str] = []
    for listed in BLACKLISTS:
        lines = storage.read(listed)
        blacklist += [] if lines is None else _parse(lines, storage, storage.join(listed))
    return leave_out(ids, blacklist)


def find_split_file(store_root: str | os.PathLike[str], split_file: str | os.PathLike[str]) -> tuple[str, list[str]]:
    """Return where a file of sample ids lies, and the ids; `read_split_ids` says where it is sought."""
    name = os.fspath(split_file)
    sought = [name]
    storage = open_storage(store_root)
    if "://" in name:
        folder, file = split_path(name)
        data = open_storage(folder).read(file)
    else:
        data = None
        if not os.path.isabs(name) and not name.startswith(("./", "../")):  # noqa: PTH117  Path drops the dot
            data = storage.read(name)
            sought.insert(0, storage.join(name))
        if data is None and Path(name).exists():
            # The user's own, so a link that leads anywhere and a pipe are as good as a file.
            sought, data = [name], Path(name).read_bytes()
    if data is None:
        raise FileNotFoundError(f"there is no split file {' nor '.join(sought)}; it lists one sample id a line.")
    return sought[0], _parse(data, storage, sought[0])


def read_split_ids(store_root: str | os.PathLike[str], split_file: str | os.PathLike[str] | None = None) -> list[str]:
    """Return the sample ids that a file lists, one a line, in order, without blank lines and surrounding spaces.

    `split_file` is a path or URL. A relative path is sought below the store's root (`train_design_ids.txt`), as noether
    does, and then from where the program runs, and there alone if it begins with `./` or `../`. With one argument, that
    is the path or URL of the file itself.

    Ids that the store lacks are among them. Raises FileNotFoundError, or another OSError, where there is no such file,
    MetadataDamaged for one that is no text, and StoreUnreadable where the storage does not answer.
    """
    if split_file is None:
        name = os.fspath(store_root)
        store_root, split_file = os.curdir, name if "://" in name else Path(name).absolute()
    return find_split_file(store_root, split_file)[1]


def _parse(data: bytes, storage: Storage, place: str) -> list[str]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MetadataDamaged(
            f"{place} is not UTF-8 text; write it again with one sample id a line.", store=storage.root
        ) from error
    if (lines := data.count(b"\n")) > _MOST_LINES:
        raise MetadataDamaged(
            f"{place} has {lines:,} lines, and {_MOST_LINES:,} are read at most; split it.",
            store=storage.root,
        )
    # Not splitlines, which also cuts at characters that an id may hold.
    return [line.strip() for line in text.split("\n") if line.strip()]


def _in_folder(storage: Storage) -> set[str]:
    stems = {file[: -len(_SUFFIX)] for file in storage.list(FOLDER)[1] if file.endswith(_SUFFIX)}
    return {stem for stem in stems if stem and stem.isprintable()}
