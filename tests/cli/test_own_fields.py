"""Fields of the user's own on the command line: a file map's tables, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from drawpoint_store import StoreManifest
from trees import VOLUME, write_runs

from .conftest import Command

MAP = """
surface_position = "surface_position.pt"
surface_pressure = "surface_pressure.pt"
volume_position = "volume_position.pt"
volume_distance_to_surface = "volume_distance_to_surface.pt"

[fields.surface_pressure]
units = "Pa"

[fields.volume_temperature]
file = "T.pt"
units = "K"
description = "static temperature"

[fields.volume_stress]
dim = 6
"""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs with two fields more than the format knows."""
    write_runs(tmp_path / "runs", 2)
    (tmp_path / "map.toml").write_text(MAP)
    for run in (tmp_path / "runs").iterdir():
        torch.save(torch.linspace(250, 350, VOLUME), run / "T.pt")
        torch.save(torch.ones(VOLUME, 6), run / "volume_stress.pt")
    return tmp_path / "runs"


def test_a_file_map_with_tables_is_converted_verified_shown_and_appended_to(
    command: Command, runs: Path, tmp_path: Path
) -> None:
    store, options = tmp_path / "store", ("--filemap", tmp_path / "map.toml")
    precise = ("--field-dtype", "volume_temperature=float32", "--field-dtype", "volume_distance_to_surface=float32")
    assert command("convert", runs, store, *options, *precise, "--strict", "--workers", 1)[::2] == (0, "")
    shown = command("info", store).out
    assert "surface_pressure             float16        2 bytes a point, in Pa\n" in shown
    assert "volume_temperature           float32        4 bytes a point, in K: static temperature\n" in shown
    assert "volume_stress                float16 x 6   12 bytes a point\n" in shown
    assert command("verify", store, "--source", runs, *options).status == 0
    torch.save(torch.full((VOLUME,), 300.0), runs / "run_1" / "T.pt")
    differs = command("verify", store, "--source", runs, *options)
    assert differs.status == 1
    assert "volume_temperature of sample 'run_1' differs in 700 of 700 rows" in differs.out
    write_runs(runs / "more", 1)
    for name in ("T.pt", "volume_stress.pt"):
        (runs / "more" / "run_0" / name).write_bytes((runs / "run_0" / name).read_bytes())
    assert command("convert", runs, store, *options, "--append", "--workers", 1).status == 0
    manifest = StoreManifest.load(store)
    assert list(manifest.samples) == ["more/run_0", "run_0", "run_1"]
    assert manifest.fields["volume_temperature"].dtype == "float32"


def test_an_append_without_a_file_map_finds_the_fields_of_the_store_by_their_names(
    command: Command, runs: Path, tmp_path: Path
) -> None:
    for run in runs.iterdir():
        (run / "T.pt").rename(run / "volume_temperature.pt")
    (tmp_path / "map.toml").write_text(MAP.replace('file = "T.pt"\n', ""))
    store = tmp_path / "store"
    assert (
        command("convert", runs / "run_0", store, "--filemap", tmp_path / "map.toml", "--dataset-name", "x").status == 0
    )
    assert command("convert", runs, store, "--append", "--strict", "--workers", 1)[::2] == (0, "")
    assert command("verify", store, "--source", runs).status == 0
    manifest = StoreManifest.load(store)
    assert list(manifest.samples) == ["run_0", "run_1"]
    assert manifest.fields["surface_pressure"].units == "Pa"


def test_a_file_that_is_another_field_is_named_with_its_table(command: Command, runs: Path, tmp_path: Path) -> None:
    (runs / "run_0" / "volume_velocty.pt").touch()
    ended = command("convert", runs, tmp_path / "store", "--strict")
    assert ended.status == 1
    assert "left out: volume_stress.pt, in 2 of 2 samples" in ended.err
    assert "; to store it, a file for --filemap has a table [fields.volume_stress]\n" in ended.err
    assert "left out: volume_velocty.pt, in 1 of 2 samples; near names: volume_velocity" in ended.err
    assert "[fields.volume_velocty]" not in ended.err
    assert not (tmp_path / "store").exists()
    options = ("--filemap", tmp_path / "map.toml", "--field-dtype", "volume_temprature=float32")
    near = command("convert", runs, tmp_path / "store", *options)
    assert near.status == 2
    assert "'volume_temprature' is no field; near names: volume_temperature" in near.err
