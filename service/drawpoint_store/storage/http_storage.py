"""The storage of files on a web server whose folders are pages of links, as nginx and Apache make them."""

from __future__ import annotations

import posixpath
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from drawpoint.errors import InvalidSettings
from drawpoint_store.storage.bucket_storage import BucketStorage
from drawpoint_store.storage.folder_page import FolderPage, read_folder_page
from drawpoint_store.storage.storage import ObjectInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drawpoint_store.storage.bucket_access import BucketAccess


class HttpStorage(BucketStorage):
    """The files below an http:// or https:// URL, read by obstore, and listed from the links of its pages.

    A page names files, and says of none how large it is or when it was written: such an ObjectInfo has no bytes and no
    stamp, and `info` asks for both. Names are those of the files, without the %20 of their addresses.

    Raises InvalidSettings for a URL with a password, which is not sent and would be shown by messages, or a query.
    """

    def __init__(self, root: str, access: BucketAccess) -> None:
        super().__init__(root.rstrip("/"), access)  # a second slash would be another address
        scheme, _, path = self.root.partition("://")
        host, _, path = path.partition("/")
        if "@" in host:
            raise InvalidSettings(
                f"the URL of {host.rpartition('@')[2]} holds a name or a password, which is not sent, and would be "
                "shown by messages: give one without, of a server that asks for none, or copy the files here."
            )
        if "?" in path or "#" in path:
            raise InvalidSettings(
                f"the URL of {host} has a query or a fragment, and that of a folder has none: leave out what begins "
                "with '?' or '#', and write %3F or %23 where it is part of a name."
            )
        self._url = f"{scheme}://{host}/{quote(unquote(path))}".rstrip("/")

    def _find(self, path: str) -> Iterator[ObjectInfo]:
        folders, seen, listed = [path], {path}, set[str]()
        with ThreadPoolExecutor(self.requests_at_once) as pool:
            while folders:
                below = []
                for page in pool.map(self._page, folders):
                    # Pages may name what lies deeper, and the page of that does, too.
                    below += [folder for folder in page.folders if folder not in seen]
                    seen.update(below)
                    yield from (ObjectInfo(name, 0, None, "") for name in page.files if name not in listed)
                    listed.update(page.files)
                folders = below

    def _list(self, folder: str) -> Iterator[tuple[str, bool]]:
        page = self._page(folder)
        yield from ((name, True) for name in page.folders)
        yield from ((name, False) for name in page.files)

    def _info(self, path: str) -> ObjectInfo:
        found = super()._info(path)
        # Some servers give no ETag; then there is the time of the last change, in whole seconds.
        return found if found.stamp or found.changed is None else found._replace(stamp=str(found.changed))

    def _page(self, folder: str) -> FolderPage:
        """Return the paths below the root that the page of a folder names; none where a link led to and it is gone."""
        try:
            page = read_folder_page(f"{self._url}/{quote(folder)}".rstrip("/") + "/", self.access)
        except FileNotFoundError:
            if not folder:
                raise
            return FolderPage([], [])
        return FolderPage(*([posixpath.join(folder, name) for name in names] for names in page))
