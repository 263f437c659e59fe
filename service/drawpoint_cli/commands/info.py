"""`drawpoint info`: the contents of a store and the cost of draws."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from drawpoint_cli.arguments import Subparsers, add_command, add_store_root
from drawpoint_cli.precision import precision_table
from drawpoint_cli.sizes import size
from drawpoint_store.inspecting.summary import describe_store
from drawpoint_store.reading.statistics_file import renewal_command
from drawpoint_store.statistics.moments_table import MOMENTS_NAME
from drawpoint_store.storage import open_storage
from drawpoint_store.wording import count

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from drawpoint_store.storage import Storage

WASTEFUL = 2.0
"""From so many points read for one drawn, smaller chunks are advised."""

_DESCRIPTION = """\
Show what a store holds: samples, domains, fields, chunks, the cost of draws, scalars, splits and
statistics.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the command's arguments."""
    parser = add_command(
        subparsers, "info", "STORE_ROOT [--json]", description=_DESCRIPTION, epilog="It reads no sample's data."
    )
    add_store_root(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON, for programs")


def run(args: argparse.Namespace) -> int:
    """Describe the store on stdout."""
    storage = open_storage(args.store_root)
    store = describe_store(storage)
    if args.json:
        sys.stdout.write(json.dumps(store, indent=1, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(store, storage)) + "\n")
    return 0


def _lines(store: dict[str, Any], storage: Storage) -> Iterator[str]:
    yield f"store       {store['store_root']}"
    yield f"dataset     {store['dataset_name']}"
    yield f"revision    {store['revision']}"
    yield f"samples     {store['n_samples']:,}{_missing_checksums(store)}"
    yield f"values      {size(store['logical_bytes'])}" + (
        "" if store["stored_bytes"] is None else f", {size(store['stored_bytes'])} stored ({store['compressor']})"
    )
    yield f"splits      {', '.join(_split(name, split) for name, split in store['splits'].items()) or 'none'}"
    yield f"statistics  {_statistics(store, storage)}"
    if store["n_measured"] != 0:
        yield f"measured    {_measured(store)}"
    for name, domain in store["domains"].items():
        yield ""
        yield from _domain(name, domain, store["n_samples"])
    if store["precision"]:
        fields = {field: array for domain in store["domains"].values() for field, array in domain["fields"].items()}
        yield ""
        yield from precision_table(store["precision"], {field: array["dtype"] for field, array in fields.items()})
    if store["scalars"]:
        yield ""
        yield "scalars, values per sample"
    for name, scalar in store["scalars"].items():
        some = "" if scalar["n_samples"] == store["n_samples"] else f", in {count(scalar['n_samples'], 'sample')}"
        spread = f" to {scalar['max']:g}" if scalar["min"] < scalar["max"] else ""
        yield f"  {name:<28} {scalar['min']:g}{spread}{some}"


def _missing_checksums(store: dict[str, Any]) -> str:
    """Return how many samples lack a digest or tables of checksums, and the remedy."""
    without_digest, without_tables = (store["n_samples"] - store[key] for key in ("n_digests", "n_tables"))
    text = f", {without_digest:,} of them without a digest" if without_digest else ""
    if without_tables:
        text += f", {without_tables:,} without tables of checksums: `drawpoint upgrade {store['store_root']}` adds them"
    return text


def _domain(name: str, domain: dict[str, Any], n_samples: int) -> Iterator[str]:
    points = domain["points"]
    if points is None:
        yield f"{name}: no sample has it"
    else:
        varies = points["min"] < points["max"]
        spread = f" to {points['max']:,} points (median {points['median']:,})" if varies else " points"
        some = "" if domain["n_samples"] == n_samples else f"in {count(domain['n_samples'], 'sample')}, "
        chunks = " or ".join(f"{points:,}" for points in domain["chunk_points"][:3])
        more = ", ..." if len(domain["chunk_points"]) > 3 else ""  # noqa: PLR2004  small samples are one chunk each
        shards = "one shard" if domain["shards_per_array"] == 1 else f"up to {domain['shards_per_array']} shards"
        yield f"{name}: {some}{points['min']:,}{spread}, in chunks of {chunks}{more}, {shards} an array"
    for field, array in domain["fields"].items():
        shape = array["dtype"] if array["dim"] == 1 else f"{array['dtype']} x {array['dim']}"
        said = f", in {array['units']}" if "units" in array else ""
        said += f": {array['description']}" if "description" in array else ""
        yield f"  {field:<28} {shape:<12} {array['bytes_per_point']:>3} bytes a point{said}"
    yield f"  {'all fields':<41} {domain['bytes_per_point']:>3} bytes a point"
    draws = domain.get("draws", [])
    for draw in draws:
        yield (
            f"  a draw of {draw['num_points']:>6,} points reads {draw['chunks']:.1f} chunks: "
            f"{draw['amplification']:.2f} points for one drawn"
        )
    wasteful = [draw["num_points"] for draw in draws if draw["amplification"] >= WASTEFUL]
    if wasteful:
        yield (
            f"  where draws take {max(wasteful):,} points or fewer, smaller chunks are cheaper: "
            f"convert with --chunk-points {max(wasteful)}"
        )


def _split(name: str, split: dict[str, int]) -> str:
    absent = f", {split['n_absent']:,} not in the store" if split["n_absent"] else ""
    return f"{name} ({split['n_ids']:,}{absent})"


def _statistics(store: dict[str, Any], storage: Storage) -> str:
    found = store["statistics"]
    if found["state"] != "fresh":
        stale = {"none": "none", "damaged": "damaged", "stale": "stale, of another revision"}[found["state"]]
        again = "" if found["state"] == "none" else " again"
        return f"{stale}; `{renewal_command(storage)}` writes them{again}"
    of = "" if found["n_samples"] is None else f", of {count(found['n_samples'], 'sample')}"
    return f"fresh{of}" + (f", split {found['split']}" if found["split"] else "")


def _measured(store: dict[str, Any]) -> str:
    """Return how many samples `drawpoint stats` need not read."""
    if store["n_measured"] is None:
        return f"{MOMENTS_NAME} is damaged; `drawpoint stats` reads all samples, and writes it again"
    return f"{store['n_measured']:,} of {count(store['n_samples'], 'sample')}: `drawpoint stats` reads the others"
