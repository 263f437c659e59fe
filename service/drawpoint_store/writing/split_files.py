"""The splits of a data set as files of the store: `splits/<name>.txt`, an id a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from drawpoint_store.reading.splits import split_file

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from drawpoint_store.storage import Storage


class SplitSize(NamedTuple):
    """How many ids a split lists, and how many of these the store holds: those that its file names."""

    listed: int
    held: int


def write_splits(
    storage: Storage, splits: Mapping[str, Sequence[str]], samples: Container[str]
) -> dict[str, SplitSize]:
    """Write each split with the ids that `samples` holds, whole or not at all, and return their sizes.

    Other ids are left out, since a training could not draw from them: what is appended later is listed then. Splits of
    other names stay as they are, and a split without a sample is not written, unless its file exists.
    """
    sizes = {}
    for name, listed in splits.items():
        held = [sample_id for sample_id in listed if sample_id in samples]
        path = split_file(name)
        if held or storage.info(path) is not None:
            storage.write(path, "".join(f"{sample_id}\n" for sample_id in held).encode())
        sizes[name] = SplitSize(len(listed), len(held))
    return sizes
