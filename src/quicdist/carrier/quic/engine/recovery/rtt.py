"""Round-trip times (RFC 9002, section 5). All times are in seconds."""

from __future__ import annotations

from typing import Final

#: Timers are no finer (RFC 9002, section 6.1.2).
GRANULARITY: Final = 0.001
#: A minimum expires after this to twice this time, in seconds: the path may have become longer.
MINIMUM_FOR: Final = 10.0

_NEVER: Final = float("inf")


class RoundTrips:
    """The round-trip time estimate of one path."""

    __slots__ = (
        "_min",
        "_min_before",
        "_min_since",
        "_timeout",
        "first_at",
        "initial",
        "latest",
        "smoothed",
        "variance",
    )

    def __init__(self, initial: float) -> None:
        #: The round-trip time assumed before the first sample.
        self.initial = initial
        self.latest = self.smoothed = self.variance = 0.0
        #: When the first sample was taken.
        self.first_at: float | None = None
        #: The PTO without the peer's delay of acknowledgements.
        self._timeout = 0.0
        self._min = self._min_before = _NEVER
        self._min_since = 0.0

    @property
    def minimum(self) -> float:
        """The shortest sample of the last 10 to 20 s, or of the last ones before; infinite without
        samples."""
        return min(self._min, self._min_before)

    def sample(self, rtt: float, ack_delay: float, now: float) -> float:
        """A packet was acknowledged after ``rtt``, and the peer says that it delayed the acknowledgement by
        ``ack_delay``. Returns the sample, without that delay if it is plausible."""
        if rtt < 1e-6:
            rtt = 1e-6
        if now - self._min_since > MINIMUM_FOR:
            self._min_before, self._min, self._min_since = self._min, _NEVER, now
        if rtt < self._min:
            self._min = rtt
        if ack_delay and rtt >= self.minimum + ack_delay:
            rtt -= ack_delay
        self.latest = rtt
        if self.first_at is None:
            self.first_at = now
            self.smoothed, self.variance = rtt, rtt / 2
        else:
            self.variance = 0.75 * self.variance + 0.25 * abs(self.smoothed - rtt)
            self.smoothed = 0.875 * self.smoothed + 0.125 * rtt
        self._timeout = self.smoothed + max(4 * self.variance, GRANULARITY)
        return rtt

    @property
    def longest(self) -> float:
        """The larger of the latest and the smoothed round-trip time."""
        return self.initial if self.first_at is None else max(self.latest, self.smoothed)

    def probe_timeout(self, ack_delay: float) -> float:
        """The PTO (RFC 9002, section 6.2.1), without backoff."""
        if self.first_at is None:
            return 2 * self.initial
        return self._timeout + ack_delay
