"""Where bytes lie: one storage object each for local files, buckets, and all other fsspec URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drawpoint_store.storage.bucket_access import BucketAccess
from drawpoint_store.storage.bucket_storage import BucketStorage
from drawpoint_store.storage.fsspec_storage import FsspecStorage
from drawpoint_store.storage.local_storage import LocalStorage
from drawpoint_store.storage.locations import check_location, is_bucket, is_remote
from drawpoint_store.storage.storage import Storage

if TYPE_CHECKING:
    import os

    from zarr.abc.store import Store

__all__ = ["BucketAccess", "BucketStorage", "FsspecStorage", "LocalStorage", "Storage", "make_store", "open_storage"]


def open_storage(root: str | os.PathLike[str], access: BucketAccess | None = None) -> Storage:
    """Return the storage at a path or URL, or `root` itself where it is one already.

    Local files for paths and `file://`. Buckets (`s3://`, `gs://`, `az://`) through obstore where it is installed, with
    the credentials, region and endpoint of `access`, or else of the standard environment variables. Any other URL
    through fsspec. Nothing is connected yet. Raises InvalidSettings for what is neither path nor URL.
    """
    if isinstance(root, Storage):
        return root
    check_location(root)
    kind = BucketStorage if is_bucket(root) else FsspecStorage if is_remote(root) else LocalStorage
    return kind(str(root), access or BucketAccess())


def make_store(path: str | os.PathLike[str], *, read_only: bool = False) -> Store:
    """Open the zarr Store at a path or URL: a LocalStore, ObjectStore or FsspecStore, as `open_storage` chooses."""
    return open_storage(path).open_zarr(read_only=read_only).store
