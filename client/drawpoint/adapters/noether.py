"""What noether's Zarr datasets read beside the fields, so that their reader can be ours.

`ZarrAeroDataset` and its kin load the manifest and the lists of design ids from their root, and everything else by
`self.reader`. A folder of `write_metadata` serves as the root, and a RemoteReader as the reader.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from drawpoint.errors import SplitNotFound

if TYPE_CHECKING:
    import os

    from drawpoint.remote import RemoteReader

_SPLITS = ("train", "val", "test")
_BLACKLISTS = ("blacklist.txt", "blacklist2.txt")
"""Read without being looked for; the samples that they named were left out when the store was converted."""


def write_metadata(reader: RemoteReader, folder: str | os.PathLike[str]) -> Path:
    """Write the manifest and the splits of a served store to `folder`, some kilobytes; returns the folder.

    A split that the store does not ship becomes an empty list, which noether takes for a split without samples.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    (root / "manifest.json").write_bytes(reader.manifest.to_json())
    for split in _SPLITS:
        try:
            ids = reader.split(split)
        except SplitNotFound:
            ids = []
        (root / f"{split}_design_ids.txt").write_text("".join(f"{each}\n" for each in ids), encoding="utf-8")
    for name in _BLACKLISTS:
        (root / name).touch()
    return root
