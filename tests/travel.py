"""What another process runs: it must be importable there, which test modules are not."""

from __future__ import annotations

from drawpoint_store import ZarrChunkReader


def draw_lists(reader: ZarrChunkReader) -> dict[str, list[float]]:
    """Draw from a sample of the shared store and return plain numbers, which need no shared memory to travel."""
    read = reader.read_sample("param0/run", {"surface": 300, "volume": 700}, seed=11)
    return {field: values.flatten().tolist() for field, values in read.items()}
