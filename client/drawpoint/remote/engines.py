"""Which engine carries what: httpx wherever it was told something, the lean one where plain HTTP/1.1 is meant."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

import httpx

import drawpoint
from drawpoint.remote.http import LeanEngine
from drawpoint.remote.httpx_engine import AsyncHttpxEngine, HttpxEngine
from drawpoint.remote.retry import NOT_SHARED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drawpoint.remote.retry import Settings
    from drawpoint.remote.wire import Engine

PLAIN_OPTIONS = frozenset({"headers", "cookies", "timeout", "verify", "cert", "trust_env"})
"""Options of httpx.Client that the lean engine honours; any other one sends everything through httpx."""

DEFAULT_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
"""Of one step of one attempt, in seconds. A large read may keep the service busy before its first byte."""


def start_engines(settings: Settings) -> dict[str, Engine]:
    """Return the engines of one process: `httpx` and `hot`, which are the same one unless all is plain."""
    address = httpx.URL(settings.url)
    if settings.client is not None:
        through = _engine_of(settings.client, settings.pid, address)
        return {"httpx": through, "hot": through}
    options = _client_options(settings)
    client = httpx.Client(**options)
    through = HttpxEngine(client, address, client.timeout, owned=True)
    if not is_plain(address, settings.options):
        return {"httpx": through, "hot": through}
    headers = client.build_request("GET", address).headers.raw
    tls = options["verify"] if address.scheme == "https" else None
    return {"httpx": through, "hot": LeanEngine(address, headers, client.timeout, tls)}


def start_async_engine(settings: Settings) -> AsyncHttpxEngine:
    """Return an engine for the event loop that runs; raises TypeError where a ready client was given."""
    if settings.client is not None:
        raise TypeError("async_store() makes its own httpx.AsyncClient; give connect() options instead of client=.")
    return AsyncHttpxEngine(httpx.AsyncClient(**_client_options(settings)), httpx.URL(settings.url))


def _client_options(settings: Settings) -> dict[str, Any]:
    """Return the options of the httpx client that the settings ask for."""
    options = dict(settings.options)
    trust_env = options.get("trust_env", True)
    options["verify"] = httpx.create_ssl_context(options.pop("verify", True), options.pop("cert", None), trust_env)
    options["headers"] = httpx.Headers(options.get("headers"))
    options["headers"].setdefault("user-agent", f"drawpoint/{drawpoint.__version__}")
    options.setdefault("timeout", DEFAULT_TIMEOUT)
    return options


def _engine_of(client: httpx.Client | Callable[[], httpx.Client], pid: int, address: httpx.URL) -> HttpxEngine:
    if isinstance(client, httpx.Client):
        if pid != os.getpid():
            raise RuntimeError(f"the httpx.Client that was given to connect() belongs to another process; {NOT_SHARED}")
        return HttpxEngine(client, address, client.timeout, owned=False)
    made = client()
    return HttpxEngine(made, address, made.timeout, owned=True)


def is_plain(address: httpx.URL, options: Mapping[str, object]) -> bool:
    """Tell whether nothing stands between the client and the service but HTTP/1.1 over TCP or TLS."""
    if not options.keys() <= PLAIN_OPTIONS or address.userinfo:
        return False
    return not options.get("trust_env", True) or not has_proxy(address, getproxies())


def has_proxy(address: httpx.URL, proxies: Mapping[str, str]) -> bool:
    """Tell whether httpx would send what goes to `address` through a proxy of the environment.

    It says yes for a few forms of NO_PROXY that httpx knows and this does not (URLs, ports): httpx then decides.
    """
    if not proxies.get(address.scheme) and not proxies.get("all"):
        return False
    exempt = [name.strip().lower() for name in proxies.get("no", "").split(",")]
    return not any(
        name and (name in ("*", address.host) or address.host.endswith(f".{name.lstrip('.')}")) for name in exempt
    )
