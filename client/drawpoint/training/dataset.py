"""A map-style torch dataset over a store. Seed, epoch and sample id determine each item."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from torch.utils.data import Dataset

from drawpoint.draw.batch import COORDS_PREFIX
from drawpoint.draw.parts import PartReader
from drawpoint.draw.seeds import check_integer, check_seed, derive_seed
from drawpoint.draw.selection import check_counts, check_fields, choose_held, name_store, store_of
from drawpoint.errors import DataDamaged, DrawpointError, InvalidParameter, UnknownDomain
from drawpoint.training.epoch import SharedEpoch
from drawpoint.training.normalisation import GEOMETRY_DOMAIN, GEOMETRY_POSITION, Normaliser
from drawpoint.training.scalars import SCALARS, check_names, scalar_rows
from drawpoint.training.transforms import Augmentation, Compose

if TYPE_CHECKING:
    from drawpoint.format.manifest import StoreManifest

MAX_DAMAGED_IN_A_ROW = 8
"""After this many damaged samples in a row, `on_error="skip"` raises the last error."""

_log = logging.getLogger("drawpoint")

Transform = Callable[[dict[str, Any]], Any]


class Reader(PartReader, Protocol):
    """The reader interface that a dataset needs. RemoteReader and ZarrChunkReader have it."""

    def read_coords(
        self,
        sample_id: str,
        domain: str,
        num_points: int | None,
        generator: torch.Generator | None = None,
        *,
        seed: int | None = None,
    ) -> torch.Tensor: ...


class SampleDataset(Dataset[Any]):
    """A torch dataset whose items are draws of a store's samples.

    Each item is a dict of float32 tensors by canonical field: (T,) for scalar fields, (T, dim) for vector fields.
    An item depends on `seed`, the epoch and the sample's id alone, not on workers, ranks, order or restarts.

    - `reader`: A RemoteReader, a ZarrChunkReader, or any object with their `manifest`, `read_sample`, `read_coords`.
    - `sample_ids`: The samples. By default all samples of the store, sorted by id.
    - `split`: A split of the store that names the samples, instead of `sample_ids`.
    - `num_points`: Points to draw by domain, as in `read_sample`. A domain that is not named is read in full.
    - `fields`: Fields to read. By default all.
    - `num_geometry_points`: Adds `geometry_position`, an independent draw of surface positions, (T, 3).
    - `scalars`: Names of values per sample, such as `["U_inf", "yaw"]`. Adds `scalars`, (k,), in that order. They are
      neither augmented nor normalised.
    - `augment`: One of `drawpoint.transforms`, or a list of them: maps the sample as a whole, in the units of the store
      and so before it is normalised. Its random numbers depend on what the draw depends on.
    - `normalise`: True for the statistics that the store ships, or a Normaliser, or statistics.
    - `transform`: A function that is called last, with the item. Its result is the item.
    - `seed`: An integer in 0..2**63-1.
    - `mode`: `independent` draws anew in each epoch. `parts` takes part e of each sample in epoch e, so that a domain
      of n points is seen in full every ceil(n / T) epochs; the last part of a cycle is shorter. `fixed`, for
      validation, has the points of epoch 0 in every epoch.
    - `on_error`: `skip` replaces a sample whose stored data is damaged by the next readable one and logs a warning
      to `drawpoint`, so that the number of items stays the same on every rank. Other errors are always raised.
    - `with_sample_id`: Adds the sample's id as `sample_id`.

    Raises SampleNotFound, SplitNotFound, UnknownDomain, UnknownField, UnknownScalar (also where some of the samples
    lack one), InvalidDraw and ValueError for invalid arguments, and RevisionChanged for statistics of another revision.
    Items raise what the reader raises.

    Warns (UserWarning) of named samples that the store lacks, of samples with fewer points than a count (they come in
    full, so that batches cannot be stacked), and once when a DataLoader passes over the samples twice in one epoch.
    """

    def __init__(
        self,
        reader: Reader,
        sample_ids: Iterable[str] | None = None,
        *,
        split: str | None = None,
        num_points: Mapping[str, int | None] | None = None,
        fields: Collection[str] | None = None,
        num_geometry_points: int | None = None,
        scalars: Sequence[str] | None = None,
        augment: Augmentation | Sequence[Augmentation] | None = None,
        normalise: Normaliser | Mapping[str, Any] | bool | None = None,
        transform: Transform | None = None,
        seed: int = 0,
        mode: Literal["independent", "parts", "fixed"] = "independent",
        on_error: Literal["raise", "skip"] = "raise",
        with_sample_id: bool = False,
    ) -> None:
        for name, value, allowed in (
            ("mode", mode, ("independent", "parts", "fixed")),
            ("on_error", on_error, ("raise", "skip")),
        ):
            if value not in allowed:
                raise InvalidParameter.of(name, str(value), *allowed)
        self.reader = reader
        self.sample_ids = _choose_samples(reader, sample_ids, split)
        self.num_points = check_counts(reader.manifest, num_points, store_of(reader))
        self.fields = None if fields is None else check_fields(reader.manifest, fields, store_of(reader))
        self.num_geometry_points = _check_geometry(reader, num_geometry_points)
        self.scalars = None if scalars is None else check_names(scalars)
        self._scalar_rows = (
            None
            if self.scalars is None
            else scalar_rows(reader.manifest, self.sample_ids, self.scalars, store_of(reader))
        )
        drawn = reader.manifest.fields if self.fields is None else self.fields
        counts = {
            f"num_points[{domain!r}]": (domain, count)
            for domain, count in self.num_points.items()
            if not reader.manifest.domains[domain].arrays.keys().isdisjoint(drawn)
        }
        counts["num_geometry_points"] = (GEOMETRY_DOMAIN, self.num_geometry_points)
        _warn_of_short_samples(reader.manifest, self.sample_ids, counts)
        self.seed = check_seed(seed)
        self.mode = mode
        self.on_error = on_error
        self.with_sample_id = with_sample_id
        self.transform = _check_transform(transform)
        self.augment = _make_augmentation(augment)
        if self.augment is not None:
            self.augment.check({field: reader.manifest.fields[field].dim for field in drawn})
        self.normaliser = _make_normaliser(reader, normalise)
        if self.normaliser is not None:
            geometry = [] if num_geometry_points is None else [GEOMETRY_POSITION]
            self.normaliser.check(reader.manifest, [*drawn, *geometry], self.sample_ids, store_of(reader))
        self.shared_epoch = SharedEpoch(len(self.sample_ids), warn_repeats=mode != "fixed")

    def __repr__(self) -> str:
        return f"<drawpoint.SampleDataset of {len(self)} samples, {self.mode}, epoch {self.epoch}>"

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def epoch(self) -> int:
        return int(self.shared_epoch)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, an integer >= 0, in this process and in all worker processes, persistent ones included.

        Call it between passes: items that workers have already read ahead do not change. Raises InvalidDraw.
        """
        self.shared_epoch.set(check_integer("epoch", epoch))

    def __getitem__(self, index: int) -> Any:
        index = range(len(self))[index]  # like a list: negative indices count from the end
        self.shared_epoch.record([index])
        return self._finish(index, self._read_or_damage(index))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the items of a batch, read by one `read_batch` where the reader has it, else one by one."""
        indices = [range(len(self))[index] for index in indices]
        self.shared_epoch.record(indices)
        return [self._finish(index, found) for index, found in zip(indices, self._read_batch(indices), strict=True)]

    def _finish(self, index: int, found: dict[str, torch.Tensor] | DrawpointError) -> Any:
        """Return the item made of `found`, or of a replacement for a damaged sample; raises any other error."""
        for step in range(1, min(MAX_DAMAGED_IN_A_ROW, len(self))):
            if not (isinstance(found, DataDamaged) and self.on_error == "skip"):
                break
            replacement = (index + step) % len(self)
            _log.warning("%s Sample %r takes its place.", found, self.sample_ids[replacement])
            found = self._read_or_damage(replacement)
            if not isinstance(found, DrawpointError):
                index = replacement
        if isinstance(found, DrawpointError):
            raise found
        if self.augment is not None:
            found = self.augment(found, seed=self._independent_seed(self.sample_ids[index]))
        item: dict[str, Any] = dict(found)
        if self.normaliser is not None:
            scalars = self.reader.manifest.samples.scalars_of(self.sample_ids[index])
            item = {**self.normaliser.normalise(found, scalars)}
        if self._scalar_rows is not None:
            item[SCALARS] = torch.from_numpy(self._scalar_rows[index].copy())
        if self.with_sample_id:
            item["sample_id"] = self.sample_ids[index]
        return item if self.transform is None else self.transform(item)

    def _read_or_damage(self, index: int) -> dict[str, torch.Tensor] | DataDamaged:
        """Read one sample. Damage is returned, not raised, as in `read_batch`."""
        sample_id = self.sample_ids[index]
        seed, part = self._seed_and_part(sample_id)
        try:
            tensors = self.reader.read_sample(sample_id, self.num_points, fields=self.fields, seed=seed, part=part)
        except DataDamaged as error:
            return error
        return self._add_geometry(sample_id, tensors)

    def _read_batch(self, indices: list[int]) -> list[dict[str, torch.Tensor] | DrawpointError]:
        read_batch = getattr(self.reader, "read_batch", None)
        if read_batch is None:
            return [self._read_or_damage(index) for index in indices]
        ids = [self.sample_ids[index] for index in indices]
        requests = [dict(zip(("id", "seed", "part"), (each, *self._seed_and_part(each)), strict=True)) for each in ids]
        # An item of a batch has one seed. In mode "parts" fields keep theirs in all epochs, and the geometry must not.
        together = self.num_geometry_points is not None and self.mode != "parts"
        coords = {GEOMETRY_DOMAIN: self.num_geometry_points} if together else None
        found: list[dict[str, torch.Tensor] | DrawpointError] = []
        for sample_id, answer in zip(
            ids, read_batch(requests, self.num_points, self.fields, coords=coords), strict=True
        ):
            if isinstance(answer, DrawpointError):
                found.append(answer)
            elif together:
                position = self.reader.manifest.domains[GEOMETRY_DOMAIN].position
                answer[GEOMETRY_POSITION] = answer.pop(f"{COORDS_PREFIX}{position}")
                found.append(answer)
            else:
                found.append(self._add_geometry(sample_id, answer))
        return found

    def _seed_and_part(self, sample_id: str) -> tuple[int, int | None]:
        """Return seed and part of a sample's draw in this epoch. All parts of a sample have one seed."""
        if self.mode == "parts":
            return derive_seed("dataset/1", "parts", self.seed, sample_id), self.epoch
        return self._independent_seed(sample_id), None

    def _independent_seed(self, sample_id: str) -> int:
        epoch = 0 if self.mode == "fixed" else self.epoch
        return derive_seed("dataset/1", "independent", self.seed, epoch, sample_id)

    def _add_geometry(self, sample_id: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor] | DataDamaged:
        if self.num_geometry_points is not None:
            seed = self._independent_seed(sample_id)
            try:
                positions = self.reader.read_coords(sample_id, GEOMETRY_DOMAIN, self.num_geometry_points, seed=seed)
            except DataDamaged as error:
                return error
            tensors[GEOMETRY_POSITION] = positions
        return tensors


def _choose_samples(reader: Reader, sample_ids: Iterable[str] | None, split: str | None) -> list[str]:
    if isinstance(sample_ids, str):
        raise ValueError(f"sample_ids is a list of ids, such as [{sample_ids!r}], not one string.")  # noqa: TRY004  a ValueError like the others here
    samples = reader.manifest.samples
    if sample_ids is not None and split is not None:
        raise ValueError("sample_ids and split both choose the samples; give one of them.")
    if split is not None:
        if not hasattr(reader, "split"):
            raise ValueError(f"{type(reader).__name__} has no splits; give sample_ids.")
        named, source = reader.split(split), f"split {split!r}"
    else:
        named, source = sorted(samples) if sample_ids is None else list(sample_ids), "sample_ids"
    if not named:
        raise ValueError(f"No samples are named; the store holds {len(samples)}.")
    return choose_held(reader.manifest, named, source, store_of(reader), stacklevel=4)


def _check_geometry(reader: Reader, count: int | None) -> int | None:
    if count is None:
        return None
    domains, store = reader.manifest.domains, store_of(reader)
    if GEOMETRY_DOMAIN not in domains:
        where = name_store(reader.manifest, store)
        raise UnknownDomain.among("domain", GEOMETRY_DOMAIN, domains, where=where, store=store)
    return check_integer("num_geometry_points", count, 1)


def _check_transform(transform: Transform | None) -> Transform | None:
    if isinstance(transform, Augmentation):
        name = type(transform).__name__
        raise InvalidParameter(
            f"transform is called after normalisation and without a seed, where {name} would be wrong; give it as "
            f"augment={name}(...)."
        )
    return transform


def _make_augmentation(augment: Augmentation | Sequence[Augmentation] | None) -> Augmentation | None:
    if augment is None or isinstance(augment, Augmentation):
        return augment
    return Compose(augment if isinstance(augment, Sequence) else [augment])


def _make_normaliser(reader: Reader, normalise: Normaliser | Mapping[str, Any] | bool | None) -> Normaliser | None:
    if normalise is None or normalise is False:
        return None
    if isinstance(normalise, Normaliser):
        return normalise
    if normalise is True:
        if not hasattr(reader, "statistics"):
            raise ValueError(f"{type(reader).__name__} has no statistics; give them as normalise=.")
        normalise = reader.statistics()
    if not isinstance(normalise, Mapping):
        raise ValueError(f"normalise must be True, a Normaliser or statistics, not {normalise!r}.")  # noqa: TRY004  a ValueError like the others here
    return Normaliser(normalise)


def _warn_of_short_samples(
    manifest: StoreManifest, sample_ids: Sequence[str], counts: Mapping[str, tuple[str, int | None]]
) -> None:
    """Warn of each count that exceeds the points of some samples, so that items differ in size.

    `counts` holds domain and count by the name of the parameter that set them.
    """
    for parameter, (domain, count) in counts.items():
        if count is None or count <= min(manifest.samples.point_counts().get(domain, []), default=count):
            continue  # decided without a look at each sample: a store may hold 100,000
        held = ((sample_id, manifest.samples[sample_id].domains) for sample_id in sample_ids)
        points = {sample_id: domains[domain].n_points for sample_id, domains in held if domain in domains}
        if len({min(count, n_points) for n_points in points.values()}) <= 1:
            continue
        sample_id, n_points = min(points.items(), key=lambda item: item[1])
        warnings.warn(
            f"{parameter} is {count:,} but sample {sample_id!r} has only {n_points:,} points there, and comes in "
            f"full: items of unequal size cannot be stacked; take at most {n_points:,}, or give the DataLoader "
            "collate_fn=list.",
            stacklevel=3,
        )
