"""Fixtures that every part of the suite shares: real runs, and stores written from them."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from drawpoint_store import FileMap, ZarrStoreWriter

pytest_plugins = ["orphans", "s3"]
# A busy machine takes its time.
settings.register_profile("busy", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
# A shell lets what it runs in the background ignore Ctrl-C, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
REPOSITORY = Path(__file__).resolve().parent.parent
AHMED = REPOSITORY / "examples" / "data" / "ahmed"
AHMED_VTK = REPOSITORY / "examples" / "data" / "ahmed_vtk"
FIELDS = (
    "surface_position",
    "surface_pressure",
    "surface_friction",
    "surface_normals",
    "surface_area",
    "volume_position",
    "volume_pressure",
    "volume_velocity",
    "volume_vorticity",
    "volume_distance_to_surface",
)
FILEMAP = FileMap(**{field: f"{field}.pt" for field in FIELDS})
COUNTS = {"surface": 1500, "volume": 10_000}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Take one process more than there are cores for `-n auto`: tests wait for servers half of their time."""
    return (os.cpu_count() or 1) + 1


def need_programs(untested: str, *programs: str) -> None:
    """Skip a test loudly, or fail it in CI, where one of the `programs` that `.ci/system` installs is missing."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        message = f"{untested} IS NOT TESTED: it needs {' and '.join(missing)}, not installed here"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def real_run(name: str) -> Path:
    """Return the folder of a real run with its files for VTK (`ahmed/slant_25`), or skip the test loudly."""
    folder = Path(os.environ.get("DRAWPOINT_REAL_RUNS", REPOSITORY.parent / "shared" / "data"), name)
    if not (folder / "volume.vtu").is_file():
        pytest.skip(f"{name} IS NOT TESTED: no {folder}; DRAWPOINT_REAL_RUNS may name the folder of real runs")
    return folder


def sample_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Make a sample with every field of FILEMAP; row i of a domain carries i in its first position component."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for field in FIELDS:
        domain, name = field.split("_", 1)
        scalar = name in ("pressure", "area", "distance_to_surface")
        shape = (COUNTS[domain],) if scalar else (COUNTS[domain], 3)
        arrays["volume_sdf" if name == "distance_to_surface" else field] = rng.standard_normal(shape, dtype=np.float32)
    for domain, count in COUNTS.items():
        arrays[f"{domain}_position"][:, 0] = np.arange(count)
    return arrays


@pytest.fixture(scope="session")
def store_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two samples of all fields, chunks of 256 rows with a short last one; do not change it."""
    root = tmp_path_factory.mktemp("store")
    writer = ZarrStoreWriter(root, FILEMAP, "made", shuffle_seed=7, chunk_points=256)
    for number in range(2):
        writer.write_sample(f"param{number}/run", sample_arrays(number))
    writer.save_manifest()
    return root


@pytest.fixture
def unchecked_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ZarrStoreWriter take NaN and infinities, as other writers of the format do."""
    monkeypatch.setattr("drawpoint_store.writing.writer.cast", lambda _sample, _field, rows, dtype: rows.astype(dtype))
