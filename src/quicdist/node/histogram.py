"""A histogram of durations, with fixed buckets."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Final

#: The upper bounds of the buckets in seconds; a last bucket has no bound.
BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Durations:
    """Durations in seconds: ``counts`` has how many are at most as long as each of ``bounds`` and longer than
    the one before, and last how many are longer than all; ``sum`` is the sum of all."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.counts)


class Histogram:
    """Counts durations."""

    __slots__ = ("_counts", "_sum")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds

    def snapshot(self) -> Durations:
        return Durations(BOUNDS, tuple(self._counts), self._sum)
