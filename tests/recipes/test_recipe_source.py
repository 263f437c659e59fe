"""What a recipe makes of files that VTK itself wrote: samples, fields and sentences."""

from __future__ import annotations

import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvista as pv

from drawpoint.errors import InvalidSample, InvalidSettings
from drawpoint_store.conversion.recipes.recipe_file import parse_recipe
from drawpoint_store.conversion.sources.recipe_source import RecipeSource
from vtk_files import add_arrays, block, body, save, split

SURFACE = """
name = "made"
sample = "run_{n}"
[surface]
file = "boundary_{n}.vtp"
place = "cell"
"""


@pytest.fixture
def meshes(tmp_path: Path) -> dict[str, pv.PolyData]:
    """Two runs with a surface each, whose cells and points both have an array `p`."""
    made = {}
    for number in (1, 2):
        mesh = body(number)
        add_arrays(mesh, {"p": 1, "tau": 3}, {"p": 1, "only_points": 1}, seed=number)
        save(mesh, tmp_path / f"run_{number}" / f"boundary_{number}.vtp")
        made[f"run_{number}"] = mesh
    return made


@pytest.fixture
def source(tmp_path: Path) -> Callable[[str], RecipeSource]:
    return lambda text: RecipeSource.scan(tmp_path, parse_recipe(text, "test.toml"))


def fields(text: str, head: str = SURFACE) -> str:
    return f"{head}\n[surface.fields]\n{text}\n"


def same(found: np.ndarray[Any, Any], expected: Any) -> bool:
    expected = np.asarray(expected)
    return found.shape == (len(expected), 1 if expected.ndim == 1 else expected.shape[1]) and np.array_equal(
        found, expected.reshape(found.shape)
    )


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(InvalidSample) as caught:
        call()
    return str(caught.value)


def test_a_field_is_the_array_of_its_place_and_the_mesh_gives_the_rest(
    meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource]
) -> None:
    text = """
    pressure = "p"
    friction = { array = "tau", units = "m2/s2" }
    normals = { derive = "normals" }
    outward = { derive = "normals", mode = "flip" }
    area = { derive = "area" }
    """
    found = source(fields(text))
    assert (found.sample_ids, found.broken) == (["run_1", "run_2"], {})
    specs = {spec.canonical: (spec.dim, spec.kind, spec.units) for spec in found.specs}
    assert list(specs.items())[:3] == [
        ("surface_position", (3, "coord", None)),
        ("surface_pressure", (1, "value", None)),
        ("surface_friction", (3, "value", "m2/s2")),
    ]
    for sample_id, mesh in meshes.items():
        assert same(found.read(sample_id, "surface_pressure"), mesh.cell_data["p"])
        assert same(found.read(sample_id, "surface_friction"), mesh.cell_data["tau"])
        centres = mesh.cell_centers().points
        assert np.allclose(found.read(sample_id, "surface_position"), centres, atol=1e-6)
        areas = mesh.compute_cell_sizes().cell_data["Area"]
        assert np.allclose(found.read(sample_id, "surface_area")[:, 0], areas, rtol=1e-6)
        outward = found.read(sample_id, "surface_outward")
        assert np.array_equal(outward, -found.read(sample_id, "surface_normals"))
        assert (np.einsum("ij,ij->i", outward, centres - np.asarray(mesh.center)) > 0).all()


def test_points_are_in_the_order_of_the_file_and_keep_its_dtype(
    meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource]
) -> None:
    found = source(fields('pressure = "p"').replace('"cell"', '"point"'))
    assert same(found.read("run_1", "surface_position"), meshes["run_1"].points)
    assert same(found.read("run_1", "surface_pressure"), meshes["run_1"].point_data["p"])
    assert found.read("run_1", "surface_position").dtype == np.float32


def test_a_place_is_never_guessed(meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource]) -> None:
    found = source(fields('pressure = "p"').replace('place = "cell"', ""))
    message = reason(lambda: found.specs)
    assert "boundary_1.vtp has cell arrays p, tau (3); point arrays p, only_points" in message
    assert 'write place = "cell" or "point" below [surface]' in message


def test_of_several_places_the_first_with_all_arrays_counts_and_samples_must_agree(
    meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource], tmp_path: Path
) -> None:
    head = SURFACE.replace('"cell"', '["cell", "point"]')
    optional = 'pressure = "p"\nonly = { array = "only_points", optional = true }'
    found = source(fields(optional, head))
    assert same(found.read("run_1", "surface_pressure"), meshes["run_1"].cell_data["p"])
    found = source(fields('pressure = "p"\nonly = "only_points"', head))
    assert same(found.read("run_1", "surface_pressure"), meshes["run_1"].point_data["p"])
    meshes["run_2"].cell_data["only_points"] = meshes["run_2"].cell_data["p"]
    save(meshes["run_2"], tmp_path / "run_2" / "boundary_2.vtp")
    found = source(fields('pressure = "p"\nonly = "only_points"', head))
    message = reason(lambda: found.read("run_2", "surface_pressure"))
    assert message == "the arrays of surface are of cells, and of points in the first sample"
    assert "no cell array 'q'" in reason(lambda: source(fields('pressure = "q"', head)).specs)


def test_a_vector_in_two_forms_is_its_components_where_all_are_there(
    meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource]
) -> None:
    both = 'v = { array = "tau", components = ["p", "%s", "p"] }'
    mesh = meshes["run_1"]
    assert same(source(fields(both % "p")).read("run_1", "surface_v"), np.stack([mesh.cell_data["p"]] * 3, axis=1))
    assert same(source(fields(both % "q")).read("run_1", "surface_v"), mesh.cell_data["tau"])
    assert "no cell array 'q'" in reason(lambda: source(fields(both.replace("tau", "r") % "q")).specs)


def test_an_array_that_is_not_there_is_named_with_those_that_are(
    meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource]
) -> None:
    message = reason(lambda: source(fields('pressure = "pp"')).specs)
    assert (
        "sample 'run_1': boundary_1.vtp has no cell array 'pp' (near: p); there is: cell arrays p, tau (3)" in message
    )
    message = reason(lambda: source(fields('pressure = "only_points"')).specs)
    assert "no cell array 'only_points' (but a point array of that name)" in message
    assert "no component 3" in reason(lambda: source(fields('p = { array = "tau", components = [3] }')).specs)
    assert "cannot be one component" in reason(lambda: source(fields('v = { components = ["p", "tau"] }')).specs)


def test_a_sample_that_deviates_is_broken_and_others_are_read(
    meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource], tmp_path: Path
) -> None:
    other = body()
    add_arrays(other, {"p": 3})
    save(other, tmp_path / "run_1" / "boundary_1.vtp")
    found = source(fields('pressure = "p"\nfriction = "tau"'))
    assert [spec.dim for spec in found.specs] == [3, 1, 3]  # those of run_2, which has all arrays
    assert reason(lambda: found.read("run_1", "surface_pressure")) == (
        "p of boundary_{n}.vtp (surface_pressure) has 3 components, and 1 in the first sample"
    )
    assert same(found.read("run_2", "surface_friction"), meshes["run_2"].cell_data["tau"])


def test_an_optional_field_is_left_out_where_there_is_none(
    meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource], tmp_path: Path
) -> None:
    text = 'pressure = "p"\nyplus = { array = "yPlus", optional = true }\nq = { file = "q.npy", optional = true }'
    found = source(fields(text))
    assert [spec.name for spec in found.specs] == ["position", "pressure"]
    assert found.broken == {}
    np.save(tmp_path / "run_1" / "q.npy", np.ones(9))
    found = source(fields(text))
    assert [spec.name for spec in found.specs] == ["position", "pressure", "q"]
    assert reason(lambda: found.read("run_2", "surface_q")) == "lacks q.npy"


def test_values_are_scaled_then_turned_then_measured_in_metres_then_chosen(
    meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource]
) -> None:
    head = SURFACE + 'axes = ["x", "-z", "y"]\nlength_unit = "inch"\nmask = { array = "p", greater = 0.5 }\n'
    head += "crop = { z = [0.001, 1.0] }\n"
    text = """
    pressure = { array = "p", scale = -2.0, offset = 101325.0 }
    friction = { array = "tau", scale = [1.0, 2.0, 3.0], offset = [0.0, 0.0, 1.0] }
    cross = { components = ["p", "p"] }
    first = { array = "tau", components = [2, 0, 1] }
    area = { derive = "area", scale = 2.0 }
    """
    found, mesh = source(fields(text, head)), meshes["run_1"]
    p, tau = mesh.cell_data["p"].astype(float), mesh.cell_data["tau"].astype(float)
    centres = mesh.cell_centers().points.astype(float) * 0.0254
    kept = (p > 0.5) & (centres[:, 1] >= 0.001)
    assert 0 < kept.sum() < (p > 0.5).sum() < len(p)
    scaled = tau * [1, 2, 3] + [0, 0, 1]
    expected = {
        "position": np.stack([centres[:, 0], -centres[:, 2], centres[:, 1]], axis=1),
        "pressure": (-2 * p + 101325)[:, None],
        "friction": np.stack([scaled[:, 0], -scaled[:, 2], scaled[:, 1]], axis=1),
        "first": np.stack([tau[:, 2], -tau[:, 1], tau[:, 0]], axis=1),
        "area": 2 * 0.0254**2 * mesh.compute_cell_sizes().cell_data["Area"][:, None],
    }
    for name, values in expected.items():
        assert np.allclose(found.read("run_1", f"surface_{name}"), values[kept], rtol=1e-6, atol=1e-6), name
    message = reason(lambda: found.read("run_1", "surface_cross"))
    assert message == ("axes turn vectors of 3 components, and the field has 2; make a field of each of its components")


@pytest.mark.parametrize("suffix", ["vtp", "vtk", "stl"])
def test_what_is_done_to_values_leaves_the_open_file_as_it_is(
    suffix: str, source: Callable[[str], RecipeSource], tmp_path: Path
) -> None:
    mesh = body()
    add_arrays(mesh, point={"p": 1})
    save(mesh, tmp_path / "run_1" / f"boundary_1.{suffix}")
    head = SURFACE.replace("{n}.vtp", f"{{n}}.{suffix}").replace('"cell"', '"point"')
    plain = source(fields('area = { derive = "area" }', head))
    head += 'axes = ["x", "-z", "y"]\nlength_unit = "mm"\ncrop = { x = [-1.0, 1.0] }\n'
    pressure = "" if suffix == "stl" else 'pressure = { array = "p", scale = 3.0 }\n'
    found = source(fields(pressure + 'area = { derive = "area" }', head))
    points = plain.read("run_1", "surface_position")
    expected = {
        "surface_position": 1e-3 * np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1),
        "surface_area": 1e-6 * plain.read("run_1", "surface_area"),
    }
    if pressure:
        expected["surface_pressure"] = 3 * mesh.point_data["p"][:, None]
    for field, values in (*expected.items(), *expected.items()):
        assert np.allclose(found.read("run_1", field), values, rtol=1e-6, atol=0), field


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("not_equal = 0.0", [True, False, True, True]),
        ("equal = 0.0", [False, True, False, False]),
        ("at_least = 0.0, less = 2.0", [True, True, False, False]),
        ("finite = true, greater = -9.0", [True, True, True, False]),
    ],
)
def test_a_mask_keeps_the_rows_where_all_it_says_holds(
    condition: str, expected: list[bool], source: Callable[[str], RecipeSource], tmp_path: Path
) -> None:
    mesh = pv.PolyData(np.arange(12, dtype=np.float32).reshape(4, 3))
    mesh.point_data["p"] = np.array([1, 0, 2, np.nan], np.float32)
    mesh.point_data["q"] = np.arange(4, dtype=np.float32)
    save(mesh, tmp_path / "run_1" / "boundary_1.vtp")
    head = SURFACE.replace('"cell"', '"point"') + f'mask = {{ array = "p", {condition} }}\n'
    found = source(fields('q = "q"', head))
    assert same(found.read("run_1", "surface_q"), np.flatnonzero(expected))


def test_a_mask_that_leaves_nothing_is_an_error(
    meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource]
) -> None:
    found = source(fields('q = "p"', SURFACE + 'mask = { array = "p", greater = 1e9 }\n'))
    assert "leave none of 9 rows of boundary_1.vtp" in reason(lambda: found.read("run_1", "surface_q"))
    found = source(fields('q = "p"', SURFACE + 'mask = { array = "tau", greater = 0 }\n'))
    assert "needs a component in 0..2" in reason(lambda: found.read("run_1", "surface_q"))


class TestJoin:
    HEAD = SURFACE.replace('"cell"', '"point"')
    FIELD = 'friction = { array = "tau", file = "other.vtp", join = "position" }'

    def join(self, tmp_path: Path, here: Any, there: Any, tau: Any) -> RecipeSource:
        mesh, other = pv.PolyData(np.array(here, np.float32)), pv.PolyData(np.array(there, np.float32))
        other.point_data["tau"] = np.array(tau, np.float32)
        save(mesh, tmp_path / "run_1" / "boundary_1.vtp")
        save(other, tmp_path / "run_1" / "other.vtp")
        return RecipeSource.scan(tmp_path, parse_recipe(fields(self.FIELD, self.HEAD), "test.toml"))

    def test_rows_of_another_order_are_found_by_their_exact_position(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        points, tau = rng.standard_normal((500, 3), np.float32), rng.standard_normal((500, 3), np.float32)
        order = rng.permutation(500)
        found = self.join(tmp_path, points, points[order], tau[order])
        assert same(found.read("run_1", "surface_friction"), tau)

    def test_points_without_a_partner_are_counted(self, tmp_path: Path) -> None:
        found = self.join(tmp_path, np.eye(3), np.diag([1, 1 + 1e-6, 1 + 1e-6]), [1, 2, 3])
        message = reason(lambda: found.read("run_1", "surface_friction"))
        assert message.startswith("2 of 3 points are not among the 3 of other.vtp")

    def test_points_at_one_position_go_together_in_order_if_there_are_as_many(self, tmp_path: Path) -> None:
        here, there = [[0, 0, 0], [1, 0, 0], [0, 0, 0]], [[-0.0, 0, 0], [0, 0, 0], [1, 0, 0], [5, 5, 5]]
        found = self.join(tmp_path, here, there, [1, 2, 3, 4])
        assert same(found.read("run_1", "surface_friction"), [1, 3, 2])

    def test_more_points_at_one_position_have_to_agree(self, tmp_path: Path) -> None:
        here, there = [[0, 0, 0], [1, 0, 0]], [[0, 0, 0], [1, 0, 0], [0, 0, 0]]
        found = self.join(tmp_path, here, there, [7, 3, 7])
        assert same(found.read("run_1", "surface_friction"), [7, 3])
        found = self.join(tmp_path, here, there, [7, 3, 8])
        assert "other.vtp has 1 points at the position of another, with other values" in reason(
            lambda: found.read("run_1", "surface_friction")
        )


def test_without_a_join_another_file_needs_as_many_rows(
    meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource], tmp_path: Path
) -> None:
    other = pv.PolyData(np.zeros((4, 3), np.float32))
    other.point_data["q"] = np.zeros(4, np.float32)
    save(other, tmp_path / "run_1" / "other.vtp")
    found = source(fields('q = { array = "q", file = "other.vtp", place = "point" }'))
    assert found.broken == {"run_2": "lacks other.vtp"}
    message = reason(lambda: found.read("run_1", "surface_q"))
    assert message.startswith("other.vtp has 4 rows of q, and the surface has 9 cells")


class TestFilesOfASample:
    @pytest.mark.usefixtures("meshes")
    def test_what_is_missing_is_named(self, source: Callable[[str], RecipeSource], tmp_path: Path) -> None:
        (tmp_path / "run_3").mkdir()
        (tmp_path / "run_3" / "notes.txt").touch()
        (tmp_path / "run_4").mkdir()
        (tmp_path / "run_5").mkdir()
        (tmp_path / "run_5" / "boundary_5.vtp").symlink_to("gone.vtp")
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "boundary_1.vtp").touch()
        found = source(fields('p = "p"'))
        assert found.sample_ids == ["run_1", "run_2"]
        assert found.broken == {f"run_{number}": f"lacks boundary_{number}.vtp" for number in (3, 4, 5)}

    def test_the_pieces_that_a_file_names_belong_to_the_sample(
        self, source: Callable[[str], RecipeSource], tmp_path: Path
    ) -> None:
        for number in (1, 2):
            for piece in (0, 1):
                mesh = body(piece)
                add_arrays(mesh, {"p": 1})
                save(mesh, tmp_path / f"run_{number}" / "pieces" / f"{piece}.vtp")
            index = "".join(f'<Piece Source="pieces/{piece}.vtp"/>' for piece in (0, 1))
            index = f'<VTKFile type="PPolyData"><PPolyData>{index}</PPolyData></VTKFile>'
            (tmp_path / f"run_{number}" / "surface.pvtp").write_text(index, encoding="utf-8")
        text = fields('p = "p"').replace("boundary_{n}.vtp", "surface.pvtp")
        found = source(text)
        named = ("surface.pvtp", "pieces/0.vtp", "pieces/1.vtp")
        assert [file.path for file in found.files("run_1")] == [f"run_1/{name}" for name in named]
        assert found.read("run_1", "surface_p").shape == (18, 1)
        (tmp_path / "run_2" / "pieces" / "1.vtp").unlink()
        assert source(text).broken == {"run_2": "lacks run_2/pieces/1.vtp"}

    def test_pieces_are_joined_in_their_order_and_a_gap_is_noticed(
        self, source: Callable[[str], RecipeSource], tmp_path: Path
    ) -> None:
        mesh = block()
        add_arrays(mesh, {"p": 1})
        for number, pieces in ((1, 1), (2, 11), (3, 3), (4, 2)):
            save(mesh, tmp_path / f"run_{number}" / f"boundary_{number}.vtu")
            split(tmp_path / f"run_{number}" / f"boundary_{number}.vtu", pieces)
        (tmp_path / "run_3" / "boundary_3.vtu.01.part").unlink()
        save(mesh, tmp_path / "run_4" / "boundary_4.vtu")
        save(mesh, tmp_path / "run_5" / "boundary_5.vtu")
        found = source(fields('p = "p"').replace("boundary_{n}.vtp", "boundary_{n}.vtu*"))
        assert found.sample_ids == ["run_1", "run_2", "run_5"]
        assert found.broken == {
            "run_3": "lacks the piece before boundary_3.vtu.02.part",
            "run_4": "has 3 files where one is expected (boundary_{n}.vtu*): boundary_4.vtu, boundary_4.vtu.00.part, "
            "boundary_4.vtu.01.part",
        }
        for sample_id in found.sample_ids:
            assert same(found.read(sample_id, "surface_p"), mesh.cell_data["p"])

    def test_a_member_of_an_archive_is_read_and_nothing_stays_behind(
        self,
        meshes: dict[str, pv.PolyData],
        source: Callable[[str], RecipeSource],
        tmp_path: Path,
        tmp_path_factory: pytest.TempPathFactory,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        scratch = tmp_path_factory.mktemp("scratch")
        monkeypatch.setattr("tempfile.tempdir", str(scratch))
        for number in (1, 2):
            path = tmp_path / f"run_{number}" / f"boundary_{number}.vtp"
            with tarfile.open(path.with_suffix(".vtp.tgz"), "w:gz") as packed:
                packed.add(__file__, "../../outside.txt")
                packed.add(path, f"deep/boundary_{number}.vtp")
            with zipfile.ZipFile(path.with_suffix(".vtp.zip"), "w") as packed_zip:
                packed_zip.write(path, "boundary.vtp")
        head = SURFACE.replace("{n}.vtp", "{n}.vtp.tgz") + 'member = "deep/boundary_{n}.vtp"\n'
        tgz = source(fields('p = "p"', head))
        packed_alone = source(fields('p = "p"').replace("{n}.vtp", "{n}.vtp.zip"))
        for found in (tgz, packed_alone):
            for sample_id, mesh in meshes.items():
                assert same(found.read(sample_id, "surface_p"), mesh.cell_data["p"])
            found.close()
        assert list(scratch.iterdir()) == []
        several = source(fields('p = "p"').replace("{n}.vtp", "{n}.vtp.tgz"))
        assert "boundary_1.vtp.tgz has several files" in reason(lambda: several.read("run_1", "surface_p"))
        path = tmp_path / "run_1" / "boundary_1.vtp.tgz"
        path.write_bytes(path.read_bytes()[:-200])
        assert "boundary_1.vtp.tgz" in reason(lambda: tgz.read("run_1", "surface_p"))

    def test_files_that_are_written_again_are_read_again(
        self, meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource], tmp_path: Path
    ) -> None:
        found = source(fields('p = "p"'))
        assert same(found.read("run_1", "surface_p"), meshes["run_1"].cell_data["p"])
        save(meshes["run_2"], tmp_path / "run_1" / "boundary_1.vtp")
        assert same(found.read("run_1", "surface_p"), meshes["run_2"].cell_data["p"])

    def test_threads_and_other_processes_read_the_same(
        self, meshes: dict[str, pv.PolyData], source: Callable[[str], RecipeSource]
    ) -> None:
        found = source(fields('p = "p"'))
        found.read("run_1", "surface_p")
        copied = pickle.loads(pickle.dumps(found))
        with ThreadPoolExecutor(4) as pool:
            ids = list(meshes) * 20
            for sample_id, values in zip(ids, pool.map(lambda each: copied.read(each, "surface_p"), ids), strict=True):
                assert same(values, meshes[sample_id].cell_data["p"])


class TestSamples:
    @pytest.fixture
    def tree(self, tmp_path: Path) -> Path:
        for path in ("P/F/F_1.vtp", "P/F/F_2.vtp", "P/N/N_1.vtp", "W/F/F_1.vtp", "W/F/F_2.vtp", "W/N/N_1.vtp"):
            mesh = body()
            add_arrays(mesh, point={"p": 1, "tau": 3}, seed=len(path))
            save(mesh, tmp_path / path)
        (tmp_path / "lists").mkdir()
        (tmp_path / "lists" / "bad.txt").write_text("F_2\n\n", encoding="utf-8")
        np.save(tmp_path / "lists" / "bad.npy", np.array(["F_2", "X_9"]))
        (tmp_path / "lists" / "splits.json").write_text('{"a": {"train": ["F_1", "N_1"]}}', encoding="utf-8")
        return tmp_path

    HEAD = 'name = "files"\nsample = "P/{class}/{id}.vtp"\n'
    BODY = '[surface]\nplace = "point"\n[surface.fields]\np = "p"\n'

    def source(self, tree: Path, text: str) -> RecipeSource:
        return RecipeSource.scan(tree, parse_recipe(text, "test.toml"))

    def test_a_sample_may_be_a_file_whose_id_is_its_path_without_suffix(self, tree: Path) -> None:
        found = self.source(tree, self.HEAD + self.BODY)
        assert found.sample_ids == ["P/F/F_1", "P/F/F_2", "P/N/N_1"]
        assert found.read("P/N/N_1", "surface_p").shape == (8, 1)

    def test_an_id_is_made_of_what_is_captured_and_files_begin_at_the_source(self, tree: Path) -> None:
        text = self.HEAD + 'id = "{id}"\n' + self.BODY + 'tau = { array = "tau", file = "/W*/{class}/{id}.vtp" }\n'
        found = self.source(tree, text)
        assert found.sample_ids == ["F_1", "F_2", "N_1"]
        assert found.read("N_1", "surface_tau").shape == (8, 3)
        assert [file.path for file in found.files("N_1")] == ["W/N/N_1.vtp", "P/N/N_1.vtp"]

    def test_two_samples_of_one_id_are_broken(self, tree: Path) -> None:
        found = self.source(tree, self.HEAD + 'id = "{class}"\n' + self.BODY)
        assert found.sample_ids == ["N"]
        assert found.broken == {
            "F": "is the id of 2 samples (P/F/F_1.vtp, P/F/F_2.vtp); tell them apart with id or sample"
        }

    @pytest.mark.parametrize(
        "listed", ['["P/F/F_2"]', '["F_2"]', '["P/*_2", "X"]', '"lists/bad.txt"', '"/lists/bad.npy"']
    )
    def test_samples_are_excluded_by_id_name_pattern_or_file(self, tree: Path, listed: str) -> None:
        found = self.source(tree, self.HEAD + f"exclude = {listed}\n" + self.BODY)
        assert found.sample_ids == ["P/F/F_1", "P/N/N_1"]

    def test_splits_list_ids_patterns_or_a_key_of_a_file(self, tree: Path) -> None:
        text = """
        [splits]
        train = { file = "lists/splits.json", key = "a.train" }
        fast = ["P/F/*"]
        """
        found = self.source(tree, self.HEAD + self.BODY + text)
        assert found.splits == {"train": ["P/F/F_1", "P/N/N_1"], "fast": ["P/F/F_1", "P/F/F_2"]}
        wrong = self.source(tree, self.HEAD + self.BODY + '[splits]\nx = { file = "lists/splits.json", key = "b" }\n')
        assert "lists/splits.json is no list of samples: it has no key 'b': there is a" in reason(lambda: wrong.splits)
        wrong = self.source(tree, self.HEAD + self.BODY + '[splits]\nx = "lists/none.txt"\n')
        assert "the list of samples lists/none.txt is not in" in reason(lambda: wrong.splits)

    def test_all_lists_of_a_file_are_splits_and_an_optional_file_may_be_missing(self, tree: Path) -> None:
        manifest = {"about": "seed 42", "full_train": ["F_1"], "hard": {"val": ["F_2"], "test": ["N_1", "X_1"]}}
        (tree / "lists" / "all.json").write_text(json.dumps(manifest), encoding="utf-8")
        text = self.HEAD + 'exclude = { file = "none.txt", optional = true }\n' + self.BODY + "[splits]\n"
        text += '"*" = { file = "lists/all.json" }\nhard_val = ["P/N/*"]\n'
        text += 'other = { file = "none.txt", optional = true }\n'
        expected = {"full_train": ["P/F/F_1"], "hard_val": ["P/N/N_1"], "hard_test": ["P/N/N_1", "X_1"]}
        assert self.source(tree, text).splits == expected
        optional = text.replace("all.json", "absent.json").replace('json" }', 'json", optional = true }')
        assert self.source(tree, optional).splits == {"hard_val": ["P/N/N_1"]}
        (tree / "lists" / "all.json").write_text('["F_1"]', encoding="utf-8")
        assert "lists/all.json has no lists of samples by name" in reason(lambda: self.source(tree, text).splits)
        (tree / "lists" / "all.json").write_text('{"../x": ["F_1"]}', encoding="utf-8")
        assert "has a list that cannot be a split" in reason(lambda: self.source(tree, text).splits)
        with pytest.raises(InvalidSettings, match="are all lists of one file"):
            parse_recipe(self.HEAD + self.BODY + '[splits]\n"*" = ["F_1"]\n', "test.toml")

    def test_any_name_finds_folders_at_any_depth_and_leaves_out_what_lies_in_samples(self, tmp_path: Path) -> None:
        for folder in ("a/b", "a/b/slices", "c"):
            save(body(), tmp_path / folder / "x.vtp")
        save(body(), tmp_path / "docs" / "other.vtp")
        text = 'name = "any"\nsample = "{id}"\n[surface]\nfile = "x.vtp"\nplace = "cell"\n'
        found = self.source(tmp_path, text)
        assert (found.sample_ids, found.broken) == (["a/b", "c"], {})

    def test_a_folder_of_any_name_is_a_sample_if_it_has_the_files_that_samples_need(self, tmp_path: Path) -> None:
        for folder in ("a/b", "a/b/parts", "c", "d"):
            save(body(), tmp_path / folder / "x.vtp")
        for folder in ("a/b", "c"):
            (tmp_path / folder / "done").touch()
        text = 'name = "any"\nsample = ["{id}", "."]\nneeds = "done"\n[surface]\nfile = "/c/x.vtp"\nplace = "cell"\n'
        found = self.source(tmp_path, text)
        assert (found.sample_ids, found.broken) == (["a/b", "c"], {})
        (tmp_path / "done").touch()
        assert self.source(tmp_path, text).sample_ids == [tmp_path.name]

    def test_the_source_itself_may_be_the_sample(self, tmp_path: Path) -> None:
        save(body(), tmp_path / "mine" / "x.vtp")
        text = 'name = "one"\nsample = "."\n[surface]\nfile = "x.vtp"\nplace = "cell"\n'
        assert self.source(tmp_path / "mine", text).sample_ids == ["mine"]

    def test_alternatives_are_tried_in_order(self, tmp_path: Path) -> None:
        for folder in ("run_1", "case_2"):
            save(body(), tmp_path / folder / "x.vtp")
        text = 'name = "two"\nsample = ["run_{n}", "case_{n}"]\n[surface]\nfile = "x.vtp"\nplace = "cell"\n'
        assert self.source(tmp_path, text).sample_ids == ["case_2", "run_1"]

    def test_a_source_without_samples_says_what_was_looked_for(self, tree: Path) -> None:
        found = self.source(tree, self.HEAD.replace("P/", "Q/") + self.BODY)
        assert "the recipe files looks for Q/{class}/{id}.vtp" in reason(lambda: found.sample_ids)
        found = self.source(tree, self.HEAD + 'exclude = ["P/*"]\n' + self.BODY)
        assert "exclude of the recipe files leaves out all samples" in reason(lambda: found.sample_ids)
