"""Whether a writer can append to a store: same layout, dtypes, shuffle and grids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drawpoint.errors import StoreExists
from drawpoint.format.manifest import MAX_TEXTS
from drawpoint_store.writing.group import COMPRESSORS
from drawpoint_store.writing.layout import FieldSpec

if TYPE_CHECKING:
    from drawpoint.format.manifest import ArrayLayout, StoreManifest
    from drawpoint_store.writing.writer import ZarrStoreWriter


def writer_settings(manifest: StoreManifest) -> dict[str, Any]:
    """Return the arguments of ZarrStoreWriter that the store was written with, as far as it shows them.

    Chunk and shard sizes show only in samples that are larger than one of them.
    """
    settings: dict[str, Any] = {
        "dataset_name": manifest.dataset_name,
        "shuffle_seed": manifest.shuffle_seed,
        "coords_dtype": manifest.coords_dtype,
        "values_dtype": manifest.values_dtype,
        "field_dtypes": {
            field: array.dtype
            for domain in manifest.domains.values()
            for field, array in domain.arrays.items()
            if array.dtype != (manifest.coords_dtype if field == domain.position else manifest.values_dtype)
        },
    }
    grids = [grid for entry in manifest.samples.values() for grid in entry.domains.values()]
    chunked = next((grid for grid in grids if grid.n_chunks > 1), None)
    if chunked is not None:
        settings["chunk_points"] = chunked.chunk_points
    capped = next((grid for grid in grids if grid.shard_points < grid.n_chunks * grid.chunk_points), None)
    if capped is not None:
        settings["shard_points"] = capped.shard_points
    if manifest.compressor in COMPRESSORS:
        settings["compression_level"] = COMPRESSORS.index(manifest.compressor)
    return settings


def held_fields(manifest: StoreManifest) -> list[FieldSpec]:
    """Return the fields of a store as specs, each of a file of its own name."""
    return [
        FieldSpec(
            field,
            domain,
            field.removeprefix(f"{domain}_"),
            array.dim,
            "coord" if field == layout.position else "value",
            array.units,
            array.description,
        )
        for domain, layout in manifest.domains.items()
        for field, array in layout.arrays.items()
    ]


def keep_texts(manifest: StoreManifest, writer: ZarrStoreWriter) -> None:
    """Let the writer's manifest say of its fields what a store says that is appended to."""
    for field, array in writer.manifest.fields.items():
        array.units, array.description = manifest.fields[field].units, manifest.fields[field].description


def check_compatibility(manifest: StoreManifest, writer: ZarrStoreWriter) -> None:
    """Raise StoreExists, naming the difference, unless the writer writes as the store was written.

    The compressor may be another: the metadata of each array names its own. A writer that says no units or description
    of a field leaves those of the store.
    """
    differences = [
        f"its {name} is {getattr(manifest, name)!r}, not {getattr(writer.manifest, name)!r}"
        for name in ("dataset_name", "shuffle_seed", "coords_dtype", "values_dtype")
        if getattr(manifest, name) != getattr(writer.manifest, name)
    ]
    if manifest.shuffle not in (None, writer.manifest.shuffle):
        differences.append(f"its shuffle is {manifest.shuffle!r:.80}, not {writer.manifest.shuffle!r}")
    there, here = manifest.fields, writer.manifest.fields
    absent, surplus = sorted(there.keys() - here.keys()), sorted(here.keys() - there.keys())
    if absent:
        differences.append(f"it has {', '.join(absent)}, which the FileMap and the fields beside it do not have")
    if surplus:
        differences.append(f"it has no {', '.join(surplus)}, which the FileMap or a field beside it has")
    differences += [
        f"its {field} is {_name_bytes(array)}, not {_name_bytes(here[field])}"
        for field, array in there.items()
        if field in here and _name_bytes(array) != _name_bytes(here[field])
    ]
    differences += [
        f"its {field} has {_quote(there[field], name)}, not {_quote(array, name)}"
        for field, array in here.items()
        for name in MAX_TEXTS
        if field in there and getattr(array, name) not in (None, getattr(there[field], name))
    ]
    differences += _grid_differences(manifest, writer)
    if differences:
        raise StoreExists(
            f"the store at {writer.store_root} is not compatible with what would be appended: {differences[0]}; "
            "convert with its settings (its --filemap, if it had one), or replace it with --overwrite.",
            store=writer.store_root,
        )


def _name_bytes(array: ArrayLayout) -> str:
    return f"{array.dtype} x {array.dim} in {array.array_name}"


def _quote(array: ArrayLayout, name: str) -> str:
    text = getattr(array, name)
    return f"no {name}" if text is None else f"the {name} {text!r}"


def _grid_differences(manifest: StoreManifest, writer: ZarrStoreWriter) -> list[str]:
    for sample_id, entry in manifest.samples.items():
        for domain, grid in entry.domains.items():
            ours = writer.grid(grid.n_points)
            if ours != grid:
                there, here = ((each.chunk_points, each.shard_points) for each in (grid, ours))
                return [f"the {domain} points of {sample_id} lie in chunks and shards of {there} rows, not {here}"]
    return []
