"""Which cells of a volume mesh share a face."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.cell_shapes import faces
from drawpoint_store.data_files.geometry import measured_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drawpoint_store.data_files.data_file import CellBlock, MeshFile

    Array = np.ndarray[Any, Any]

NO_CELL = -1
"""What is beyond a face of the boundary."""


def faces_with_partners(mesh: MeshFile) -> Iterator[tuple[Array, CellBlock, Array, Array, list[Array]]]:
    """Yield of each block of cells the points, the block, and of its faces their cells, what is beyond, their points.

    Faces are in the order of `faces`, whose groups of points, (m, sides), come last. The cells that they belong to,
    (n_faces,), are numbers in the block, and those beyond, (n_faces,), numbers in the mesh, or NO_CELL. Two faces are
    one where they have the same points; finding them takes up to 56 bytes a face of each cell, so 340 a hexahedron.

    Raises InvalidSample where more than two cells have the same face.
    """
    partners, first = _partners(mesh), 0
    for points, block in measured_blocks(mesh):
        found = list(faces(block))
        cells = np.concatenate([each for each, _ in found]) if found else np.zeros(0, np.int64)
        yield points, block, cells, partners[first : first + len(cells)], [corners for _, corners in found]
        first += len(cells)


def _partners(mesh: MeshFile, seed: int = 0) -> Array:
    """Return of each face of each cell the number of the cell beyond it; `seed` is that of the faces' keys."""
    dtype = np.int32 if mesh.n_cells < np.iinfo(np.int32).max else np.int64
    keys, sums, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)], [np.zeros(0, dtype)]
    for _, block in measured_blocks(mesh):
        for cells, corners in faces(block):
            keys.append(face_keys(corners, seed))
            sums.append(_sums_of_squares(corners))
            owners.append((cells + block.first).astype(dtype))
    cell_of, key, check = np.concatenate(owners), np.concatenate(keys), np.concatenate(sums)
    del keys, sums, owners
    order = np.argsort(key)
    key, check = key[order], check[order]
    same = key[1:] == key[:-1]
    if (check[1:] != check[:-1])[same].any():
        return _partners(mesh, seed + 1)  # two faces have one key by chance
    del key, check
    thrice = same[1:] & same[:-1]
    if thrice.any():
        cell = cell_of[order[int(np.argmax(thrice))]]
        raise InvalidSample(f"more than two cells have the same face, such as cell {cell:,}; the mesh is damaged")
    here = order[np.flatnonzero(same)]
    there = order[np.flatnonzero(same) + 1]
    partners = np.full(len(cell_of), NO_CELL, dtype)
    partners[here], partners[there] = cell_of[there], cell_of[here]
    return partners


def face_keys(corners: Array, seed: int) -> Array:
    """Return a number for each face, (m,), that does not depend on the order of its points, (m, sides).

    It is the sum of splitmix64 (https://prng.di.unimi.it/splitmix64.c) of the points' numbers. Of a thousand million
    faces, two others have the same number with a chance of 3 %, which their sums of squares show.
    """
    key = np.zeros(len(corners), np.uint64)
    for corner in corners.T:
        mixed = (corner.astype(np.uint64) + np.uint64(seed + 1)) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        key += mixed ^ (mixed >> np.uint64(31))
    return key


def _sums_of_squares(corners: Array) -> Array:
    """Return the sum of the squares of each face's points' numbers, (m,), modulo 2**64."""
    points = corners.astype(np.uint64)
    sums: Array = (points * points).sum(axis=1, dtype=np.uint64)
    return sums
