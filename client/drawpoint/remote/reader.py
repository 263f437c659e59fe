"""The remote reader: the local reader's calls and tensors, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from drawpoint.draw.parts import Part, iter_parts
from drawpoint.errors import RevisionChanged
from drawpoint.remote.documents import read_split, read_splits, read_statistics
from drawpoint.remote.reads import Reads
from drawpoint.remote.wire import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import torch

    from drawpoint.errors import DrawpointError
    from drawpoint.format.manifest import StoreManifest
    from drawpoint.remote.retry import Transport
    from drawpoint.remote.wire import Answer

Result = TypeVar("Result")


class RemoteReader:
    """Reads samples of a served store, subsampled or in full, at the revision of `manifest`.

    Made by `Connection.store`. It pickles with its manifest, survives fork, and is safe to share between threads.
    Equal arguments and generator states give the tensors that the local reader gives. Its calls raise what the
    local reader raises, and besides RevisionChanged once the store was written anew, ResponseTooLarge for a draw
    that the service does not send at once, and RequestFailed where there is no usable answer within the deadline.
    """

    def __init__(self, transport: Transport, store_id: str, manifest: StoreManifest) -> None:
        self._transport = transport
        self._reads = Reads(transport, store_id, manifest)
        self._revision = manifest.revision
        self.store_id = store_id

    def __repr__(self) -> str:
        return f"<drawpoint.RemoteReader {self.store_root}>"

    @property
    def store_root(self) -> str:
        """The address of the store."""
        return self._reads.store_root

    @property
    def manifest(self) -> StoreManifest:
        return self._reads.manifest

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
        return self._transport.carry_out(self._reads.sample(sample_id, num_points, generator, fields, seed, part))

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
        return self._transport.carry_out(self._reads.coords(sample_id, domain, num_points, generator, seed))

    def read_batch(
        self,
        samples: Sequence[Mapping[str, Any] | str],
        num_points: Mapping[str, int | None] | None = None,
        fields: Collection[str] | None = None,
        *,
        coords: Mapping[str, int | None] | None = None,
    ) -> list[dict[str, torch.Tensor] | DrawpointError]:
        """Read many draws at once: for each of `samples`, in order, what read_sample returns or the error that it met.

        That is one request, or several where the service sends less at once.

        Each of `samples` is a sample id or `{"id", "seed", "part"}`. `coords` maps domains to counts, and adds to
        each what read_coords returns for them under the same seed, as `coords/<position field>`
        (`coords/surface_position`).

        Raises only what concerns all of them: UnknownDomain, UnknownField and InvalidDraw for `num_points`, `fields`
        and `coords`, RevisionChanged, and RequestFailed where there is no usable answer within the deadline.
        """
        return self._transport.carry_out(self._reads.batch(samples, num_points, fields, coords))

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

    def statistics(self) -> dict[str, Any]:
        """Return the statistics that the store ships, of this reader's revision.

        Raises StatisticsNotFound if it ships none, RevisionChanged if they are of another revision.
        """
        statistics = self._read_document("statistics", "the statistics", read_statistics)
        if statistics["revision"] != self._revision:
            raise RevisionChanged(
                f"the statistics of store {self.store_id!r} are of revision {statistics['revision']}, this reader is "
                f"of {self._revision}; open it anew with connection.store({self.store_id!r}).",
                store=self.store_id,
            )
        return statistics

    def splits(self) -> list[str]:
        """Return the names of the splits that the store ships; raises SplitNotFound if it ships none."""
        return self._read_document("splits", "the splits", read_splits)

    def split(self, name: str) -> list[str]:
        """Return the sample ids of a split; raises SplitNotFound naming near ones."""
        return self._read_document(f"splits/{quote(name, safe='')}", f"split {name!r}", read_split)

    def _read_document(self, path: str, what: str, read: Callable[[Answer], Result]) -> Result:
        target = f"/stores/{quote(self.store_id, safe='')}/{path}"
        return self._transport.fetch(Request(target, f"{what} of store {self.store_id!r}", store=self.store_id), read)
