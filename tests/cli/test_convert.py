"""`drawpoint convert` as its users see it: options, output and exit status."""

from __future__ import annotations

import os
import re
import shlex
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from conftest import AHMED
from drawpoint_store import StoreManifest, ZarrChunkReader
from drawpoint_store.conversion.sources.filemaps import PRESETS
from trees import SURFACE, VOLUME, files_below, write_run, write_runs

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_runs(tmp_path / "runs", 2)
    return tmp_path / "runs"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def samples(store: Path) -> list[str]:
    return list(StoreManifest.load(store).samples)


def test_real_runs_convert_with_no_options(command: Command, store: Path) -> None:
    ended = command("convert", AHMED, store, "--strict")
    assert (ended.status, ended.err) == (0, "")
    revision = StoreManifest.load(store).revision
    assert re.fullmatch(
        r"converted 2 samples with 218,660 points in [\d.]+ s: 9\.7 MB read, [\d.]+ MB written\n"
        rf"store {re.escape(str(store))}: dataset ahmed, revision {revision}\n"
        r"relative error    dtype    99 % within  largest  become zero\n"
        r"(\w+ +float16  +[\d.]+ %  +[\d.]+ %  +[\de.-]+ %\n){8}",
        ended.out,
    )
    lines = ended.out.splitlines()[2:]
    assert "surface_pressure  float16      0.046 %  0.048 %          0 %" in lines
    assert command("info", store).out.splitlines()[-9:] == lines


def test_workers_do_not_show_in_the_bytes_and_progress_is_drawn_on_a_terminal_only(
    command: Command, runs: Path, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("convert", runs, store, "--workers", 1).err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    ended = command("convert", runs, tmp_path / "other", "--workers", 3)
    assert re.search(r"100%.* 2/2 .*MB/s", ended.err)
    assert files_below(store) == files_below(tmp_path / "other")


def test_options_reach_the_store_and_append_keeps_them(command: Command, runs: Path, store: Path) -> None:
    ended = command(
        "convert", runs, store, "--dataset-name", "cars", "--chunk-points", 64, "--shard-points", 200,
        "--values-dtype", "float32", "--field-dtype", "volume_distance_to_surface=float64",
        "--field-dtype", "surface_pressure=float16", "--compression-level", 1, "--shuffle-seed", 5, "--workers", 1,
    )  # fmt: skip
    assert ended.status == 0
    manifest = StoreManifest.load(store)
    assert (manifest.dataset_name, manifest.shuffle_seed) == ("cars", 5)
    assert (manifest.values_dtype, manifest.compressor) == ("float32", "blosc-zstd-1")
    assert manifest.fields["volume_sdf"].dtype == "float64"
    assert manifest.fields["surface_pressure"].dtype == "float16"
    grid = manifest.samples["run_0"].domains["surface"]
    assert (grid.chunk_points, grid.shard_points, grid.n_chunks) == (64, 192, 5)
    write_run(runs / "run_2", 2)
    assert command("convert", runs, store, "--append").status == 0
    appended = StoreManifest.load(store)
    assert appended.compressor == "blosc-zstd-1"
    assert appended.samples["run_2"].domains == manifest.samples["run_0"].domains


def test_broken_samples_fail_the_command_unless_skipped_and_are_appended_once_mended(
    command: Command, runs: Path, store: Path, tmp_path: Path
) -> None:
    write_run(runs / "run_2", 2, surface_pressure=None)
    write_run(runs / "run_3", 3, surface_pressure=torch.full((300,), torch.nan))
    reasons = (
        "broken: run_2: lacks surface_pressure.pt (surface_pressure)\n"
        "broken: run_3: surface_pressure holds 300 NaN of 300 values, the first in row 0; leave these points out of "
        "the whole domain\n"
    )
    ended = command("convert", runs, store)
    assert ended.status == 1
    assert ended.err == (f"{reasons}2 of 4 samples are broken and left out: mend them, then add them with --append.\n")
    assert samples(store) == ["run_0", "run_1"]
    ended = command("convert", runs, tmp_path / "skipped", "--skip-broken")
    assert ended.status == 0
    assert ended.err.startswith(reasons)
    for number in (2, 3):
        write_run(runs / f"run_{number}", number)
    ended = command("convert", runs, store, "--append")
    assert ended.status == 0
    assert ended.out.startswith("skipped 2 samples that the store holds already\nconverted 2 samples with ")
    assert command("convert", runs, tmp_path / "whole").status == 0
    assert files_below(store) == files_below(tmp_path / "whole")


def test_a_source_of_broken_samples_alone_writes_no_store(command: Command, runs: Path, store: Path) -> None:
    (runs / "run_0" / "surface_pressure.pt").unlink()
    write_run(runs / "run_1", 1, surface_pressure=torch.full((300,), torch.nan))
    ended = command("convert", runs, store, "--skip-broken")
    assert ended.status == 1
    assert ended.err.endswith("2 of 2 samples are broken and left out: no store is written.\n")
    assert not store.exists()


def test_names_of_broken_samples_cannot_control_the_terminal(command: Command, runs: Path, store: Path) -> None:
    write_run(runs / "\x1b[2Jgöne\nbroken", 4)
    write_run(runs / os.fsdecode(b"latin\xff"), 4)
    ended = command("convert", runs, store)
    assert (ended.status, ended.err.count("\n")) == (1, 3)
    assert "broken: \\x1b[2Jgöne\\nbroken: " in ended.err
    assert "broken: latin\\udcff: " in ended.err
    assert samples(store) == ["run_0", "run_1"]


def test_a_field_too_small_for_its_dtype_is_named_with_the_remedy_and_noise_is_not(
    tmp_path: Path, command: Command
) -> None:
    noise = torch.ones(SURFACE, dtype=torch.float64)
    noise[0] = 1e-9
    tiny = torch.full((VOLUME,), 1e-9)
    for name in ("a", "b"):
        write_run(tmp_path / "runs" / name, surface_pressure=noise, volume_distance_to_surface=tiny)
    ended = command("convert", tmp_path / "runs", tmp_path / "store")
    assert ended.status == 0
    assert ended.err == (
        f"warning: {2 * VOLUME:,} of the {2 * VOLUME:,} values of volume_sdf that are not zero are too small for "
        "float16 and are stored as zero; keep them with field_dtypes={'volume_sdf': 'float32'} "
        "(--field-dtype volume_sdf=float32), or scale the field.\n"
    )
    kept = command("convert", tmp_path / "runs", tmp_path / "wide", "--field-dtype", "volume_sdf=float32")
    assert (kept.status, kept.err) == (0, "")


def test_an_overflow_in_a_probe_ends_the_command_and_one_elsewhere_is_listed_with_the_command_that_mends_it(
    command: Command, tmp_path: Path
) -> None:
    runs, store = tmp_path / "my runs", tmp_path / "store"
    write_runs(runs, 6)
    large = torch.full((SURFACE,), 1e6)
    write_run(runs / "run_3", surface_pressure=large)
    ended = command("convert", runs, store)
    assert ended.status == 1
    assert ended.err == (
        "drawpoint convert: sample 'run_3' exceeds the float16 range: surface_pressure peaks at 1e+06, float16 ends at "
        "65504; store it wider, with field_dtypes={'surface_pressure': 'float32'} "
        "(--field-dtype surface_pressure=float32); nothing is written.\n"
    )
    assert not store.exists()
    write_runs(runs, 6)
    write_run(runs / "run_4", surface_pressure=large)
    ended = command("convert", runs, store)
    assert ended.status == 1
    assert ended.err.splitlines()[-2] == "surface_pressure exceeds the range of its dtype in 1 sample: run_4"
    remedy = shlex.split(ended.err.splitlines()[-1].removeprefix("store wider what overflows: drawpoint "))
    assert remedy == ["convert", str(runs), str(store), "--field-dtype=surface_pressure=float32", "--overwrite"]
    mended = command(*remedy)
    assert (mended.status, mended.err) == (0, "")
    assert " written, 15 arrays kept of an earlier run\n" in mended.out
    assert len(samples(store)) == 6


def test_a_field_that_loses_more_than_is_allowed_is_refused(command: Command, runs: Path, store: Path) -> None:
    for run in ("run_0", "run_1"):
        write_run(runs / run, surface_pressure=torch.linspace(1e-7, 2e-7, SURFACE))
    ended = command("convert", runs, store, "--max-relative-error", "1e-2")
    assert ended.status == 1
    assert ended.err.startswith(
        "drawpoint convert: surface_pressure loses too much as float16: the 99th percentile of "
    )
    assert not store.exists()
    wide = ("--field-dtype", "surface_pressure=float32")
    assert command("convert", runs, store, "--max-relative-error", "1e-2", *wide).status == 0
    wrong = command("convert", runs, store, "--max-relative-error", "1 %")
    assert wrong.status == 2
    assert "'1 %' is no number in 0..1" in wrong.err


def test_files_that_look_like_fields_are_named_once_and_refused_by_strict(
    command: Command, runs: Path, store: Path
) -> None:
    for run in ("run_0", "run_1"):
        (runs / run / "volume_velocty.pt").touch()
        (runs / run / "design_parameters.pt").touch()
    (runs / "run_1" / "surface_wallshearstress.pt").touch()
    named = (
        "left out: surface_wallshearstress.pt, in 1 of 2 samples; --filemap drivaerstar has it as surface_friction\n"
        "left out: volume_velocty.pt, in 2 of 2 samples; near names: volume_velocity, volume_vorticity, "
        "volume_position\n"
    )
    remedy = "2 files look like fields and are in no file map: rename them, or name them in a file for --filemap"
    ended = command("convert", runs, store, "--strict")
    assert ended.status == 1
    assert ended.err == f"{named}drawpoint convert: {remedy}, or convert without --strict.\n"
    assert not store.exists()
    ended = command("convert", runs, store)
    assert ended.status == 0
    assert ended.err == f"{named}{remedy}.\n"
    assert ended.out.startswith("converted 2 samples")


def test_at_most_twenty_files_that_look_like_fields_are_named(command: Command, runs: Path, store: Path) -> None:
    for step in range(21):
        (runs / "run_0" / f"volume_velocity_{step}.pt").touch()
    err = command("convert", runs, store).err
    assert err.count("left out: ") == 20
    assert "\n21 files (1 more than are named here) look like fields" in err


def test_a_folder_of_nothing_but_misnamed_fields_is_named(command: Command, runs: Path, store: Path) -> None:
    lost = runs / "cars" / "run_2"
    lost.mkdir(parents=True)
    for name in ("surface_positon.pt", "surface_presure.pt", "notes.pt"):
        (lost / name).touch()
    ended = command("convert", runs, store)
    assert (ended.status, samples(store)) == (0, ["run_0", "run_1"])
    assert "left out: surface_positon.pt, in 1 of 3 samples; near names: surface_position" in ended.err
    assert "left out: cars/run_2 as a whole: none of its files is in the file map\n2 files look like" in ended.err
    assert command("convert", runs, store, "--overwrite", "--strict").status == 1


def test_positions_that_are_missing_name_the_near_file_or_the_fitting_preset(
    command: Command, runs: Path, tmp_path: Path, store: Path
) -> None:
    for run in ("run_0", "run_1"):
        (runs / run / "surface_position.pt").rename(runs / run / "surface_positon.pt")
    ended = command("convert", runs, store)
    assert ended.status == 1
    assert "has no file of surface_position" in ended.err
    assert "is it surface_positon.pt? Rename that, or name it with --filemap." in ended.err
    folder = tmp_path / "cars" / "param0" / "0a1b"
    folder.mkdir(parents=True)
    for name in PRESETS["shapenet-car"].model_dump(exclude_none=True).values():
        (folder / name).touch()
    ended = command("convert", tmp_path / "cars", store)
    assert ended.status == 1
    assert "has no file of surface_position" in ended.err
    assert "its files are those of --filemap shapenet-car." in ended.err


def test_statistics_of_another_revision_are_named_after_the_store_was_changed_and_only_then(
    command: Command, runs: Path, store: Path
) -> None:
    reminder = f"its statistics are of another revision; renew them: drawpoint stats {store}\n"
    assert "drawpoint stats" not in command("convert", runs, store).out
    command("stats", store)
    assert "drawpoint stats" not in command("convert", runs, store, "--append").out
    write_run(runs / "run_2", 2)
    assert command("convert", runs, store, "--append", "--no-stats").out.endswith(reminder)
    assert command("convert", runs, store, "--overwrite", "--shuffle-seed", 9).out.endswith(reminder)
    (store / "statistics.json").write_text("no JSON")
    write_run(runs / "run_3", 3)
    assert command("convert", runs, store, "--append", "--no-stats").out.endswith(reminder)


def test_a_conversion_measures_on_demand_and_when_it_appends_to_a_store_that_was_measured(
    command: Command, runs: Path, store: Path
) -> None:
    def written(count: int) -> str:
        return (
            f"statistics, of {count} samples: {store}/statistics.json; those of another split take no read: drawpoint "
            f"stats {store} --split NAME\n"
        )

    assert command("convert", runs, store, "--stats").out.endswith(written(2))
    first = (store / "statistics.json").read_bytes()
    assert command("stats", store, "--reread").status == 0
    assert (store / "statistics.json").read_bytes() == first
    write_run(runs / "run_2", 2)
    assert command("convert", runs, store, "--append").out.endswith(written(3))
    (store / "statistics" / "samples.npz").unlink()
    (store / "statistics.json").unlink()
    write_run(runs / "run_3", 3)
    assert command("convert", runs, store, "--append", "--stats").out.endswith(
        "it has no statistics: 3 samples of 4 could not be, or were not, measured on the way: run_0, run_1, run_2; "
        f"measure them: drawpoint stats {store}\n"
    )


def test_a_store_that_exists_is_refused_with_both_remedies_or_replaced_beside_its_readers(
    command: Command, runs: Path, store: Path
) -> None:
    command("convert", runs, store)
    before = files_below(store)
    ended = command("convert", runs, store)
    assert ended.status == 1
    assert ended.err == (
        f"drawpoint convert: there is a store at {store} (2 samples); add to it with --append, replace it with "
        "--overwrite, or write elsewhere.\n"
    )
    assert files_below(store) == before
    ended = command("convert", runs, store, "--overwrite", "--values-dtype", "float32")
    assert ended.status == 0
    assert "2 groups of the replaced revision stay for its readers" in ended.out
    assert ended.out.endswith(": run_0.zarr, run_1.zarr\n")
    assert ZarrChunkReader(store).read_sample("run_0").keys() == StoreManifest.load(store).fields.keys()


@pytest.mark.parametrize("mode", ["", "--append", "--overwrite"])
def test_a_store_whose_manifest_is_damaged_is_left_as_it_is(
    command: Command, runs: Path, store: Path, mode: str
) -> None:
    store.mkdir()
    (store / "manifest.json").write_text("{")
    ended = command("convert", runs, store, *mode.split())
    assert (ended.status, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith(f"drawpoint convert: {store}/manifest.json is refused: it is no manifest ")
    assert files_below(store) == {"manifest.json": b"{"}


@pytest.mark.parametrize(
    ("spelling", "lacking", "has_sdf"),
    [("DrivAerNet++", "", False), ("DrivAerStar", "", True), ("DrivAerStar", "volume_sdf.pt", False)],
)
def test_a_preset_names_the_files_of_which_one_may_be_optional(
    command: Command, tmp_path: Path, store: Path, spelling: str, lacking: str, *, has_sdf: bool
) -> None:
    folder = tmp_path / "cars" / "F_S_WWS_WM_001"
    folder.mkdir(parents=True)
    for attribute, name in PRESETS[spelling.lower().rstrip("+")].model_dump(exclude_none=True).items():
        scalar = attribute.split("_")[1] not in ("position", "friction", "normals", "velocity", "vorticity")
        if name != lacking:
            torch.save(torch.ones((10,) if scalar else (10, 3)), folder / name)
    ended = command("convert", tmp_path / "cars", store, "--filemap", spelling, "--strict")
    assert (ended.status, ended.err) == (0, "")
    assert ("volume_sdf" in StoreManifest.load(store).fields) == has_sdf


def test_the_help_lists_all_presets(command: Command) -> None:
    listed = command("convert", "--help").out
    assert all(re.search(rf"^  {preset} +surface_\w+\.pt, ", listed, re.MULTILINE) for preset in PRESETS)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("--chunk-points 0", "'0' is not an integer of at least 1"),
        ("--compression-level 10", "'10' is not an integer in 0..9"),
        ("--shuffle-seed -1", "'-1' is not an integer in 0..9223372036854775807"),
        ("--values-dtype int8", "invalid choice: 'int8'"),
        ("--field-dtype p=float32", "'p' is no field; there is: surface_position"),
        ("--field-dtype volume_presure=float32", "'volume_presure' is no field; near names: volume_pressure, "),
        ("--field-dtype volume_sdf", "'volume_sdf' is not FIELD=D with D one of float16"),
        ("--field-dtype volume_normals=float32", "fields that are not stored: volume_normals; there is: "),
        ("--filemap nowhere", "'nowhere' is neither a preset (auto, shapenet-car"),
        ("--filemap {map}", "surface_presure: there is no such name"),
        ("--append --overwrite", "not allowed with"),
    ],
)
def test_wrong_usage_is_named_and_nothing_written(
    command: Command, runs: Path, store: Path, tmp_path: Path, options: str, problem: str
) -> None:
    (tmp_path / "map.toml").write_text('surface_presure = "p.pt"\n')
    ended = command("convert", runs, store, *options.format(map=tmp_path / "map.toml").split())
    assert ended.status == 2
    assert problem in ended.err
    assert not store.exists()


@pytest.mark.parametrize("nothing", ["", "file://"])
def test_an_empty_location_is_not_the_current_directory(
    command: Command, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for locations in ((runs, nothing), (nothing, "store")):
        ended = command("convert", *locations)
        assert ended.status == 2
        assert f"{nothing!r} names no directory" in ended.err
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("words", ["convert s3:/bucket/y b", "stats a --output s3:/bucket/y", "info s3:/bucket/y"])
def test_a_url_with_one_slash_is_refused_and_corrected(
    command: Command, runs: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.chdir(runs.parent)
    ended = command(*words.split())
    assert ended.status == 2
    assert "'s3:/bucket/y' is neither path nor URL; the URL is s3://bucket/y, a folder of that" in ended.err
    assert [path.name for path in runs.parent.iterdir()] == ["runs"]


def test_a_store_inside_its_source_and_several_workers_on_memory_are_refused(command: Command, runs: Path) -> None:
    ended = command("convert", runs, runs / "store")
    assert ended.status == 2
    assert f"the store {runs}/store would lie inside its source {runs}; write it elsewhere." in ended.err
    assert not (runs / "store").exists()
    ended = command("convert", runs, "memory://refused", "--workers", 2)
    assert ended.status == 2
    assert "use 1 worker, not 2" in ended.err
    assert command("convert", runs, "memory://cli-store").status == 0
    assert len(StoreManifest.load("memory://cli-store").samples) == 2


def test_paths_below_home_are_found(
    command: Command, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(runs)
    (tmp_path / "map.toml").write_text('surface_position = "surface_position.pt"\n')
    assert command("convert", "~/runs", "~/store", "--filemap=~/map.toml").status == 0
    assert command("stats", "~/store", "--output=~/statistics.json").status == 0
    assert (tmp_path / "statistics.json").is_file()
    assert list(StoreManifest.load(tmp_path / "store").fields) == ["surface_position"]


@pytest.mark.parametrize("source", ["nowhere", "memory://nowhere", "s3-typo://bucket/runs"])
def test_a_source_that_cannot_be_read_is_one_sentence(command: Command, store: Path, source: str) -> None:
    ended = command("convert", source, store)
    assert (ended.status, ended.err.count("\n")) == (1, 1)
    assert ended.err.startswith(f"drawpoint convert: {source} ")
    assert not store.exists()
