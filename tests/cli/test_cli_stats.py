from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from drawpoint_store import FileMap, StoreManifest, ZarrStoreWriter, calculate_store_statistics, statistics_to_dict
from drawpoint_store.reading.statistics_file import read_statistics

Command = Callable[..., Any]


def written(root: Path) -> dict[str, Any]:
    document = read_statistics(root)
    assert document is not None
    return document


def measured(root: Path, **selection: Any) -> dict[str, Any]:
    return {field: stats.to_dict() for field, stats in calculate_store_statistics(root, **selection).items()}


def test_statistics_go_into_the_store_bound_to_its_revision_and_onto_the_screen(root: Path, command: Command) -> None:
    ended = command("stats", root, "--workers", "1")
    assert (ended.status, ended.err) == (0, "")
    document, revision = written(root), StoreManifest.load(root).revision
    assert (document["version"], document["revision"]) == (1, revision)
    assert (document["split"], document["n_samples"]) == (None, 2)
    assert document["fields"] == measured(root)
    lines = ended.out.splitlines()
    assert lines[0].split() == ["field", "points", "mean", "std", "min", "max", "logmean", "logstd"]
    mean = document["fields"]["surface_pressure"]["mean"][0]
    row = next(line.split() for line in lines if line.startswith("surface_pressure"))
    assert row[1:3] == ["3,000", f"{mean:.5g}"]
    assert sum(line.startswith("volume_velocity") for line in lines) == 3
    assert lines[-1] == f"statistics of 2 samples at revision {revision[:12]}: {root}/statistics.json"
    first = (root / "statistics.json").read_bytes()
    assert command("stats", root, "--workers", "4").status == 0
    assert (root / "statistics.json").read_bytes() == first


def test_a_split_is_measured_alone_and_ids_that_the_store_lacks_are_named(root: Path, command: Command) -> None:
    ended = command("stats", root, "--split", "train")
    assert ended.status == 1
    assert ended.err == (
        f"drawpoint stats: the store at {root} has no split 'train', nor any other; list its sample ids, one a line, "
        "in splits/train.txt below the store's root.\n"
    )
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("param1/run\nparam9/run\n")
    ended = command("stats", root, "--split", "train")
    assert ended.status == 0
    assert "statistics of 1 sample (split train) at revision" in ended.out
    assert ended.err == "1 of the 2 ids of split 'train' are not in the store: param9/run\n"
    assert (written(root)["split"], written(root)["n_samples"]) == ("train", 1)
    assert written(root)["fields"] == measured(root, sample_ids=["param1/run"])


def test_output_names_a_file_or_stdout_and_leaves_the_store_as_it_is(
    root: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    assert command("stats", root, "--fields", "volume_sdf, surface_area", "--output", "some.json").status == 0
    ended = command("stats", root, "--fields", "volume_sdf,surface_area", "--output", "-")
    assert ended.err == ""
    assert list(json.loads(ended.out)["fields"]) == ["surface_area", "volume_sdf"]
    assert (root.parent / "some.json").read_text() == ended.out
    assert not (root / "statistics.json").exists()
    assert command("stats", root, "--exclude-fields", "volume_sdf, surface_area").status == 0
    assert written(root)["fields"].keys() == StoreManifest.load(root).fields.keys() - {"volume_sdf", "surface_area"}


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--fields", "nope"], 1, "Unknown fields nope; the store has: surface_position"),
        (["--fields", "volume_presure"], 1, "Unknown fields volume_presure; near names: volume_pressure, "),
        (["--fields", ","], 1, "No fields are left to measure"),
        (["--exclude-fields", "nope"], 1, "exclude_fields names non-existent fields nope; the store has: surface_"),
        (["--split-file", "nope.txt"], 1, "there is no split file {root}/nope.txt nor nope.txt; it lists one"),
        (["--split-file", "splits/empty.txt"], 1, "split file '{root}/splits/empty.txt' lists no sample ids"),
        (["--split-file", "splits/empty.txt", "--split", "empty"], 2, "not allowed with argument --split"),
        (["--limit", "0"], 2, "'0' is not an integer of at least 1"),
        (["--format", "toml"], 2, "invalid choice: 'toml'"),
        (["--on-invalid", "warn"], 2, "invalid choice: 'warn'"),
        (["--split", "nope"], 1, "has no split 'nope'; there is: empty"),
        (["--split", "empty"], 1, "No samples are left to measure"),
        (["--output", "{root}/splits"], 1, "cannot be written"),
        (["--workers", "0"], 2, "'0' is not an integer of at least 1"),
    ],
)
def test_an_invalid_selection_is_one_sentence(
    root: Path, command: Command, arguments: list[str], status: int, sentence: str
) -> None:
    (root / "splits").mkdir()
    (root / "splits" / "empty.txt").touch()
    ended = command("stats", root, *(argument.format(root=root) for argument in arguments))
    assert (ended.status, ended.out) == (status, "")
    assert sentence.format(root=root) in ended.err
    assert ended.err.count("\n") == (1 if status == 1 else 2)
    assert not (root / "statistics.json").exists()


def test_damage_is_an_error_that_names_it(root: Path, command: Command) -> None:
    (root / "param0/run.zarr/surface/area/c/0/0").unlink()
    ended = command("stats", root)
    assert ended.status == 1
    assert "surface_area in sample 'param0/run' is missing" in ended.err
    assert not (root / "statistics.json").exists()


def test_torch_is_not_needed(root: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from drawpoint_cli.__main__ import main; "
        f"sys.exit(main(['stats', {str(root)!r}]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_split_file_or_a_limit_is_measured_and_not_written_into_the_store(root: Path, command: Command) -> None:
    assert command("stats", root).status == 0
    whole = (root / "statistics.json").read_bytes()
    file, part = root.parent / "mine.txt", root.parent / "part.json"
    file.write_text("param1/run\nparam9/run\n")
    ended = command("stats", root, "--split-file", file)
    assert ended.status == 0
    assert ended.err == f"1 of the 2 ids of split file '{file}' are not in the store: param9/run\n"
    assert ended.out.splitlines()[-1] == (
        f"statistics of 1 sample (split file {file}) at revision {StoreManifest.load(root).revision[:12]}: not written "
        "into the store, of which they are only a part; --output FILE writes them elsewhere"
    )
    ended = command("stats", root, "--limit", "1")
    assert (ended.status, ended.err) == (0, "")
    assert "statistics of 1 sample at revision" in ended.out
    assert "not written into the store" in ended.out
    assert (root / "statistics.json").read_bytes() == whole
    assert command("stats", root, "--split-file", file, "--output", part).status == 0
    document = json.loads(part.read_text())
    assert (document["split"], document["n_samples"]) == (str(file), 1)
    assert document["fields"] == measured(root, sample_ids=["param1/run"])
    file.write_text("gone\n")
    ended = command("stats", root, "--split-file", file)
    assert ended.status == 1
    assert ended.err == (
        f"1 of the 1 ids of split file '{file}' are not in the store: gone\n"
        "drawpoint stats: No samples are left to measure, of the 2 in the store.\n"
    )


def test_a_limit_takes_the_first_samples_of_a_split(root: Path, command: Command) -> None:
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("param1/run\nparam0/run\n")
    document = json.loads(command("stats", root, "--split", "train", "--limit", "1", "--output", "-").out)
    assert document["n_samples"] == 1
    assert document["fields"] == measured(root, sample_ids=["param1/run"])


def test_noethers_format_goes_to_stdout_or_a_file_and_never_into_the_store(root: Path, command: Command) -> None:
    before = sorted(root.iterdir())
    ended = command("stats", root, "--format", "noether")
    assert (ended.status, ended.err) == (0, "")
    head = f"# statistics of 2 samples at revision {StoreManifest.load(root).revision}, by drawpoint"
    assert ended.out.startswith(head)
    assert yaml.safe_load(ended.out) == statistics_to_dict(calculate_store_statistics(root))
    ids, output = root.parent / "ids.txt", root.parent / "stats.yaml"
    ids.write_text("param0/run\n")
    ended = command("stats", root, "--format", "noether", "--split-file", ids, "--output", output)
    assert f"(split file {ids}) at revision" in ended.out
    expected = statistics_to_dict(calculate_store_statistics(root, sample_ids=["param0/run"]))
    assert yaml.safe_load(output.read_text()) == expected
    assert sorted(root.iterdir()) == before


@pytest.mark.usefixtures("unchecked_writer")
def test_nan_and_inf_are_an_error_or_skipped_and_named(tmp_path: Path, command: Command) -> None:
    writer = ZarrStoreWriter(tmp_path, FileMap(surface_position="p", surface_pressure="q"), "made")
    for sample_id, pressure in (("a", [1, np.nan, 2]), ("b", [3, 4, 5]), ("c", [np.inf, -np.inf, 6])):
        writer.write_sample(sample_id, {"surface_position": np.ones((3, 3)), "surface_pressure": np.array(pressure)})
    writer.save_manifest()
    described = "2 of 3 samples hold points with NaN or inf: 'a' (surface_pressure in 1), 'c' (surface_pressure in 2)"
    ended = command("stats", tmp_path)
    assert (ended.status, ended.out) == (1, "")
    assert ended.err == (
        f"drawpoint stats: {described}; leave out those samples or fields, or only those points, with "
        'on_invalid="skip" (--on-invalid skip).\n'
    )
    assert not (tmp_path / "statistics.json").exists()
    ended = command("stats", tmp_path, "--on-invalid", "skip")
    assert ended.status == 0
    assert ended.err == f"{described}; the statistics of these fields are without these points.\n"
    pressure = written(tmp_path)["fields"]["surface_pressure"]
    assert (pressure["count"], pressure["mean"], pressure["max"]) == (6, [3.5], [6.0])
    assert written(tmp_path)["fields"]["surface_position"]["count"] == 9
