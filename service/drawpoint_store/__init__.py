"""The store: its format, and everything that is done with it without a network."""

from drawpoint.extras import importing
from drawpoint.format.manifest import ArrayLayout, DomainLayout, DomainSample, SampleEntry

with importing("store", "drawpoint_store"):
    from drawpoint_store.reading.manifest import StoreManifest
    from drawpoint_store.reading.reader import ZarrChunkReader
    from drawpoint_store.reading.splits import read_split_ids
    from drawpoint_store.statistics.documents import statistics_to_dict
    from drawpoint_store.statistics.running_stats import RunningStats
    from drawpoint_store.statistics.store_statistics import calculate_store_statistics
    from drawpoint_store.storage import make_store
    from drawpoint_store.storage.locations import is_remote
    from drawpoint_store.writing.layout import (
        CANONICAL_TO_SPEC,
        FIELD_SPECS,
        FieldSpec,
        FileMap,
        build_domain_layouts,
        filename_to_canonical,
        present_specs,
    )
    from drawpoint_store.writing.writer import ZarrStoreWriter

__all__ = [
    "CANONICAL_TO_SPEC",
    "FIELD_SPECS",
    "ArrayLayout",
    "DomainLayout",
    "DomainSample",
    "FieldSpec",
    "FileMap",
    "RunningStats",
    "SampleEntry",
    "StoreManifest",
    "ZarrChunkReader",
    "ZarrStoreWriter",
    "build_domain_layouts",
    "calculate_store_statistics",
    "filename_to_canonical",
    "is_remote",
    "make_store",
    "present_specs",
    "read_split_ids",
    "statistics_to_dict",
]
