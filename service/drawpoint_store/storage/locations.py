"""Paths and URLs as people write them: what is neither, what `~` stands for, and what lies inside what."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path

from drawpoint.errors import InvalidSettings

BUCKET_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss")
HTTP_SCHEMES = ("http", "https")
_SCHEMES = (*BUCKET_SCHEMES, *HTTP_SCHEMES, "gcs", "file", "memory", "ftp", "sftp", "ssh", "hdfs", "hf", "oci")
_HALF_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)(:/|:|//)/*(.*)", re.DOTALL)
_SAME_BUCKETS = {**dict.fromkeys(BUCKET_SCHEMES[3:], "az"), "s3a": "s3", "gcs": "gs"}
"""Schemes that name the same buckets as another one."""


def scheme_of(location: str | os.PathLike[str]) -> str:
    """Return the scheme of a URL in lower case; "" for a path."""
    scheme, separator, _ = str(location).partition("://")
    return scheme.lower() if separator else ""


def is_remote(location: str | os.PathLike[str]) -> bool:
    """Tell whether `location` is a URL of something other than local files."""
    return scheme_of(location) not in ("", "file")


def is_in_memory(location: str | os.PathLike[str]) -> bool:
    """Tell whether `location` is in the memory of one process, which others do not share."""
    return scheme_of(location) == "memory"


def is_bucket(location: str | os.PathLike[str]) -> bool:
    """Tell whether `location` is in object storage that obstore reads, and obstore is installed."""
    return scheme_of(location) in BUCKET_SCHEMES and importlib.util.find_spec("obstore") is not None


def join(root: str | os.PathLike[str], name: str) -> str:
    """Return the path or URL of `name`, a relative path, below `root`; "" is `root` itself."""
    if not name:
        return str(root)
    scheme, separator, path = str(root).rpartition("://")
    return f"{scheme}{separator}{path.rstrip('/')}/{name}" if path else f"{scheme}{separator}{name}"


def split_path(location: str | os.PathLike[str]) -> tuple[str, str]:
    """Return the path or URL of the folder that a file is in, and the file's name."""
    scheme, separator, path = str(location).rpartition("://")
    folder, slash, name = path.rpartition("/")
    return f"{scheme}{separator}{folder or slash}" or os.curdir, name


def local_path(location: str | os.PathLike[str]) -> Path:
    """Return the local path of a path or `file://` URL, with the home directory for `~` and `~user`.

    Raises InvalidSettings for a URL that lacks a slash, which would name a folder `s3:`, and for an unknown user.
    """
    text = str(location)
    scheme, _, path = text.rpartition("://")
    half = None if scheme else _HALF_URL.fullmatch(text)
    if half is not None and (half[2] == ":/" or not half[3] or half[1].lower() in _SCHEMES):
        url = f"{half[1]}://{'/' if half[1].lower() == 'file' else ''}{half[3]}"
        raise InvalidSettings(f"{text!r} is neither path nor URL; the URL is {url}, a folder of that name ./{text}.")
    try:
        return Path(path).expanduser()
    except RuntimeError:
        user = path.partition("/")[0]
        raise InvalidSettings(
            f"{text!r} is in the home directory of a user who is not known here; a folder called {user} is ./{path}."
        ) from None


def check_location(location: str | os.PathLike[str]) -> None:
    """Raise InvalidSettings for what is no path and no URL, and for the URL of a bucket that names none."""
    if not is_remote(location):
        if not str(location).rpartition("://")[2]:  # an empty variable of a script would mean the current directory
            raise InvalidSettings(f"{str(location)!r} names no directory; for the current one, give '.'.")
        local_path(location)
    elif scheme_of(location) in BUCKET_SCHEMES:
        scheme, _, path = str(location).partition("://")
        if not path or path.startswith("/"):
            named = path.lstrip("/") or "BUCKET/PATH"
            raise InvalidSettings(f"{str(location)!r} names no bucket; write {scheme}://{named}.")


def contains(outer: str | os.PathLike[str], inner: str | os.PathLike[str]) -> bool:
    """Tell whether `inner` is `outer` or lies below it, whatever links lead there."""
    here, there = _parts(outer), _parts(inner)
    return there[: len(here)] == here


def _parts(location: str | os.PathLike[str]) -> list[str]:
    scheme = scheme_of(location)
    if is_remote(location):
        path = str(location).partition("://")[2]
    else:
        scheme, path = "", os.path.realpath(local_path(location))
    return [_SAME_BUCKETS.get(scheme, scheme), *filter(None, path.split("/"))]
