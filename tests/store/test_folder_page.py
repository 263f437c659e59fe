"""What is read of the pages on which web servers list their folders."""

from __future__ import annotations

import html
import posixpath
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawpoint.errors import InvalidSettings
from drawpoint_store.storage.bucket_access import BucketAccess
from drawpoint_store.storage.folder_page import FolderPage, folder_page
from drawpoint_store.storage.http_storage import HttpStorage

URL = "http://host:8000/top%20dir%20%28x%29/runs/"
PATH = "/top dir (x)/runs/"
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in (".", "..") and not name.isspace()
)


def page(*links: str) -> str:
    return "<html><body>" + "\n".join(f'<td><a class="x" href="{html.escape(link)}">it</a>' for link in links)


@given(st.dictionaries(NAMES, st.booleans(), max_size=5), st.sampled_from(["", "./", "path", "address"]), st.booleans())
def test_names_are_those_of_the_files_however_a_server_writes_its_links(
    entries: dict[str, bool], form: str, is_loose: bool
) -> None:
    def link(name: str, is_folder: bool) -> str:
        safe = "!$&'()*+,;=@:~" if is_loose else ""
        begin = {"path": quote(PATH, safe=f"/{safe}"), "address": f"http://host:8000{quote(PATH, safe=f'/{safe}')}"}
        # A name that begins like `mailto:` is written with its colon quoted, or after `./`.
        written = quote(name, safe=safe if form else safe.replace(":", ""))
        return begin.get(form, form) + written + "/" * is_folder

    found = folder_page(page(*(link(name, is_folder) for name, is_folder in entries.items())), URL, URL)
    assert found == FolderPage(*(sorted(name for name in entries if entries[name] == each) for each in (True, False)))


@pytest.mark.parametrize(
    "link",
    [
        "../",
        "../../",  # as Caddy links to the folders above, which would be listed without end
        "../../../../",
        "./",
        ".",
        "/",
        "/top%20dir%20%28x%29/",
        "../other/file.vtp",
        "%2e%2e/%2e%2e/etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "a/%2e%2e/b",
        "?C=M;O=D",
        "./?sort=name",
        "run_1/?download",
        "#top",
        "mailto:somebody@host",
        "javascript:alert(1)",
        "http://[broken/run_1/",
        "https://elsewhere" + PATH + "run_1/",
        "//elsewhere" + PATH + "run_1/",
    ],
)
def test_links_that_sort_or_lead_elsewhere_are_no_files(link: str) -> None:
    assert folder_page(page(link, "run_1/"), URL, URL) == FolderPage(["run_1"], [])


def test_a_page_that_was_found_elsewhere_has_the_links_of_there() -> None:
    found = "https://mirror/pub/"
    text = page("a.vtp", "/pub/b.vtp", "https://mirror/pub/c/", f"{URL}d.vtp", "/elsewhere/e.vtp")
    assert folder_page(text, URL, found) == FolderPage(["c"], ["a.vtp", "b.vtp", "d.vtp"])


@pytest.mark.parametrize(
    "url", ["http://bob:hunter2@host/runs", "https://hunter2@host", "https://host/runs?key=hunter2"]
)
def test_a_url_with_a_secret_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidSettings, match="the URL of host ") as raised:
        HttpStorage(url, BucketAccess())
    assert "hunter2" not in str(raised.value)
    assert posixpath.basename(HttpStorage("http://host/runs/", BucketAccess()).join("a.vtp")) == "a.vtp"
