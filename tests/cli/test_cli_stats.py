from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from drawpoint_cli.__main__ import main
from drawpoint_store import (
    FileMap,
    StoreManifest,
    ZarrStoreWriter,
    calculate_store_statistics,
    statistics_to_dict,
)
from drawpoint_store.reading.statistics import read_statistics


@pytest.fixture
def root(store_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_root, tmp_path / "store"))


def test_statistics_go_into_the_store_bound_to_its_revision_and_onto_the_screen(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stats", str(root)]) == 0
    document = read_statistics(root)
    assert document is not None
    revision = StoreManifest.load(root).revision
    assert (document["version"], document["revision"], document["split"], document["n_samples"]) == (
        1,
        revision,
        None,
        2,
    )
    expected = calculate_store_statistics(root)
    assert {field: stats.to_dict() for field, stats in expected.items()} == document["fields"]
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].split() == ["field", "points", "mean", "std", "min", "max", "logmean", "logstd"]
    mean = document["fields"]["surface_pressure"]["mean"][0]
    row = next(line.split() for line in lines if line.startswith("surface_pressure"))
    assert row[1:3] == ["3,000", f"{mean:.5g}"]
    assert sum(line.startswith("volume_velocity") for line in lines) == 3
    assert lines[-1] == f"statistics of 2 samples at revision {revision[:12]}: {root}/statistics.json"


def test_the_same_store_gives_the_same_bytes_for_any_number_of_workers(root: Path) -> None:
    assert main(["stats", str(root), "--workers", "1"]) == 0
    first = (root / "statistics.json").read_bytes()
    assert main(["stats", str(root), "--workers", "4"]) == 0
    assert (root / "statistics.json").read_bytes() == first


def test_a_split_is_measured_alone_and_ids_that_the_store_lacks_are_named(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "train_design_ids.txt").write_text("param1/run\nparam9/run\n")
    assert main(["stats", str(root), "--split", "train"]) == 0
    document = read_statistics(root)
    assert document is not None
    assert (document["split"], document["n_samples"]) == ("train", 1)
    expected = calculate_store_statistics(root, sample_ids=["param1/run"])
    assert document["fields"]["volume_sdf"] == expected["volume_sdf"].to_dict()
    out, err = capsys.readouterr()
    assert "statistics of 1 sample (split train) at revision" in out
    assert err == "1 of the 2 ids of split 'train' are not in the store: param9/run\n"


def test_output_names_a_file_or_stdout_and_leaves_the_store_as_it_is(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    assert main(["stats", str(root), "--fields", "volume_sdf, surface_area", "--output", "some.json"]) == 0
    capsys.readouterr()
    assert main(["stats", str(root), "--fields", "volume_sdf,surface_area", "--output", "-"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert list(json.loads(out)["fields"]) == ["surface_area", "volume_sdf"]
    assert (root.parent / "some.json").read_text() == out
    assert not (root / "statistics.json").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--fields", "nope"], 1, "Unknown fields nope; the store has: surface_position"),
        (
            ["--fields", "volume_presure"],
            1,
            "Unknown fields volume_presure; near names: volume_pressure, ",
        ),
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
        (["--unknown"], 2, "unrecognized arguments"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, sentence: str
) -> None:
    (root / "splits").mkdir()
    (root / "splits" / "empty.txt").touch()
    assert main(["stats", str(root), *(argument.format(root=root) for argument in arguments)]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence.format(root=root) in err
    assert err.count("\n") == (1 if status == 1 else 2)
    assert not (root / "statistics.json").exists()


def test_where_a_split_belongs_is_told_where_there_is_none(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(root), "--split", "train"]) == 1
    assert capsys.readouterr().err == (
        f"drawpoint stats: the store at {root} has no split 'train', nor any other; list its sample ids, one a line, "
        "in splits/train.txt below the store's root.\n"
    )
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("param1/run\n")
    assert main(["stats", str(root), "--split", "train"]) == 0


def test_damage_is_an_error_that_names_it(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "param0/run.zarr/surface/area/c/0/0").unlink()
    assert main(["stats", str(root)]) == 1
    assert "surface_area in sample 'param0/run' is missing" in capsys.readouterr().err
    assert not (root / "statistics.json").exists()


def test_a_store_without_a_manifest_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"drawpoint stats: there is no store at {tmp_path}")


def test_torch_is_not_needed(root: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from drawpoint_cli.__main__ import main; "
        f"sys.exit(main(['stats', {str(root)!r}]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_split_file_is_measured_and_not_taken_for_the_store(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(root)]) == 0
    whole = (root / "statistics.json").read_bytes()
    file = root.parent / "mine.txt"
    file.write_text("param1/run\nparam9/run\n")
    capsys.readouterr()
    assert main(["stats", str(root), "--split-file", str(file)]) == 0
    out, err = capsys.readouterr()
    assert err == f"1 of the 2 ids of split file '{file}' are not in the store: param9/run\n"
    assert out.splitlines()[-1] == (
        f"statistics of 1 sample (split file {file}) at revision {StoreManifest.load(root).revision[:12]}: not written "
        "into the store, of which they are only a part; --output FILE writes them elsewhere"
    )
    assert (root / "statistics.json").read_bytes() == whole
    assert main(["stats", str(root), "--split-file", str(file), "--output", str(root.parent / "part.json")]) == 0
    document = json.loads((root.parent / "part.json").read_text())
    assert (document["split"], document["n_samples"]) == (str(file), 1)
    expected = calculate_store_statistics(root, sample_ids=["param1/run"])
    assert document["fields"] == {field: stats.to_dict() for field, stats in expected.items()}


def test_a_split_file_none_of_whose_ids_the_store_has_is_an_error(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "train_design_ids.txt").write_text("gone\n")
    assert main(["stats", str(root), "--split-file", "train_design_ids.txt"]) == 1
    assert capsys.readouterr().err == (
        f"1 of the 1 ids of split file '{root}/train_design_ids.txt' are not in the store: gone\n"
        "drawpoint stats: No samples are left to measure, of the 2 in the store.\n"
    )


def test_a_limit_takes_the_first_samples_and_is_not_taken_for_the_store(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stats", str(root), "--limit", "1"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "statistics of 1 sample at revision" in out
    assert "not written into the store" in out
    assert not (root / "statistics.json").exists()
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("param1/run\nparam0/run\n")
    assert main(["stats", str(root), "--split", "train", "--limit", "1", "--output", "-"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["n_samples"] == 1
    expected = calculate_store_statistics(root, sample_ids=["param1/run"])
    assert document["fields"]["volume_sdf"] == expected["volume_sdf"].to_dict()


def test_fields_are_excluded_and_the_file_says_which_there_are(root: Path) -> None:
    assert main(["stats", str(root), "--exclude-fields", "volume_sdf, surface_area"]) == 0
    document = read_statistics(root)
    assert document is not None
    assert set(document["fields"]) == StoreManifest.load(root).fields.keys() - {"volume_sdf", "surface_area"}


def test_what_noether_reads_goes_to_stdout_or_a_file_and_never_into_the_store(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(root.iterdir())
    assert main(["stats", str(root), "--format", "noether"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"# statistics of 2 samples at revision {StoreManifest.load(root).revision}, by drawpoint")
    assert yaml.safe_load(out) == statistics_to_dict(calculate_store_statistics(root))
    (root.parent / "ids.txt").write_text("param0/run\n")
    arguments = ["--format", "noether", "--split-file", str(root.parent / "ids.txt"), "--output"]
    assert main(["stats", str(root), *arguments, str(root.parent / "stats.yaml")]) == 0
    assert f"(split file {root.parent}/ids.txt) at revision" in capsys.readouterr().out
    loaded = yaml.safe_load((root.parent / "stats.yaml").read_text())
    assert loaded == statistics_to_dict(calculate_store_statistics(root, sample_ids=["param0/run"]))
    assert sorted(root.iterdir()) == before


@pytest.mark.usefixtures("unchecked_writer")
def test_nan_and_inf_are_an_error_or_skipped_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = ZarrStoreWriter(tmp_path, FileMap(surface_position="p", surface_pressure="q"), "made")
    for sample_id, pressure in (("a", [1, np.nan, 2]), ("b", [3, 4, 5]), ("c", [np.inf, -np.inf, 6])):
        writer.write_sample(sample_id, {"surface_position": np.ones((3, 3)), "surface_pressure": np.array(pressure)})
    writer.save_manifest()
    described = "2 of 3 samples hold points with NaN or inf: 'a' (surface_pressure in 1), 'c' (surface_pressure in 2)"
    assert main(["stats", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"drawpoint stats: {described}; leave out those samples or fields, or only those points, with "
        'on_invalid="skip" (--on-invalid skip).\n'
    )
    assert not (tmp_path / "statistics.json").exists()
    assert main(["stats", str(tmp_path), "--on-invalid", "skip"]) == 0
    assert capsys.readouterr().err == f"{described}; the statistics of these fields are without these points.\n"
    document = read_statistics(tmp_path)
    assert document is not None
    pressure = document["fields"]["surface_pressure"]
    assert (pressure["count"], pressure["mean"], pressure["max"]) == (6, [3.5], [6.0])
    assert document["fields"]["surface_position"]["count"] == 9
