"""Three ways to the same points: whole `.pt` files, a store on disk, and a store that is served."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Dataset

import drawpoint
from drawpoint import Normaliser, SampleDataset
from drawpoint.draw.seeds import derive_seed
from surrogate import INPUTS, TARGET

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POINTS = 1024
GEOMETRY_POINTS = 512
CHUNK_POINTS = 256
STORE_ID = "ahmed"
FIELDS = (*INPUTS, TARGET)


class FileDataset(Dataset[dict[str, torch.Tensor]]):
    """What trainings do without a store: load a run's files whole, pick random points, forget the rest."""

    def __init__(self, runs: Path, seed: int) -> None:
        self.runs = sorted(path for path in runs.iterdir() if path.is_dir())
        self.seed = seed
        self._epoch = 0
        self._normaliser = make_normaliser({"fields": _measure(self.runs)})
        self.nbytes = sum((run / f"{name}.pt").stat().st_size for run in self.runs for name in FIELDS)
        """Bytes read an epoch."""

    def __len__(self) -> int:
        return len(self.runs)

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        whole = {name: torch.load(self.runs[index] / f"{name}.pt") for name in FIELDS}
        generator = torch.Generator().manual_seed(derive_seed("files", self.seed, self._epoch, index))
        order = torch.randperm(len(whole[TARGET]), generator=generator)
        item = {name: tensor[order[:POINTS]] for name, tensor in whole.items()}
        other = torch.randperm(len(order), generator=generator)[:GEOMETRY_POINTS]
        item["geometry_position"] = whole["surface_position"][other]
        return self._normaliser.normalise(item)


def make_dataset(reader: Any, seed: int) -> SampleDataset:
    """Return the same dataset over any reader: the one line that a training changes."""
    return SampleDataset(
        reader,
        num_points={"surface": POINTS},
        fields=FIELDS,
        num_geometry_points=GEOMETRY_POINTS,
        normalise=make_normaliser(reader.statistics()),
        seed=seed,
    )


def make_normaliser(statistics: Any) -> Normaliser:
    """Return the normaliser of this training: normals are of unit length already."""
    return Normaliser(statistics, leave=["surface_normals"])


def convert(runs: Path, root: Path) -> None:
    """Convert `runs` to a store with statistics, or keep the one that is there."""
    _call("convert", str(runs), str(root), "--append", "--chunk-points", str(CHUNK_POINTS))
    _call("stats", str(root))


@contextlib.contextmanager
def serve(root: Path) -> Iterator[str]:
    """Serve the store in a process of its own while the context lasts; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (root.parent / "service.log").open("wb") as log:
        command = _command("serve", "--store", f"{STORE_ID}={root}", "--port", str(port))
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603  it is drawpoint
    url = f"http://127.0.0.1:{port}"
    try:
        logging.getLogger("drawpoint").setLevel(logging.ERROR)  # that it is not up at once is no news
        with drawpoint.connect(url) as connection:
            connection.stores()
        logging.getLogger("drawpoint").setLevel(logging.NOTSET)
        yield url
    finally:
        process.terminate()
        process.wait()


def count_local_bytes(root: Path) -> int:
    """Return the bytes of chunks and indexes that a local reader reads for an epoch."""
    from zarr.storage import LocalStore  # noqa: PLC0415  a training job without the store extra has none

    from drawpoint_store import ZarrChunkReader  # noqa: PLC0415  of the same extra

    total = 0

    class CountingStore(LocalStore):
        async def get(self, *args: Any, **kwargs: Any) -> Any:
            nonlocal total
            found = await super().get(*args, **kwargs)
            total += 0 if found is None else len(found)
            return found

    reader = ZarrChunkReader(root, store_factory=lambda path: CountingStore(path, read_only=True))
    dataset = make_dataset(reader, seed=0)
    dataset.__getitems__(range(len(dataset)))  # opens the samples, which happens once
    opened = total
    dataset.set_epoch(1)
    dataset.__getitems__(range(len(dataset)))
    return total - opened


def count_remote_bytes(url: str, store_id: str) -> int:
    """Return the bytes of response bodies of an epoch, asked for as a training asks."""
    total = 0

    def count(response: Any) -> None:
        nonlocal total
        total += int(response.headers["content-length"])

    with drawpoint.connect(url, event_hooks={"response": [count]}) as connection:
        dataset = make_dataset(connection.store(store_id), seed=0)
        before = total
        dataset.__getitems__(range(len(dataset)))
    return total - before


def _measure(runs: list[Path]) -> dict[str, dict[str, list[float]]]:
    """Return mean and deviation of positions and pressure over all points of the runs."""
    found = {}
    for name in ("surface_position", TARGET):
        values = torch.cat([torch.load(run / f"{name}.pt") for run in runs]).double()
        columns = values.reshape(len(values), -1)
        found[name] = {"mean": columns.mean(dim=0).tolist(), "std": columns.std(dim=0).tolist()}
    return found


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "drawpoint_cli", *arguments]


def _call(*arguments: str) -> None:
    subprocess.run(_command(*arguments), check=True, stdout=subprocess.DEVNULL)  # noqa: S603  it is drawpoint
