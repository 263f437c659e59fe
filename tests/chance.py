"""Tests of randomness: is what was counted what chance would give?"""

from __future__ import annotations

import math

import numpy as np

Z = 4.5
"""Standard deviations that nothing fair strays by: one in 150,000. Seeds are fixed, so a test that passes stays so."""


def chi_square_fits(observed: np.ndarray, expected: np.ndarray | float) -> bool:
    """Tell whether independent counts over categories fit `expected`, by Pearson's chi-square.

    The limit is the quantile of Z by Wilson and Hilferty's approximation. Expected counts should be 5 or more.
    """
    observed = np.asarray(observed, np.float64)
    expected = np.broadcast_to(np.asarray(expected, np.float64), observed.shape)
    assert expected.min() >= 5
    assert math.isclose(expected.sum(), observed.sum())
    freedom = observed.size - 1
    limit = freedom * (1 - 2 / (9 * freedom) + Z * math.sqrt(2 / (9 * freedom))) ** 3
    return bool(((observed - expected) ** 2 / expected).sum() <= limit)


def binomial_fits(counts: np.ndarray, trials: int, probability: float) -> bool:
    """Tell whether each of `counts` may be binomial(trials, probability), however they hang together."""
    spread = math.sqrt(trials * probability * (1 - probability))
    return bool((np.abs(np.asarray(counts) - trials * probability) <= Z * spread).all())
