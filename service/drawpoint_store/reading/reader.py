"""The local reader: random draws of a store as torch tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.draw.batch import COORDS_PREFIX, check_selection, list_items
from drawpoint.draw.parts import Part, iter_parts
from drawpoint.draw.seeds import resolve_seed
from drawpoint.draw.selection import find_sample
from drawpoint.errors import DrawpointError, SplitNotFound
from drawpoint.format.tensors import as_float32_each
from drawpoint_store.reading.plan import plan_coords, plan_sample
from drawpoint_store.reading.plan_reader import PlanReader
from drawpoint_store.reading.splits import list_splits, read_split
from drawpoint_store.reading.statistics_file import statistics_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import torch

    from drawpoint.draw.batch import BatchItem, BatchSelection
    from drawpoint_store.reading.plan import ReadPlan


class ZarrChunkReader(PlanReader):
    """Reads samples of the store at `store_root`, subsampled or in full.

    `store_root` is a local path or a URL. `manifest` is read from there unless it is given: a StoreManifest, or an
    object or dict with the attributes of one, such as that of `noether.data.zarr_store`. `store_factory` opens the zarr
    Store of a sample's group from its path; with a custom one every byte is read through that Store's own `get`.
    `read_concurrency` is how many array reads of a sample go on at once; the result is the same for any.

    Up to `chunk_cache_bytes` of decoded chunks are kept in memory: worth it where the samples that are drawn from fit
    in, since each draw takes other rows. `disk_cache` keeps what came from a bucket.

    The reader pickles, survives fork, and is safe to share between threads.

    Raises StoreNotFound if there is no manifest, InvalidManifest if it cannot be trusted.
    """

    def __repr__(self) -> str:
        return f"<drawpoint_store.ZarrChunkReader {self.store_root}, {len(self.manifest.samples)} samples>"

    def plan_sample(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None = None,
        fields: Collection[str] | None = None,
        *,
        seed: int,
        part: int | None = None,
    ) -> ReadPlan:
        """Return the plan of what `read_sample` reads: which rows of which arrays.

        Raises SampleNotFound, UnknownDomain, UnknownField and InvalidDraw.
        """
        return plan_sample(
            self.manifest, sample_id, num_points, seed=seed, part=part, fields=fields, store=self.store_root
        )

    def plan_coords(self, sample_id: str, num_points: Mapping[str, int | None], *, seed: int) -> ReadPlan:
        """Return the plan of what `read_coords` reads, for each domain of `num_points`.

        Raises SampleNotFound, UnknownDomain and InvalidDraw.
        """
        return plan_coords(self.manifest, sample_id, num_points, seed=seed, store=self.store_root)

    def read_sample(
        self,
        sample_id: str,
        num_points: Mapping[str, int | None] | None = None,
        generator: torch.Generator | None = None,
        fields: Collection[str] | None = None,
        *,
        seed: int | None = None,
        part: int | None = None,
    ) -> dict[str, torch.Tensor]:
        """Read the fields of one sample, float32, keyed by canonical field; rows of a domain belong together.

        `num_points` maps a domain to its count; a domain that is None or left out is read in full, in stored order.
        Scalars come as (T,), vectors as (T, dim). What the store has and the sample lacks is absent, also where
        `num_points` or `fields` name it, and a count for a usual domain (FIELD_SPECS) that the store lacks means
        nothing. The draw is named by `seed`, or else by one number taken from `generator`, or else by fresh entropy.
        `part` (with `seed`) takes one of the ceil(n / T) disjoint parts instead of a random draw.

        Raises SampleNotFound, UnknownDomain, UnknownField, InvalidDraw, and DataDamaged (naming sample, field and
        chunk) for stored bytes that cannot be trusted.
        """
        drawn = resolve_seed(seed, generator, part)
        return self._read_tensors(self.plan_sample(sample_id, num_points, fields, seed=drawn, part=part))

    def read_coords(
        self,
        sample_id: str,
        domain: str,
        num_points: int | None,
        generator: torch.Generator | None = None,
        *,
        seed: int | None = None,
    ) -> torch.Tensor:
        """Read positions of one domain, float32 (T, 3), drawn independently of what read_sample draws.

        None reads all of them in stored order. Raises what read_sample raises, and UnknownDomain for a domain that
        the sample lacks.
        """
        drawn = resolve_seed(seed, generator)
        tensors = self._read_tensors(self.plan_coords(sample_id, {domain: num_points}, seed=drawn))
        return tensors[self.manifest.domains[domain].position]

    def read_batch(
        self,
        samples: Sequence[Mapping[str, Any] | str],
        num_points: Mapping[str, int | None] | None = None,
        fields: Collection[str] | None = None,
        *,
        coords: Mapping[str, int | None] | None = None,
    ) -> list[dict[str, torch.Tensor] | DrawpointError]:
        """Read many draws: for each of `samples`, in order, what read_sample returns or the error that it met.

        Each of `samples` is a sample id or `{"id", "seed", "part"}`. `coords` maps domains to counts, and adds to
        each what read_coords returns for them under the same seed, as `coords/<position field>`
        (`coords/surface_position`).

        Raises only what concerns all of them: UnknownDomain, UnknownField and InvalidDraw for `num_points`,
        `fields` and `coords`.
        """
        selection = check_selection(self.manifest, num_points, fields, coords, self.store_root)
        return [self._read_item(item, selection) for item in list_items(samples)]

    def iter_parts(
        self,
        sample_id: str,
        domain: str,
        num_points: int,
        *,
        fields: Collection[str] | None = None,
        seed: int = 0,
    ) -> Iterator[Part]:
        """Read one domain of a sample in parts of `num_points` points, each point exactly once.

        One part, a mapping of tensors by canonical field that can `scatter` values back to stored order or to that of
        the source, is in memory at a time. Raises what `drawpoint.iter_parts` raises.
        """
        return iter_parts(self, sample_id, domain, num_points, fields=fields, seed=seed)

    def scalars(self, sample_id: str) -> dict[str, float]:
        """Return the scalars of a sample, sorted by name: the manifest has them, and nothing is read.

        A sample without any has an empty dict. Raises SampleNotFound.
        """
        return dict(find_sample(self.manifest, sample_id, self.store_root).scalars)

    def statistics(self) -> dict[str, Any]:
        """Return the statistics that the store ships, with this reader's revision.

        With a manifest that was given, whose bytes are not the store's, they are those of the store's present revision
        if that names the same groups.

        Raises StatisticsNotFound if it ships none, RevisionChanged if they are of another revision.
        """
        return statistics_of(self.storage, self.manifest)

    def splits(self) -> list[str]:
        """Return the names of the splits that the store ships; raises SplitNotFound if it ships none."""
        names = list_splits(self.storage)
        if not names:
            raise SplitNotFound(
                f"the store at {self.store_root} ships no splits; list sample ids, one a line, in splits/NAME.txt "
                "below the store's root.",
                store=self.store_root,
            )
        return names

    def split(self, name: str) -> list[str]:
        """Return the sample ids of a split; raises SplitNotFound naming near ones."""
        return read_split(self.storage, name)

    def _read_item(
        self, item: BatchItem | DrawpointError, selection: BatchSelection
    ) -> dict[str, torch.Tensor] | DrawpointError:
        if isinstance(item, DrawpointError):
            return item
        counts, fields, coords = selection
        try:
            drawn = self.read_sample(item.sample_id, counts, fields=fields, seed=item.seed, part=item.part)
            for domain, count in coords.items():
                position = f"{COORDS_PREFIX}{self.manifest.domains[domain].position}"
                drawn[position] = self.read_coords(item.sample_id, domain, count, seed=item.seed)
        except DrawpointError as error:
            return error
        return drawn

    def _read_tensors(self, plan: ReadPlan) -> dict[str, torch.Tensor]:
        arrays = {field: np.empty(array.shape, array.layout.dtype) for field, array in plan.arrays.items()}
        self.read_into(plan, arrays)
        return as_float32_each(arrays)
