"""OpenFOAM cases, written as OpenFOAM does: ASCII or binary, of 32 or 64 bits, compressed or not."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyvista as pv

CLASSES = {1: "scalar", 3: "vector", 6: "symmTensor", 9: "tensor"}


def cell_faces(grid: pv.UnstructuredGrid) -> tuple[list[Any], list[Any]]:
    """Return (points, owner, neighbour) of internal faces, in OpenFOAM's order, and (points, owner) of others."""
    seen: dict[frozenset[int], list[Any]] = {}
    for number, cell in enumerate(grid.cell):
        for face in cell.faces:
            order = (0, 1, 3, 2) if face.type == pv.CellType.PIXEL else range(face.n_points)
            points = [int(face.point_ids[corner]) for corner in order]
            seen.setdefault(frozenset(points), [points, number]).append(number)
    internal = [(face[0], face[1], face[-1]) for face in seen.values() if len(face) > 3]
    boundary = [(face[0], face[1]) for face in seen.values() if len(face) == 3]
    return sorted(internal, key=lambda face: face[1:]), sorted(boundary, key=lambda face: face[1])


@dataclass
class FoamCase:
    """A case of the cells of a grid; faces of the boundary below z = 0.1 are the wall, the others far field.

    `wall` is the name of that patch, and its type always `wall`.
    """

    path: Path
    grid: pv.UnstructuredGrid
    faces: tuple[list[Any], list[Any]]
    binary: bool = False
    label_bits: int = 32
    scalar_bits: int = 64
    compressed: bool = False
    wall: str = "wall"
    patches: dict[str, np.ndarray] = field(default_factory=dict)

    def write_mesh(self) -> None:
        """Write constant/polyMesh and system/controlDict; `patches` then has the points of the faces of each patch."""
        internal, boundary = self.faces
        walls = [face for face in boundary if self._middle(face[0])[2] < 0.1]
        others = [face for face in boundary if self._middle(face[0])[2] >= 0.1]
        faces = [*internal, *walls, *others]
        self.patches = {self.wall: np.array([self._middle(face[0]) for face in walls]), "farField": np.array([])}
        mesh = "constant/polyMesh"
        self._write(f"{mesh}/points", "vectorField", self._list(np.asarray(self.grid.points), "scalar"))
        if self.binary:
            ends = np.cumsum([0, *(len(face[0]) for face in faces)])
            content = (
                self._list(ends, "label") + b"\n" + self._list(np.concatenate([face[0] for face in faces]), "label")
            )
            self._write(f"{mesh}/faces", "faceCompactList", content)
        else:
            lines = "\n".join(f"{len(face[0])}({' '.join(map(str, face[0]))})" for face in faces)
            self._write(f"{mesh}/faces", "faceList", f"{len(faces)}\n(\n{lines}\n)\n".encode())
        self._write(f"{mesh}/owner", "labelList", self._list(np.array([face[1] for face in faces]), "label"))
        self._write(f"{mesh}/neighbour", "labelList", self._list(np.array([face[2] for face in internal]), "label"))
        start = len(internal)
        text = "2\n("
        for name, own, kind in ((self.wall, walls, "wall"), ("farField", others, "patch")):
            text += f"\n{name} // its {kind}\n{{\n type {kind};\n inGroups 1({kind}s);\n"
            text += f" nFaces {len(own)};\n startFace {start};\n}}"
            start += len(own)
        self._write(f"{mesh}/boundary", "polyBoundaryMesh", (text + "\n)\n").encode(), binary=False)
        control = b"application simpleFoam;\nstartTime 0;\nendTime 500;\ndeltaT 1;\nwriteInterval 100;\n"
        self._write("system/controlDict", "dictionary", control, binary=False, compressed=False)

    def write_field(self, time: str, name: str, cells: np.ndarray, patches: dict[str, np.ndarray]) -> None:
        """Write a volume field: its values on cells, and on the faces of patches; the others' are zeroGradient."""
        kind = CLASSES[1 if cells.ndim == 1 else cells.shape[1]]
        text = b"dimensions [0 0 0 0 0 0 0];\n\ninternalField nonuniform List<" + kind.encode() + b"> "
        text += self._list(cells, "scalar") + b";\n\nboundaryField\n{\n"
        for patch in (self.wall, "farField"):
            text += f" {patch}\n {{\n".encode()
            if patch in patches:
                text += b"  type fixedValue;\n  value nonuniform List<" + kind.encode() + b"> "
                text += self._list(patches[patch], "scalar") + b";\n }\n"
            else:
                text += b"  type zeroGradient;\n }\n"
        self._write(f"{time}/{name}", f"vol{kind[0].upper()}{kind[1:]}Field", text + b"}\n")

    def _middle(self, face: list[int]) -> np.ndarray:
        middle: np.ndarray = np.asarray(self.grid.points[face], np.float64).mean(0)
        return middle

    def _list(self, values: np.ndarray, kind: str) -> bytes:
        head = f"\n{len(values)}\n(".encode()
        if not self.binary:
            rows = values.tolist()
            lines = [f"({' '.join(map(repr, row))})" if isinstance(row, list) else repr(row) for row in rows]
            return head + b"\n" + "\n".join(lines).encode() + b"\n)\n"
        dtype = f"<i{self.label_bits // 8}" if kind == "label" else f"<f{self.scalar_bits // 8}"
        return head + values.astype(dtype).tobytes() + b")"

    def _write(
        self, name: str, kind: str, content: bytes, *, binary: bool | None = None, compressed: bool | None = None
    ) -> None:
        encoding = "binary" if (self.binary if binary is None else binary) else "ascii"
        header = (
            f"FoamFile\n{{\n    version     2.0;\n    format      {encoding};\n"
            f'    arch        "LSB;label={self.label_bits};scalar={self.scalar_bits}";\n    class       {kind};\n'
            f'    location    "{name.rpartition("/")[0]}";\n    object      {name.rpartition("/")[2]};\n}}\n\n'
        )
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = header.encode() + content + b"\n\n// ************ //\n"
        if self.compressed if compressed is None else compressed:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data))
        else:
            path.write_bytes(data)
