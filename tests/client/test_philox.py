"""The words that all randomness comes from: pinned for ever, and uniform."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chance import binomial_fits, chi_square_fits
from drawpoint.draw.philox import PhiloxStream, _Key, sort_in_place


def test_integers_of_a_name_are_golden() -> None:
    words = PhiloxStream("draw/1", "fields", 7, "run_1", "surface")
    assert [words.below(bound) for bound in (2, 10, 1000, 2**32 + 1, 2**63 + 1, 2**64 - 1, 2**64)] == [
        1,
        2,
        153,
        224615080,
        349779904634669957,
        7954962098955404735,
        17441772012034577917,
    ]


def test_permutations_of_a_name_are_golden() -> None:
    order = PhiloxStream("shuffle/1", 7, "param0/run", "surface").permutation(10)
    assert order.tolist() == [8, 5, 4, 3, 1, 0, 6, 9, 7, 2]
    assert PhiloxStream("shuffle/1", 0, "größe/läuft ✓", "volume").permutation(8).tolist() == [6, 2, 4, 3, 0, 1, 5, 7]


def test_choices_of_a_name_are_golden() -> None:
    words = PhiloxStream("x")
    assert words.choose(5, 12) == [7, 5, 10, 8, 4]
    assert words.choose(3, 3) == [1, 0, 2]
    assert words.choose(4, 10**12) == [206481754823, 823726896182, 133609879195, 165432187468]


def _philox(key: int, counter: int) -> list[int]:
    """Philox 4x64-10 as its paper gives it (Salmon et al., SC 2011), in plain integers."""
    mask = 2**64 - 1
    block = [counter, 0, 0, 0]
    low, high = key & mask, key >> 64
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * block[0], 0xCA5A826395121157 * block[2]
        block = [second >> 64 ^ block[1] ^ low, second & mask, first >> 64 ^ block[3] ^ high, first & mask]
        low, high = low + 0x9E3779B97F4A7C15 & mask, high + 0xBB67AE8584CAA73B & mask
    return block


def test_the_words_are_those_of_philox_keyed_by_blake2b_of_the_json_name() -> None:
    text = b'["draw/1","fields",7,"gr\\u00f6\\u00dfe"]'
    key = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "little")
    words = PhiloxStream("draw/1", "fields", 7, "größe")
    expected = [*_philox(key, 1), *_philox(key, 2)]  # NumPy starts to count at 1
    assert [words.below(2**64) for _ in range(8)] == expected


@pytest.mark.parametrize("bound", [3 * 2**62, 2**64 - 2**62, 3 * 2**61, 5 * 2**61, 7 * 2**61])
def test_integers_below_bounds_near_the_word_size_are_exact(bound: int) -> None:
    # Without rejection floor(word * bound / 2**64) hits some remainders twice as often as others.
    odd = bound // math.gcd(bound, 2**64)
    words = PhiloxStream("exact", bound)
    counts = np.bincount([words.below(bound) % odd for _ in range(1500)], minlength=odd)
    assert chi_square_fits(counts, 1500 / odd)
    high = sum(words.below(bound) * 2 >= bound for _ in range(1500))
    assert binomial_fits(np.array([high]), 1500, 0.5)


@given(st.integers(0, 300), st.integers(0, 2**63 - 1))
def test_a_permutation_holds_every_number_once(count: int, seed: int) -> None:
    order = PhiloxStream("test", seed).permutation(count)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(count))


@given(
    st.integers(0, 2**32), st.integers(1, 3000), st.sampled_from([1, 5, 2**31, 2**33, 2**36, 2**64 - 1]), st.booleans()
)
def test_words_sorted_in_place_give_the_stable_argsort_also_where_they_or_their_high_halves_are_equal(
    seed: int, count: int, most: int, wide: bool
) -> None:
    words = np.random.default_rng(seed).integers(0, most, count, np.uint64, endpoint=True)
    dtype = np.int64 if wide else np.uint32
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("drawpoint.draw.philox._BLOCK", 256)  # so that equal ones lie on both sides of a block's end
        order = sort_in_place(words.copy(), dtype)
    assert order.dtype == dtype
    assert order.tolist() == np.argsort(words, kind="stable").tolist()


def test_long_permutations_are_those_of_the_same_rule() -> None:
    philox = np.random.Philox(_Key(hashlib.blake2b(b'["long"]', digest_size=16).digest()))  # type: ignore[arg-type]  # see PhiloxStream
    order = PhiloxStream("long").permutation(70_000, np.uint32)
    assert order.tolist() == np.argsort(philox.random_raw(70_000), kind="stable").tolist()


@given(st.data(), st.integers(1, 2**40), st.integers(0, 2**63 - 1))
def test_a_choice_is_of_distinct_numbers_in_range(data: st.DataObject, total: int, seed: int) -> None:
    count = data.draw(st.integers(0, min(total, 50)))
    chosen = PhiloxStream("test", seed).choose(count, total)
    assert len(chosen) == len(set(chosen)) == count
    assert all(0 <= number < total for number in chosen)


@pytest.mark.parametrize(("count", "total"), [(1, 7), (2, 5), (3, 4), (4, 4), (3, 5)])
def test_a_choice_is_a_uniform_ordered_sample(count: int, total: int) -> None:
    orders = list(itertools.permutations(range(total), count))
    counts = Counter(tuple(PhiloxStream("choose", seed).choose(count, total)) for seed in range(50 * len(orders)))
    assert chi_square_fits(np.array([counts[order] for order in orders]), 50)


def test_integers_below_bounds_of_more_than_a_word_are_uniform_and_come_to_an_end() -> None:
    bound = 3 * 2**80
    drawn = [PhiloxStream("wide", seed).below(bound) for seed in range(3000)]
    assert min(drawn) >= 0
    assert max(drawn) < bound
    counts = np.bincount([value // 2**80 for value in drawn], minlength=3)
    assert chi_square_fits(counts, 1000)
    assert len(set(drawn)) == len(drawn)
