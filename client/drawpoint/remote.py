"""The remote reader: the local reader's calls and tensors, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from drawpoint.batch import COORDS_PREFIX, check_selection, list_items
from drawpoint.documents import read_json
from drawpoint.draws import Draw, count_rows
from drawpoint.errors import DrawpointError, InvalidDraw, ResponseTooLarge, RevisionChanged, UnknownDomain
from drawpoint.parts import Part, iter_parts
from drawpoint.seeds import check_part, resolve_seed
from drawpoint.selection import check_counts, check_fields, find_sample
from drawpoint.wire import Request

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import torch

    from drawpoint.batch import BatchItem, BatchSelection
    from drawpoint.manifest import StoreManifest
    from drawpoint.transport import Transport


class RemoteReader:
    """Reads samples of a served store, subsampled or in full, at the revision of `manifest`.

    Made by `Connection.store`. It pickles with its manifest, survives fork, and is safe to share between threads.
    Equal arguments and generator states give the tensors that the local reader gives. Its calls raise what the
    local reader raises, and besides RevisionChanged once the store was written anew, ResponseTooLarge for a draw
    that the service does not send at once, and RequestFailed where there is no usable answer within the deadline.
    """

    def __init__(self, transport: Transport, store_id: str, manifest: StoreManifest) -> None:
        self._transport = transport
        self._manifest = manifest
        self._revision = manifest.revision
        self.store_id = store_id

    def __repr__(self) -> str:
        return f"<drawpoint.RemoteReader {self.store_root}>"

    @property
    def store_root(self) -> str:
        """The address of the store."""
        return f"{self._transport.settings.url}/stores/{quote(self.store_id, safe='')}"

    @property
    def manifest(self) -> StoreManifest:
        return self._manifest

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
        Scalars come as (T,), vectors as (T, dim). A domain of the store that the sample lacks is absent. The draw
        is named by `seed`, or else by one number taken from `generator`, or else by fresh entropy. `part` (with
        `seed`) takes one of the ceil(n / T) disjoint parts instead of a random draw.

        Raises SampleNotFound, UnknownDomain, UnknownField, InvalidDraw, and DataDamaged (naming sample, field and
        chunk) for stored bytes that cannot be trusted.
        """
        drawn = resolve_seed(seed, generator)
        if part is not None and seed is None:
            raise InvalidDraw("part needs seed: the parts of a cycle are disjoint only under one seed.")
        entry = find_sample(self._manifest, sample_id)
        counts = check_counts(self._manifest, num_points)
        if part is not None:
            part = check_part(part)
        if fields is not None:
            check_fields(self._manifest, sample_id, entry, fields)
        arrays, rows = {}, {}
        for domain, layout in self._manifest.domains.items():
            if domain not in entry.domains:
                continue
            for field, array in layout.arrays.items():
                if fields is None or field in fields:
                    arrays[field] = array
                    rows[field] = count_rows(entry.domains[domain].n_points, counts.get(domain), part)
        draw = Draw(
            kind="samples",
            store=self.store_id,
            revision=self._revision,
            sample=sample_id,
            counts={domain: count for domain, count in counts.items() if count is not None},
            fields=None if fields is None else tuple(fields),
            seed=drawn,
            part=part,
            arrays=arrays,
            rows=rows,
        )
        return self._fetch(draw)

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
        entry = find_sample(self._manifest, sample_id)
        counts = check_counts(self._manifest, {domain: num_points})
        if domain not in entry.domains:
            raise UnknownDomain.among("domain", domain, entry.domains, where=f"sample {sample_id!r}", sample=sample_id)
        layout = self._manifest.domains[domain]
        draw = Draw(
            kind="coords",
            store=self.store_id,
            revision=self._revision,
            sample=sample_id,
            counts=counts,
            fields=None,
            seed=drawn,
            part=None,
            arrays={layout.position: layout.arrays[layout.position]},
            rows={layout.position: count_rows(entry.domains[domain].n_points, counts[domain], None)},
        )
        return self._fetch(draw)[layout.position]

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
        selection = check_selection(self.manifest, num_points, fields, coords)
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

        One part, a mapping of tensors by canonical field that can `scatter` values back to stored order, is in memory
        at a time. Raises what `drawpoint.iter_parts` raises.
        """
        return iter_parts(self, sample_id, domain, num_points, fields=fields, seed=seed)

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

    def statistics(self) -> dict[str, Any]:
        """Return the statistics that the store ships, of this reader's revision.

        Raises StatisticsNotFound if it ships none, RevisionChanged if they are of another revision.
        """
        statistics: dict[str, Any] = self._read_document("statistics", "the statistics")
        if statistics["revision"] != self._revision:
            raise RevisionChanged(
                f"the statistics of store {self.store_id!r} are of revision {statistics['revision']}, this reader is "
                f"of {self._revision}; open it anew with connection.store({self.store_id!r}).",
                store=self.store_id,
            )
        return statistics

    def splits(self) -> list[str]:
        """Return the names of the splits that the store ships; raises SplitNotFound if it ships none."""
        return [split["name"] for split in self._read_document("splits", "the splits")["splits"]]

    def split(self, name: str) -> list[str]:
        """Return the sample ids of a split; raises SplitNotFound naming near ones."""
        ids: list[str] = self._read_document(f"splits/{quote(name, safe='')}", f"split {name!r}")["samples"]
        return ids

    def _fetch(self, draw: Draw) -> dict[str, torch.Tensor]:
        request = Request(
            draw.target,
            f"sample {draw.sample!r} of store {self.store_id!r}",
            store=self.store_id,
            sample=draw.sample,
            revision=self._revision,
            sealed=True,
        )
        try:
            return self._transport.fetch(request, lambda answer: draw.read(answer.body), engine="hot")
        except ResponseTooLarge as error:
            if draw.kind == "coords":
                raise
            raise ResponseTooLarge(
                f"{str(error).rstrip('.')}; in Python that is read_sample({draw.sample!r}, num_points, seed=0, part=j) "
                "for j in 0, 1, ..., whose parts hold every point once.",
                store=self.store_id,
                sample=draw.sample,
            ) from None

    def _read_document(self, path: str, what: str) -> Any:
        target = f"/stores/{quote(self.store_id, safe='')}/{path}"
        return self._transport.fetch(
            Request(target, f"{what} of store {self.store_id!r}", store=self.store_id), read_json
        )
