"""Ways to do the same thing, timed in turns, so that drift of the machine falls on all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import numpy as np

Times = dict[str, list[float]]


def time_in_turns(ways: Mapping[str, Callable[[int], object]], rounds: int, *, warm: int = 1, each: int = 1) -> Times:
    """Return the milliseconds of each way, call by call: `each` calls in a row and round, each given its number.

    Calls in a row find the processor's caches as they left them, not as another way did. All ways get the same numbers,
    but not in the same turn: else what one has just read would be in the caches for all that follow it. Rounds before
    the first are to warm up and do not count.
    """
    times: Times = {way: [] for way in ways}
    turns = warm + rounds
    for turn in range(turns):
        for place, (way, call) in enumerate(ways.items()):
            first = (turn + place * turns // len(ways)) % turns * each
            for number in range(first, first + each):
                begin = time.perf_counter()
                call(number)
                if turn >= warm:
                    times[way].append(1e3 * (time.perf_counter() - begin))
    return times


def print_times(times: Times, what: str, baseline: str = "drawpoint") -> None:
    """Print a Markdown table of `what` took how long, and how many times as long as the baseline."""
    print(f"| way | p50 ms {what} | p95 ms | over {baseline} |\n|---|---|---|---|")
    base = statistics.median(times[baseline])
    for way, each in times.items():
        middle = statistics.median(each)
        print(f"| {way} | {middle:.2f} | {np.quantile(each, 0.95):.2f} | {middle / base:.2f} |")
