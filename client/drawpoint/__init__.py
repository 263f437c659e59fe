"""Random draws of huge CFD samples, served over HTTP: what a training job imports."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from drawpoint import errors
from drawpoint.extras import importing
from drawpoint.format.manifest import ArrayLayout, DomainLayout, DomainSample, SampleEntry, StoreManifest

if TYPE_CHECKING:
    from drawpoint import transforms
    from drawpoint.draw.order import source_rows
    from drawpoint.draw.parts import Part, iter_parts
    from drawpoint.format.saving import save
    from drawpoint.remote.connection import Connection, connect
    from drawpoint.remote.reader import RemoteReader
    from drawpoint.training.concat import ConcatSampleDataset
    from drawpoint.training.dataset import SampleDataset
    from drawpoint.training.estimate import Estimate, estimate
    from drawpoint.training.loader import LoaderReport, ResumableSampler, SampleLoader
    from drawpoint.training.normalisation import Normaliser
    from drawpoint.training.prefetch import prefetch

__all__ = [
    "ArrayLayout",
    "ConcatSampleDataset",
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
    "save",
    "source_rows",
    "transforms",
]
__version__ = "0.1.0"

_HOMES = {
    "ConcatSampleDataset": "drawpoint.training.concat",
    "Connection": "drawpoint.remote.connection",
    "Estimate": "drawpoint.training.estimate",
    "LoaderReport": "drawpoint.training.loader",
    "Normaliser": "drawpoint.training.normalisation",
    "Part": "drawpoint.draw.parts",
    "RemoteReader": "drawpoint.remote.reader",
    "ResumableSampler": "drawpoint.training.loader",
    "SampleDataset": "drawpoint.training.dataset",
    "SampleLoader": "drawpoint.training.loader",
    "connect": "drawpoint.remote.connection",
    "estimate": "drawpoint.training.estimate",
    "iter_parts": "drawpoint.draw.parts",
    "prefetch": "drawpoint.training.prefetch",
    "save": "drawpoint.format.saving",
    "source_rows": "drawpoint.draw.order",
}


def __getattr__(name: str) -> Any:
    # The service imports this package too, and needs nothing of the client.
    if name == "transforms":
        return importlib.import_module("drawpoint.transforms")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with importing("client", f"drawpoint.{name}"):
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
