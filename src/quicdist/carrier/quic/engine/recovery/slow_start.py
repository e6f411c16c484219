"""HyStart++ (RFC 9406): ends slow start when round trips become longer, before packets are lost."""

from __future__ import annotations

from typing import Final

#: RFC 9406, section 4.3.
MIN_RTT_THRESHOLD: Final = 0.004
MAX_RTT_THRESHOLD: Final = 0.016
RTT_DIVISOR: Final = 8
RTT_SAMPLES: Final = 8
CSS_GROWTH_DIVISOR: Final = 4
CSS_ROUNDS: Final = 5

_NEVER: Final = float("inf")


def rtt_threshold(rtt: float) -> float:
    """The increase of round trips over ``rtt`` that ends slow start (RFC 9406, section 4.2)."""
    return max(MIN_RTT_THRESHOLD, min(rtt / RTT_DIVISOR, MAX_RTT_THRESHOLD))


class HyStart:
    """When to leave slow start because round trips become longer. They are compared eight at a time and not
    once in a round: after a pause, the first ones of a round are short."""

    __slots__ = ("_few", "_few_count", "_last_round", "_round", "baseline", "css_rounds")

    def __init__(self) -> None:
        self._round = self._last_round = _NEVER
        #: The shortest of the latest few.
        self._few = _NEVER
        self._few_count = 0
        #: The round trip at which conservative slow start was entered; infinite while it was not.
        self.baseline = _NEVER
        self.css_rounds = 0

    @property
    def is_conservative(self) -> bool:
        return self.baseline < _NEVER

    def round_ended(self) -> bool:
        """Whether slow start is over."""
        self._last_round, self._round = self._round, _NEVER
        self._few, self._few_count = _NEVER, 0
        if not self.is_conservative:
            return False
        self.css_rounds += 1
        return self.css_rounds >= CSS_ROUNDS

    def sample(self, rtt: float) -> None:
        self._round = min(self._round, rtt)
        self._few = min(self._few, rtt)
        self._few_count += 1
        if self._few_count < RTT_SAMPLES:
            return
        few, last = self._few, self._last_round
        self._few, self._few_count = _NEVER, 0
        if self.is_conservative:
            if few < self.baseline:
                self.baseline = _NEVER  # The increase was spurious.
        elif last < _NEVER and few >= last + rtt_threshold(last):
            self.baseline, self.css_rounds = few, 0
