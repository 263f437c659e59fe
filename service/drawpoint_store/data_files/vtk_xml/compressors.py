"""How the blocks of VTK's compressors are decompressed, never to more bytes than a block is said to have."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from typing import Any, NamedTuple

from drawpoint.extras import importing

Decompress = Callable[[memoryview, int], bytes | None]
"""Returns what a block holds, at most one byte more than the size given; None if it is damaged."""

LZMA_MEMORY = 1 << 28
"""How much memory xz may use for a block; its strongest preset needs a quarter of that."""


class Compressor(NamedTuple):
    """How to get the function that decompresses, and how many times larger than its input its output can be."""

    load: Callable[[], Decompress]
    largest_ratio: int


def _load_zlib() -> Decompress:
    with importing("convert", "reading compressed VTK files"):
        from isal import isal_zlib  # noqa: PLC0415  loaded only where a file has zlib's blocks

    zlib_error: Any = isal_zlib.error  # its types call it an instance

    def decompress(block: memoryview, size: int) -> bytes | None:
        stream = isal_zlib.decompressobj()
        try:
            data: bytes = stream.decompress(block, size + 1)
        except zlib_error:
            return None
        return data if stream.eof else None

    return decompress


def _load_lz4() -> Decompress:
    with importing("convert", "reading VTK files compressed with LZ4"):
        import lz4.block  # noqa: PLC0415  loaded only where a file has LZ4's blocks

    def decompress(block: memoryview, size: int) -> bytes | None:
        try:
            data: bytes = lz4.block.decompress(block, uncompressed_size=size)
        except lz4.block.LZ4BlockError:
            return None
        return data

    return decompress


def _load_lzma() -> Decompress:
    def decompress(block: memoryview, size: int) -> bytes | None:
        stream = lzma.LZMADecompressor(memlimit=LZMA_MEMORY)
        try:
            data = stream.decompress(block, size + 1)
        except lzma.LZMAError:
            return None
        return data if stream.eof else None

    return decompress


COMPRESSORS = {
    # A byte of deflate holds at most 1032 (https://www.zlib.net/zlib_tech.html), one of LZ4 255 (its block format).
    "vtkZLibDataCompressor": Compressor(_load_zlib, 1032),
    "vtkLZ4DataCompressor": Compressor(_load_lz4, 255),
    # xz has no such bound. A gigabyte of zeros shrinks to a seven thousandth.
    "vtkLZMADataCompressor": Compressor(_load_lzma, 1 << 14),
}
