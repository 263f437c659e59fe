"""What `/stores` and the pages of samples show of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

if TYPE_CHECKING:
    from drawpoint.format.manifest import StoreManifest


class FieldSummary(BaseModel):
    """A field: its domain, components a point, and stored dtype."""

    domain: str
    dim: int
    dtype: str


class DomainSummary(BaseModel):
    """A domain: its fields, and how many points the samples have in it."""

    position: str
    fields: list[str]
    n_samples: int
    n_points_min: int
    n_points_max: int
    n_points_total: int


class StoreSummary(BaseModel):
    """A store as `/stores` and `/stores/{id}` show it; `{sample}` in a link stands for a sample's id."""

    id: str
    dataset_name: str
    revision: str
    n_samples: int
    domains: dict[str, DomainSummary]
    fields: dict[str, FieldSummary]
    links: dict[str, str]


class SampleSummary(BaseModel):
    """A sample: its id, and the grid of each of its domains."""

    id: str
    domains: dict[str, dict[str, int]]


class SamplePage(BaseModel):
    """A page of samples in the order of their ids; `next` is what `after=` of the next page says."""

    samples: list[SampleSummary]
    next: str | None


def summarise(store_id: str, manifest: StoreManifest) -> StoreSummary:
    """Return the summary of a store."""
    counts = manifest.samples.point_counts()
    domains = {
        name: DomainSummary(
            position=layout.position,
            fields=list(layout.arrays),
            n_samples=len(counts.get(name, [])),
            n_points_min=min(counts.get(name, []), default=0),
            n_points_max=max(counts.get(name, []), default=0),
            n_points_total=sum(counts.get(name, [])),
        )
        for name, layout in manifest.domains.items()
    }
    fields = {
        array.field: FieldSummary(domain=name, dim=array.dim, dtype=array.dtype)
        for name, layout in manifest.domains.items()
        for array in layout.arrays.values()
    }
    here = f"/stores/{store_id}"
    links = {
        "self": here,
        **{name: f"{here}/{name}" for name in ("manifest", "samples", "statistics", "splits")},
        "sample": f"{here}/samples/{{sample}}",
        "coords": f"{here}/coords/{{sample}}",
        "batch": f"{here}/batch",
    }
    return StoreSummary(
        id=store_id,
        dataset_name=manifest.dataset_name,
        revision=manifest.revision,
        n_samples=len(manifest.samples),
        domains=domains,
        fields=fields,
        links=links,
    )
