"""Random draws of huge CFD samples, served over HTTP: what a training job imports."""

from drawpoint.manifest import ArrayLayout, DomainLayout, DomainSample, SampleEntry, StoreManifest

__all__ = ["ArrayLayout", "DomainLayout", "DomainSample", "SampleEntry", "StoreManifest"]
__version__ = "0.1.0"
