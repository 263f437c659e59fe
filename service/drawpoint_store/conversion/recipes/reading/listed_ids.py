"""Files that list samples: lines of text, JSON, or an array of NumPy's."""

from __future__ import annotations

import io
import json
import posixpath
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.conversion.recipes.id_list import IdFile
from drawpoint_store.conversion.sources.file_tree import read_file
from drawpoint_store.reading.splits import split_file
from drawpoint_store.wording import first_few

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from drawpoint_store.conversion.recipes.id_list import IdList
    from drawpoint_store.conversion.sources.file_tree import FileTree

_KINDS = ".txt with an id a line, .json with a list, .npy with an array of texts or numbers"


def read_ids(tree: FileTree, listed: IdList) -> list[str | int] | None:
    """Return what a recipe lists: ids, patterns of ids, or numbers; None for an optional file that is not there.

    Raises InvalidSample for a file below the source that is missing or holds no list of these, and StoreUnreadable for
    one that cannot be read.
    """
    if not isinstance(listed, IdFile):
        return list(listed)
    found = _read(tree, listed)
    if found is None:
        return None
    if _is_list(found):
        return list(found)
    keys = f"; its keys are {first_few(list(found), 20)}" if isinstance(found, dict) else ""
    raise InvalidSample(f"{listed.file} is no list of samples{keys}; give {_KINDS}.")


def read_all_lists(tree: FileTree, listed: IdFile) -> dict[str, list[str | int]]:
    """Return the lists of a JSON file by name: those of an inner table by its name, `_` and theirs.

    What is no list in it, such as a description, is left out. Raises InvalidSample for a file that is missing (unless
    it is optional), has no lists of ids, or names that no split can have.
    """
    found = _read(tree, listed)
    lists = dict(_lists(found, "")) if isinstance(found, dict) else {}
    if found is not None and not lists:
        raise InvalidSample(f"{listed.file} has no lists of samples by name; its splits need their own names.")
    for name in lists:
        try:
            split_file(name)
        except ValueError as error:
            raise InvalidSample(f"{listed.file} has a list that cannot be a split: {error}") from error
    return lists


def _lists(table: Mapping[str, Any], above: str) -> Iterator[tuple[str, list[str | int]]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _lists(value, f"{above}{name}_")
        elif _is_list(value):
            yield f"{above}{name}", value


def _is_list(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, str | int) and not isinstance(each, bool) for each in found)


def _read(tree: FileTree, listed: IdFile) -> Any:
    """Return what is in a file, None for an optional one that is not there."""
    path = listed.file.removeprefix("/")
    folder, name = posixpath.split(path)
    data = read_file(tree.storage, path) if name in tree.folders.get(folder, {}) else None
    if data is None:
        if listed.optional:
            return None
        raise InvalidSample(f"the list of samples {path} is not in {tree.storage.root}; the recipe names it.")
    try:
        return _parse(name, data, listed.key)
    except (ValueError, RecursionError) as error:
        raise InvalidSample(f"{path} is no list of samples: {str(error).rstrip('.')}; give {_KINDS}.") from error


def _parse(name: str, data: bytes, key: str | None) -> Any:
    if name.endswith(".json"):
        found = json.loads(data)
        for step in key.split(".") if key else ():
            if not isinstance(found, dict) or step not in found:
                there = f"there is {first_few(list(found), 20)}" if isinstance(found, dict) else "it has no keys"
                raise ValueError(f"it has no key {step!r}: {there}")
            found = found[step]
        return found
    if name.endswith(".npy"):
        return np.load(io.BytesIO(data), allow_pickle=False).ravel().tolist()
    if name.endswith(".txt"):
        return [line.strip() for line in data.decode("utf-8-sig").split("\n") if line.strip()]
    raise ValueError(f"its suffix is {posixpath.splitext(name)[1] or 'missing'}")
