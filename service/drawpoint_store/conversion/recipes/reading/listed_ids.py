"""Files that list samples: lines of text, JSON, or an array of NumPy's."""

from __future__ import annotations

import io
import json
import posixpath
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.conversion.recipes.id_list import IdFile
from drawpoint_store.storage import LocalStorage
from drawpoint_store.wording import first_few

if TYPE_CHECKING:
    from drawpoint_store.conversion.recipes.id_list import IdList
    from drawpoint_store.conversion.sources.file_tree import FileTree

_KINDS = ".txt with an id a line, .json with a list, .npy with an array of texts or numbers"


def read_ids(tree: FileTree, listed: IdList) -> list[str | int]:
    """Return what a recipe lists: ids, patterns of ids, or numbers.

    Raises InvalidSample for a file below the source that is missing or holds no list of these.
    """
    if not isinstance(listed, IdFile):
        return list(listed)
    path = listed.file.removeprefix("/")
    folder, name = posixpath.split(path)
    if name not in tree.folders.get(folder, {}):
        raise InvalidSample(f"the list of samples {path} is not in {tree.storage.root}; the recipe names it.")
    assert isinstance(tree.storage, LocalStorage)
    try:
        found = _parse(name, tree.storage.path(path).read_bytes(), listed.key)
    except (ValueError, RecursionError) as error:
        raise InvalidSample(f"{path} is no list of samples: {str(error).rstrip('.')}; give {_KINDS}.") from error
    if not isinstance(found, list) or any(isinstance(each, bool) or not isinstance(each, str | int) for each in found):
        keys = f"; its keys are {first_few(list(found), 20)}" if isinstance(found, dict) else ""
        raise InvalidSample(f"{path} is no list of samples{keys}; give {_KINDS}.")
    return found


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
