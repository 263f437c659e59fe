"""STL files: triangles in order, binary or ASCII, of one solid or several."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.errors import InvalidSample
from drawpoint_store.data_files.cell_shapes import TRIANGLE
from drawpoint_store.data_files.data_file import ArrayInfo, CellBlock, Closing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Array = np.ndarray[Any, Any]

_FACET = np.dtype([("normal", "<f4", 3), ("vertices", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER_BYTES = 84  # 80 of text, and the number of facets

_SOLID = re.compile(rb"^[ \t]*(end)?solid\b[^\r\n]*", re.MULTILINE | re.IGNORECASE)
_WORDS = re.compile(rb"\b(facet\s+normal|outer\s+loop|vertex|endloop|endfacet)\b", re.IGNORECASE)
_WORDS_PER_FACET = 7
_NUMBERS_PER_FACET = 12


class StlFile(Closing):
    """A MeshFile of triangles, in memory; each has three points of its own, as the file has them, unmerged.

    Cell arrays: `Normals`, as the file says, and `solid`, the number of the solid that a triangle belongs to, from 0.
    Points are float32 in binary files and float64 in ASCII ones. Raises InvalidSample for a file that is damaged.
    """

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        count = int.from_bytes(data[_HEADER_BYTES - 4 : _HEADER_BYTES], "little")
        if len(data) >= _HEADER_BYTES and len(data) == _HEADER_BYTES + count * _FACET.itemsize:
            facets = np.frombuffer(data, _FACET, offset=_HEADER_BYTES)
            self._vertices = facets["vertices"].reshape(-1, 3).astype(np.float32)
            normals, solids = facets["normal"].astype(np.float32), np.zeros(count, np.int32)
        elif _SOLID.match(data):
            numbers, solids = _read_ascii(data, path)
            normals, self._vertices = numbers[:, :3], numbers[:, 3:].reshape(-1, 3)
        else:
            raise InvalidSample(
                f"{path} is no STL file, or damaged: it has {len(data):,} bytes, and claims {count:,} binary triangles."
            )
        self._values = {"Normals": normals, "solid": solids[:, None]}
        self.n_cells = len(solids)
        self.n_points = len(self._vertices)
        self.arrays = [
            ArrayInfo(name, "cell", values.dtype.name, self.n_cells, values.shape[1])
            for name, values in self._values.items()
        ]

    def read(self, array: ArrayInfo, first: int = 0, stop: int | None = None) -> Array:
        """Return rows `first` to `stop` of an array, shape (n, components), in its dtype."""
        stop = array.stop_of(first, stop)
        return self._values[array.name][first:stop]

    def points(self) -> Array:
        """Return the points, shape (n_points, 3): those of triangle i are 3 i, 3 i + 1 and 3 i + 2."""
        return self._vertices

    def cell_blocks(self, cells: int) -> Iterator[CellBlock]:
        """Yield all triangles in blocks of at most `cells`."""
        for first in range(0, self.n_cells, cells):
            n = min(cells, self.n_cells - first)
            points = np.arange(3 * first, 3 * (first + n))
            yield CellBlock(first, 3 * np.arange(n + 1), points, np.full(n, TRIANGLE, np.uint8))

    def close(self) -> None:
        """Let go of the triangles."""
        self._values.clear()


def _read_ascii(data: bytes, path: Path) -> tuple[Array, Array]:
    """Return the numbers of each triangle, (n, 12), and the number of its solid, (n,)."""
    lines = list(_SOLID.finditer(data))
    begins, ends = lines[::2], lines[1::2]
    if len(begins) != len(ends) or any(line[1] for line in begins) or not all(line[1] for line in ends):
        raise InvalidSample(f"{path} was cut short, or is damaged: a solid in it has no end.")
    facets = [
        _facets(data[begin.end() : end.start()], number, path)
        for number, (begin, end) in enumerate(zip(begins, ends, strict=True))
    ]
    return np.concatenate(facets), np.repeat(np.arange(len(facets), dtype=np.int32), [len(each) for each in facets])


def _facets(text: bytes, solid: int, path: Path) -> Array:
    numbers, n_words = _WORDS.subn(b" ", text)
    n, rest = divmod(n_words, _WORDS_PER_FACET)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # NumPy's, for text that holds more than numbers
        try:
            values = np.fromstring(numbers.decode("ascii"), np.float64, sep=" ") if numbers.strip() else np.empty(0)
        except (DeprecationWarning, ValueError):
            values = np.empty(0)
    if rest or len(values) != n * _NUMBERS_PER_FACET:
        raise InvalidSample(f"{path} is damaged: solid {solid} in it is not a list of triangles.")
    return values.reshape(n, _NUMBERS_PER_FACET)
