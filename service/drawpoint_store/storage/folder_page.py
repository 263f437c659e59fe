"""The page on which a web server lists a folder, as nginx, Apache and Caddy make it, and what lies there."""

from __future__ import annotations

import random
import time
from html.parser import HTMLParser
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, NamedTuple
from urllib.error import HTTPError
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from email.message import Message
    from urllib.parse import SplitResult

    from drawpoint_store.storage.bucket_access import BucketAccess

_FIRST_PAUSE = 0.1
"""The pause before a page is asked for again, in seconds; each further one is twice as long, with jitter."""

_MOST_PAUSE = 5.0
_MOST_RETRY_AFTER = 30.0
"""As long as a server may ask to be left alone, by its Retry-After."""

_HTML = ("text/html", "application/xhtml+xml")
_NO_STEPS = ("", ".", "..")


class FolderPage(NamedTuple):
    """The paths of the folders and files that a page links to, below its folder, each sorted."""

    folders: list[str]
    files: list[str]


def read_folder_page(url: str, access: BucketAccess) -> FolderPage:
    """Read the page of the folder at `url`, which ends with a slash; what is no HTML links to nothing.

    Pages are asked for again after 429, 5xx, and connections that fail or break off. Raises FileNotFoundError for a
    page that is not there, and ConnectionError, with the reason, where the server gives none.
    """
    for attempt in range(access.retries + 1):
        pause = random.uniform(0.5, 1) * min(_MOST_PAUSE, _FIRST_PAUSE * 2**attempt)  # noqa: S311  jitter
        try:
            return _read(url, access.stall_seconds)
        except HTTPError as error:
            with error:
                if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                    raise FileNotFoundError(url) from None
                is_lasting = (
                    error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code != HTTPStatus.TOO_MANY_REQUESTS
                )
                if is_lasting or attempt == access.retries:
                    raise ConnectionError(f"the server answers {error.code}") from None
                pause = max(pause, _retry_after(error.headers))
        except (OSError, HTTPException) as error:
            if attempt == access.retries:
                raise ConnectionError("the server does not answer") from error
        time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _read(url: str, stall_seconds: float) -> FolderPage:
    request = Request(url, headers={"User-Agent": "drawpoint", "Accept": "text/html"})  # noqa: S310  http or https
    with urlopen(request, timeout=stall_seconds) as answer:  # noqa: S310
        if "Content-Type" in answer.headers and answer.headers.get_content_type() not in _HTML:
            return FolderPage([], [])
        text = answer.read().decode(answer.headers.get_content_charset() or "utf-8", "replace")
        found = urljoin(answer.geturl(), ".")  # where it was redirected to
    return folder_page(text, url, found)


def folder_page(text: str, url: str, found: str) -> FolderPage:
    """Return what a page links to below `url`, or below `found`, where it was found and its links begin.

    Other links, which sort the page, or lead above it or elsewhere, are left out.
    """
    parser = _Links()
    parser.feed(text)
    parser.close()
    names = set(_names_below([urlsplit(url), urlsplit(found)], found, parser.links))
    folders = sorted(name.rstrip("/") for name in names if name.endswith("/"))
    return FolderPage(folders, sorted(name for name in names if not name.endswith("/")))


def _names_below(folders: Iterable[SplitResult], found: str, links: Iterable[str]) -> Iterator[str]:
    """Yield what links of a page that was `found` name below any of the folders, without %20 and the like."""
    above = {(folder.netloc, unquote(folder.path)) for folder in folders}
    for link in links:
        try:
            parts = urlsplit(urljoin(found, link))
        except ValueError:  # a link that is no address
            continue
        path = unquote(parts.path)
        name = next((path[len(top) :] for host, top in above if host == parts.netloc and path.startswith(top)), "")
        if name and "?" not in link and "#" not in link and not _leads_out(name):
            yield name


def _leads_out(name: str) -> bool:
    return any(step in _NO_STEPS for step in name.removesuffix("/").split("/"))


def _retry_after(headers: Message) -> float:
    asked = headers.get("Retry-After", "")
    return min(float(asked), _MOST_RETRY_AFTER) if asked.isdecimal() else 0.0


class _Links(HTMLParser):
    """Collects the addresses that a page links to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value.strip() for name, value in attrs if name == "href" and value]
