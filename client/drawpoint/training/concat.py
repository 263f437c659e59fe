"""Several datasets in one training: samples of several stores, one after the other, with items that can be stacked."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from torch.utils.data import ConcatDataset, Subset

from drawpoint.draw.selection import store_of
from drawpoint.errors import InvalidParameter
from drawpoint.training.dataset import SampleDataset
from drawpoint.training.normalisation import GEOMETRY_POSITION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class ConcatSampleDataset(ConcatDataset[Any]):
    """The samples of several SampleDatasets, or Subsets of some, one dataset after the other; each normalises its own.

    torch's ConcatDataset would do, but reads the items of a batch one by one, and finds what differs when a batch is
    stacked. This one asks each dataset once a batch, and compares them when it is made.

    Raises InvalidParameter, naming all that differs, unless all datasets have the same fields, counts and scalars, and
    all or none are normalised. Where a dataset has a `transform`, that alone knows what its items are, and nothing is
    compared.
    """

    def __init__(self, datasets: Iterable[SampleDataset | Subset[Any]]) -> None:
        given = list(datasets)
        inner = [_find_dataset(each) for each in given]
        if not inner:
            raise InvalidParameter.of("datasets", "[]", "a list of SampleDataset, with at least one in it")
        if all(dataset.transform is None for dataset in inner):
            _check_alike(inner)
        super().__init__(given)

    def __repr__(self) -> str:
        return f"<drawpoint.ConcatSampleDataset of {len(self.datasets)} datasets, {len(self)} samples>"

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of each dataset, as SampleDataset.set_epoch does. Raises InvalidDraw."""
        for dataset in self.datasets:
            _find_dataset(dataset).set_epoch(epoch)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the items of a batch; each dataset that has some of them reads them at once."""
        indices = [range(len(self))[index] for index in indices]  # negative ones count from the end
        slots: dict[int, list[int]] = {}
        for slot, index in enumerate(indices):
            slots.setdefault(bisect_right(self.cumulative_sizes, index), []).append(slot)
        items: list[Any] = [None] * len(indices)
        for number, taken in slots.items():
            first = self.cumulative_sizes[number - 1] if number else 0
            dataset: Any = self.datasets[number]
            found = dataset.__getitems__([indices[slot] - first for slot in taken])
            for slot, item in zip(taken, found, strict=True):
                items[slot] = item
        return items


def _find_dataset(dataset: Any) -> SampleDataset:
    """Return the SampleDataset that `dataset` is, or is a Subset of."""
    found = dataset
    while isinstance(found, Subset):
        found = found.dataset
    if not isinstance(found, SampleDataset):
        raise InvalidParameter.of("datasets", repr(dataset), "a list of SampleDataset, or of Subset of one")
    return found


def _check_alike(datasets: Sequence[SampleDataset]) -> None:
    """Raise InvalidParameter, naming all that differs, unless the items of `datasets` can be stacked."""
    described = [_describe(dataset) for dataset in datasets]
    differences = []
    for what in dict.fromkeys(what for each in described for what in each):
        held: dict[str, list[int]] = {}
        for number, each in enumerate(described):
            held.setdefault(each.get(what, "absent"), []).append(number)
        if len(held) > 1:
            told = ", ".join(f"{value} in {numbers}" for value, numbers in held.items())
            differences.append(f"{what}: {told}")
    if differences:
        stores = ", ".join(f"{number} is of {store_of(dataset.reader)}" for number, dataset in enumerate(datasets))
        common = [field for field in _fields(datasets[0]) if all(field in _fields(each) for each in datasets)]
        raise InvalidParameter(
            f"the items of these datasets cannot be stacked ({stores}). {'; '.join(differences)}. Give all of them the "
            f"same arguments, with the fields in common: fields={common}."
        )


def _describe(dataset: SampleDataset) -> dict[str, str]:
    """Return what must be alike in all items of a batch, by what it is about."""
    found = {}
    for domain, layout in dataset.reader.manifest.domains.items():
        drawn = [array for field, array in layout.arrays.items() if field in _fields(dataset)]
        count = dataset.num_points.get(domain)
        if drawn:
            found[f"{domain} points"] = "all" if count is None else str(count)
        found |= {array.field: "a scalar" if array.dim == 1 else f"{array.dim} components" for array in drawn}
    if dataset.num_geometry_points is not None:
        found[GEOMETRY_POSITION] = f"{dataset.num_geometry_points} points"
    if dataset.scalars is not None:
        found["scalars"] = ", ".join(dataset.scalars)
    if dataset.with_sample_id:
        found["sample_id"] = "present"
    found["normalised"] = "no" if dataset.normaliser is None else "yes"
    return found


def _fields(dataset: SampleDataset) -> Iterable[str]:
    return dataset.reader.manifest.fields if dataset.fields is None else dataset.fields
