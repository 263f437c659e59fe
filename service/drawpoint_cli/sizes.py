"""Sizes in bytes, as commands print them."""

from __future__ import annotations

_KILO = 1000


def size(nbytes: float) -> str:
    """Return `512 bytes`, `1.5 MB`, `2,000.0 TB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if nbytes < _KILO:
            return f"{nbytes:.0f} {unit}" if unit == "bytes" else f"{nbytes:.1f} {unit}"
        nbytes /= _KILO
    return f"{nbytes:,.1f} TB"
