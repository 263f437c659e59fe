"""Scalars in files: what a table or a file beside the fields says, and what is wrong with it, by its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from drawpoint.errors import InvalidSample, SampleNotFound
from drawpoint_cli.__main__ import main
from drawpoint_store import ZarrChunkReader
from drawpoint_store.conversion.convert import convert
from drawpoint_store.conversion.scalars import check_samples, parse_scalar_table, parse_scalars, read_scalar_table
from drawpoint_store.conversion.sources.filemap_file import load_filemap
from drawpoint_store.conversion.sources.pt_source import PtSource
from drawpoint_store.inspecting.comparison import compare_samples
from trees import RUN_FILEMAP, files_below, write_run, write_runs, writer_at

TABLE = {"run_0": {"U_inf": 20.0, "Cd": 0.3}, "param1/b": {"U_inf": 30.0}}
FORMS = {
    "t.csv": "\ufeffsample, U_inf ,Cd\r\nrun_0,20,0.3\r\n\r\nparam1/b, 3e1 ,\r\n",
    "first.csv": ",U_inf,Cd\nrun_0,20,.3\nparam1/b,30,\n",
    "elsewhere.csv": 'Cd,ID,U_inf\n0.3,run_0,20\n,"param1/b",30\n',
    "t.TSV": "id\tU_inf\tCd\nrun_0\t20\t0.3\nparam1/b\t30\t\n",
    "t.json": json.dumps({"run_0": {"U_inf": 20, "Cd": 0.3}, "param1/b": {"U_inf": 30.0}}),
    "t.toml": '[run_0]\nU_inf = 20\nCd = 0.3\n["param1/b"]\nU_inf = 30.0\n',
}


@pytest.mark.parametrize("name", FORMS)
def test_a_table_of_any_form_holds_the_scalars_by_sample(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FORMS[name], encoding="utf-8", newline="")
    assert read_scalar_table(tmp_path / name) == TABLE


WRONG_TABLES: dict[str, tuple[str, str, str]] = {
    "semicolons": ("t.csv", "id;U\na;20,5\n", r"t\.csv, line 1: 'id;U' is one column; separate .* ',', not by ';'"),
    "tabs": ("t.csv", "id\tU\na\t1\n", r"t\.csv, line 1: .* separate cells by ',', not by '\\t'"),
    "ids alone": ("t.csv", "id\na\n", r"t\.csv has one column, 'id', where ids and at least one scalar are"),
    "a cell that stands for none": ("t.csv", "id,U\na,N/A\n", r"'N/A' is no finite number\. A sample that .* empty"),
    "a text": ("t.csv", "id,U,Cd\na,1,2\nb,3,fast\n", r"t\.csv, line 3, column 'Cd': 'fast' is no finite number"),
    "nan": ("t.csv", "id,U\na,nan\n", r"t\.csv, line 2, column 'U': 'nan' is no finite number"),
    "a decimal comma": ("t.csv", 'id,U\na,"1,5"\n', r"line 2, column 'U': '1,5' is no finite number"),
    "a sample twice": ("t.csv", "id,U\na,1\nb,2\n\na,1\n", r"t\.csv: sample 'a' stands on line 2 and 5"),
    "a column twice": ("t.csv", "id,U,Cd,U\na,1,2,3\n", r"t\.csv, line 1: columns 2 and 4 are both 'U'"),
    "a column without a name": ("t.csv", "id,U,\na,1,2\n", r"t\.csv, line 1: column 3 has no name"),
    "an odd name": (
        "t.csv",
        "id,drag coeff\na,1\n",
        r"line 2, column 'drag coeff': 'drag coeff' is no name of a scalar",
    ),
    "a cell too few": ("t.csv", "id,U,Cd\na,1\n", r"t\.csv, line 2: there are 2 cells, and 3 columns"),
    "no id": ("t.csv", "id,U\n,1\n", r"t\.csv, line 2: there is no sample id in column 'id'"),
    "an open quote": ("t.csv", 'id,U\na,"1\n', r"t\.csv, line 2: "),
    "nothing": ("t.csv", "\n", r"t\.csv is empty; its first line names the columns"),
    "another encoding": ("t.csv", "id,\udcff\n", r"t\.csv is not UTF-8 text: invalid start byte at byte 3"),
    "a list": ("t.json", "[1]", r"t\.json holds a list, not named values"),
    "numbers of no sample": ("t.json", '{"U": 20.0}', r"t\.json: 'U' is 20\.0, not the scalars of a sample"),
    "NaN": ("t.json", '{"a": {"U": NaN}}', r"t\.json, a: scalar 'U' is nan, which is no finite number"),
    "a key twice": ("t.json", '{"a": {}, "a": {}}', r"t\.json cannot be read: 'a' stands twice in one object"),
    "a torn file": ("t.json", '{"a":\n {', r"t\.json cannot be read: .*line 2"),
    "a bool": ("t.toml", "[a]\nU = true", r"t\.toml, a: scalar 'U' is True, which is no real number"),
    "a table twice": ("t.toml", "[a]\nU = 1\n[a]\n", r"t\.toml cannot be read: .*line 3"),
    "another kind": ("t.xlsx", "", r"t\.xlsx is none of \.csv, \.tsv, \.json, \.toml"),
}


@pytest.mark.parametrize("what", WRONG_TABLES)
def test_what_is_wrong_with_a_table_is_named_by_place(what: str) -> None:
    name, text, message = WRONG_TABLES[what]
    with pytest.raises(InvalidSample, match=message):
        parse_scalar_table(name, text.encode(errors="surrogateescape"))


def test_a_table_that_is_not_there_and_a_sample_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSample, match=r"none\.csv does not exist; give a CSV, JSON or TOML file of scalars"):
        read_scalar_table(tmp_path / "none.csv")
    table = parse_scalar_table("t.csv", b"id,U\nrun_1,1\nrun_12,1\n")
    check_samples(table, {"run_1", "run_12", "run_3"}, "runs")
    with pytest.raises(SampleNotFound, match=r"^t\.csv, line 3: runs has no sample 'run_12'; near names: run_2, run_1"):
        check_samples(table, {"run_1", "run_2"}, "runs")


def test_a_file_of_one_sample_has_no_ids() -> None:
    assert parse_scalars("scalars.csv", b"U_inf,Cd\n20,0.3\n") == TABLE["run_0"]
    assert parse_scalars("scalars.toml", b"U_inf = 20\nCd = 0.3") == TABLE["run_0"]
    with pytest.raises(InvalidSample, match=r"scalars\.csv has 2 rows of numbers, where a sample has one"):
        parse_scalars("scalars.csv", b"U_inf\n20\n30\n")


def test_a_conversion_takes_scalars_from_a_table_and_from_beside_the_fields(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_runs(tmp_path / "runs", 3)
    (tmp_path / "runs" / "run_0" / "scalars.toml").write_text("Cd = 0.25\nyaw = 0")
    (tmp_path / "runs" / "run_1" / "scalars.json").write_text('{"yaw": 5.0}')
    (tmp_path / "table.csv").write_text("id,U_inf,Cd\nrun_1,30,\nrun_0,20,0.25\n")
    command = ["convert", str(tmp_path / "runs"), str(tmp_path / "store"), "--scalars", str(tmp_path / "table.csv")]
    assert main([*command, "--workers", "2"]) == 0
    said = capsys.readouterr()
    assert "\nscalars: Cd, U_inf, yaw\n" in said.out
    assert "remark: 1 of 3 samples lack the scalar U_inf: run_2\n" in said.err
    assert "remark: 2 of 3 samples lack the scalar Cd: run_1, run_2\n" in said.err
    reader = ZarrChunkReader(tmp_path / "store")
    expected = {"run_0": {"Cd": 0.25, "U_inf": 20.0, "yaw": 0.0}, "run_1": {"U_inf": 30.0, "yaw": 5.0}, "run_2": {}}
    assert {sample_id: reader.scalars(sample_id) for sample_id in reader.manifest.samples} == expected

    assert main(["info", str(tmp_path / "store")]) == 0
    assert capsys.readouterr().out.endswith(
        "\nscalars, values per sample\n"
        "  Cd                           0.25, in 1 sample\n"
        "  U_inf                        20 to 30, in 2 samples\n"
        "  yaw                          0 to 5, in 2 samples\n"
    )
    (tmp_path / "table.csv").write_text("id,U_inf\nrun_3,40\nrun_0,21\n")
    assert main([*command, "--append"]) == 1
    assert f"table.csv, line 2: {tmp_path}/runs has no sample 'run_3'; near names: run_" in capsys.readouterr().err
    write_run(tmp_path / "runs" / "run_3", 3)
    assert main([*command, "--append"]) == 0
    again = ZarrChunkReader(tmp_path / "store")
    assert again.scalars("run_3") == {"U_inf": 40.0}
    assert {sample_id: again.scalars(sample_id) for sample_id in expected} == expected  # as they were
    assert main(["upgrade", str(tmp_path / "store")]) == main(["prune", str(tmp_path / "store"), "--delete"]) == 0
    assert ZarrChunkReader(tmp_path / "store").manifest.samples == again.manifest.samples


def test_a_sample_whose_own_scalars_are_wrong_is_broken_and_the_others_are_not(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", 5)
    for number, text in enumerate(("Cd = nan", "Cd =", "Cd = 0.3", "Cd = 0.3")):
        (tmp_path / "runs" / f"run_{number}" / "scalars.toml").write_text(text)
    (tmp_path / "runs" / "run_2" / "scalars.json").write_text('{"Cd": 0.3}')
    report = convert(
        tmp_path / "runs", writer_at(tmp_path / "store"), scalars={"run_3": {"Cd": 0.4}, "run_4": {"Cd": 1}}
    )
    assert report.converted == ["run_4"]
    assert report.broken["run_0"] == "scalars.toml: scalar 'Cd' is nan, which is no finite number"
    assert report.broken["run_1"].startswith("scalars.toml cannot be read: Invalid value (at ")
    assert report.broken["run_2"] == "scalars.json has the scalar 'Cd', as another file of the sample has"
    assert report.broken["run_3"].startswith("the scalar 'Cd' is 0.3 in the source, and 0.4 in the scalars that were g")


def test_design_parameters_of_a_file_map_are_scalars_by_number_or_by_name(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", 4)
    tensors = (torch.tensor([1.5, -2.0]), torch.tensor([[3, 4]]), torch.ones(2, 2), torch.tensor([0.0, torch.inf]))
    for number, tensor in enumerate(tensors):
        torch.save(tensor, tmp_path / "runs" / f"run_{number}" / "parameters.pt")
    filemap = RUN_FILEMAP.model_copy(update={"design_parameters": "parameters.pt"})
    report = convert(tmp_path / "runs", writer_at(tmp_path / "store", filemap=filemap))
    samples = ZarrChunkReader(tmp_path / "store").manifest.samples
    assert samples["run_0"].scalars == {"design_parameters_0": 1.5, "design_parameters_1": -2.0}
    assert samples["run_1"].scalars == {"design_parameters_0": 3.0, "design_parameters_1": 4.0}
    assert report.broken == {
        "run_2": "parameters.pt has shape (2, 2), and design parameters are one row of numbers",
        "run_3": "parameters.pt: scalar 'design_parameters_1' is inf, which is no finite number",
    }

    named = tmp_path / "map.toml"
    lines = [f'{field} = "{name}"' for field, name in RUN_FILEMAP.model_dump(exclude_none=True).items()]
    table = '[design_parameters]\nfile = "parameters.pt"\nnames = '
    named.write_text("\n".join([*lines, table + '["span", "sweep"]']))
    command = ["convert", str(tmp_path / "runs"), str(tmp_path / "named"), "--filemap", str(named), "--skip-broken"]
    assert main([*command, "--workers", "1"]) == 0
    assert ZarrChunkReader(tmp_path / "named").scalars("run_0") == {"span": 1.5, "sweep": -2.0}
    named.write_text("\n".join([*lines, table + '["span"]']))
    source = PtSource(PtSource.scan(tmp_path / "runs", filemap).tree, *load_filemap(named))
    with pytest.raises(InvalidSample, match=r"parameters\.pt: there are 2 design parameters, and 1 names of them"):
        source.scalars("run_0")
    named.write_text("\n".join([*lines, table + '["wing span"]']))
    with pytest.raises(ValueError, match=r"design_parameters\.names\.0: 'wing span' is no name of a scalar"):
        load_filemap(named)
    named.write_text('surface_position = "p.pt"\ndesign_parameters = "parameters.pt"')
    assert load_filemap(named).filemap.design_parameters == "parameters.pt"


def test_scalars_that_changed_since_an_interruption_are_not_those_that_were_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_runs(tmp_path / "runs", 2)
    given = {"run_0": {"U_inf": 20.0}, "run_1": {"U_inf": 30.0}}
    beside = tmp_path / "runs" / "run_1" / "scalars.json"
    beside.write_text('{"Cd": 0.25}')

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for store in ("same", "other"):
        with monkeypatch.context() as patch:
            patch.setattr("drawpoint_store.conversion.convert.publish", interrupt)
            with pytest.raises(KeyboardInterrupt):
                convert(tmp_path / "runs", writer_at(tmp_path / store), scalars=given)
    assert convert(tmp_path / "runs", writer_at(tmp_path / "same"), scalars=given).resumed == 2
    samples = ZarrChunkReader(tmp_path / "same").manifest.samples
    assert (samples["run_0"].scalars, samples["run_1"].scalars) == ({"U_inf": 20.0}, {"Cd": 0.25, "U_inf": 30.0})
    beside.write_text('{"Cd": 0.5}')
    report = convert(tmp_path / "runs", writer_at(tmp_path / "other"), scalars={**given, "run_0": {"U_inf": 25.0}})
    assert report.resumed == 0
    samples = ZarrChunkReader(tmp_path / "other").manifest.samples
    assert (samples["run_0"].scalars, samples["run_1"].scalars) == ({"U_inf": 25.0}, {"Cd": 0.5, "U_inf": 30.0})


def test_a_comparison_with_the_source_compares_the_scalars_of_its_files(tmp_path: Path) -> None:
    write_runs(tmp_path / "runs", 1)
    beside = tmp_path / "runs" / "run_0" / "scalars.json"
    beside.write_text('{"Cd": 0.25, "yaw": 5}')
    convert(tmp_path / "runs", writer_at(tmp_path / "store"), scalars={"run_0": {"U_inf": 20.0}})
    files = files_below(tmp_path / "store")

    def compare(text: str) -> list[str]:
        beside.write_text(text)
        (compared,) = compare_samples(tmp_path / "store", PtSource.scan(tmp_path / "runs", RUN_FILEMAP))
        return [difference.message for difference in compared.differences]

    assert compare('{"Cd": 0.25, "yaw": 5}') == []
    assert compare('{"Cd": 0.5, "Cl": 1}') == [
        "the scalar 'Cd' of sample 'run_0' is 0.25, and 0.5 in the source",
        "sample 'run_0' has no scalar 'Cl' in the store, and 1.0 in the source",
    ]
    (torn,) = compare("{")
    assert torn.startswith("sample 'run_0': scalars.json cannot be read: Expecting property name")
    assert files_below(tmp_path / "store") == files
