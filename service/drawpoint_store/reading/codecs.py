"""From a chunk's stored bytes to its rows: the bytes-to-bytes codecs that a chunk of our layout may pass through.

A codec takes a buffer and the number of bytes it must give, and checks that it gives exactly these; any other
codec is left to zarr-python (see `arrays.parse_array`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import crc32c
from numcodecs import blosc, zstd

from drawpoint_store.reading.digests import CRC_BYTES
from drawpoint_store.storage.byte_sources import Buffer

Decode = Callable[[Buffer, int | None], Buffer]
"""Decodes a buffer; the number is how many bytes must come out, None where the codec cannot know (not last)."""

_ZSTD_MAGIC, _ZSTD_LEAST = b"\x28\xb5\x2f\xfd", 6
_MOST_UNSIZED = 2**28
"""More than any chunk: for a codec that others follow, whose output nobody has stated."""

_BLOSC_HEADER = struct.Struct("<4xIII")  # after 4 bytes of versions and flags: nbytes, blocksize, cbytes


class UndecodableError(ValueError):
    """The bytes are not what the codec makes."""


def parse_codec(metadata: Mapping[str, Any]) -> Decode | None:
    """Return how to undo one codec of a `zarr.json`, or None if it is not known here."""
    name = metadata["name"]
    if name == "gzip":
        return _gunzip
    return {"blosc": _decode_blosc, "zstd": _decode_zstd, "crc32c": _strip_crc32c}.get(name)


def decode_at_most(name: str, data: Buffer, most: int) -> Buffer:
    """Return what `data` decodes to by the codec `name`: blosc, gzip or zstd.

    Raises UndecodableError, also for what stands for more than `most` bytes.
    """
    if name == "gzip":
        return _gunzip(data, most)
    if name == "zstd":
        return _decode_zstd(data, most)
    return _decode_blosc(data, min(most, _blosc_sizes(data)[0]))


class Decoder:
    """Undoes the codecs of one array's chunks, each of which decodes to `nbytes` bytes.

    `chain` has the codecs in the order of decoding. What each must give is known where only checksums follow. Where
    there is nothing but checksums, `is_plain`, what is decoded is a view of the stored bytes.
    """

    def __init__(self, chain: Sequence[Decode], nbytes: int) -> None:
        self.nbytes = nbytes
        self.is_plain = all(decode is _strip_crc32c for decode in chain)
        self._ends_with_crc = bool(chain) and chain[0] is _strip_crc32c
        self._steps = []
        for place, decode in enumerate(chain):
            rest = chain[place + 1 :]
            sized = all(each is _strip_crc32c for each in rest)
            self._steps.append((decode, nbytes + CRC_BYTES * len(rest) if sized else None))

    def decode(self, encoded: Buffer) -> Buffer:
        """Return the decoded bytes; raises UndecodableError for a wrong checksum, a short or a foreign buffer."""
        data = encoded
        for decode, expected in self._steps:
            data = decode(data, expected)
        if len(data) != self.nbytes:
            raise UndecodableError(f"it holds {len(data)} bytes instead of {self.nbytes}")
        return data

    def checksum(self, encoded: Buffer) -> bytes:
        """Return the crc32c of a chunk: the last of its bytes where they are that, as `decode` has checked."""
        if self._ends_with_crc:
            return bytes(encoded[-CRC_BYTES:])
        return crc32c.crc32c(encoded).to_bytes(CRC_BYTES, "little")


def _strip_crc32c(data: Buffer, _: int | None) -> Buffer:
    view = memoryview(data)
    body, stored = view[:-CRC_BYTES], view[-CRC_BYTES:]
    if len(view) < CRC_BYTES or crc32c.crc32c(body) != int.from_bytes(stored, "little"):
        raise UndecodableError("its checksum (crc32c) does not match")
    return body


def _decode_blosc(data: Buffer, nbytes: int | None) -> Buffer:
    promised, stored = _blosc_sizes(data)  # checked first: blosc itself reads as far as its header says
    if stored != len(data) or (nbytes is not None and promised != nbytes):
        raise UndecodableError(
            f"its blosc header promises {promised} bytes from {stored}, not {nbytes} from {len(data)}"
        )
    try:
        decoded: Buffer = blosc.decompress(data)
    except (RuntimeError, ValueError) as error:
        raise UndecodableError(f"blosc cannot decode it ({error})") from error
    return decoded


def _blosc_sizes(data: Buffer) -> tuple[int, int]:
    """Return how many bytes a blosc buffer says that it decodes to, and how many it says that it has itself."""
    if len(data) < blosc.MAX_OVERHEAD:
        raise UndecodableError(f"{len(data)} bytes are too few for a blosc buffer")
    promised, _, stored = _BLOSC_HEADER.unpack_from(data)
    return promised, stored


def _decode_zstd(data: Buffer, nbytes: int | None) -> Buffer:
    promised = _zstd_content_size(data)
    if promised is None or promised > (_MOST_UNSIZED if nbytes is None else nbytes):
        # A frame may decode to any size: a few bytes can stand for gigabytes.
        raise UndecodableError(f"its zstd frame promises {promised} bytes, not {nbytes}")
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


def _gunzip(data: Buffer, nbytes: int | None) -> Buffer:
    decoder = zlib.decompressobj(wbits=31)
    try:
        decoded = decoder.decompress(data, 0 if nbytes is None else nbytes + 1)
    except zlib.error as error:
        raise UndecodableError(f"gzip cannot decode it ({error})") from error
    if not decoder.eof:
        raise UndecodableError("its gzip stream does not end where it should")
    return decoded
