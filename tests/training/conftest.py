"""A store of seven small samples with statistics and splits, damaged copies of it, and both readers of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import drawpoint
from drawpoint_store import ZarrChunkReader, calculate_store_statistics
from drawpoint_store.statistics.documents import statistics_json
from live import LiveService
from small import small_arrays, small_writer

Reader = drawpoint.RemoteReader | ZarrChunkReader
IDS = [f"run/{number}" for number in range(7)]
SPLIT = ["run/5", "run/1"]


@pytest.fixture(scope="session")
def small_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 surface and 17 volume points a sample in chunks of 4; the split `train` names one that is not there."""
    root = tmp_path_factory.mktemp("small")
    writer = small_writer(root)
    for number, sample_id in enumerate(IDS):
        writer.write_sample(sample_id, small_arrays(seed=number))
    writer.save_manifest()
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("\n".join(SPLIT), encoding="utf-8")
    (root / "splits" / "torn.txt").write_text("run/5\nrun/99\n", encoding="utf-8")
    (root / "splits" / "gone.txt").write_text("run/98\nrun/99\n", encoding="utf-8")
    document = statistics_json(
        calculate_store_statistics(root), revision=writer.manifest.revision, split=None, n_samples=len(IDS)
    )
    (root / "statistics.json").write_bytes(document)
    return root


@pytest.fixture(scope="session")
def local(small_root: Path) -> ZarrChunkReader:
    return ZarrChunkReader(small_root)


@pytest.fixture(scope="session")
def service(small_root: Path) -> Iterator[LiveService]:
    with LiveService({"small": small_root}) as service:
        yield service


@pytest.fixture
def remote(service: LiveService) -> Iterator[drawpoint.RemoteReader]:
    with drawpoint.connect(service.url) as connection:
        yield connection.store("small")


@pytest.fixture(params=["local", "remote"])
def reader(request: pytest.FixtureRequest) -> Reader:
    """Each of the two, one after the other."""
    found: Reader = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def torn_root(small_root: Path, tmp_path: Path) -> Path:
    """The same store with a damaged first chunk in the pressure of runs 2 and 3."""
    root = tmp_path / "torn"
    shutil.copytree(small_root, root)
    for sample_id in IDS[2:4]:
        tear(root, sample_id)
    return root


def tear(root: Path, sample_id: str) -> None:
    (shard,) = (path for path in (root / f"{sample_id}.zarr/surface/pressure/c").rglob("*") if path.is_file())
    data = bytearray(shard.read_bytes())
    data[0] ^= 0xFF
    shard.write_bytes(data)
