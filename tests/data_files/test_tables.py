"""Files of arrays, written by each format's own library and compared with what was put in."""

from __future__ import annotations

import math
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import torch
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from drawpoint.errors import ExtraMissing, InvalidSample
from drawpoint_store.data_files.data_file import ArrayInfo, DataFile
from drawpoint_store.data_files.opening import open_data_file

RNG = np.random.default_rng(0)
SCALAR, VECTOR = RNG.normal(size=1000).astype(np.float32), RNG.normal(size=(1000, 3))
GRID = RNG.normal(size=(5, 3, 4, 8))
PUT_IN: dict[str, np.ndarray] = {"p": SCALAR, "wss": VECTOR, "all": GRID, "ids": np.arange(1000, dtype=np.int64)}


def info(file: DataFile, name: str) -> ArrayInfo:
    return next(array for array in file.arrays if array.name == name)


def write_npz(path: Path) -> Path:
    np.savez(path / "run.npz", allow_pickle=False, **PUT_IN)
    return path / "run.npz"


def write_compressed_npz(path: Path) -> Path:
    by_columns = {name: np.asfortranarray(array) for name, array in PUT_IN.items()}
    np.savez_compressed(path / "run.npz", allow_pickle=False, **by_columns)
    return path / "run.npz"


def write_hdf5(path: Path) -> Path:
    with h5py.File(path / "run.h5", "w") as file:
        for name, array in PUT_IN.items():
            options = {"compression": "gzip", "chunks": True} if array.ndim > 1 else {}
            file.create_dataset(name, data=array, **options)
    return path / "run.h5"


def write_zarr(path: Path, zarr_format: Literal[2, 3]) -> Path:
    group = zarr.open_group(path / "run.zarr", mode="w", zarr_format=zarr_format)
    for name, array in PUT_IN.items():
        chunks = (max(1, len(array) // 4), *array.shape[1:])
        shards = (2 * chunks[0], *chunks[1:]) if zarr_format == 3 else None
        group.create_array(name, data=array, chunks=chunks, shards=shards)
    return path / "run.zarr"


def write_pt(path: Path) -> Path:
    torch.save({name: torch.from_numpy(array) for name, array in PUT_IN.items()}, path / "run.pt")
    return path / "run.pt"


WRITERS: dict[str, Callable[[Path], Path]] = {
    "npz": write_npz,
    "compressed npz": write_compressed_npz,
    "HDF5": write_hdf5,
    "Zarr 2": lambda path: write_zarr(path, 2),
    "Zarr 3, sharded": lambda path: write_zarr(path, 3),
    "pt": write_pt,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_arrays_of_any_shape_come_back_in_rows_of_the_first_dimension(kind: str, tmp_path: Path) -> None:
    with open_data_file(WRITERS[kind](tmp_path)) as file:
        assert sorted(
            (array.name, array.dtype, array.n_rows, array.components, array.shape) for array in file.arrays
        ) == [
            ("all", "float64", 5, 96, (5, 3, 4, 8)),
            ("ids", "int64", 1000, 1, ()),
            ("p", "float32", 1000, 1, ()),
            ("wss", "float64", 1000, 3, ()),
        ]
        assert {array.place for array in file.arrays} == {"row"}
        for name, array in PUT_IN.items():
            expected = array.reshape(len(array), -1)
            for first, stop in ((0, None), (3, 4), (2, 2), (1, len(array) - 1)):
                rows = file.read(info(file, name), first, stop)
                assert rows.dtype == expected.dtype
                assert np.array_equal(rows, expected[first:stop])


@given(
    arrays_of.arrays(
        st.sampled_from(["<f4", ">f8", "<i2", "|b1"]),
        arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0),
        elements={"allow_nan": False},
    ),
    st.booleans(),
    st.data(),
)
def test_a_npy_file_gives_any_rows_in_either_order_of_memory(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, by_columns: bool, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("npy") / "field.npy"
    np.save(path, np.asfortranarray(array) if by_columns else array)
    n_rows = array.shape[0] if array.ndim else 1
    rows = array.reshape(n_rows, math.prod(array.shape[1:]))
    first = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(first, len(rows)))
    with open_data_file(path) as file:
        [only] = file.arrays
        assert (only.name, only.active, only.n_rows) == ("", True, len(rows))
        read = file.read(only, first, stop)
        assert read.dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(read, rows[first:stop])


def test_a_csv_table_gives_its_columns_by_name(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    n = 200_000  # more than pyarrow looks at for the types at first: the last value of `late` alone has a fraction
    late = [*range(n - 1), 0.5]
    path.write_text('x, late,"p, static",zone\n' + "".join(f"{i},{x!r}, {i / 7!r},7a\n" for i, x in enumerate(late)))
    with open_data_file(path) as file:
        assert [(array.name, array.dtype) for array in file.arrays] == [
            ("x", "int64"),
            ("late", "float64"),
            ("p, static", "float64"),
            ("zone", "object"),
        ]
        assert np.array_equal(file.read(info(file, "late"))[:, 0], late)
        assert np.array_equal(file.read(info(file, "p, static"), 1000, n)[:, 0], np.arange(1000, n) / 7)
        with pytest.raises(InvalidSample, match=r"'zone' of .* holds object, not real numbers"):
            file.read(info(file, "zone"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1.0,2.0\n3.0,4.0\n", "begins with the number 1.0"),
        ("x,x\n1,2\n", "several columns of the name 'x'"),
        ("x,y\n1,2\n3\n", "Expected 2 columns, got 1"),
        ("x,y\n1,2\n,4\n", "no value in 1 of 2 rows"),
        ("x,y\n1,2\nnan,4\n", "no value in 1 of 2 rows"),
        ("", "Empty CSV file"),
    ],
)
def test_a_csv_table_that_would_be_misread_is_refused(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(InvalidSample, match=problem), open_data_file(path) as file:
        file.read(file.arrays[0])


def test_a_table_is_read_by_row_groups_and_lists_are_components(tmp_path: Path) -> None:
    path = tmp_path / "points.parquet"
    table = pa.table({"p": SCALAR, "wss": pa.FixedSizeListArray.from_arrays(VECTOR.ravel(), 3), "zone": ["a"] * 1000})
    pyarrow.parquet.write_table(table, path, row_group_size=64)
    with open_data_file(path) as file:
        assert [(array.name, array.components) for array in file.arrays] == [("p", 1), ("wss", 3), ("zone", 1)]
        for first, stop in ((0, None), (63, 65), (100, 900), (5, 5)):
            assert np.array_equal(file.read(info(file, "p"), first, stop)[:, 0], SCALAR[first:stop])
            assert np.array_equal(file.read(info(file, "wss"), first, stop), VECTOR[first:stop])
        with pytest.raises(InvalidSample, match=r"array 'zone' of .* holds object, not real numbers"):
            file.read(info(file, "zone"))


def write_npy(path: Path) -> Path:
    np.save(path / "run.npy", VECTOR)
    return path / "run.npy"


def write_csv(path: Path) -> Path:
    pyarrow.csv.write_csv(pa.table({"x": VECTOR[:, 0], "y": VECTOR[:, 1]}), path / "run.csv")
    return path / "run.csv"


def write_parquet(path: Path) -> Path:
    pyarrow.parquet.write_table(pa.table({"x": VECTOR[:, 0], "y": VECTOR[:, 1]}), path / "run.parquet")
    return path / "run.parquet"


FILES = {"npy": write_npy, "Parquet": write_parquet, **{kind: WRITERS[kind] for kind in WRITERS if "Zarr" not in kind}}


def contents(path: Path) -> dict[str, bytes]:
    with open_data_file(path) as file:
        return {array.name: file.read(array).tobytes() for array in file.arrays}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_was_cut_short_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = FILES[kind](tmp_path)
    data = path.read_bytes()
    for keep in (0, 7, 60, len(data) // 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:keep])
        with pytest.raises(InvalidSample, match=str(path)):
            contents(path)


@pytest.mark.parametrize("kind", FILES)
def test_a_file_of_another_kind_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = FILES[kind](tmp_path)
    path.write_bytes(b"solid but of no such kind\n" * 40)
    with pytest.raises(InvalidSample, match=str(path)):
        contents(path)


def test_a_csv_table_that_was_cut_in_a_row_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b",")])
    with pytest.raises(InvalidSample, match="Expected 2 columns, got 1"):
        contents(path)


@pytest.mark.parametrize("kind", ["npz", "compressed npz"])
def test_bits_that_changed_in_an_archive_are_noticed(kind: str, tmp_path: Path) -> None:
    path = WRITERS[kind](tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(InvalidSample, match=r"CRC|invalid"):
        contents(path)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_zarr_array_that_lost_a_chunk_is_refused_and_never_filled(zarr_format: Literal[2, 3], tmp_path: Path) -> None:
    path = write_zarr(tmp_path, zarr_format)
    chunk = path / "wss" / ("0.0" if zarr_format == 2 else "c/0/0")
    chunk.unlink()
    with open_data_file(path) as file, pytest.raises(InvalidSample, match=r"'wss' of .* lacks . of . chunks"):
        file.read(info(file, "wss"))


def test_a_dataset_that_was_never_written_in_full_is_refused_and_never_filled(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("t0/none", (10**12, 3), "f8")
        file.create_dataset("t0/half", (100,), "f8", chunks=(50,))[:50] = 1
    with open_data_file(path) as opened:
        for array, problem in zip(opened.arrays, ("1 of 2 chunks", "0 of 24,000,000,000,000 bytes"), strict=True):
            with pytest.raises(InvalidSample, match=f"{array.name}.* not complete.* {problem}"):
                opened.read(array, 0, 10)


def test_claims_beyond_the_file_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    header = np.lib.format.header_data_from_array_1_0(np.zeros(1)) | {"shape": (10**12, 3)}
    npy, npz = tmp_path / "field.npy", tmp_path / "fields.npz"
    with npy.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(InvalidSample, match=r"claims \(1000000000000, 3\) of float64, 24,000,000,000,000 bytes"):
        open_data_file(npy)
    with zipfile.ZipFile(npz, "w") as archive:
        archive.write(npy, "p.npy")
    with pytest.raises(InvalidSample, match=r"array 'p' of .* claims"):
        open_data_file(npz)


def test_objects_of_python_are_never_loaded(tmp_path: Path) -> None:
    npy, pt = tmp_path / "field.npy", tmp_path / "field.pt"
    np.save(npy, np.array([{"a": 1}]), allow_pickle=True)
    torch.save({"a": Path}, pt)
    for path in (npy, pt):
        with pytest.raises(InvalidSample, match=r"objects.* not loaded for safety"):
            open_data_file(path)


def test_a_tensor_that_is_no_array_of_numpy_is_refused_by_name(tmp_path: Path) -> None:
    for tensor, problem in (
        (torch.eye(3).to_sparse(), "holds a sparse or quantized tensor"),
        (torch.empty(3, device="meta"), "cannot be read: can't convert meta"),
    ):
        torch.save({"p": tensor}, tmp_path / "run.pt")
        with pytest.raises(InvalidSample, match=f"array 'p' of .*run.pt {problem}"):
            open_data_file(tmp_path / "run.pt")


@pytest.mark.parametrize(("kind", "library"), [("HDF5", "h5py"), ("Parquet", "pyarrow")])
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    kind: str, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = FILES[kind](tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ExtraMissing, match=rf"{path.name} needs {library}, which is not installed: .*\[raw\]"):
        open_data_file(path)


def test_hdf5_reads_no_other_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["p"] = np.arange(6.0)
    layout = h5py.VirtualLayout((12,), "f8")  # of which the other file fills a half, and HDF5 the rest with zeros
    layout[:6] = h5py.VirtualSource(tmp_path / "other.h5", "p", (6,))
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file.create_dataset("external", (6,), "u1", external=[(str(tmp_path / "secret"), 0, 6)])
        file.create_virtual_dataset("virtual", layout)
        file["elsewhere"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/p")
        file["loop"] = h5py.SoftLink("/")
    with open_data_file(tmp_path / "run.h5") as opened:
        assert [array.name for array in opened.arrays] == ["external", "virtual"]
        for array in opened.arrays:
            with pytest.raises(InvalidSample, match=f"{array.name}' of .*run.h5 is an? {array.name} dataset"):
                opened.read(array)


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "run.npz", p=np.arange(3.0))
    with zipfile.ZipFile(tmp_path / "run.npz", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("p.npy", archive.read("p.npy"))
    with pytest.raises(InvalidSample, match="several arrays of the name 'p'"):
        open_data_file(tmp_path / "run.npz")


def test_a_table_in_another_encoding_than_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.csv").write_bytes("température,y\n1,2\n".encode("latin-1"))
    with pytest.raises(InvalidSample, match=r"run.csv cannot be read as .* in UTF-8"):
        open_data_file(tmp_path / "run.csv")
