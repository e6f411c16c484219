"""Two alternating measurements, and their ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Approximate seconds of one measurement.
SPAN = 0.5
ROUNDS = 7
#: Further rounds follow, up to ``MOST_ROUNDS``, while the interquartile range of the ratios is more than
#: this part of their median.
MOST_ROUNDS = 21
SCATTER = 0.1
#: Seconds after which no further round begins, if there were at least ``FEWEST_ROUNDS``.
LONGEST = 40.0
FEWEST_ROUNDS = 3

#: Repeats an operation; returns the seconds of one.
Timed = Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Compared:
    """Medians of the seconds of one operation, ours and the peer's, and of the ratios ours / peer."""

    ours: float
    peer: float
    ratio: float
    lowest: float
    highest: float
    rounds: int


def compare(
    ours: Timed, peer: Timed, *, span: float = SPAN, rounds: int = ROUNDS, most: int = 1 << 20
) -> Compared:
    """Measure both alternately, so that other load affects both; the side that begins alternates too.

    ``most`` limits the repetitions of one measurement.
    """
    sides = (ours, peer)
    counts = [_calibrate(side, span, most) for side in sides]
    samples: list[tuple[float, float]] = []
    ratios: list[float] = []
    began = time.monotonic()
    while len(ratios) < rounds or (len(ratios) < MOST_ROUNDS and scatter(ratios) > SCATTER):
        if len(ratios) >= FEWEST_ROUNDS and time.monotonic() - began > LONGEST:
            break
        taken = [0.0, 0.0]
        for side in (0, 1) if len(ratios) % 2 else (1, 0):
            taken[side] = sides[side](counts[side])
        samples.append((taken[0], taken[1]))
        ratios.append(taken[0] / taken[1])
    return Compared(
        ours=statistics.median(one for one, _ in samples),
        peer=statistics.median(other for _, other in samples),
        ratio=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        rounds=len(samples),
    )


def scatter(ratios: Sequence[float]) -> float:
    """The interquartile range of ratios, as a part of their median."""
    lower, median, upper = statistics.quantiles(ratios, n=4)
    return (upper - lower) / median


def _calibrate(side: Timed, span: float, most: int) -> int:
    """The number of repetitions that take about ``span`` seconds. Also warms the connection up."""
    count = min(4, most)
    while True:
        taken = max(side(count) * count, 1e-9)
        if taken >= span / 2 or count >= most:
            return max(1, min(most, round(count * span / taken)))
        count = min(most, max(count * 2, min(count * 8, round(count * span / taken))))
