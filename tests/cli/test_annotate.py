"""`drawpoint annotate` as its users see it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from drawpoint_store import StoreManifest, ZarrChunkReader
from small import files_of

if TYPE_CHECKING:
    from cli.conftest import Command


@pytest.fixture
def inflow(root: Path) -> Path:
    file = root.parent / "inflow.csv"
    file.write_text("sample,U_inf,yaw\nparam0/run,20,0\nparam1/run,30,\n")
    return file


def test_everything_that_is_known_later_goes_into_the_store(root: Path, command: Command, inflow: Path) -> None:
    (root.parent / "ids.txt").write_text("param1/run\n")
    words = ["--scalars", inflow, "--units", "volume_velocity=m/s", "--units", "volume_sdf=m"]
    words += ["--description", "volume_sdf=distance = 0 on the body", "--split", f"train={root.parent / 'ids.txt'}"]
    ended = command("annotate", root, *words)
    revision = StoreManifest.load(root).revision[:12]
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == (
        "wrote scalars U_inf, yaw of 2 samples; units and descriptions of volume_velocity, volume_sdf; split train of "
        f"1 sample\nthe store is at revision {revision}\n"
    )
    reader = ZarrChunkReader(root)
    assert [reader.scalars(f"param{n}/run") for n in (0, 1)] == [{"U_inf": 20.0, "yaw": 0.0}, {"U_inf": 30.0}]
    assert reader.manifest.fields["volume_sdf"].description == "distance = 0 on the body"
    assert reader.split("train") == ["param1/run"]
    shown = command("info", root).out
    assert "splits      train (1)" in shown
    assert "m/s" in shown
    again = command("annotate", root, *words[:6])
    assert again.out == f"nothing to write: the store says all of this already\nthe store is at revision {revision}\n"
    assert command("annotate", root, "--units", "volume_sdf=", "--remove-scalar", "yaw").status == 0
    manifest = StoreManifest.load(root)
    assert (manifest.fields["volume_sdf"].units, manifest.samples.scalars_of("param0/run")) == (None, {"U_inf": 20.0})


def test_stale_statistics_are_named_with_what_renews_them_and_others_stay(
    root: Path, command: Command, inflow: Path
) -> None:
    command("annotate", root, "--scalars", inflow)
    renewal = ["drawpoint", "stats", root, "--scale", "surface_pressure=U_inf**2"]
    assert command(*renewal[1:]).status == 0
    assert "stale" not in command("annotate", root, "--units", "surface_pressure=Pa").out
    assert "statistics  fresh, of 2 samples" in command("info", root).out
    inflow.write_text(inflow.read_text().replace("30", "35"))
    ended = command("annotate", root, "--scalars", inflow)
    assert ended.out.startswith("wrote scalars U_inf of 1 sample\n")
    assert ended.out.endswith(
        f"its statistics are stale; renew them: drawpoint stats {root} --scale 'surface_pressure=U_inf**2'\n"
    )
    assert command(*renewal[1:]).status == 0
    assert "statistics  fresh, of 2 samples" in command("info", root).out


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        ([], 2, "there is nothing to write; give --scalars, --units, --description or --split"),
        (["--units", "volume_velocity"], 2, "'volume_velocity' is not NAME=VALUE"),
        (["--units", "a=m", "--units", "a=s"], 2, "--units names a twice"),
        (["--units", "volume_velocty=m/s"], 1, "has no field 'volume_velocty'; near names: volume_velocity"),
        (["--scalars", "{root}/gone.csv"], 1, "gone.csv does not exist"),
        (["--scalars", "{root}/../bad.csv"], 1, "bad.csv, line 2, column 'U_inf': 'fast' is no finite number"),
        (
            ["--scalars", "{root}/../rows.csv"],
            1,
            "rows.csv, line 2: the store at {root} has no sample 'param2/run'",
        ),
        (["--split", "train={root}/gone.txt"], 1, "there is no split file {root}/gone.txt"),
        (["--split", "train={root}/../bad.csv"], 1, "the lines of split 'train' name 2 samples that are not there"),
        (["--remove-scalar", "U_inf"], 1, "has no scalar 'U_inf' to remove"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(
    root: Path, command: Command, words: list[str], status: int, sentence: str
) -> None:
    (root.parent / "bad.csv").write_text("sample,U_inf\nparam0/run,fast\n")
    (root.parent / "rows.csv").write_text("sample,U_inf\nparam2/run,20\n")
    before = files_of(root)
    ended = command("annotate", root, *(word.format(root=root) for word in words))
    assert (ended.status, ended.out) == (status, "")
    assert sentence.format(root=root) in ended.err
    assert ended.err.count("\n") == (1 if status == 1 else 2)
    assert files_of(root) == before
