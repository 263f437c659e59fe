"""`drawpoint stats` as its users see it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from drawpoint_store import (
    FileMap,
    StoreManifest,
    ZarrStoreWriter,
    build_domain_layouts,
    calculate_store_statistics,
    statistics_to_dict,
)
from foreign import write_foreign
from small import SMALL, small_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from cli.conftest import Command


def written(root: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((root / "statistics.json").read_text())
    return document


def measured(root: Path, **selection: Any) -> dict[str, Any]:
    return {field: stats.to_dict() for field, stats in calculate_store_statistics(root, **selection).items()}


def write_split(root: Path, *ids: str) -> None:
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("".join(f"{sample_id}\n" for sample_id in ids))


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
    write_split(root, "param1/run", "param9/run")
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
        (["--fields", "volume_presure"], 1, "Unknown fields volume_presure; near names: volume_pressure, "),
        (["--split-file", "nope.txt"], 1, "there is no split file {root}/nope.txt nor nope.txt; it lists one"),
        (["--split-file", "splits/train.txt"], 1, "split file '{root}/splits/train.txt' lists no sample ids"),
        (["--split-file", "splits/train.txt", "--split", "train"], 2, "not allowed with argument --split"),
        (["--limit", "0"], 2, "'0' is not an integer of at least 1"),
        (["--split", "nope"], 1, "has no split 'nope'; there is: train"),
        (["--split", "train"], 1, "No samples are left to measure"),
        (["--output", "{root}/splits"], 1, "cannot be written"),
    ],
)
def test_an_invalid_selection_is_one_sentence(
    root: Path, command: Command, arguments: list[str], status: int, sentence: str
) -> None:
    write_split(root)
    ended = command("stats", root, *(argument.format(root=root) for argument in arguments))
    assert (ended.status, ended.out) == (status, "")
    assert sentence.format(root=root) in ended.err
    assert ended.err.count("\n") == (1 if status == 1 else 2)
    assert not (root / "statistics.json").exists()


@pytest.fixture
def moving(tmp_path: Path) -> Path:
    """Two samples of one pressure coefficient at 20 and 30 m/s."""
    root, coefficient = tmp_path / "moving", np.linspace(-3, 1, 50)
    writer = ZarrStoreWriter(root, FileMap(surface_position="p", surface_pressure="q"), "made", values_dtype="float32")
    for speed in (20.0, 30.0):
        arrays = {"surface_position": np.ones((50, 3)), "surface_pressure": coefficient * speed**2 / 2}
        writer.write_sample(f"run_{speed:.0f}", arrays, scalars={"U_inf": speed})
    writer.save_manifest()
    return root


def test_a_scaled_field_is_measured_divided_and_says_by_what(moving: Path, command: Command) -> None:
    ended = command("stats", moving, "--scale", "surface_pressure=0.5*U_inf**2", "--workers", "2")
    assert (ended.status, ended.err) == (0, "")
    assert "surface_pressure / (0.5*U_inf**2)     100" in ended.out
    pressure = written(moving)["fields"]["surface_pressure"]
    assert pressure["scale"] == "0.5*U_inf**2"
    assert [pressure[name][0] for name in ("mean", "min", "max")] == pytest.approx([-1, -3, 1], abs=1e-6)
    assert "scale" not in written(moving)["fields"]["surface_position"]
    (moving / "manifest.json").write_text((moving / "manifest.json").read_text() + "\n")
    renewal = f"`drawpoint stats {moving} --scale 'surface_pressure=0.5*U_inf**2'` writes them again"
    assert renewal in command("info", moving).out


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (
            ["--scale", "surface_pressure=U_in"],
            1,
            "2 of 2 samples, whose surface_pressure is divided by 'U_in', lack the scalar 'U_in': run_20, run_30; near",
        ),
        (["--scale", "surface_presure=U_inf"], 1, "near names: surface_pressure"),
        (["--scale", "surface_pressure=U_inf-20"], 1, "is 0 for sample 'run_20' (U_inf = 20)"),
        (["--scale", "surface_pressure"], 2, "'surface_pressure' is not FIELD=EXPRESSION"),
        (["--scale", "surface_pressure=U_inf^2"], 2, "numbers, names of scalars, + - * / ** and parentheses"),
        (["--scale", "surface_pressure=1", "--scale", "surface_pressure=2"], 2, "names a field twice"),
        (["--scale", "surface_pressure=U_inf", "--format", "noether"], 2, "normalisers do not divide by a scale"),
    ],
)
def test_an_invalid_scale_is_one_sentence(
    moving: Path, command: Command, arguments: list[str], status: int, sentence: str
) -> None:
    ended = command("stats", moving, *arguments)
    assert (ended.status, ended.out) == (status, "")
    assert sentence in ended.err
    assert ended.err.count("\n") == (1 if status == 1 else 2)
    assert not (moving / "statistics.json").exists()


def test_torch_is_not_needed(root: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; from drawpoint_cli.__main__ import main; "
        f"sys.exit(main(['stats', {str(root)!r}]))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_split_file_or_a_limit_is_measured_and_not_written_into_the_store(root: Path, command: Command) -> None:
    file, part = root.parent / "mine.txt", root.parent / "part.json"
    file.write_text("param1/run\nparam9/run\n")
    ended = command("stats", root, "--split-file", file)
    assert ended.err == f"1 of the 2 ids of split file '{file}' are not in the store: param9/run\n"
    assert ended.out.splitlines()[-1] == (
        f"statistics of 1 sample (split file {file}) at revision {StoreManifest.load(root).revision[:12]}: not written "
        "into the store, of which they are only a part; --output FILE writes them elsewhere"
    )
    ended = command("stats", root, "--limit", "1")
    assert (ended.status, ended.err) == (0, "")
    assert "statistics of 1 sample at revision" in ended.out
    assert not (root / "statistics.json").exists()
    assert command("stats", root, "--split-file", file, "--output", part).status == 0
    document = json.loads(part.read_text())
    assert (document["split"], document["n_samples"]) == (str(file), 1)
    assert document["fields"] == measured(root, sample_ids=["param1/run"])


def test_noethers_format_goes_to_stdout_or_a_file_and_never_into_the_store(root: Path, command: Command) -> None:
    before = sorted(root.iterdir())
    ended = command("stats", root, "--format", "noether")
    assert (ended.status, ended.err) == (0, "")
    head = f"# statistics of 2 samples at revision {StoreManifest.load(root).revision}, by drawpoint"
    assert ended.out.startswith(head)
    assert yaml.safe_load(ended.out) == statistics_to_dict(calculate_store_statistics(root))
    output = root.parent / "stats.yaml"
    assert command("stats", root, "--format", "noether", "--limit", 1, "--output", output).status == 0
    assert yaml.safe_load(output.read_text()) == statistics_to_dict(calculate_store_statistics(root, limit=1))
    assert sorted(root.iterdir()) == before


@pytest.mark.usefixtures("unchecked_writer")
def test_nan_and_inf_are_an_error_or_skipped_and_named(tmp_path: Path, command: Command) -> None:
    writer = ZarrStoreWriter(tmp_path, FileMap(surface_position="p", surface_pressure="q"), "made")
    for sample_id, pressure in (("a", [1, np.nan, 2]), ("b", [3, 4, 5])):
        writer.write_sample(sample_id, {"surface_position": np.ones((3, 3)), "surface_pressure": np.array(pressure)})
    writer.save_manifest()
    described = "1 of 2 samples hold points with NaN or inf: 'a' (surface_pressure in 1)"
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
    assert (pressure["count"], pressure["mean"]) == (5, [3.0])


def test_no_moments_are_written_of_samples_without_digests(tmp_path: Path, command: Command) -> None:
    write_foreign(tmp_path, {"a": small_arrays()}, build_domain_layouts(SMALL), chunk=4)
    assert command("stats", tmp_path).status == 0
    assert (tmp_path / "statistics.json").exists()
    assert not (tmp_path / "statistics").exists()


def test_a_sample_is_read_once_and_only_what_was_added_later(root: Path, command: Command) -> None:
    assert command("stats", root).status == 0
    whole = (root / "statistics.json").read_bytes()
    write_split(root, "param1/run")
    expected = measured(root, sample_ids=["param1/run"], reread=True)
    chunks = [path for path in root.rglob("c") if path.is_dir()]
    for path in chunks:
        path.rename(path.with_name("away"))
    ended = command("stats", root, "--split", "train")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.endswith("0 of 1 sample read, others kept in statistics/samples.npz; --reread reads all\n")
    assert written(root)["fields"] == expected
    ended = command("stats", root, "--reread")
    assert ended.status == 1
    assert "is missing" in ended.err
    for path in chunks:
        path.with_name("away").rename(path)
    ended = command("stats", root, "--reread")
    assert (ended.status, ended.err) == (0, "")
    assert "--reread" not in ended.out
    assert (root / "statistics.json").read_bytes() == whole


def test_fields_are_kept_one_by_one(root: Path, command: Command) -> None:
    assert command("stats", root, "--fields", "volume_sdf").status == 0
    assert "--reread" not in command("stats", root).out
    assert command("stats", root, "--fields", "volume_sdf", "--reread").status == 0
    assert "0 of 1 sample read" in command("stats", root, "--limit", "1").out


def test_damaged_moments_are_named_and_written_again(root: Path, command: Command) -> None:
    assert command("stats", root).status == 0
    kept, place = (root / "statistics.json").read_bytes(), root / "statistics" / "samples.npz"
    moments = place.read_bytes()
    place.write_bytes(moments[:100] + b"x" + moments[101:])
    assert (
        "samples.npz is damaged; `drawpoint stats` reads all samples, and writes it again" in command("info", root).out
    )
    checked = command("verify", root)
    assert (checked.status, checked.err) == (0, "")
    assert f"remark: {place} is not used: its checksum is another one" in checked.out
    ended = command("stats", root)
    assert ended.status == 0
    assert ended.err == (
        f"{place} is not used: its checksum is another one; `drawpoint stats` reads the samples instead, and writes it "
        "again.\n"
    )
    assert ((root / "statistics.json").read_bytes(), place.read_bytes()) == (kept, moments)
    assert "measured    2 of 2 samples: `drawpoint stats` reads the others" in command("info", root).out
    assert "remark" not in command("verify", root).out
    assert command("prune", root, "--older-than", "0d", "--delete").status == 0
    assert place.read_bytes() == moments
