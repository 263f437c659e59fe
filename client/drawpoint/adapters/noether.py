"""An adapter to noether's Zarr datasets.

`ZarrAeroDataset` and its subclasses load the manifest and the splits from their root, and everything else through
`self.reader`. The root may be a folder that `write_metadata` wrote, and the reader a RemoteReader.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from drawpoint.draw.selection import BLACKLISTS, choose_held, leave_out, store_of
from drawpoint.errors import SplitNotFound

if TYPE_CHECKING:
    import os

    from drawpoint.remote.reader import RemoteReader

_SPLITS = ("train", "val", "test")


def write_metadata(reader: RemoteReader, folder: str | os.PathLike[str]) -> Path:
    """Write the manifest and the splits of a served store to `folder`, some kilobytes, and return the folder.

    A split that the store does not ship becomes an empty file, which noether reads as a split without samples. Ids in
    a blacklist, at the store's root or in `folder`, are left out. Ids that the store lacks are left out too, with a
    warning (UserWarning): noether would refuse them. Raises ValueError for a blacklist that is no UTF-8 text.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    (root / "manifest.json").write_bytes(reader.manifest.to_json())
    blacklist: list[str] = []
    for name in BLACKLISTS:
        (root / name).touch()  # noether opens it without checking that it exists
        try:
            blacklist += (root / name).read_text(encoding="utf-8").split("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{root / name} is not UTF-8 text; write it again with one id a line.") from error
    for split in _SPLITS:
        try:
            ids = reader.split(split)
        except SplitNotFound:
            ids = []
        ids = choose_held(
            reader.manifest,
            leave_out(ids, blacklist),
            f"split {split!r}",
            store_of(reader),
            stacklevel=3,
            may_be_none=True,
        )
        (root / f"{split}_design_ids.txt").write_text("".join(f"{each}\n" for each in ids), encoding="utf-8")
    return root
