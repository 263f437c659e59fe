"""Where a store lies: local paths, object storage through obstore, any other fsspec URL.

Everything that touches small objects beside the arrays (manifest, statistics, splits) goes through here too, so
that a store in a bucket needs nothing that a store on disk does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import secrets
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec

from drawpoint.errors import DrawpointError, MetadataDamaged, StoreUnreadable
from drawpoint_store.storage.buckets import (
    OBJECT_SCHEMES,
    access_of,
    explain,
    open_object_store,
    reading_client,
    scheme_of,
    tells_no_bucket,
)
from drawpoint_store.storage.documents import MANIFEST_BYTES_A_VALUE, DocumentTooLarge, check_density, check_size
from drawpoint_store.storage.local_files import LocalRoot
from drawpoint_store.storage.locations import is_remote, local_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from zarr.abc.store import Store


def join(root: str | os.PathLike[str], name: str) -> str:
    """Return the path or URL of `name`, a relative path, below `root`."""
    scheme, separator, path = str(root).rpartition("://")
    return f"{scheme}{separator}{path.rstrip('/')}/{name}" if path else f"{scheme}{separator}{name}"


def make_store(path: str | os.PathLike[str], *, read_only: bool = False) -> Store:
    """Open the zarr Store at a path or URL.

    LocalStore for paths and `file://`; obstore's ObjectStore for `s3://`, `gs://` and `az://` where obstore is
    installed, with the credentials, region and endpoint of the standard environment variables; FsspecStore for
    every other URL.
    """
    from zarr.storage import FsspecStore, LocalStore, ObjectStore  # noqa: PLC0415  0.4 s, and only writers and the fallback need it

    if not is_remote(path):
        return LocalStore(local_path(path), read_only=read_only)
    if uses_obstore(path):
        return ObjectStore(open_object_store(path, read_only=read_only), read_only=read_only)
    return FsspecStore.from_url(str(path), read_only=read_only)


def read_bytes(root: str | os.PathLike[str], name: str) -> bytes | None:
    """Return the bytes of the object `name` below `root`, or None if there is none.

    Raises StoreUnreadable where the storage does not answer: an outage is never taken for a missing object.
    Raises DataDamaged for what is no regular file inside a local root, or larger than the root's `document_bytes`.
    """
    place = join(root, name)
    try:
        with translated_errors("read", place, may_be_missing=True):
            return _read_bounded(root, name, place)
    except FileNotFoundError:
        return None
    except DocumentTooLarge as error:
        raise _too_large(root, place, error) from None


def read_json(root: str | os.PathLike[str], name: str) -> bytes | None:
    """Do what `read_bytes` does, for JSON; raises MetadataDamaged where parsing it would take too much memory."""
    data = read_bytes(root, name)
    try:
        check_density(data or b"", MANIFEST_BYTES_A_VALUE)
    except DocumentTooLarge as error:
        raise _too_large(root, join(root, name), error) from None
    return data


def _read_bounded(root: str | os.PathLike[str], name: str, place: str) -> bytes:
    limit = access_of(root).document_bytes
    if not is_remote(root):
        path = local_path(place)
        with os.fdopen(LocalRoot(local_path(root)).open(str(path)), "rb") as file:
            check_size(os.fstat(file.fileno()).st_size, limit)
            data = file.read(limit + 1)
    elif uses_obstore(root):
        found = reading_client(root).get(name)
        check_size(found.meta["size"], limit)
        return bytes(found.bytes())
    else:
        filesystem, path = fsspec.core.url_to_fs(place)
        data = bytes(filesystem.cat_file(path))
    check_size(len(data), limit)
    return data


def _too_large(root: str | os.PathLike[str], place: str, error: DocumentTooLarge) -> MetadataDamaged:
    return MetadataDamaged(f"{place} is not read: {error}.", store=str(root))


def read_stamp(root: str | os.PathLike[str], name: str) -> str | None:
    """Return what changes whenever the object `name` below `root` does, None for one that is not there.

    The ETag in a bucket, inode, size and time of a file, elsewhere the sha256 of its bytes. Raises StoreUnreadable.
    """
    place = join(root, name)
    try:
        with translated_errors("read", place, may_be_missing=True):
            if not is_remote(root):
                status = local_path(place).stat()
                return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"
            if uses_obstore(root):
                return reading_client(root).head(name)["e_tag"]
            return hashlib.sha256(_read_bounded(root, name, place)).hexdigest()
    except FileNotFoundError:
        pass
    return None


def write_bytes(root: str | os.PathLike[str], name: str, data: bytes) -> str:
    """Write the object `name` below `root`, whole or not at all, and return its path or URL."""
    place = join(root, name)
    with translated_errors("written", place):
        if not is_remote(root):
            _write_file(local_path(place), data)
        elif uses_obstore(root):
            open_object_store(root).put(name, data)
        else:
            filesystem, path = fsspec.core.url_to_fs(place)
            filesystem.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
            filesystem.pipe_file(path, data)
    return place


def replace_bytes(root: str | os.PathLike[str], name: str, data: bytes, stamp: str | None) -> bool:
    """Write the object `name` if it is as it was at `stamp` (None: not there), and tell whether it was.

    In a bucket the storage itself compares and writes in one step (If-Match, If-None-Match); where it cannot, and
    elsewhere, whoever must not be interrupted holds a lock.
    """
    if uses_obstore(root):
        from obstore.exceptions import (  # noqa: PLC0415  only stores in buckets need it
            AlreadyExistsError,
            NotFoundError,
            NotSupportedError,
            PreconditionError,
        )

        with translated_errors("written", join(root, name)):
            try:
                open_object_store(root).put(name, data, mode="create" if stamp is None else {"e_tag": stamp})
            except (AlreadyExistsError, PreconditionError, NotFoundError):
                return False
            except NotSupportedError:
                pass
            else:
                return True
    if read_stamp(root, name) != stamp:
        return False
    write_bytes(root, name, data)
    return True


def delete(root: str | os.PathLike[str], names: Sequence[str]) -> None:
    """Delete the objects `names` below `root`; those that are not there are deleted already."""
    if not names:
        return
    with translated_errors("deleted", str(root)):
        if not is_remote(root):
            for name in names:
                local_path(join(root, name)).unlink(missing_ok=True)
        elif uses_obstore(root):
            with contextlib.suppress(FileNotFoundError):  # some storages mind what is not there
                open_object_store(root).delete(names)
        else:
            filesystem, path = fsspec.core.url_to_fs(str(root))
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    filesystem.rm_file(f"{path.rstrip('/')}/{name}")


def delete_tree(root: str | os.PathLike[str], path: str) -> None:
    """Delete the object `path` below `root`, or all objects in the folder of that name; links are not followed."""
    with translated_errors("deleted", join(root, path)):
        if is_remote(root):
            _delete_remote_tree(root, path)
        elif (place := local_path(join(root, path))).is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink(missing_ok=True)


def _delete_remote_tree(root: str | os.PathLike[str], path: str) -> None:
    if uses_obstore(root):
        client = open_object_store(root)
        for page in client.list(f"{path}/"):
            client.delete([entry["path"] for entry in page])
        return
    filesystem, place = fsspec.core.url_to_fs(join(root, path))
    with contextlib.suppress(FileNotFoundError):
        filesystem.rm(place, recursive=True)


def holds_objects(root: str | os.PathLike[str], folder: str) -> bool:
    """Tell whether there is an object in a folder that is listed: some storages keep empty ones for a while."""
    if not uses_obstore(root):
        return True
    with translated_errors("listed", join(root, folder)):
        return any(open_object_store(root, read_only=True).list(f"{folder}/", chunk_size=1))


def last_change(root: str | os.PathLike[str], path: str) -> float | None:
    """Return when an object of the folder `path`, or the object `path`, was changed last, in seconds since 1970.

    None where the storage does not tell, and where there is nothing.
    """
    place = join(root, path)
    with translated_errors("listed", place):
        if not is_remote(root):
            top = local_path(place)
            files = [Path(above, name) for above, _, names in os.walk(top) for name in names] or [top]
            changes = [file.lstat().st_mtime for file in files]
        elif uses_obstore(root):
            pages = open_object_store(root, read_only=True).list(f"{path}/")
            changes = [entry["last_modified"].timestamp() for page in pages for entry in page]
        else:
            filesystem, below = fsspec.core.url_to_fs(place)
            found = (_changed(info) for info in filesystem.find(below, detail=True).values())
            changes = [change for change in found if change is not None]
    return max(changes, default=None)


def _changed(info: Mapping[str, Any]) -> float | None:
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        if isinstance(found := info.get(key), datetime):
            return found.timestamp()
        if isinstance(found, int | float):
            return float(found)
    return None


def list_names(root: str | os.PathLike[str], folder: str) -> list[str]:
    """Return the names of the objects directly in `folder` below `root` (`""`: in `root`), sorted."""
    return _list(root, folder)[1]


def list_folders(root: str | os.PathLike[str], folder: str, *, follow_links: bool = True) -> list[str]:
    """Return the names of the folders directly in `folder` below `root` (`""`: in `root`), sorted."""
    return _list(root, folder, follow_links=follow_links)[0]


def _list(root: str | os.PathLike[str], folder: str, *, follow_links: bool = True) -> tuple[list[str], list[str]]:
    """Return the names of the folders and of the objects directly in `folder`."""
    place = join(root, folder) if folder else str(root)
    try:
        with translated_errors("listed", place, may_be_missing=True):
            if not is_remote(root):
                with os.scandir(local_path(place)) as entries:
                    kinds = [
                        (entry.name, entry.is_dir(follow_symlinks=follow_links))
                        for entry in entries
                        if entry.is_dir(follow_symlinks=follow_links) or entry.is_file()
                    ]
            elif uses_obstore(root):
                listing = reading_client(root).list_with_delimiter(folder or None)
                kinds = [(path, True) for path in listing["common_prefixes"]]
                kinds += [(entry["path"], False) for entry in listing["objects"]]
            else:
                filesystem, path = fsspec.core.url_to_fs(place)
                kinds = [(entry["name"], entry["type"] == "directory") for entry in filesystem.ls(path, detail=True)]
    except FileNotFoundError:
        return [], []
    names = sorted((path.rstrip("/").rsplit("/", 1)[-1], is_folder) for path, is_folder in kinds)
    return [name for name, is_folder in names if is_folder], [name for name, is_folder in names if not is_folder]


def _write_file(path: Path, data: bytes) -> None:
    # A temporary neighbour and a rename: a reader sees the old bytes or the new ones, after a crash too.
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise


def uses_obstore(path: str | os.PathLike[str]) -> bool:
    """Tell whether `path` is in object storage that obstore reads, and obstore is installed."""
    return scheme_of(path) in OBJECT_SCHEMES and _obstore_available()


def _obstore_available() -> bool:
    return importlib.util.find_spec("obstore") is not None


@contextlib.contextmanager
def translated_errors(done: str, place: str, *, may_be_missing: bool = False) -> Iterator[None]:
    """Raise StoreUnreadable for whatever the storage raises, but FileNotFoundError where `place` may be missing."""
    try:
        yield
    except Exception as error:  # obstore's, fsspec's and each driver's errors have no common base
        if isinstance(error, (DrawpointError, DocumentTooLarge)):
            raise
        if may_be_missing and isinstance(error, FileNotFoundError | NotADirectoryError) and not tells_no_bucket(error):
            raise FileNotFoundError(place) from None
        raise StoreUnreadable(f"{place} cannot be {done}: {explain(error)}.") from None
