"""Values per sample: what a store keeps of them, and what is no scalar."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from drawpoint.errors import InvalidManifest, InvalidSample, SampleNotFound
from drawpoint_store import DomainSample, SampleEntry, StoreManifest, ZarrChunkReader
from small import files_of, small_arrays, small_writer

GRID = {"n_points": 10, "chunk_points": 4, "shard_points": 12, "n_chunks": 3}
NAMES = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_]{0,63}\Z")
SCALARS = st.dictionaries(NAMES, st.floats(allow_nan=False, allow_infinity=False), max_size=6)


def document(scalars: Any) -> dict[str, Any]:
    entry = {"relpath": "a.zarr", "domains": {}, "scalars": scalars}
    return {
        "dataset_name": "made",
        "shuffle_seed": 0,
        "domains": {},
        "samples": {"a": entry, "b": {**entry, "relpath": "b"}},
    }


def load(scalars: Any) -> StoreManifest:
    return StoreManifest.from_json(json.dumps(document(scalars)).encode())


def test_a_reader_gives_the_scalars_that_were_written_and_the_bytes_of_groups_do_not_depend_on_them(
    tmp_path: Path,
) -> None:
    writer = small_writer(tmp_path / "with")
    writer.write_sample(
        "run/1", small_arrays(), scalars={"yaw": np.float32(2.5), "U_inf": 20, "Cd": torch.tensor(0.25)}
    )
    writer.write_sample("run/2", small_arrays(), {"U_inf": np.array(30)})
    writer.write_sample("run/3", small_arrays())
    writer.save_manifest()
    reader = ZarrChunkReader(tmp_path / "with")
    assert list(reader.scalars("run/1").items()) == [("Cd", 0.25), ("U_inf", 20.0), ("yaw", 2.5)]
    assert all(type(value) is float for value in reader.scalars("run/1").values())
    assert reader.scalars("run/2") == reader.manifest.samples["run/2"].scalars == {"U_inf": 30.0}
    assert reader.scalars("run/3") == {}
    reader.scalars("run/2")["U_inf"] = 40.0  # the caller's own
    assert reader.scalars("run/2") == {"U_inf": 30.0}
    with pytest.raises(SampleNotFound, match="no sample 'run/4'"):
        reader.scalars("run/4")

    plain = small_writer(tmp_path / "without")
    for number in (1, 2, 3):
        plain.write_sample(f"run/{number}", small_arrays())
    plain.save_manifest()
    found, expected = files_of(tmp_path / "with"), files_of(tmp_path / "without")
    assert found.pop("manifest.json") != expected.pop("manifest.json")
    assert found == expected


REFUSED: dict[str, tuple[Any, str]] = {
    "nan": ({"Cd": math.nan}, "scalar 'Cd' is nan, which is no finite number"),
    "infinity": ({"U": 1.0, "Cd": -math.inf}, "scalar 'Cd' is -inf, which is no finite number"),
    "a NaN of NumPy": ({"Cd": np.float32("nan")}, "scalar 'Cd' is nan"),
    "an integer beyond all floats": ({"Cd": 10**400}, "scalar 'Cd' is 1000.*no finite number"),
    "a bool": ({"flag": True}, "scalar 'flag' is True, which is no real number"),
    "a bool of NumPy": ({"flag": np.True_}, "scalar 'flag' is True, which is no real number"),
    "a text": ({"Cd": "0.3"}, "scalar 'Cd' is '0.3', which is no real number"),
    "nothing": ({"Cd": None}, "scalar 'Cd' is None, which is no real number"),
    "a complex number": ({"Cd": 1j}, "scalar 'Cd' is 1j, which is no real number"),
    "an array of one": ({"Cd": np.ones(1)}, r"scalar 'Cd' is array\(\[1\.\]\), which is no real number"),
    "an odd name": ({"drag coefficient": 0.3}, "'drag coefficient' is no name of a scalar"),
    "an empty name": ({"": 0.3}, "'' is no name of a scalar"),
    "a name with a line's end": ({"Cd\n": 0.3}, r"'Cd\\n' is no name of a scalar"),
    "a long name": ({"n" * 65: 0.3}, "at most 64 in all"),
    "a number as name": ({1: 0.3}, "1 is no name of a scalar"),
    "too many": ({f"s{number}": 0.0 for number in range(513)}, "513 scalars are more than the 512"),
    "no mapping": ([20.0], r"scalars maps names to numbers, .* not \[20\.0\]"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_scalar_is_refused_by_sample_and_name_before_anything_is_written(tmp_path: Path, what: str) -> None:
    scalars, message = REFUSED[what]
    with pytest.raises(InvalidSample, match=f"^sample 'run_7': .*{message}"):
        small_writer(tmp_path).write_sample("run_7", small_arrays(), scalars)
    assert not files_of(tmp_path)
    with pytest.raises(InvalidManifest, match=message):
        SampleEntry(relpath="a.zarr", domains={}, scalars=scalars)
    manifest = load({})
    with pytest.raises(ValueError, match=message):
        manifest.samples["a"] = manifest.samples["a"].model_copy(update={"scalars": scalars})
    assert manifest.samples["a"].scalars == {}


def test_the_bytes_of_a_manifest_with_scalars_are_golden_in_whatever_order_they_were_given() -> None:
    manifest = StoreManifest(dataset_name="made", shuffle_seed=7, domains={})
    manifest.samples["a"] = SampleEntry(relpath="a.zarr", domains={}, scalars={"yaw": -0.0, "U_inf": 20.0, "Cd": 0.1})
    again = copy.deepcopy(manifest)
    again.samples["a"] = {"relpath": "a.zarr", "domains": {}, "scalars": {"Cd": 0.1, "U_inf": 20, "yaw": -0.0}}
    assert manifest.to_json() == again.to_json()
    assert manifest.to_json().decode().partition('"domains": {},\n')[2] == (
        ' "samples": {\n'
        '  "a": {\n'
        '   "relpath": "a.zarr",\n'
        '   "domains": {},\n'
        '   "scalars": {\n'
        '    "Cd": 0.1,\n'
        '    "U_inf": 20.0,\n'
        '    "yaw": -0.0\n'
        "   }\n"
        "  }\n"
        " }\n"
        "}\n"
    )


@given(SCALARS, SCALARS)
def test_scalars_survive_saving_loading_pickling_and_being_written_as_integers(
    first: dict[str, float], second: dict[str, float]
) -> None:
    manifest = StoreManifest(dataset_name="made", shuffle_seed=7, domains={})
    for sample_id, scalars in (("a", first), ("b", second)):
        manifest.samples[sample_id] = SampleEntry(relpath=sample_id, domains={}, scalars=scalars)
    loaded = StoreManifest.from_json(manifest.to_json())
    for other in (loaded, pickle.loads(pickle.dumps(loaded)), copy.deepcopy(manifest)):
        assert other.samples == manifest.samples
        assert other.samples["a"].scalars == other.samples.scalars_of("a") == first
        assert list(other.samples["b"].scalars) == sorted(second)
    whole = {name: int(value) for name, value in first.items()}
    assert load(whole).samples["a"].scalars == whole


def test_changed_scalars_make_another_revision_and_are_not_changed_in_place() -> None:
    manifest = load({"U_inf": 20.0})
    before, entry = manifest.revision, manifest.samples["a"]
    with pytest.raises(
        AttributeError, match=r"scalars is not changed in place.*manifest\.samples\[sample_id\] = entry"
    ):
        entry.scalars["U_inf"] = 30.0
    assert manifest.revision == before
    manifest.samples["a"] = entry.model_copy(update={"scalars": {**entry.scalars, "U_inf": 30.0}})
    assert manifest.samples["a"].scalars == {"U_inf": 30.0}
    assert manifest.revision != before


ODD: dict[str, Any] = {
    "a list": [1.0, 2.0],
    "a text": "see the paper",
    "a number": 3.0,
    "nothing": None,
    "texts": {"U_inf": "20 m/s"},
    "truths": {"converged": True},
    "some that are no numbers": {"U_inf": 20.0, "solver": "simpleFoam"},
    "names that are none": {"drag coefficient": 0.3},
    "names by domain": {"surface": {"Cd": 0.3}},
    "too many": {f"s{number}": 0.0 for number in range(513)},
    "a sample": {"relpath": "c", "domains": {}},
}


@pytest.mark.parametrize("what", ODD)
def test_a_key_of_that_name_that_means_something_else_to_another_writer_is_ignored(what: str) -> None:
    as_object = document(None)
    as_object["samples"] = {
        key: SimpleNamespace(**{**entry, "scalars": ODD[what]}) for key, entry in as_object["samples"].items()
    }
    for manifest in (
        load(ODD[what]),
        StoreManifest.from_object(document(ODD[what])),
        StoreManifest.from_object(as_object),
    ):
        assert manifest.samples["b"].scalars == {}
        assert manifest.to_json() == load({}).to_json()


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 400])
def test_a_number_that_is_not_finite_is_refused_by_sample_and_name(value: str) -> None:
    wrong = json.dumps(document({"U_inf": 20.0, "Cd": 7.5})).replace("7.5", value)
    with pytest.raises(InvalidManifest, match=r"samples: a\.scalars: scalar 'Cd' is .*, which is no finite number"):
        StoreManifest.from_json(wrong.encode())
    with pytest.raises(InvalidManifest, match="'Cd' stands twice"):
        StoreManifest.from_json(wrong.replace('"U_inf"', '"Cd"').replace(value, "1.5").encode())


def test_scalars_may_have_any_name_and_size_and_nothing_else_is_taken_for_them() -> None:
    for scalars in ({**GRID}, {"relpath": 1.0}, {"dataset_name": 2.0}, {"large": 1.7e308, "too": 1.7e308}):
        assert load(scalars).samples["a"].scalars == scalars
    wrong = document({})
    for place, value in (("a", {"Cd": 0.3}), ("a", GRID), ("domains", {"surface": {"Cd": 0.3}})):
        content = copy.deepcopy(wrong)
        content["samples"]["a"] = value if place == "a" else {**content["samples"]["a"], place: value}
        with pytest.raises(InvalidManifest, match=r"samples: a\..*required"):
            StoreManifest.from_json(json.dumps(content).encode())


def test_an_entry_that_is_made_by_hand_is_checked_again_where_it_is_assigned() -> None:
    entry = SampleEntry(relpath="c.zarr", domains={"surface": DomainSample(**GRID)}, scalars={"Cd": 0.3})
    entry.scalars["Cd"] = math.nan
    with pytest.raises(ValueError, match=r"c\.scalars: scalar 'Cd' is nan"):
        load({}).samples["c"] = entry
