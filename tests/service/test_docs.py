"""/docs in a real browser that reaches no other host: all operations, and draws with a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from browser import Browser
from conftest import need_programs
from live import LiveService

SAMPLE = "/stores/made/samples/param0/run?surface=5&volume=5&seed=1"
WHEN = """
const when = (find) => new Promise((done, fail) => {
  setTimeout(() => fail(new Error("not within a minute: " + find)), 60000);
  const look = () => { const found = find(); found ? done(found) : requestAnimationFrame(look); };
  look();
});
const one = (selector, within = document) => when(() => within.querySelector(selector));
"""


@pytest.fixture(scope="module", params=[[], ["secret-of-ours"]], ids=["open", "with a token"])
def service(request: pytest.FixtureRequest, store_root: Path) -> Iterator[LiveService]:
    with LiveService({"made": store_root}, **({"token": request.param} if request.param else {})) as service:
        yield service


@pytest.fixture
def browser(service: LiveService) -> Iterator[Browser]:
    need_programs("/docs IN A BROWSER", "chromium")
    with Browser() as browser:
        browser.open(f"{service.url}/")  # which leads there
        browser.run(WHEN + "when(() => document.querySelectorAll('.opblock').length > 9).then(() => true)")
        yield browser


def test_the_page_shows_every_operation_and_asks_no_other_host(service: LiveService, browser: Browser) -> None:
    paths = httpx.get(f"{service.url}/openapi.json").json()["paths"]
    shown = browser.run("[...document.querySelectorAll('.opblock-summary-path')].map((e) => e.dataset.path)")
    assert sorted(shown) == sorted(path for path, operations in paths.items() for _ in operations)
    assert [url for url in browser.requested if not url.startswith((service.url, "data:"))] == []
    assert f"{service.url}/docs/swagger-ui-bundle.js" in browser.requested
    assert browser.complaints == []


def test_a_request_is_tried_from_the_page_with_the_token_that_it_is_given(
    service: LiveService, browser: Browser
) -> None:
    token = next((each.get_secret_value() for each in service.settings.token), "")
    authorize = """
      (await one(".btn.authorize")).click();
      const input = await one(".auth-container input");
      Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, TOKEN);
      input.dispatchEvent(new Event("input", {bubbles: true}));
      (await one(".auth-btn-wrapper .authorize")).click();
      (await one(".auth-btn-wrapper .btn-done")).click();
    """.replace("TOKEN", json.dumps(token))
    script = f"""
    (async () => {{
      {WHEN}
      {authorize if token else ""}
      const block = [...document.querySelectorAll(".opblock")].find(
        (each) => each.querySelector(".opblock-summary-path").dataset.path === "/stores");
      (await one("button", block)).click();
      (await one(".try-out__btn", block)).click();
      (await one(".execute", block)).click();
      return (await one(".live-responses-table .response .response-col_status", block)).textContent;
    }})()
    """
    assert browser.run(script).startswith("200")
    assert browser.requested[-1] == f"{service.url}/stores"
    assert browser.complaints == []
    headers = json.dumps({"Authorization": f"Bearer {token}"} if token else {})
    drawn = browser.run(
        f"fetch('{SAMPLE}', {{headers: {headers}}}).then((a) => a.arrayBuffer()).then((b) => b.byteLength)"
    )
    assert drawn == len(httpx.get(service.url + SAMPLE, headers=json.loads(headers)).content)


def test_the_page_may_ask_no_other_host_and_run_no_script_of_its_own(service: LiveService, browser: Browser) -> None:
    other = service.url.replace("127.0.0.1", "localhost")
    assert browser.run(f"fetch('{other}/healthz').then(() => 'answered', () => 'stopped')") == "stopped"
    browser.run("document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))")
    assert browser.run("window.ran") is None
    assert sum("Content Security Policy" in complaint for complaint in browser.complaints) >= 2


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/docs/swagger-ui.css", "/docs/start.js"])
def test_the_page_needs_no_token(service: LiveService, path: str) -> None:
    for method in ("GET", "HEAD"):
        assert httpx.request(method, service.url + path, follow_redirects=True).status_code == 200


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect", "/docs/__init__.py", "/docs/../stores", "/docs/x"])
def test_what_is_not_the_page_is_not_served_as_such(service: LiveService, path: str) -> None:
    answer = httpx.get(service.url + path)
    assert answer.status_code == (401 if service.settings.token else 200 if path.endswith("stores") else 404)
