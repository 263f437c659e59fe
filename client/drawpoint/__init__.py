"""Random draws of huge CFD samples, served over HTTP: what a training job imports."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from drawpoint import errors
from drawpoint.extras import importing
from drawpoint.manifest import ArrayLayout, DomainLayout, DomainSample, SampleEntry, StoreManifest

if TYPE_CHECKING:
    from drawpoint.asynchronous import AsyncRemoteReader
    from drawpoint.connection import Connection, connect
    from drawpoint.dataset import SampleDataset
    from drawpoint.estimates import Estimate, estimate
    from drawpoint.loader import LoaderReport, SampleLoader
    from drawpoint.normalisation import Normaliser
    from drawpoint.parts import Part, iter_parts
    from drawpoint.prefetching import prefetch
    from drawpoint.remote import RemoteReader
    from drawpoint.sampler import ResumableSampler

__all__ = [
    "ArrayLayout",
    "AsyncRemoteReader",
    "Connection",
    "DomainLayout",
    "DomainSample",
    "Estimate",
    "LoaderReport",
    "Normaliser",
    "Part",
    "RemoteReader",
    "ResumableSampler",
    "SampleDataset",
    "SampleEntry",
    "SampleLoader",
    "StoreManifest",
    "__version__",
    "connect",
    "errors",
    "estimate",
    "iter_parts",
    "prefetch",
]
__version__ = "0.1.0"

_HOMES = {
    "AsyncRemoteReader": "drawpoint.asynchronous",
    "Connection": "drawpoint.connection",
    "Estimate": "drawpoint.estimates",
    "LoaderReport": "drawpoint.loader",
    "Normaliser": "drawpoint.normalisation",
    "Part": "drawpoint.parts",
    "RemoteReader": "drawpoint.remote",
    "ResumableSampler": "drawpoint.sampler",
    "SampleDataset": "drawpoint.dataset",
    "SampleLoader": "drawpoint.loader",
    "connect": "drawpoint.connection",
    "estimate": "drawpoint.estimates",
    "iter_parts": "drawpoint.parts",
    "prefetch": "drawpoint.prefetching",
}


def __getattr__(name: str) -> Any:
    # The service imports this package too, and needs nothing of the client.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with importing("client", f"drawpoint.{name}"):
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
