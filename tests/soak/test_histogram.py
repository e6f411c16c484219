"""Percentiles of times that are kept as numbers in buckets."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.soak.histogram import bucket, merged, percentile


def test_percentiles_are_those_of_the_times_to_two_percent() -> None:
    chance = random.Random(1)
    times = sorted(chance.lognormvariate(-6, 1) for _ in range(10_000))
    half = [Counter(map(bucket, some)) for some in (times[::2], times[1::2])]
    for part in (0.5, 0.99, 0.999):
        exact = times[round(part * len(times)) - 1]
        assert percentile(merged(*half), part) == pytest.approx(exact, rel=0.02)


def test_memory_does_not_grow_with_the_number_of_times() -> None:
    assert len(Counter(bucket(1e-6 * 1.0001**number) for number in range(180_000))) < 1500
