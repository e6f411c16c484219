"""Rate limits: token buckets, and delays for sources whose attempts failed.

Tables are bounded. Times are the caller's, in seconds of any steady clock.
"""

from __future__ import annotations

import math
from typing import Final

from quicdist.carrier.addresses import Source

#: The default for the sources kept in a table.
SOURCES: Final = 1024


class TokenBucket:
    """Allows ``rate`` events per second on average, and ``burst`` at once."""

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = float("-inf")

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take ``amount`` tokens if they are there."""
        if now > self._at:
            # At the first call the bucket is full, whatever the clock says.
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
            self._at = now
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True


class FailureDelay:
    """The delay before a failed attempt of a source is answered, for example a wrong cookie.

    The first ``free`` failures are not delayed; each one after that doubles the delay from ``first`` seconds
    up to ``longest``. A failure is forgotten after ``forget`` seconds. At most ``sources`` are kept; the one
    that failed longest ago is evicted.
    """

    def __init__(
        self,
        *,
        free: int = 3,
        first: float = 0.05,
        longest: float = 1.0,
        forget: float = 10.0,
        sources: int = SOURCES,
    ) -> None:
        self._free, self._first, self._longest = free, first, longest
        self._forget, self._sources = forget, sources
        #: By source, in the order of their last failures: how many count, and since when.
        self._failures: dict[Source, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._failures)

    def failed(self, source: Source, now: float) -> float:
        """Count a failure; the seconds to wait before it is answered."""
        count = self._count(source, now) + 1
        self._failures.pop(source, None)
        if len(self._failures) >= self._sources:
            del self._failures[next(iter(self._failures))]
        # What is beyond the longest delay is not counted: it would take as long to be forgotten.
        self._failures[source] = min(count, self._free + 32), now
        return self._seconds(count)

    def _count(self, source: Source, now: float) -> float:
        count, at = self._failures.get(source, (0.0, now))
        return max(0.0, count - (now - at) / self._forget)

    def _seconds(self, count: float) -> float:
        over = count - self._free
        if over <= 0:
            return 0.0
        return min(self._longest, math.ldexp(self._first, math.ceil(min(over, 32)) - 1))
