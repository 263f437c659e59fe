"""Three arrays of 25 from a .vtu of 3.4 M cells: drawpoint's reader, VTK's with the three selected, and pyvista.read.

    python tests/benchmarks/vtk_read.py

Each way reads in a process of its own, from a file that lies in memory, once its libraries are imported. VTK reads
points and cells too, whatever is selected: one row of drawpoint's reads these besides.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from peak_memory import peak_bytes

SIDE = 150
ARRAYS = 25
READ = ("velocity", "scalar_7", "scalar_21")
MODES = ("inline base64", "appended raw", "appended zlib")
OURS, OURS_ALL, SELECTED, PYVISTA = (
    "drawpoint",
    "drawpoint, points and cells besides",
    "VTK's selection",
    "pyvista.read",
)


def write_files(folder: Path) -> dict[str, Path]:
    """Write one grid of hexahedra with smooth fields and some noise in each mode, and have it all in the page cache."""
    import pyvista  # noqa: PLC0415  a process that measures drawpoint loads no VTK
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter  # noqa: PLC0415  it is VTK

    grid = pyvista.ImageData(dimensions=(SIDE + 1,) * 3).cast_to_unstructured_grid()
    rng = np.random.default_rng(0)
    x = np.arange(grid.n_cells, dtype=np.float32) / SIDE
    for number in range(ARRAYS - 1):
        noise = rng.random(grid.n_cells, dtype=np.float32)
        grid.cell_data[f"scalar_{number}"] = np.sin(x * (1 + number / 9)) + 1e-4 * noise
    grid.cell_data["velocity"] = np.stack([np.sin(x), np.cos(x), x], axis=1)
    paths = {}
    for mode in MODES:
        writer = vtkXMLUnstructuredGridWriter()
        writer.SetInputData(grid)
        paths[mode] = folder / f"{mode.replace(' ', '_')}.vtu"
        writer.SetFileName(str(paths[mode]))
        (writer.SetDataModeToBinary if mode == "inline base64" else writer.SetDataModeToAppended)()
        writer.SetEncodeAppendedData(False)
        writer.SetHeaderTypeToUInt64()
        if mode == "appended zlib":
            writer.SetCompressorTypeToZLib()
            writer.SetCompressionLevel(1)
        else:
            writer.SetCompressorTypeToNone()
        writer.Write()
    return paths


def way_to_read(way: str, path: str) -> Callable[[], list[Any]]:
    """Import what a way needs, and return the function that reads."""
    if way in (OURS, OURS_ALL):
        from drawpoint_store.data_files.vtk_xml.vtk_xml_file import VtkXmlFile  # noqa: PLC0415  one way a process

        def ours() -> list[Any]:
            with VtkXmlFile(Path(path)) as mesh:
                if way == OURS_ALL:
                    mesh.points()
                    for _ in mesh.cell_blocks(1 << 18):
                        pass
                return [mesh.read(array) for array in mesh.arrays if array.name in READ]

        return ours
    if way == PYVISTA:
        import pyvista  # noqa: PLC0415  one way a process

        def whole() -> list[Any]:
            mesh: Any = pyvista.read(path)
            return [np.asarray(mesh.cell_data[name]) for name in READ]

        return whole
    from vtkmodules.util.numpy_support import vtk_to_numpy  # noqa: PLC0415  one way a process
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridReader  # noqa: PLC0415  one way a process

    def selected() -> list[Any]:
        reader = vtkXMLUnstructuredGridReader()
        reader.SetFileName(path)
        reader.UpdateInformation()
        reader.GetCellDataArraySelection().DisableAllArrays()
        for name in READ:
            reader.GetCellDataArraySelection().EnableArray(name)
        reader.Update()
        data = reader.GetOutput().GetCellData()
        return [vtk_to_numpy(data.GetArray(name)) for name in READ]  # type: ignore[no-untyped-call]  # untyped in VTK

    return selected


def measure(way: str, path: str) -> None:
    """Read once, and print seconds, seconds of CPU, the peak of memory in MB, and the sum of what was read."""
    read = way_to_read(way, path)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    arrays = read()
    seconds, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    peak = peak_bytes() / 2**20
    print(seconds, cpu, peak, sum(float(np.sum(array, dtype=np.float64)) for array in arrays))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = write_files(Path(folder))
        print(f"{SIDE**3:,} hexahedra, {ARRAYS} cell arrays, of which {len(READ)} are read.\n")
        print("| file | way | s | CPU s | CPU over drawpoint | peak RSS, MB |\n|---|---|---|---|---|---|")
        for mode, path in paths.items():
            expected = ours = 0.0
            for way in (OURS, OURS_ALL, SELECTED, PYVISTA):
                command = [sys.executable, __file__, way, str(path)]
                ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                seconds, cpu, peak, total = map(float, ran.stdout.split())
                if way == OURS:
                    expected, ours = total, cpu
                np.testing.assert_allclose(total, expected, rtol=1e-9)
                nbytes = path.stat().st_size / 1e6
                times = f"{seconds:.2f} | {cpu:.2f} | {cpu / ours:.1f}"
                print(f"| {mode}, {nbytes:.0f} MB | {way} | {times} | {peak:.0f} |")


if __name__ == "__main__":
    measure(*sys.argv[1:]) if sys.argv[1:] else main()
