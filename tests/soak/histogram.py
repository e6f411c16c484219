"""Times in so few numbers that an hour of them is no more memory than a second of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

#: Buckets of each doubling: a time is known to 1.5 %.
PER_DOUBLING = 48
#: Where the first begins, in seconds.
_FIRST = 1e-6


def bucket(seconds: float) -> int:
    return max(0, math.ceil(math.log2(max(seconds, _FIRST) / _FIRST) * PER_DOUBLING))


def upper_bound(number: int) -> float:
    """The most seconds that fall into a bucket."""
    return float(_FIRST * 2 ** (number / PER_DOUBLING))


def percentile(buckets: Mapping[int, int], part: float) -> float:
    """The time that ``part`` of 1 of all do not exceed."""
    total = sum(buckets.values())
    wanted, seen = part * total, 0
    for number in sorted(buckets):
        seen += buckets[number]
        if seen >= wanted:
            return upper_bound(number)
    return math.nan


def merged(*histograms: Mapping[int, int]) -> Counter[int]:
    total: Counter[int] = Counter()
    for histogram in histograms:
        total.update(histogram)
    return total
