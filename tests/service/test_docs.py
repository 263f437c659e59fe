"""/docs in a real browser that reaches no other host: all operations, and draws with a token, behind a proxy too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from browser import Browser
from conftest import need_programs
from faulty import FaultyProxy
from live import LiveService

WHEN = """
const when = (find) => new Promise((done, fail) => {
  setTimeout(() => fail(new Error("not within a minute: " + find)), 60000);
  const look = () => { const found = find(); found ? done(found) : requestAnimationFrame(look); };
  look();
});
const one = (selector, within = document) => when(() => within.querySelector(selector));
"""


@dataclass
class Site:
    """A service as its users see it, at `url`."""

    url: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}


@pytest.fixture(
    scope="module",
    params=[("", ""), ("/drawpoint", "secret-of-ours")],
    ids=["open", "with a token and a proxy that strips a prefix"],
)
def site(request: pytest.FixtureRequest, store_root: Path) -> Iterator[Site]:
    prefix, token = request.param
    settings = {"token": token} if token else {}
    with LiveService({"made": store_root}, **settings) as service, FaultyProxy(service.url) as proxy:
        proxy.prefix = prefix
        yield Site(proxy.url + prefix, token)


@pytest.fixture(scope="module")
def opened(site: Site) -> Iterator[Browser]:
    need_programs("/docs IN A BROWSER", "chromium")
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(site: Site, opened: Browser) -> Browser:
    opened.requested.clear()
    opened.complaints.clear()
    opened.open(f"{site.url}/")  # which leads to the page
    opened.run(WHEN + "when(() => document.querySelectorAll('.opblock').length > 9).then(() => true)")
    return opened


def test_the_page_shows_every_operation_and_asks_no_other_host(site: Site, browser: Browser) -> None:
    paths = httpx.get(f"{site.url}/openapi.json").json()["paths"]
    shown = browser.run("[...document.querySelectorAll('.opblock-summary-path')].map((e) => e.dataset.path)")
    assert sorted(shown) == sorted(path for path, operations in paths.items() for _ in operations)
    assert [url for url in browser.requested if not url.startswith((site.url, "data:"))] == []
    assert f"{site.url}/docs/swagger-ui-bundle.js" in browser.requested
    assert browser.complaints == []


def test_a_request_is_tried_from_the_page_with_the_token_that_it_is_given(site: Site, browser: Browser) -> None:
    authorize = """
      (await one(".btn.authorize")).click();
      const input = await one(".auth-container input");
      Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, TOKEN);
      input.dispatchEvent(new Event("input", {bubbles: true}));
      (await one(".auth-btn-wrapper .authorize")).click();
      (await one(".auth-btn-wrapper .btn-done")).click();
    """.replace("TOKEN", json.dumps(site.token))
    script = f"""
    (async () => {{
      {WHEN}
      {authorize if site.token else ""}
      const block = [...document.querySelectorAll(".opblock")].find(
        (each) => each.querySelector(".opblock-summary-path").dataset.path === "/stores");
      (await one("button", block)).click();
      (await one(".try-out__btn", block)).click();
      (await one(".execute", block)).click();
      return (await one(".live-responses-table .response .response-col_status", block)).textContent;
    }})()
    """
    assert browser.run(script).startswith("200")
    assert browser.requested[-1] == f"{site.url}/stores"
    assert browser.complaints == []


def test_the_page_may_ask_no_other_host_and_run_no_script_of_its_own(site: Site, browser: Browser) -> None:
    other = site.url.replace("127.0.0.1", "localhost")
    assert browser.run(f"fetch('{other}/healthz').then(() => 'answered', () => 'stopped')") == "stopped"
    browser.run("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))")
    assert browser.run("window.ran") is None
    assert sum("Content Security Policy" in complaint for complaint in browser.complaints) >= 2


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/docs/swagger-ui.css", "/docs/start.js"])
def test_the_page_needs_no_token(site: Site, path: str) -> None:
    for method in ("GET", "HEAD"):
        assert httpx.request(method, site.url + path, follow_redirects=True).status_code == 200
