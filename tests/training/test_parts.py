"""Parts hold every point once, and scatter puts values back in stored order, or in the source's."""

from __future__ import annotations

import importlib.util
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import drawpoint
from conftest import AHMED, FILEMAP, REPOSITORY
from drawpoint import Part, iter_parts, source_rows
from drawpoint.errors import InvalidDraw, InvalidParameter, SampleNotFound, UnknownDomain, UnknownField, UnknownOrder
from drawpoint_store import ZarrChunkReader, ZarrStoreWriter, build_domain_layouts
from drawpoint_store.convert import convert
from foreign import write_foreign
from live import LiveService
from small import SMALL, small_arrays

from .conftest import Reader

SAMPLE = "run/3"


@pytest.mark.parametrize("num_points", [1, 5, 8, 100])
def test_scattered_parts_equal_a_full_read(reader: Reader, local: ZarrChunkReader, num_points: int) -> None:
    whole = local.read_sample(SAMPLE)
    parts = list(reader.iter_parts(SAMPLE, "volume", num_points, seed=6))
    assert [part.index for part in parts] == list(range(parts[0].count))
    assert all(len(part.rows) <= num_points for part in parts)
    assert sorted(torch.cat([part.rows for part in parts]).tolist()) == list(range(17))
    for field in ("volume_position", "volume_velocity"):
        out = None
        for part in parts:
            assert list(part) == ["volume_position", "volume_velocity"]
            out = part.scatter(part[field], out)
        assert out is not None
        assert torch.equal(out, whole[field])


def test_scatter_takes_any_shape_and_dtype(local: ZarrChunkReader) -> None:
    out = torch.full((10, 2, 3), -1, dtype=torch.float64)
    for part in local.iter_parts(SAMPLE, "surface", 3):
        values = part.rows[:, None, None].expand(-1, 2, 3)
        assert part.scatter(values, out) is out
    assert out[:, 1, 2].tolist() == list(range(10))


def test_only_the_fields_asked_for_are_read(reader: Reader) -> None:
    for part in reader.iter_parts(SAMPLE, "surface", 4, fields=["surface_pressure"]):
        assert list(part) == ["surface_pressure"]
        assert len(part) == 1
        assert part["surface_pressure"].shape == part.rows.shape


class Counting:
    def __init__(self, reader: ZarrChunkReader) -> None:
        self.manifest = reader.manifest
        self._reader = reader
        self.reads = 0

    def read_sample(self, *args: Any, **kwargs: Any) -> dict[str, torch.Tensor]:
        self.reads += 1
        return self._reader.read_sample(*args, **kwargs)


def test_one_part_is_read_at_a_time(local: ZarrChunkReader) -> None:
    reader = Counting(local)
    parts = iter_parts(reader, SAMPLE, "volume", 4)
    for expected in range(5):
        assert reader.reads == expected
        next(parts)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"sample_id": "run/33"}, SampleNotFound),
        ({"domain": "surfaces"}, UnknownDomain),
        ({"num_points": 0}, InvalidDraw),
        ({"seed": -1}, InvalidDraw),
        ({"fields": ["volume_pressure"]}, UnknownField),
        ({"fields": ["surface_pressure"]}, UnknownField),
        ({"fields": []}, InvalidDraw),
    ],
)
def test_invalid_arguments_are_refused_before_the_first_part(
    reader: Reader, changed: dict[str, Any], error: type[Exception]
) -> None:
    arguments: dict[str, Any] = {"sample_id": SAMPLE, "domain": "volume", "num_points": 4} | changed
    with pytest.raises(error):
        reader.iter_parts(**arguments)


def test_values_that_do_not_fit_are_refused(local: ZarrChunkReader) -> None:
    part: Part = next(iter(local.iter_parts(SAMPLE, "volume", 4)))
    for values, out in (
        (torch.zeros(3), None),
        (torch.zeros(4), torch.zeros(16)),
        (torch.zeros(4, 3), torch.zeros(17, 2)),
    ):
        with pytest.raises(ValueError, match="part 0 has 4 of 17 points"):
            part.scatter(values, out)


@pytest.mark.parametrize("num_points", [1, 5, 8, 100])
def test_parts_scattered_in_source_order_equal_what_was_written(reader: Reader, num_points: int) -> None:
    written = small_arrays(seed=3)
    expected = source_rows(reader.manifest, SAMPLE, "volume")
    out = None
    for part in reader.iter_parts(SAMPLE, "volume", num_points, seed=6):
        assert torch.equal(part.source_rows, torch.from_numpy(expected)[part.rows])
        out = part.scatter(part["volume_position"], out, order="source")
    assert out is not None
    assert torch.equal(out, torch.from_numpy(written["volume_position"]))


def test_scatter_in_source_order_takes_any_shape_and_dtype(local: ZarrChunkReader) -> None:
    out = torch.full((10, 2, 3), -1, dtype=torch.float64)
    for part in local.iter_parts(SAMPLE, "surface", 3):
        values = part.source_rows[:, None, None].expand(-1, 2, 3)
        assert part.scatter(values, out, "source") is out
    assert out[:, 1, 2].tolist() == list(range(10))


@pytest.mark.parametrize("order", ["stored", "source"])
def test_scatter_fills_the_arrays_of_a_mesh_from_numpy_or_torch(
    local: ZarrChunkReader, order: Literal["stored", "source"]
) -> None:
    expected = local.read_sample(SAMPLE)["volume_velocity"].numpy()
    if order == "source":
        expected = small_arrays(seed=3)["volume_velocity"].astype(np.float16)
    made: np.ndarray[Any, Any] | None = None
    filled = {"numpy": np.zeros((17, 3)), "torch": np.zeros((17, 3)), "bfloat16": np.zeros((17, 3))}
    kept = torch.zeros(17, 3)
    for part in local.iter_parts(SAMPLE, "volume", 5):
        values = part["volume_velocity"]
        made = part.scatter(values.numpy(), made, order)
        assert part.scatter(values.numpy(), filled["numpy"], order) is filled["numpy"]
        part.scatter(values.requires_grad_(), filled["torch"], order)
        part.scatter(values.bfloat16(), filled["bfloat16"], order)
        part.scatter(values.detach().numpy()[:, ::-1], kept, order)
    assert made is not None
    assert made.dtype == np.float32
    for found in (made, filled["numpy"], filled["torch"], kept.numpy()[:, ::-1]):
        assert (found == expected).all()
    assert np.allclose(filled["bfloat16"], expected, rtol=0.01)


def test_a_part_that_was_sent_to_another_process_keeps_its_rows(local: ZarrChunkReader) -> None:
    part = next(local.iter_parts(SAMPLE, "volume", 4))
    rows = part.source_rows
    again: Part = pickle.loads(pickle.dumps(part))
    assert torch.equal(again.source_rows, rows)


def test_an_order_that_there_is_not_is_refused(local: ZarrChunkReader) -> None:
    part: Any = next(local.iter_parts(SAMPLE, "volume", 4))
    with pytest.raises(InvalidParameter, match="order='sources' is refused: order is stored or source"):
        part.scatter(torch.zeros(4), order="sources")


def test_parts_of_another_writers_store_have_the_stored_order_alone(tmp_path: Path) -> None:
    root = write_foreign(tmp_path, {"a": small_arrays()}, build_domain_layouts(SMALL), chunk=4)
    part = next(ZarrChunkReader(root).iter_parts("a", "volume", 4))
    with pytest.raises(UnknownOrder, match=f"store '{root}' does not tell"):
        _ = part.source_rows
    out = torch.full((17,), -1.0)
    with pytest.raises(UnknownOrder):
        part.scatter(torch.zeros(4), out, order="source")
    assert (out == -1).all()
    part.scatter(torch.zeros(4), out)
    assert (out == 0).sum() == 4


@pytest.fixture(scope="module")
def ahmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[drawpoint.RemoteReader]:
    root = tmp_path_factory.mktemp("ahmed") / "store"
    convert(AHMED, ZarrStoreWriter(root, FILEMAP, "ahmed"))
    with LiveService({"ahmed": root}) as service, drawpoint.connect(service.url) as connection:
        yield connection.store("ahmed")


@pytest.mark.parametrize(("domain", "num_points"), [("surface", 1024), ("volume", 30_000)])
def test_a_prediction_by_parts_of_a_served_run_lands_in_the_cells_of_its_files(
    ahmed: drawpoint.RemoteReader, domain: str, num_points: int
) -> None:
    predicted: dict[str, torch.Tensor] = {}
    for part in ahmed.iter_parts("slant_25", domain, num_points, seed=1):
        for field, values in part.items():
            predicted[field] = part.scatter(values, predicted.get(field), order="source")
    assert len(predicted) == 5
    for field, values in predicted.items():
        name = "volume_distance_to_surface" if field == "volume_sdf" else field
        truth = torch.load(AHMED / "slant_25" / f"{name}.pt").reshape(values.shape)
        dtype = getattr(torch, ahmed.manifest.fields[field].dtype)
        assert torch.equal(values, truth.to(dtype).float()), field


def _vtk_file() -> Path:
    named = os.environ.get("DRAWPOINT_VTK_FILE")
    return Path(named) if named else REPOSITORY.parent / "shared" / "data" / "ahmed" / "slant_25" / "boundary.vtp"


@pytest.mark.skipif(
    not _vtk_file().is_file() or importlib.util.find_spec("pyvista") is None,
    reason="there is no pyvista, or no VTK file of the shipped run: name the surface of slant_25 in DRAWPOINT_VTK_FILE",
)
def test_a_prediction_by_parts_of_a_served_run_lands_in_the_cells_of_its_vtk_file(
    ahmed: drawpoint.RemoteReader,
) -> None:
    import pyvista  # noqa: PLC0415  an extra

    mesh: Any = pyvista.read(_vtk_file())
    predicted: dict[str, torch.Tensor] = {}
    for part in ahmed.iter_parts("slant_25", "surface", 1024, seed=1):
        for field, values in part.items():
            predicted[field] = part.scatter(values, predicted.get(field), order="source")
    mesh.cell_data["predicted"] = predicted["surface_pressure"].numpy()
    assert (mesh.cell_data["predicted"] == mesh.cell_data["p"].astype("float16")).all()
    assert (predicted["surface_friction"].numpy() == mesh.cell_data["wallShearStress"].astype("float16")).all()
    centres = torch.from_numpy(mesh.cell_centers().points)
    assert (centres - predicted["surface_position"]).norm(dim=1).max() < 0.004  # VTK's centres are not the solver's
