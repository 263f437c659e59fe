"""Random words that stay the same for ever: Philox, keyed by a name, turned into integers by a rule of our own.

NumPy promises the stream of a bit generator, not that of `Generator` methods, and torch promises neither. So only
raw words of Philox 4x64-10 are used (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), and
bounded integers are made from them by Lemire's rule (arXiv:1805.10941).
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence

_WORD = 2**64
_HALF = 2**32
_SMALL = 2**16
"""From so many words on, `sort_in_place` is the faster way to sort them."""
_BLOCK = 2**20
_encode = json.JSONEncoder(separators=(",", ":")).encode


class _Key(ISeedSequence):
    """Gives Philox its key; with `key=`, NumPy asks for entropy besides, which takes several times as long."""

    def __init__(self, key: bytes) -> None:
        self._words = np.frombuffer(key, "<u8").astype(np.uint64)

    def generate_state(self, n_words: int, dtype: object = np.uint64) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:  # noqa: ARG002  NumPy's signature
        return self._words


class PhiloxStream:
    """A stream of uniform integers, keyed by the rule and the values that name it."""

    def __init__(self, *name: str | int) -> None:
        text = _encode(name).encode()
        key = _Key(hashlib.blake2b(text, digest_size=16).digest())
        self._philox = np.random.Philox(key)  # type: ignore[arg-type]  # NumPy takes any ISeedSequence, its stubs do not

    def below(self, bound: int) -> int:
        """Return a uniform integer in 0..bound-1, for any bound >= 1; rejection makes it exact."""
        bits = 64 if bound <= _WORD else -(-(bound - 1).bit_length() // 64) * 64
        below_word = (1 << bits) - 1
        product = self._integer(bits) * bound
        if product & below_word < bound:
            threshold = (1 << bits) % bound
            while product & below_word < threshold:
                product = self._integer(bits) * bound
        return product >> bits

    def _integer(self, bits: int) -> int:
        value = int(self._philox.random_raw())
        for _ in range(64, bits, 64):
            value = value * _WORD + int(self._philox.random_raw())
        return value

    def permutation(
        self, count: int, dtype: type[np.int64 | np.uint32] = np.int64
    ) -> np.ndarray[tuple[int], np.dtype[Any]]:
        """Return a random permutation of 0..count-1: the stable argsort of `count` words, as `dtype`."""
        keys = np.asarray(self._philox.random_raw(count), dtype=np.uint64)
        if _SMALL <= count <= _HALF:
            return sort_in_place(keys, dtype)
        order = np.argsort(keys)
        ordered = keys[order]
        if (ordered[1:] == ordered[:-1]).any():  # only then does it matter whether a sort is stable; that one is slower
            order = np.argsort(keys, kind="stable")
        return order.astype(dtype, copy=False)

    def choose(self, count: int, total: int) -> list[int]:
        """Return `count` distinct integers of 0..total-1 in random order, at a cost that grows with `count` only."""
        # Fisher and Yates, with the untouched part of the array implied.
        moved: dict[int, int] = {}
        chosen = []
        for last in range(total - 1, total - 1 - count, -1):
            pick = self.below(last + 1)
            chosen.append(moved.get(pick, pick))
            moved[pick] = moved.get(last, last)
        return chosen


def sort_in_place(
    keys: np.ndarray[tuple[int], np.dtype[np.uint64]], dtype: type[np.int64 | np.uint32]
) -> np.ndarray[tuple[int], np.dtype[Any]]:
    """Return the stable argsort of at most 2**32 words, as `dtype`; the words are lost.

    It takes half as much memory again as they do, where np.argsort takes as much: the low half of each word makes room
    for its number, all are sorted where they are, and the few whose high halves are equal are sorted by the low ones.
    """
    blocks = [slice(first, first + _BLOCK) for first in range(0, len(keys), _BLOCK)]
    low = np.empty(len(keys), np.uint32)
    half, number = np.uint64(_HALF - 1), np.arange(_BLOCK, dtype=np.uint64)
    for block in blocks:
        part = keys[block]
        low[block] = part & half
        part &= ~half
        part |= number[: len(part)] + np.uint64(block.start)
    keys.sort()
    equal = [np.zeros(0, np.int64)]  # places of words whose high half is that of a neighbour
    for block in blocks:
        start = max(0, block.start - 1)
        high = keys[start : block.stop + 1] >> np.uint64(32)
        same = high[1:] == high[:-1]
        member = np.concatenate([same, [False]]) | np.concatenate([[False], same])
        equal.append(np.flatnonzero(member[block.start - start :][: block.stop - block.start]) + block.start)
    places = np.concatenate(equal)
    tied = keys[places]
    keys[places] = tied[np.lexsort((low[tied & half], tied >> np.uint64(32)))]
    keys &= half
    if dtype is np.int64:
        return keys.view(np.int64)
    for block in blocks:
        low[block] = keys[block]
    return low
