"""A draw over HTTP: the request that names it, and the tensors in its answer; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from drawpoint.errors import ResponseDamaged
from drawpoint.format.payload import TensorSpec, parse
from drawpoint.format.tensors import as_float32_each

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

    from drawpoint.format.manifest import ArrayLayout


HEADER_BYTES = 2**20
"""How much of an answer may be anything but tensors; far more than a header takes."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What one request asks for, and so what its answer must hold.

    `kind` is `samples` or `coords`; `arrays` are the fields of the answer in its order, `rows` how many points each
    has.
    """

    kind: str
    store: str
    revision: str
    sample: str
    counts: Mapping[str, int | None]
    fields: tuple[str, ...] | None
    seed: int
    part: int | None
    arrays: Mapping[str, ArrayLayout]
    rows: Mapping[str, int]

    @property
    def target(self) -> str:
        """Path and query; equal draws have equal ones, so that a cache finds them again."""
        words = [
            f"{quote(domain, safe='')}={'all' if count is None else count}"
            for domain, count in sorted(self.counts.items())
        ]
        if self.fields is not None:
            words.append(f"fields={quote(','.join(sorted(set(self.fields))), safe=',')}")
        words.append(f"seed={self.seed}")
        if self.part is not None:
            words.append(f"part={self.part}")
        words.append(f"dtype=stored&revision={self.revision}")
        return f"/stores/{quote(self.store, safe='')}/{self.kind}/{quote(self.sample, safe='/')}?{'&'.join(words)}"

    @property
    def nbytes(self) -> int:
        """How many bytes its tensors take in an answer."""
        return sum(TensorSpec(field, layout.dtype, self._shape(field)).nbytes for field, layout in self.arrays.items())

    @property
    def limit(self) -> int:
        """How many bytes its answer can have."""
        return self.nbytes + HEADER_BYTES

    def read(self, body: bytearray) -> dict[str, torch.Tensor]:
        """Return the tensors of an answer, float32; those that travel as such share the memory of `body`.

        Raises ResponseDamaged unless the body holds exactly this draw.
        """
        arrays, metadata = parse(body)
        self._check(metadata)
        return self.take(arrays)

    def take(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
        """Return `arrays` as this draw's tensors; raises ResponseDamaged unless they are exactly its fields."""
        self._check_arrays(arrays)
        return as_float32_each({field: arrays[field] for field in self.arrays})

    def _check(self, metadata: Mapping[str, str]) -> None:
        asked = {"store": self.store, "revision": self.revision, "sample": self.sample, "seed": str(self.seed)}
        if self.part is not None:
            asked["part"] = str(self.part)
        for name, value in asked.items():
            if metadata.get(name) != value:
                raise ResponseDamaged(f"the answer is for {name} {metadata.get(name)!r}, asked for was {value!r}.")

    def _check_arrays(self, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
        if arrays.keys() != self.arrays.keys():
            raise ResponseDamaged(f"the answer holds {', '.join(arrays)}; asked for was {', '.join(self.arrays)}.")
        for field, layout in self.arrays.items():
            shape = self._shape(field)
            array = arrays[field]
            if array.shape != shape or array.dtype != layout.dtype:
                raise ResponseDamaged(
                    f"{field} came as {array.dtype}{list(array.shape)}, not as {layout.dtype}{list(shape)}."
                )

    def _shape(self, field: str) -> tuple[int, ...]:
        dim = self.arrays[field].dim
        return (self.rows[field],) if dim == 1 else (self.rows[field], dim)
