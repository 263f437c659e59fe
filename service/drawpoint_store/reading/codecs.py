"""From a chunk's stored bytes to its rows: the bytes-to-bytes codecs that a chunk of our layout may pass through.

A codec takes a buffer and the number of bytes that it may give at most: a few bytes can stand for gigabytes. Any other
codec is left to zarr-python (see `arrays.parse_array`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence

import crc32c
from numcodecs import blosc, zstd

from drawpoint_store.reading.digests import CRC_BYTES
from drawpoint_store.storage.byte_sources import Buffer

Decode = Callable[[Buffer, int], Buffer]
"""Decodes a buffer to at most that many bytes; raises UndecodableError for one that stands for more, or is damaged."""

_ZSTD_MAGIC, _ZSTD_LEAST = b"\x28\xb5\x2f\xfd", 6

_BLOSC_HEADER = struct.Struct("<4xIII")  # after 4 bytes of versions and flags: nbytes, blocksize, cbytes


class UndecodableError(ValueError):
    """The bytes are not what the codec makes."""


def most_encoded_bytes(nbytes: int) -> int:
    """Return more bytes than any codec makes of a chunk of `nbytes`."""
    return nbytes + nbytes // 8 + 4096


class Decoder:
    """Undoes the codecs of one array's chunks, each of which decodes to `nbytes` bytes.

    `chain` has the codecs in the order of decoding. Where there is nothing but checksums, `is_plain`, what is decoded
    is a view of the stored bytes. `crc_bytes` is then what follows the rows of a chunk, and None where that is not its
    checksum or nothing.
    """

    def __init__(self, chain: Sequence[Decode], nbytes: int) -> None:
        self.nbytes = nbytes
        self.is_plain = all(decode is _strip_crc32c for decode in chain)
        self.crc_bytes = CRC_BYTES * len(chain) if self.is_plain and len(chain) <= 1 else None
        self._ends_with_crc = bool(chain) and chain[0] is _strip_crc32c
        # The last one gives the chunk, those before it what other codecs have made of it.
        self._steps = [(decode, most_encoded_bytes(nbytes)) for decode in chain[:-1]]
        self._steps += [(decode, nbytes) for decode in chain[-1:]]

    def decode(self, encoded: Buffer) -> Buffer:
        """Return the decoded bytes; raises UndecodableError for a wrong checksum, a short or a foreign buffer."""
        data = encoded
        for decode, most in self._steps:
            data = decode(data, most)
        if len(data) != self.nbytes:
            raise UndecodableError(f"it holds {len(data)} bytes instead of {self.nbytes}")
        return data

    def checksum(self, encoded: Buffer) -> int:
        """Return the crc32c of a chunk: the last of its bytes where they are that, as `decode` has checked."""
        if self._ends_with_crc:
            return int.from_bytes(encoded[-CRC_BYTES:], "little")
        return crc32c.crc32c(encoded)


def _strip_crc32c(data: Buffer, _: int) -> Buffer:
    view = memoryview(data)
    body, stored = view[:-CRC_BYTES], view[-CRC_BYTES:]
    if len(view) < CRC_BYTES or crc32c.crc32c(body) != int.from_bytes(stored, "little"):
        raise UndecodableError("its checksum (crc32c) does not match")
    return body


def _decode_blosc(data: Buffer, most: int) -> Buffer:
    if len(data) < blosc.MAX_OVERHEAD:
        raise UndecodableError(f"{len(data)} bytes are too few for a blosc buffer")
    promised, _, stored = _BLOSC_HEADER.unpack_from(data)  # checked: blosc itself reads as far as its header says
    if stored != len(data) or promised > most:
        raise UndecodableError(
            f"its blosc header promises {promised} bytes from {stored}, not up to {most} from {len(data)}"
        )
    try:
        decoded: Buffer = blosc.decompress(data)
    except (RuntimeError, ValueError) as error:
        raise UndecodableError(f"blosc cannot decode it ({error})") from error
    return decoded


def _decode_zstd(data: Buffer, most: int) -> Buffer:
    promised = _zstd_content_size(data)
    if promised is None or promised > most:
        raise UndecodableError(f"its zstd frame promises {promised} bytes, not up to {most}")
    try:
        decoded: Buffer = zstd.decompress(data)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise UndecodableError(f"zstd cannot decode it ({error})") from error
    return decoded


def _zstd_content_size(data: Buffer) -> int | None:
    """Return how large a zstd frame says that its content is (RFC 8878, 3.1.1.1), or None where it does not."""
    head = bytes(data[:18])
    if len(head) < _ZSTD_LEAST or head[:4] != _ZSTD_MAGIC:
        raise UndecodableError("it is no zstd frame")
    descriptor = head[4]
    single_segment = descriptor >> 5 & 1
    width = (single_segment, 2, 4, 8)[descriptor >> 6]
    begin = 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3]
    size = int.from_bytes(head[begin : begin + width], "little")
    if not width:
        return None
    return size + 256 if width == 2 else size  # noqa: PLR2004  the format's own offset for two bytes


def _gunzip(data: Buffer, most: int) -> Buffer:
    decoder = zlib.decompressobj(wbits=31)
    try:
        decoded = decoder.decompress(data, most + 1)
    except zlib.error as error:
        raise UndecodableError(f"gzip cannot decode it ({error})") from error
    if not decoder.eof:
        raise UndecodableError("its gzip stream does not end where it should")
    return decoded


DECODES: Mapping[str, Decode] = {
    "blosc": _decode_blosc,
    "gzip": _gunzip,
    "zstd": _decode_zstd,
    "crc32c": _strip_crc32c,
}
"""The codecs by the name that a `zarr.json` has for them."""
