"""Counts calls by their outcome, and their durations."""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import Final

from quicdist.node.histogram import Histogram

#: The outcome of a call that returned.
SUCCESS: Final = "return"


class CallCounters:
    """The calls of one kind that have ended."""

    __slots__ = ("durations", "outcomes")

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.durations = Histogram()

    def ended(self, began: float, outcome: str) -> None:
        """A call has ended that began at ``began`` (``time.monotonic()``)."""
        self.outcomes[outcome] += 1
        self.durations.observe(monotonic() - began)
