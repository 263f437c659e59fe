"""The scalars of a dataset's samples: one row a sample, checked once, before anything is trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from drawpoint.draw.selection import name_store
from drawpoint.errors import InvalidParameter, UnknownScalar

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drawpoint.format.manifest import StoreManifest

SCALARS = "scalars"
"""The key of a sample's scalars in a dataset's item."""


def check_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of scalars, in order; raises InvalidParameter for none, and for one that stands there twice."""
    listed = () if isinstance(names, str) else tuple(names)
    if not listed or len(set(listed)) != len(listed):
        raise InvalidParameter.of("scalars", repr(names), "a list of names, such as ['U_inf', 'yaw'], each once")
    return listed


def scalar_rows(
    manifest: StoreManifest, sample_ids: Sequence[str], names: Sequence[str], store: str | None = None
) -> np.ndarray[Any, Any]:
    """Return the scalars `names` of each sample: float32, shape (samples, names).

    Raises UnknownScalar, saying which samples lack one and how many, and InvalidParameter for a value that is beyond
    the range of float32. They call the store `store`.
    """
    held = {sample_id: manifest.samples.scalars_of(sample_id) for sample_id in sample_ids}
    for name in names:
        if not all(name in scalars for scalars in held.values()):
            raise UnknownScalar.lacking(name, held, of=f" of {name_store(manifest, store)}", store=store)
    exact = np.array([[scalars[name] for name in names] for scalars in map(held.__getitem__, sample_ids)], np.float64)
    with np.errstate(over="ignore"):
        rows = exact.astype(np.float32)
    beyond = np.argwhere(~np.isfinite(rows) | ((rows == 0) & (exact != 0)))
    if len(beyond):
        sample, name = beyond[0]
        raise InvalidParameter(
            f"the scalar {names[name]!r} of sample {sample_ids[sample]!r} is {exact[sample, name]}, beyond the range "
            "of float32; write it in another unit.",
            sample=sample_ids[sample],
        )
    return rows
