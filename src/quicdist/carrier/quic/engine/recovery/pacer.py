"""Pacing (RFC 9002, section 7.7): spreads a congestion window over a round trip.

The token bucket holds the bytes of :data:`BURST` seconds, or :data:`BURST_DATAGRAMS`. Round trips shorter
than that are not paced. An event loop sleeps whole milliseconds, and longer on a busy machine: the bytes of
the time by which a timer is late are sent as well when it fires.
"""

from __future__ import annotations

from math import ceil
from typing import Final

#: The rate, in windows a round trip: in slow start, and otherwise.
SLOW_START_GAIN: Final = 2.0
GAIN: Final = 1.25
#: The largest burst: seconds at the rate, and a minimum of datagrams.
BURST: Final = 0.003
BURST_DATAGRAMS: Final = 10
#: The longest delay of a timer that is made up for, in seconds. After more, there was nothing to send.
MOST_LATE: Final = 0.05
#: The shortest time of a timer, in seconds.
SLEEP: Final = 0.001

#: The number of packets that may be sent where nothing is paced.
UNPACED: Final = 1 << 30

_NEVER: Final = float("inf")


class Pacer:
    """When the next packet may be sent. Times are in seconds, sizes in bytes."""

    __slots__ = ("_burst", "_datagram", "_due", "_filled_at", "_rate", "_room", "_unseen")

    def __init__(self, datagram: int) -> None:
        self._datagram = datagram
        #: Bytes a second; 0 until a round trip was measured.
        self._rate = 0.0
        self._burst = 0.0
        self._room = 0.0
        self._filled_at = 0.0
        #: The time that :meth:`next_send_time` last returned; infinite if it returned None.
        self._due = _NEVER
        #: Packets that were built and not reported to :meth:`sent` yet.
        self._unseen = 0

    @property
    def rate(self) -> float:
        """Bytes a second; 0 without pacing."""
        return self._rate

    def set_datagram_size(self, size: int) -> None:
        self._datagram = size

    def set_rate(self, window: float, rtt: float, *, slow_start: bool) -> None:
        """Set the rate: ``window`` bytes in each round trip of ``rtt`` seconds."""
        gain = SLOW_START_GAIN if slow_start else GAIN
        first = not self._rate
        self._rate = gain * window / max(rtt, 1e-6)
        self._burst = max(self._rate * BURST, float(BURST_DATAGRAMS * self._datagram))
        if first or self._room > self._burst:
            self._room = self._burst

    def next_send_time(self, now: float) -> float | None:
        """When the next packet may be sent; None: now."""
        if not self._rate:
            return None
        if now > self._filled_at:
            most = self._burst
            if 0 < now - self._due < MOST_LATE:
                most += (now - self._due) * self._rate
            self._room = min(most, self._room + (now - self._filled_at) * self._rate)
            self._filled_at, self._due = now, _NEVER
        room = self._room - self._unseen * self._datagram
        if room > 0:
            return None
        self._due = now + max((self._datagram - room) / self._rate, SLEEP)
        return self._due

    def packets(self, size: int) -> int:
        """How many packets of ``size`` bytes may be sent where :meth:`next_send_time` has just said: now."""
        if not self._rate:
            return UNPACED
        return max(0, ceil((self._room - self._unseen * self._datagram) / size))

    def built(self) -> None:
        """A packet was built; :meth:`sent` follows."""
        self._unseen += 1

    def sent(self, size: int) -> None:
        """A packet of ``size`` bytes was sent; 0 if it is not in flight."""
        self._unseen = 0
        self._room -= size
