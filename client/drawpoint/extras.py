"""The extras that drawpoint is installed with, and what is said where one is missing."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from drawpoint.errors import ExtraMissing

if TYPE_CHECKING:
    from collections.abc import Iterator


def how_to_install(extras: str) -> str:
    """Return the remedy; drawpoint is on no package index yet, so it names the clone."""
    return f"run `pip install '.[{extras}]'` in a clone of drawpoint"


@contextmanager
def importing(extras: str, what: str) -> Iterator[None]:
    """Import, in the block, what `extras` bring; raises ExtraMissing, with the remedy, where one is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing.startswith("drawpoint"):
            raise
        told = ExtraMissing(f"{what} needs {missing}, which is not installed: {how_to_install(extras)}.")
        told.name = missing
        raise told from error
