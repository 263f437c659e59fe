"""A store as a map-style dataset of torch: each item is a draw, named by seed, epoch and sample id."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from torch.utils.data import Dataset

from drawpoint.draw.batch import COORDS_PREFIX
from drawpoint.draw.seeds import check_integer, check_seed, derive_seed
from drawpoint.draw.selection import check_counts, check_fields, choose_held, name_store, store_of
from drawpoint.errors import DataDamaged, DrawpointError, InvalidParameter, UnknownDomain
from drawpoint.training.epoch import SharedEpoch
from drawpoint.training.normalisation import GEOMETRY_DOMAIN, GEOMETRY_POSITION, Normaliser
from drawpoint.training.stacking import warn_of_short_samples

if TYPE_CHECKING:
    import torch

    from drawpoint.format.manifest import StoreManifest

MOST_DAMAGED = 8
"""So many damaged samples one after another are no accident, also where damaged ones may be passed over."""

_log = logging.getLogger("drawpoint")

Transform = Callable[[dict[str, Any]], Any]


class Reader(Protocol):
    """What a dataset needs of a reader; ours, local and remote, have it."""

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
    """Draws of the samples of a store, one an item: a dict of float32 tensors by canonical field.

    `reader` is a RemoteReader, a ZarrChunkReader or anything with their `manifest`, `read_sample` and `read_coords`.
    The samples are `sample_ids`, or those of the store's split `split`, or all, sorted. `num_points` and `fields`
    are those of `read_sample`; `num_geometry_points` adds `geometry_position`, that many surface positions drawn
    independently of the rest, float32 (T, 3). `normalise` is a Normaliser, statistics that make one, or True for
    those that the store ships. `with_sample_id` adds the id as `sample_id`. `transform` is called last, with the
    dict, and its result is the item.

    What an item holds depends on `seed`, the epoch and the sample's id and on nothing else: not on workers, ranks,
    order or restarts. `set_epoch` reaches worker processes too, persistent ones included. In the mode
    `independent` each epoch draws anew; in the mode `parts` epoch e takes part e of each sample, so that a domain of
    n points drawn T at a time is seen in full every ceil(n / T) epochs (the last part of a cycle is shorter); in the
    mode `fixed`, for validation, all epochs have the points of epoch 0.

    `on_error="skip"` puts the next sample that can be read in the place of one whose stored data is damaged, so
    that the number of items stays what it is on each rank, and tells the logger `drawpoint`. All other failures
    are raised under both policies.

    Raises SampleNotFound, UnknownDomain, UnknownField, InvalidDraw and ValueError for what cannot be meant,
    RevisionChanged for statistics of another revision, and warns (UserWarning) of samples that a split or
    `sample_ids` names and the store lacks, of a count that some samples have not the points for (those come in full,
    and batches of items of unequal size cannot be stacked), and once of a second pass of a DataLoader over samples in
    one epoch, unless the mode is `fixed`. Items raise what the reader raises.
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
        drawn = reader.manifest.fields if self.fields is None else self.fields
        counts = {
            f"num_points[{domain!r}]": (domain, count)
            for domain, count in self.num_points.items()
            if not reader.manifest.domains[domain].arrays.keys().isdisjoint(drawn)
        }
        counts["num_geometry_points"] = (GEOMETRY_DOMAIN, self.num_geometry_points)
        warn_of_short_samples(reader.manifest, self.sample_ids, counts)
        self.seed = check_seed(seed)
        self.mode = mode
        self.on_error = on_error
        self.with_sample_id = with_sample_id
        self.transform = transform
        self.normaliser = _make_normaliser(reader, normalise)
        if self.normaliser is not None:
            geometry = [] if num_geometry_points is None else [GEOMETRY_POSITION]
            self.normaliser.check(reader.manifest, [*drawn, *geometry], store_of(reader))
        self.shared_epoch = SharedEpoch(len(self.sample_ids), reminds=mode != "fixed")

    def __repr__(self) -> str:
        return f"<drawpoint.SampleDataset of {len(self)} samples, {self.mode}, epoch {self.epoch}>"

    def __len__(self) -> int:
        return len(self.sample_ids)

    @property
    def epoch(self) -> int:
        return int(self.shared_epoch)

    def set_epoch(self, epoch: int) -> None:
        """Make items those of `epoch`, an integer >= 0, here and in all worker processes.

        To be called between epochs: what workers have read ahead stays as it was read. Raises InvalidDraw.
        """
        self.shared_epoch.set(check_integer("epoch", epoch))

    def __getitem__(self, index: int) -> Any:
        index = range(len(self))[index]  # as a list has it: negative from the end, IndexError outside
        self.shared_epoch.note([index])
        return self._finish(index, self._read_or_fail(index))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return the items of a batch: in one request where the reader has `read_batch`, else one by one."""
        places = [range(len(self))[index] for index in indices]
        self.shared_epoch.note(places)
        return [self._finish(place, found) for place, found in zip(places, self._read_batch(places), strict=True)]

    def _finish(self, index: int, found: dict[str, torch.Tensor] | DrawpointError) -> Any:
        """Return the item of what was read, or the one that takes its place; raises what must be raised."""
        for step in range(1, min(MOST_DAMAGED, len(self))):
            if not (isinstance(found, DataDamaged) and self.on_error == "skip"):
                break
            instead = (index + step) % len(self)
            _log.warning("%s Sample %r takes its place.", found, self.sample_ids[instead])
            found = self._read_or_fail(instead)
            if not isinstance(found, DrawpointError):
                index = instead
        if isinstance(found, DrawpointError):
            raise found
        item: dict[str, Any] = dict(found) if self.normaliser is None else {**self.normaliser.normalise(found)}
        if self.with_sample_id:
            item["sample_id"] = self.sample_ids[index]
        return item if self.transform is None else self.transform(item)

    def _read_or_fail(self, index: int) -> dict[str, torch.Tensor] | DrawpointError:
        """Read one sample; damage is returned, not raised, as `read_batch` has it."""
        sample_id = self.sample_ids[index]
        seed, part = self._name_draw(sample_id)
        try:
            tensors = self.reader.read_sample(sample_id, self.num_points, fields=self.fields, seed=seed, part=part)
        except DataDamaged as error:
            return error
        return self._add_geometry(sample_id, tensors)

    def _read_batch(self, places: list[int]) -> list[dict[str, torch.Tensor] | DrawpointError]:
        read_batch = getattr(self.reader, "read_batch", None)
        if read_batch is None:
            return [self._read_or_fail(place) for place in places]
        ids = [self.sample_ids[place] for place in places]
        requests = [dict(zip(("id", "seed", "part"), (each, *self._name_draw(each)), strict=True)) for each in ids]
        # Parts keep their seed from epoch to epoch, which the geometry must not; a request of a batch has one seed.
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

    def _name_draw(self, sample_id: str) -> tuple[int, int | None]:
        """Return seed and part of a sample's draw in this epoch; the parts of a sample belong to one seed."""
        if self.mode == "parts":
            return derive_seed("dataset/1", "parts", self.seed, sample_id), self.epoch
        return self._name_geometry(sample_id), None

    def _name_geometry(self, sample_id: str) -> int:
        epoch = 0 if self.mode == "fixed" else self.epoch
        return derive_seed("dataset/1", "independent", self.seed, epoch, sample_id)

    def _add_geometry(
        self, sample_id: str, tensors: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor] | DrawpointError:
        if self.num_geometry_points is not None:
            seed = self._name_geometry(sample_id)
            try:
                positions = self.reader.read_coords(sample_id, GEOMETRY_DOMAIN, self.num_geometry_points, seed=seed)
            except DataDamaged as error:
                return error
            tensors[GEOMETRY_POSITION] = positions
        return tensors


def _choose_samples(reader: Reader, sample_ids: Iterable[str] | None, split: str | None) -> list[str]:
    if isinstance(sample_ids, str):
        raise ValueError(f"sample_ids is a list of ids, such as [{sample_ids!r}], not one string.")  # noqa: TRY004  a selection is wrong or right by value
    samples = reader.manifest.samples
    if sample_ids is not None and split is not None:
        raise ValueError("sample_ids and split both choose the samples; give one of them.")
    if split is not None:
        if not hasattr(reader, "split"):
            raise ValueError(f"{type(reader).__name__} knows no splits; give their sample_ids.")
        named, source = reader.split(split), f"split {split!r}"
    else:
        named, source = sorted(samples) if sample_ids is None else list(sample_ids), "sample_ids"
    if not named:
        raise ValueError(f"No samples are left, of the {len(samples)} in the store.")
    return choose_held(reader.manifest, named, source, store_of(reader), stacklevel=4)


def _check_geometry(reader: Reader, count: int | None) -> int | None:
    if count is None:
        return None
    domains, store = reader.manifest.domains, store_of(reader)
    if GEOMETRY_DOMAIN not in domains:
        where = name_store(reader.manifest, store)
        raise UnknownDomain.among("domain", GEOMETRY_DOMAIN, domains, where=where, store=store)
    return check_integer("num_geometry_points", count, 1)


def _make_normaliser(reader: Reader, normalise: Normaliser | Mapping[str, Any] | bool | None) -> Normaliser | None:
    if normalise is None or normalise is False:
        return None
    if isinstance(normalise, Normaliser):
        return normalise
    if normalise is True:
        if not hasattr(reader, "statistics"):
            raise ValueError(f"{type(reader).__name__} brings no statistics; give them as normalise=.")
        normalise = reader.statistics()
    if not isinstance(normalise, Mapping):
        raise ValueError(f"normalise is statistics, a Normaliser or True, not {normalise!r}.")  # noqa: TRY004  as all that is chosen wrongly
    return Normaliser(normalise)
