"""Members of archives: one file of a `.tgz`, `.tar` or `.zip`, unpacked to a temporary file."""

from __future__ import annotations

import gzip
import lzma
import shutil
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from drawpoint.errors import InvalidSample, StoreUnreadable
from drawpoint_store.wording import first_few, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 2**20
_LONGEST_SUFFIX = 40
"""How many letters of suffixes are kept: more than any kind of file has, and fewer than a name may have."""

_DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError),
    RuntimeError,  # zip archives with a password, or, as NotImplementedError, packed in an unknown way
)


def unpack_member(archive: Path, member: str | None, folder: Path) -> Path:
    """Write the member of an archive to a file in `folder`, and return its path; the file has the member's suffix.

    `member` is a path, in which `*` is any text; without one the archive has to hold a single file. Nothing else is
    unpacked, and no path of the archive is used. Raises InvalidSample for an archive that is damaged or has no such
    member, and StoreUnreadable where the folder has no room for it.
    """
    names: list[str] = []
    try:
        with _open(archive) as members:
            target: Path | None = None
            for name, size, content in members:
                names.append(name)
                if member is None or fnmatchcase(name.removeprefix("./"), member.removeprefix("./")):
                    if target is not None:
                        raise InvalidSample(
                            f"{archive.name} has several files ({first_few([printable(each) for each in names])}); "
                            "name one with member"
                        )
                    target = folder / f"member{''.join(PurePosixPath(name).suffixes[-2:])[-_LONGEST_SUFFIX:]}"
                    _write(content, size, target, archive.name)
                    if member is not None and "*" not in member:
                        break
    except _DAMAGED as error:
        raise InvalidSample(f"{archive.name} is damaged, or no archive that can be read: {error}") from error
    if target is None:
        raise InvalidSample(
            f"{archive.name} has no member {member!r}; there is: {first_few([printable(each) for each in names])}"
            if member
            else f"{archive.name} is empty"
        )
    return target


def _write(content: IO[bytes], size: int, target: Path, archive: str) -> None:
    """Write `size` bytes, no fewer and no more."""
    free = shutil.disk_usage(target.parent).free
    if size > free:
        raise StoreUnreadable(
            f"{archive} unpacks to {size:,} bytes, and {target.parent.parent} has {free:,}; set TMPDIR to more"
        )
    written = 0
    with target.open("wb") as file:
        while written < size and (block := content.read(min(_BLOCK, size - written))):
            file.write(block)
            written += len(block)
    if written < size:
        raise InvalidSample(f"{archive} ends after {written:,} of the {size:,} bytes of its member")


@contextmanager
def _open(archive: Path) -> Iterator[Iterator[tuple[str, int, IO[bytes]]]]:
    """Open an archive; its files come in order, each with size and content, of which only one is read at a time."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            yield _zip_members(packed)
    else:
        with tarfile.open(archive, "r|*") as packed_tar:
            yield _tar_members(packed_tar)


def _zip_members(packed: zipfile.ZipFile) -> Iterator[tuple[str, int, IO[bytes]]]:
    for info in packed.infolist():
        if not info.is_dir():
            with packed.open(info) as content:
                yield info.filename, info.file_size, content


def _tar_members(packed: tarfile.TarFile) -> Iterator[tuple[str, int, IO[bytes]]]:
    for info in packed:
        content = packed.extractfile(info) if info.isfile() else None
        if content is not None:
            yield info.name, info.size, content
