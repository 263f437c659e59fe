"""Random draws of huge CFD samples, served over HTTP: what a training job imports."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from drawpoint import errors
from drawpoint.manifest import ArrayLayout, DomainLayout, DomainSample, SampleEntry, StoreManifest

if TYPE_CHECKING:
    from drawpoint.connection import Connection, connect
    from drawpoint.remote import RemoteReader

__all__ = [
    "ArrayLayout",
    "Connection",
    "DomainLayout",
    "DomainSample",
    "RemoteReader",
    "SampleEntry",
    "StoreManifest",
    "__version__",
    "connect",
    "errors",
]
__version__ = "0.1.0"

_HOMES = {
    "Connection": "drawpoint.connection",
    "RemoteReader": "drawpoint.remote",
    "connect": "drawpoint.connection",
}


def __getattr__(name: str) -> Any:
    # The service imports this package too, and needs nothing of the client.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
