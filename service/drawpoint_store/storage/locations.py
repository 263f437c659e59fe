"""Paths and URLs as people write them: what is neither, what `~` stands for, and what lies inside what."""

from __future__ import annotations

import os
import re
from pathlib import Path

from drawpoint.errors import InvalidSettings
from drawpoint_store.storage.buckets import OBJECT_SCHEMES, scheme_of

_SCHEMES = (*OBJECT_SCHEMES, "gcs", "file", "memory", "http", "https", "ftp", "sftp", "ssh", "hdfs", "hf", "oci")
_HALF_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)(:/|:|//)/*(.*)", re.DOTALL)
_BUCKETS = {**dict.fromkeys(OBJECT_SCHEMES[3:], "az"), "s3a": "s3", "gcs": "gs"}
"""Schemes that name the same buckets as another one."""


def is_remote(location: str | os.PathLike[str]) -> bool:
    """Tell whether `location` is a URL of something other than local files."""
    return scheme_of(location) not in ("", "file")


def is_shared(location: str | os.PathLike[str]) -> bool:
    """Tell whether other processes may write to `location` without a lock that holds them off: a bucket, say."""
    return is_remote(location) and scheme_of(location) != "memory"


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
    elif scheme_of(location) in OBJECT_SCHEMES:
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
    return [_BUCKETS.get(scheme, scheme), *filter(None, path.split("/"))]
