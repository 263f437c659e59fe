"""Conversions that are killed with `kill -9` at random moments: the same command goes on, and ends in the same bytes.

    DRAWPOINT_KILLS=50 DRAWPOINT_BUCKET_KILLS=20 .venv/bin/pytest -s tests/cli/test_convert_killed.py

kills so often in all, with every engine; without the variables once with a few of them. DRAWPOINT_KILL_SEED is the seed
of the moments.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dask_cluster import Cluster, running_cluster
from drawpoint_cli.__main__ import main
from killing import KilledConversion, Store, Words
from s3 import Bucket
from trees import write_runs
from vtk_runs import write_vtk_runs

RUNS = 6
SEED = int(os.environ.get("DRAWPOINT_KILL_SEED", "0"))
ENGINES = ("one process", "4 workers", "shares", "Dask", "a worker of Dask")
OFTEN = [(source, engine) for engine in ENGINES for source in ("tensors", "VTK")]
SELDOM = [("VTK", "4 workers"), ("tensors", "shares")]
LOCAL_KILLS = int(os.environ.get("DRAWPOINT_KILLS", "0"))
BUCKET_KILLS = int(os.environ.get("DRAWPOINT_BUCKET_KILLS", "0"))


def share_out(kills: int, cases: int, number: int) -> int:
    """Return how many kills case `number` has, one where none are asked for."""
    return len(range(number, kills, cases)) or 1


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, bucket: Bucket) -> Iterator[Cluster]:
    # Its workers have credentials of their own.
    with running_cluster(tmp_path_factory.mktemp("dask"), 2, **bucket.environment) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[object, ...]]:
    """The words that name a source, by its kind."""
    folder = tmp_path_factory.mktemp("sources")
    write_runs(folder / "runs", RUNS)
    recipe = write_vtk_runs(folder / "meshes", RUNS)
    return {"tensors": (folder / "runs",), "VTK": (folder / "meshes", "--recipe", recipe)}


def phases_of(engine: str, words: Words, address: str) -> list[list[Words]]:
    """Return the commands that convert by an engine, those of each phase at a time."""
    if engine == "shares":
        shares = [[*words, "--task", f"{number}/2", "--workers", 1] for number in (1, 2)]
        return [[*shares], [[*words, "--publish"]]]
    options = {"one process": ("--workers", 1), "4 workers": ("--workers", 4)}.get(engine, ("--dask", address))
    return [[[*words, *options]]]


def kill_a_worker(cluster: Cluster) -> None:
    pids = cluster.worker_pids()
    if pids:
        os.kill(pids[0], signal.SIGKILL)


def run(store: str, source: Words, engine: str, kills: int, old: Path | None, request: pytest.FixtureRequest) -> None:
    cluster = request.getfixturevalue("cluster") if "Dask" in engine else None
    place, *options = source
    given = [*options, *(["--overwrite"] if old is not None else [])]
    whole = Store(store)
    whole.reset(old)
    assert main([*map(str, ["convert", place, store, *given, "--workers", 1])]) == 0
    conversion = KilledConversion(
        Store(store),
        phases_of(engine, [place, store, *given], "" if cluster is None else cluster.address),
        whole.files(),
        old,
        (lambda: kill_a_worker(cluster)) if engine == "a worker of Dask" and cluster is not None else None,
    )
    conversion.run(kills, random.Random(SEED))
    print(f"{engine}, seed {SEED}: {kills} kills, at {', '.join(conversion.killed)}")  # noqa: T201  shown by -s


@pytest.mark.parametrize(("source", "engine"), OFTEN if LOCAL_KILLS else SELDOM)
def test_killed_at_random_moments_a_local_store_ends_the_same_and_is_never_seen_half(
    source: str, engine: str, sources: dict[str, Words], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place, *options = sources[source]
    old = None
    if engine != "one process":  # readers of an older revision go on reading it
        old = tmp_path / "old"
        assert main([*map(str, ["convert", place, old, *options, "--shuffle-seed", 1, "--workers", 1])]) == 0
    number = OFTEN.index((source, engine))
    kills = share_out(LOCAL_KILLS, len(OFTEN), number)
    run(str(tmp_path / "store"), sources[source], engine, kills, old, request)


@pytest.mark.parametrize(("source", "engine"), OFTEN if BUCKET_KILLS else [("tensors", "one process")])
def test_killed_at_random_moments_a_store_in_a_bucket_ends_the_same_and_is_never_seen_half(
    source: str,
    engine: str,
    sources: dict[str, Words],
    bucket: Bucket,
    bucket_environment: None,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    kills = share_out(BUCKET_KILLS, len(OFTEN), OFTEN.index((source, engine)))
    run(f"s3://{bucket.name}/{tmp_path.name}", sources[source], engine, kills, None, request)
