"""The error for an optional dependency that is not installed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from drawpoint.errors import ExtraMissing

if TYPE_CHECKING:
    from collections.abc import Iterator


def how_to_install(extras: str) -> str:
    """Return the command that installs `extras`. It names a clone, since drawpoint is on no package index yet."""
    return f"run `pip install '.[{extras}]'` in a clone of drawpoint"


@contextmanager
def importing(extras: str, what: str) -> Iterator[None]:
    """Turn a failed import of a dependency of `extras`, in the block, into ExtraMissing with the remedy."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing.startswith("drawpoint"):
            raise
        missing_extra = ExtraMissing(f"{what} needs {missing}, which is not installed: {how_to_install(extras)}.")
        missing_extra.name = missing
        raise missing_extra from error
