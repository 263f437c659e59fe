"""The way in: `connect` names a service, a Connection lists its stores and opens them."""

from __future__ import annotations

import importlib.util
import numbers
import os
import re
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

from drawpoint.errors import ExtraMissing, ResponseDamaged
from drawpoint.extras import how_to_install
from drawpoint.format.manifest import StoreManifest
from drawpoint.remote.answers import decode_body, read_document
from drawpoint.remote.engine import YEAR_SECONDS, Request
from drawpoint.remote.reader import RemoteReader
from drawpoint.remote.retry import Transport
from drawpoint.remote.settings import TOKEN_VARIABLE, ConnectionSettings, tokens_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import httpx

    from drawpoint.remote.engine import Answer


def connect(
    url: str,
    *,
    token: str | None = None,
    deadline: float = 300.0,
    client: httpx.Client | Callable[[], httpx.Client] | None = None,
    **options: Any,
) -> Connection:
    """Name the service at `url`; nothing is sent before it is needed.

    `token` is sent as a bearer token; unless given, it is the environment's DRAWPOINT_TOKEN, which counts for nothing
    beside other credentials, with `trust_env=False`, or with a client of yours. `deadline` bounds each call, retries
    included, in seconds. `options` are those of httpx.Client (`timeout`, `verify`, `cert`, `headers`, `proxy`, `auth`,
    `transport`, ...). `client` is instead a ready httpx.Client, or a function that returns one, which every process
    calls for itself; everything then goes through it as it is configured.

    Raises ValueError for an address, token or deadline that is invalid, TypeError for an unknown option, and
    ExtraMissing, an ImportError that says what to install, without the client extra.
    """
    missing = [name for name in ("httpx", "torch") if importlib.util.find_spec(name) is None]
    if missing:
        raise ExtraMissing(
            f"drawpoint.connect needs {' and '.join(missing)}, not installed here: {how_to_install('client')}."
        )
    if not _is_address(url):
        shown = str(url).rpartition("@")[2]  # without a password
        raise ValueError(f"{shown!r:.200} is not the address of a service, such as http://host:8000.")
    if token is None and client is None and not _brings_credentials(url, options):
        token = next(iter(tokens_in(os.environ)), None)  # the service takes any of them
    if token is not None and not (isinstance(token, str) and re.fullmatch("[!-~]+", token)):
        raise ValueError(f"token= or {TOKEN_VARIABLE} is not one or more printable ASCII characters without spaces.")
    if token is not None and "@" in urlsplit(url).netloc:
        raise ValueError("the address holds a name or password, and a token is given; leave one of them out.")
    if not _is_duration(deadline):
        raise ValueError(f"deadline must be a number of seconds above 0, not {deadline!r}.")
    if client is not None and options:
        raise TypeError(f"{', '.join(options)} belong to the client that is given; set them there.")
    transport = Transport(
        ConnectionSettings(url.rstrip("/"), token, min(float(deadline), YEAR_SECONDS), client, options)
    )
    transport.engine()  # so that an invalid option is told at once
    return Connection(transport)


def _is_duration(seconds: object) -> bool:
    return isinstance(seconds, numbers.Real) and float(seconds) > 0


def _brings_credentials(url: str, options: Mapping[str, Any]) -> bool:
    """Tell whether requests are authorised by other means than a token, or the environment is not to be trusted."""
    import httpx  # noqa: PLC0415  it is loaded when it is needed

    return (
        not options.get("trust_env", True)
        or options.get("auth") is not None
        or "authorization" in httpx.Headers(options.get("headers"))
        or bool(httpx.URL(url).userinfo)
    )


def _is_address(url: str) -> bool:
    import httpx  # noqa: PLC0415  it is loaded when it is needed

    try:
        parts = httpx.URL(url)
        named = bool(parts.host)
    except (httpx.InvalidURL, ValueError, TypeError):  # idna's errors are ValueErrors
        return False
    labels = parts.raw_host.removesuffix(b".").split(b".")
    if not all(0 < len(label) < 64 for label in labels) or not 0 < (parts.port or 80) < 65_536:  # noqa: PLR2004  bounds of RFC 1035 and of ports
        return False  # a socket would raise a UnicodeError of such a name, and take such a port for another
    return named and parts.scheme in ("http", "https") and not parts.query and not parts.fragment


class Connection:
    """A service; it pickles, survives fork, and is safe to share between threads."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._manifests: dict[str, tuple[str, StoreManifest]] = {}

    def __repr__(self) -> str:
        return f"<drawpoint.Connection {self._transport.settings.address}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that wait for reuse."""
        self._transport.close()

    def stores(self) -> list[dict[str, Any]]:
        """List the stores: id, dataset_name, revision, n_samples, domains, fields and links of each."""
        return self._transport.ask(
            Request("/stores", "the list of stores"), partial(read_document, list[dict[str, Any]])
        )

    def store(self, store_id: str) -> RemoteReader:
        """Open a store at the revision that it has now; its manifest is fetched only if it has changed.

        Raises StoreNotFound naming near ones, and RequestFailed where the service gives no answer.
        """
        etag, known = self._manifests.get(store_id, (None, None))
        path = f"/stores/{quote(store_id, safe='')}"
        request = Request(f"{path}/manifest", f"store {store_id!r}", store_id, etag=etag)

        def read(answer: Answer) -> StoreManifest:
            if known is not None and answer.status == HTTPStatus.NOT_MODIFIED:
                return known
            manifest = _read_manifest(answer, request.description)
            if "etag" in answer.headers:
                self._manifests[store_id] = answer.headers["etag"], manifest
            return manifest

        return RemoteReader(self._transport, store_id, self._transport.ask(request, read))


def _read_manifest(answer: Answer, description: str) -> StoreManifest:
    manifest = StoreManifest.from_json(decode_body(answer), origin=f"the manifest of {description}")
    announced = answer.headers.get("x-drawpoint-revision")
    if announced != manifest.revision:
        raise ResponseDamaged(f"its manifest has revision {manifest.revision}, announced was {announced}.")
    return manifest
