"""A sample in tiles: its points in parts of bounded size, and the way back to stored order or to the source's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, overload

import numpy as np

from drawpoint.draw.order import SourceOrder
from drawpoint.draw.rows import count_parts, count_rows, part_rows, row_indices
from drawpoint.draw.seeds import check_count, check_seed
from drawpoint.draw.selection import check_fields, find_grid, store_of
from drawpoint.errors import InvalidParameter, UnknownField

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch

    from drawpoint.draw.rows import RowRange
    from drawpoint.format.manifest import DomainSample, StoreManifest


Array: TypeAlias = np.ndarray[Any, Any]
Order: TypeAlias = Literal["stored", "source"]


class PartReader(Protocol):
    """What `iter_parts` needs of a reader; ours, local and remote, have it."""

    @property
    def manifest(self) -> StoreManifest: ...

    def read_sample(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None = None,
        generator: torch.Generator | None = None,
        fields: Collection[str] | None = None,
        *,
        seed: int | None = None,
        part: int | None = None,
    ) -> dict[str, torch.Tensor]: ...


class Part(Mapping[str, "torch.Tensor"]):
    """One of the `count` parts of a domain: its tensors by canonical field, and where they lie."""

    def __init__(
        self,
        index: int,
        count: int,
        grid: DomainSample,
        rows: tuple[RowRange, ...],
        tensors: dict[str, torch.Tensor],
        order: SourceOrder,
    ) -> None:
        self.index = index
        self.count = count
        self.n_points = grid.n_points
        self._order = order
        self._chunk_points = grid.chunk_points
        self._rows = rows
        self._tensors = tensors

    def __repr__(self) -> str:
        points = count_rows(self._rows)
        return f"<drawpoint.Part {self.index + 1} of {self.count}: {', '.join(self)} at {points} points>"

    def __getitem__(self, field: str) -> torch.Tensor:
        return self._tensors[field]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @property
    def rows(self) -> torch.Tensor:
        """The stored row of each point of the part, int64 (T,)."""
        import torch  # noqa: PLC0415  only who reads tensors needs torch

        return torch.from_numpy(row_indices(self._rows, self._chunk_points))

    @property
    def source_rows(self) -> torch.Tensor:
        """The row of the source, such as the cell of a mesh, of each point of the part: int64 (T,).

        It takes the order of the whole domain, which is computed once for all parts of an iteration: 8 bytes a point.
        Raises UnknownOrder for a store whose order is not known.
        """
        import torch  # noqa: PLC0415  only who reads tensors needs torch

        return torch.from_numpy(self._order.rows[self.rows.numpy()])

    @overload
    def scatter(self, values: torch.Tensor, out: torch.Tensor | None = None, order: Order = ...) -> torch.Tensor: ...

    @overload
    def scatter(self, values: Array, out: Array | None = None, order: Order = ...) -> Array: ...

    @overload
    def scatter(self, values: torch.Tensor, out: Array, order: Order = ...) -> Array: ...

    @overload
    def scatter(self, values: Array, out: torch.Tensor, order: Order = ...) -> torch.Tensor: ...

    def scatter(
        self, values: torch.Tensor | Array, out: torch.Tensor | Array | None = None, order: Order = "stored"
    ) -> torch.Tensor | Array:
        """Put `values`, (T, ...) in the order of this part, where they belong among all points; returns `out`.

        `order` is `stored`, that of a full `read_sample`, or `source`, that of the files that were converted. `out` is
        (n_points, ...), a tensor of any dtype and device, or a NumPy array, such as one of a mesh; without it a new one
        like `values` is made, to be passed along with the next part. Raises ValueError for shapes that do not fit,
        InvalidParameter for another order, and UnknownOrder where the source's is not known.
        """
        import torch  # noqa: PLC0415  only who reads tensors needs torch

        if order not in ("stored", "source"):
            raise InvalidParameter.of("order", str(order), "stored", "source")
        shape = (self.n_points, *values.shape[1:])
        if out is None:
            out = values.new_empty(shape) if isinstance(values, torch.Tensor) else np.empty(shape, values.dtype)
        length = count_rows(self._rows)
        if len(values) != length or out.shape != shape:
            raise ValueError(
                f"part {self.index} has {length} of {self.n_points} points: values of shape {tuple(values.shape)} do "
                f"not go into an out of shape {tuple(out.shape)}."
            )
        rows = self.source_rows if order == "source" else self.rows
        if isinstance(out, torch.Tensor):
            given = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values))
            out[rows.to(out.device)] = given.to(out)
        elif isinstance(values, torch.Tensor):
            known = values.float() if values.dtype == torch.bfloat16 else values  # which NumPy has not
            out[rows.numpy()] = known.numpy(force=True)
        else:
            out[rows.numpy()] = values
        return out


def iter_parts(
    reader: PartReader,
    sample_id: str,
    domain: str,
    num_points: int,
    *,
    fields: Collection[str] | None = None,
    seed: int = 0,
) -> Iterator[Part]:
    """Read one domain of a sample in parts of `num_points` points, each point exactly once.

    One part is in memory at a time; the last is the shorter one. `fields` are fields of the domain, all by default.
    `seed` says how the points are grouped. What the arguments ask for is checked before the first part is read.

    Raises SampleNotFound, UnknownDomain, UnknownField and InvalidDraw, and while it goes on what read_sample raises.
    """
    store = store_of(reader)
    grid = find_grid(reader.manifest, sample_id, domain, store)
    arrays = reader.manifest.domains[domain].arrays
    if fields is not None:
        check_fields(reader.manifest, fields, store)
    wanted = list(arrays) if fields is None else list(fields)
    for field in wanted:
        if field not in arrays:
            where = f"domain {domain!r}"
            raise UnknownField.among("field", field, arrays, where=where, store=store, sample=sample_id)
    return _read_parts(reader, sample_id, domain, check_count(domain, num_points), wanted, check_seed(seed), grid)


def _read_parts(
    reader: PartReader,
    sample_id: str,
    domain: str,
    num_points: int,
    fields: list[str],
    seed: int,
    grid: DomainSample,
) -> Iterator[Part]:
    count = count_parts(grid.n_points, num_points)
    order = SourceOrder(reader.manifest, sample_id, domain, store=store_of(reader))
    for index in range(count):
        rows = part_rows(grid, num_points, seed=seed, part=index, sample_id=sample_id, domain=domain)
        tensors = reader.read_sample(sample_id, {domain: num_points}, fields=fields, seed=seed, part=index)
        yield Part(index, count, grid, rows, tensors, order)
