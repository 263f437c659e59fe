"""What a conversion will take: bytes of the store, from counts and dtypes, and time, from a rate measured here."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import DrawpointError
from drawpoint_store.writing.layout import FileMap, build_domain_layouts
from drawpoint_store.writing.writer import ZarrStoreWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drawpoint.format.manifest import DomainLayout
    from drawpoint_store.conversion.sources.pt_source import PtSource
    from drawpoint_store.conversion.sources.recipe_source import RecipeSource

_MEASURED_BYTES = 64_000_000
"""Fields of one sample are converted until so much is stored, those of the smallest domain first, and at least one."""

_WARM_SECONDS = 5.0
"""What takes less is measured again."""


@dataclass
class ConversionCost:
    """Points by domain, bytes and seconds of a conversion of all samples.

    Counts are those of the samples that were looked at, and of the others by the size of their files, unless
    `is_counted`: all were looked at. `seconds` are those of `workers` processes, at the rate at which `measured` fields
    of the sample `measured_sample` became a store in the folder of temporary files; None for the reason `problem`.
    """

    n_points: dict[str, int]
    store_bytes: int
    is_counted: bool
    workers: int
    measured_sample: str
    measured: list[str] = field(default_factory=list)
    seconds: float | None = None
    problem: str = ""


def estimate_cost(
    source: PtSource | RecipeSource, rows: Mapping[str, Mapping[str, int]], sample_ids: Sequence[str], workers: int
) -> ConversionCost:
    """Return the cost of converting `sample_ids`; `rows` are the counts of some of them, by sample and domain."""
    settings = source.writer_settings
    dtypes = settings.get("field_dtypes", {})
    layouts = build_domain_layouts(settings["filemap"], field_dtypes=dtypes, fields=settings["fields"])
    sizes = {sample_id: sum(file.size for file in source.files(sample_id)) for sample_id in sample_ids}
    known = sum(sizes[sample_id] for sample_id in rows)
    scale = sum(sizes.values()) / known if known else len(sample_ids) / len(rows)
    n_points = {domain: round(sum(each[domain] for each in rows.values()) * scale) for domain in layouts}
    first = next(iter(rows))
    cost = ConversionCost(
        n_points=n_points,
        store_bytes=sum(n_points[domain] * sum(_widths(layout).values()) for domain, layout in layouts.items()),
        is_counted=rows.keys() >= sizes.keys(),
        workers=max(1, min(workers, len(sample_ids))),
        measured_sample=first,
    )
    chosen = _choose(layouts, rows[first])
    cost.measured = list(chosen)
    specs = [spec for spec in source.specs if spec.canonical in chosen]
    dtypes = {name: dtype for name, dtype in dtypes.items() if name in chosen}
    settings = {"filemap": FileMap(), "dataset_name": "measured", "field_dtypes": dtypes, "fields": specs}
    try:
        seconds = _convert(settings, _Fields(source, first, cost.measured))
        if seconds < _WARM_SECONDS:  # the libraries that it needs were loaded meanwhile
            seconds = _convert(settings, _Fields(source, first, cost.measured))
    except DrawpointError as error:
        cost.problem = str(error)
    else:
        cost.seconds = seconds * cost.store_bytes / max(sum(chosen.values()), 1) / cost.workers
    return cost


def _convert(settings: Mapping[str, Any], fields: Mapping[str, np.ndarray[Any, Any]]) -> float:
    """Return how many seconds it takes to write these fields to a store, which is removed."""
    with tempfile.TemporaryDirectory(prefix="drawpoint-") as folder:
        begun = time.perf_counter()
        ZarrStoreWriter(folder, **settings, compression_level=0).write_sample("sample", fields)
        return time.perf_counter() - begun


class _Fields(Mapping[str, np.ndarray[Any, Any]]):
    """Some fields of a sample, each read when it is asked for."""

    def __init__(self, source: PtSource | RecipeSource, sample_id: str, names: list[str]) -> None:
        self._source = source
        self._sample_id = sample_id
        self._names = names

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        if name not in self._names:
            raise KeyError(name)
        return self._source.read(self._sample_id, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _choose(layouts: Mapping[str, DomainLayout], rows: Mapping[str, int]) -> dict[str, int]:
    """Return the fields that are measured, with the bytes that each has in the store; a domain's position is first."""
    chosen: dict[str, int] = {}
    for domain in sorted(layouts, key=lambda domain: rows[domain]):
        for name, width in sorted(
            _widths(layouts[domain]).items(), key=lambda item: item[0] != layouts[domain].position
        ):
            if chosen and sum(chosen.values()) + width * rows[domain] > _MEASURED_BYTES:
                return chosen
            chosen[name] = width * rows[domain]
    return chosen


def _widths(layout: DomainLayout) -> dict[str, int]:
    """Return the bytes that a point has in each field of a domain."""
    return {name: array.dim * np.dtype(array.dtype).itemsize for name, array in layout.arrays.items()}
