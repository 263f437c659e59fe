"""The moments of each sample of a store: `<root>/statistics/samples.npz`, from which those of any split are merged.

Each entry is bound to the digest of its sample, so that it holds as long as the sample's values do, in whatever
revision. docs/format.md describes the file.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from drawpoint.errors import DataDamaged, MetadataDamaged
from drawpoint_store.reading.digests import is_known_digest
from drawpoint_store.statistics.moments import Moments
from drawpoint_store.storage import open_storage

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from drawpoint.format.manifest import ArrayLayout, StoreManifest

MOMENTS_NAME = "statistics/samples.npz"

MOST_DOCUMENTS = 8
"""How many times the bytes of another document it may have: JSON takes thirty times its bytes, this three times."""

_VERSION = 1
_CHECKSUM_BYTES = 64
_ROWS, _MOMENTS = "rows/", "moments/"
_COLUMNS = 6
"""What is kept of a component: mean, logmean, their sums of squared deviations, low and high."""

_Arrays = dict[str, np.ndarray[Any, Any]]


class MomentsTable:
    """Moments by sample id and array of a store; an entry that is not known, or of other values, is None.

    `digests` are those of the samples, by id; `dims` the components of the arrays, by name.
    """

    def __init__(self, digests: Mapping[str, str], dims: Mapping[str, int]) -> None:
        self._digests = dict(sorted(digests.items()))
        self._places = {sample_id: place for place, sample_id in enumerate(self._digests)}
        count = len(self._places)
        self._rows: _Arrays = {name: np.zeros(count, "<i8") for name in dims}
        self._moments: _Arrays = {name: np.zeros((count, _COLUMNS, dim), "<f8") for name, dim in dims.items()}

    @classmethod
    def of(cls, manifest: StoreManifest, earlier: MomentsTable | None = None) -> Self:
        """Return the table of a store's samples that have a digest, with what an `earlier` one knows of them."""
        digests = {sample_id: entry.digest for sample_id, entry in manifest.samples.items()}
        known = {sample_id: digest for sample_id, digest in digests.items() if digest and is_known_digest(digest)}
        table = cls(known, {layout.array_name: layout.dim for layout in manifest.fields.values()})
        if earlier is not None:
            for sample_id, digest in known.items():
                for layout, n_points in held_arrays(manifest, sample_id).values():
                    if (found := earlier.find(sample_id, digest, layout, n_points)) is not None:
                        table.put(sample_id, layout, n_points, found)
        return table

    def find(self, sample_id: str, digest: str | None, layout: ArrayLayout, n_points: int) -> Moments | None:
        """Return the moments of an array of a sample, None unless they are known to be of all values of this digest."""
        place, rows = self._places.get(sample_id), self._rows.get(layout.array_name)
        if place is None or rows is None or self._digests[sample_id] != digest or rows[place] != n_points:
            return None
        columns = self._moments[layout.array_name][place]
        if columns.shape[1] != layout.dim:
            return None
        return Moments.of(n_points, columns)

    def put(self, sample_id: str, layout: ArrayLayout, n_points: int, moments: Moments) -> bool:
        """Record the moments of an array, and tell whether they are: not of a sample without digest, nor of a part."""
        place = self._places.get(sample_id)
        if place is None or moments.rows != n_points:
            return False
        self._rows[layout.array_name][place] = n_points
        self._moments[layout.array_name][place] = moments.columns
        return True

    def __len__(self) -> int:
        """Return the number of samples of which something is known."""
        held = np.zeros(len(self._places), bool)
        for rows in self._rows.values():
            held |= rows > 0
        return int(held.sum())

    def to_bytes(self) -> bytes:
        """Return the bytes of the file: equal tables give equal bytes."""
        arrays: _Arrays = {
            "version": np.array(_VERSION, "<i8"),
            "ids": np.frombuffer("\n".join(self._places).encode(), np.uint8),
            "digests": np.array(list(self._digests.values()), "S"),
            **{_ROWS + name: rows for name, rows in self._rows.items()},
            **{_MOMENTS + name: moments for name, moments in self._moments.items()},
        }
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                # An entry of zipfile's own making is dated 1980, that of `writestr` of today.
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
            archive.comment = bytes(_CHECKSUM_BYTES)
        with file.getbuffer() as data:
            data[-_CHECKSUM_BYTES:] = _checksum(data)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Return the table that a file holds; raises ValueError where it is damaged, or of another version."""
        if data[-_CHECKSUM_BYTES:] != _checksum(memoryview(data)):
            raise ValueError("its checksum is another one")
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                arrays = {each.filename.removesuffix(".npy"): _read_array(archive, each) for each in archive.infolist()}
            if arrays["version"] != _VERSION:
                raise ValueError(f"its version is {arrays['version']}, and {_VERSION} is known")
            digests = [digest.decode() for digest in arrays["digests"].astype("S").ravel().tolist()]
            ids = arrays["ids"].tobytes().decode().split("\n") if digests else []
            if ids != sorted(ids) or len(ids) != len(digests):
                raise ValueError("its samples are not sorted, or not one for each digest")
            moments = {name.removeprefix(_MOMENTS): each for name, each in arrays.items() if name.startswith(_MOMENTS)}
            table = cls(dict(zip(ids, digests, strict=True)), {name: each.shape[2] for name, each in moments.items()})
            for name, each in moments.items():
                # Broadcasting would take an array of another number of samples for all of them.
                table._moments[name] = _same(each, table._moments[name])
                table._rows[name] = _same(arrays[_ROWS + name], table._rows[name])
        except (LookupError, TypeError, EOFError, OSError, MemoryError, RuntimeError, zipfile.BadZipFile) as error:
            raise ValueError(f"it is no table of moments ({type(error).__name__}: {error})") from error
        return table


def read_moments(store_root: str | os.PathLike[str]) -> MomentsTable | None:
    """Return the table that a store holds, None if there is none.

    Raises MetadataDamaged for a file that is none, StoreUnreadable where the storage does not answer.
    """
    storage = open_storage(store_root)
    try:
        data = storage.read(MOMENTS_NAME, MOST_DOCUMENTS)
        return None if data is None else MomentsTable.from_bytes(data)
    except (DataDamaged, ValueError) as error:
        raise MetadataDamaged(
            f"{storage.join(MOMENTS_NAME)} is not used: {str(error).rstrip('.')}; `drawpoint stats` reads the samples "
            "instead, and writes it again.",
            store=storage.root,
        ) from error


def write_moments(store_root: str | os.PathLike[str], table: MomentsTable) -> None:
    """Write the table of a store, whole or not at all."""
    open_storage(store_root).write(MOMENTS_NAME, table.to_bytes())


def held_arrays(manifest: StoreManifest, sample_id: str) -> dict[str, tuple[ArrayLayout, int]]:
    """Return the array of each field that a sample has, in the order of the manifest, with its number of points."""
    held = manifest.samples[sample_id].domains
    return {
        field: (layout, held[domain].n_points)
        for domain, of_domain in manifest.domains.items()
        if domain in held
        for field, layout in of_domain.arrays.items()
    }


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray[Any, Any]:
    """Return one array of the archive; raises ValueError for one that may take more memory than the file."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"its {member.filename} is compressed")
    with archive.open(member) as file:
        array: np.ndarray[Any, Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _same(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        raise ValueError(f"an array of it is {found.dtype} {found.shape}, not {expected.dtype} {expected.shape}")
    return found


def _checksum(data: memoryview) -> bytes:
    """Return the sha256, in hex, of all but the end of the file, where it stands itself: the comment of the archive."""
    return hashlib.sha256(data[:-_CHECKSUM_BYTES]).hexdigest().encode()
