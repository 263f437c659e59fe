"""The storage of files on a web server whose folders are pages of links, as nginx and Apache make them."""

from __future__ import annotations

import html
import posixpath
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import fsspec

from drawpoint.errors import ExtraMissing
from drawpoint_store.storage.bucket_storage import BucketStorage
from drawpoint_store.storage.storage import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from drawpoint_store.storage.bucket_access import BucketAccess

_FIRST_PAUSE = 0.1
"""The pause before a page is asked for again, in seconds; each further one is twice as long, with jitter."""

_MOST_PAUSE = 5.0


class HttpStorage(BucketStorage):
    """The files below an http:// or https:// URL, read by obstore, and listed by fsspec from the links of its pages.

    A page names files, and says of none how large it is or when it was written: such an ObjectInfo has no bytes and no
    stamp, and `info` asks for both. Names are those of the files, without the %20 of their addresses.
    """

    def __init__(self, root: str, access: BucketAccess) -> None:
        super().__init__(root, access)
        scheme, _, path = root.rstrip("/").partition("://")
        host, slash, path = path.partition("/")
        self._url = f"{scheme}://{host}{slash}{quote(unquote(path))}"

    def _find(self, path: str) -> Iterator[ObjectInfo]:
        folders = [path]
        with ThreadPoolExecutor(self.requests_at_once) as pool:
            while folders:
                below = []
                for inner, files in pool.map(self._page, folders):
                    below += inner
                    yield from (ObjectInfo(name, 0, None, "") for name in files)
                folders = below

    def _list(self, folder: str) -> Iterator[tuple[str, bool]]:
        folders, files = self._page(folder)
        yield from ((name, True) for name in folders)
        yield from ((name, False) for name in files)

    def _info(self, path: str) -> ObjectInfo:
        found = super()._info(path)
        # Some servers give no ETag; then there is the time of the last change, in whole seconds.
        return found if found.stamp or found.changed is None else found._replace(stamp=str(found.changed))

    def _page(self, folder: str) -> tuple[list[str], list[str]]:
        """Return the paths of the folders and of the files that the page of a folder names, each sorted."""
        url = f"{self._url}/{quote(folder)}".rstrip("/")
        found: dict[bool, set[str]] = {True: set(), False: set()}
        for link in self._links(url, is_root=not folder):
            name = unquote(html.unescape(link.removeprefix(f"{url}/").removeprefix("./")))
            place = posixpath.normpath(posixpath.join(folder, name))
            # Besides files, pages have links that sort them, and to what lies above.
            if link.startswith(f"{url}/") and "?" not in link and "#" not in link and place not in (folder, "."):
                found[name.endswith("/")].add(place)
        return sorted(found[True]), sorted(found[False])

    def _links(self, url: str, *, is_root: bool) -> Sequence[str]:
        """Return the addresses that a page links to; those of a page that a link led to and that is gone are none."""
        try:
            filesystem = fsspec.filesystem("http", simple_links=False, use_listings_cache=False)
        except ImportError as error:
            raise ExtraMissing(
                f"{self.root} cannot be listed: fsspec needs aiohttp for it; install it with `pip install aiohttp`."
            ) from error
        for attempt in range(self.access.retries + 1):
            try:
                links: Sequence[str] = filesystem.ls(url, detail=False)
            except FileNotFoundError:
                if is_root:
                    raise
                return []
            except Exception as error:  # aiohttp's errors, which fsspec does not translate
                status = getattr(error, "status", None)
                if attempt == self.access.retries or (status is not None and status < 500):  # noqa: PLR2004  it refuses
                    reason = "does not answer" if status is None else f"answers {status}"
                    raise ConnectionError(f"the server {reason}") from error
                time.sleep(random.uniform(0.5, 1) * min(_MOST_PAUSE, _FIRST_PAUSE * 2**attempt))  # noqa: S311  jitter
            else:
                return links
        raise AssertionError("the last attempt returns or raises")
