"""Errors call a store what their reader calls it: its id where it is served, its root where it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import drawpoint
from drawpoint import errors
from drawpoint_store import ZarrChunkReader
from live import LiveService

SAMPLE = "param0/run"

MISTAKES: dict[str, Callable[[Any], Any]] = {
    "a sample": lambda reader: reader.read_sample("run", {"surface": 1}),
    "a domain": lambda reader: reader.read_sample(SAMPLE, {"surfaces": 1}),
    "a field": lambda reader: reader.read_sample(SAMPLE, fields=["pressure"]),
    "a sample of coordinates": lambda reader: reader.read_coords("run", "surface", 1),
    "a domain of coordinates": lambda reader: reader.read_coords(SAMPLE, "surfaces", 1),
    "a domain of a batch": lambda reader: reader.read_batch([SAMPLE], {"surfaces": 1}),
    "a field of a batch": lambda reader: reader.read_batch([SAMPLE], fields=["pressure"]),
    "an item of a batch": lambda reader: raise_first(reader.read_batch(["run"])),
    "a sample in parts": lambda reader: list(reader.iter_parts("run", "surface", 9)),
    "a field in parts": lambda reader: list(reader.iter_parts(SAMPLE, "surface", 9, fields=["pressure"])),
    "a sample of a dataset": lambda reader: drawpoint.SampleDataset(reader, sample_ids=["run"]),
    "a domain of a dataset": lambda reader: drawpoint.SampleDataset(reader, num_points={"surfaces": 1}),
    "a field of a dataset": lambda reader: drawpoint.SampleDataset(reader, fields=["pressure"]),
    "a sample of an estimate": lambda reader: drawpoint.estimate(reader, sample_ids=["run"]),
    "a field of an estimate": lambda reader: drawpoint.estimate(reader, fields=["pressure"]),
    "another revision's statistics": lambda reader: drawpoint.SampleDataset(
        reader, normalise={"revision": "0" * 64, "fields": {}}
    ),
    "statistics": lambda reader: reader.statistics(),
    "splits": lambda reader: reader.splits(),
    "a split": lambda reader: reader.split("train"),
}


def raise_first(outcomes: list[Any]) -> None:
    raise outcomes[0]


@pytest.fixture(scope="module")
def cars(store_root: Path) -> Iterator[LiveService]:
    """Serves the data set `made` under another id."""
    with LiveService({"cars": store_root}) as service:
        yield service


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_reader_names_the_id_that_is_served_and_the_root_that_is_read(
    cars: LiveService, store_root: Path, monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Any], Any]
) -> None:
    monkeypatch.chdir(store_root.parent)
    for reader, name in (
        (drawpoint.connect(cars.url).store("cars"), "cars"),
        (ZarrChunkReader(store_root.name), store_root.name),
    ):
        with pytest.raises(errors.DrawpointError, match=f"store (at )?'?{name}") as caught:
            mistake(reader)
        assert caught.value.store == name
        assert "made" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("samples/run?surface=1", 404),
        (f"coords/{SAMPLE}", 422),
        (f"samples/{SAMPLE}?fields=pressure", 422),
        (f"samples/{SAMPLE}?revision=0", 409),
        ("statistics", 404),
    ],
)
def test_a_problem_names_the_id(cars: LiveService, path: str, status: int) -> None:
    answer = httpx.get(f"{cars.url}/stores/cars/{path}")
    assert answer.status_code == status
    assert "store 'cars'" in answer.json()["detail"]
    assert answer.json()["store"] == "cars"
