"""Limits bulk bytes in flight, so that small messages are not queued behind them.

All streams of a connection share the socket, the congestion window and the peer's time for decryption, in the
order in which packets were sent: a congestion window full of one bulk message is a queue that every small
message has to pass. So bulk messages and user streams have a window of their own, as in delay-based
congestion control (TCP Vegas; LEDBAT, RFC 6817). It grows while acknowledgements come back about as soon as
possible, and shrinks when they take longer. It is adapted once in a round trip, by the shortest round-trip
time in it: loss, jitter and reordering make others longer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from quicdist.carrier.quic.engine.contract import Engine

#: The least growth of a window, in bytes: a datagram.
STEP: Final = 1452
#: The largest window, in bytes: more than any path holds.
MAX_WINDOW: Final = 64 * 1024 * 1024
#: The smallest window while small messages are sent: so many datagrams, but no more than so many bytes. They
#: add about a third to the time of a request and its answer, be they four of 1452 bytes or one of 16384.
MIN_CONCURRENT_DATAGRAMS: Final = 4
MIN_CONCURRENT_BYTES: Final = 16 * 1024
#: The smallest window while no small messages are sent, in bytes.
MIN_ALONE: Final = 256 * 1024
#: From this round-trip time on, in seconds, the congestion window is what the path holds and makes no queue:
#: bulk messages get all of it alone, and half of it concurrent with small messages.
LONG_ROUND_TRIP: Final = 0.01
#: Small messages sent within so many seconds count as concurrent with bulk.
CONCURRENT: Final = 0.5
#: After so many small messages within :data:`CONCURRENT` more are expected, and bulk that begins together
#: with the last one is concurrent. After fewer it is not: a request may announce the bulk message.
FREQUENT: Final = 8
#: The shortest round-trip time is measured again after so many seconds, as in BBR.
REMEASURE: Final = 10.0


@dataclass(slots=True)
class Window:
    """A window that follows the round-trip time: ``size`` and ``floor`` in bytes. The round-trip time may be
    ``factor`` times the shortest one plus ``delay`` seconds."""

    size: int
    floor: int
    factor: float
    delay: float
    doubling: bool = True

    def follow(self, took: float, quickest: float, *, limited: bool = True) -> None:
        """Adapt to a round-trip time of ``took`` seconds; ``limited``: the window was used up."""
        if took > quickest * self.factor + self.delay:
            self.doubling = False
            self.size = max(self.floor, self.size * 3 // 4)
        elif not limited or took > quickest * self.factor + self.delay / 2:
            pass
        elif self.doubling:
            self.size = min(MAX_WINDOW, self.size * 2)
        else:
            self.size = min(MAX_WINDOW, self.size + max(STEP, self.size // 8))


class BulkWindow:
    """The window of one connection."""

    __slots__ = (
        "_alone",
        "_concurrent",
        "_limited",
        "_measured_at",
        "_quickest",
        "_round",
        "_skip",
        "_small_at",
        "_small_times",
    )

    def __init__(self) -> None:
        #: While no small messages are sent: as much as keeps the peer busy.
        self._alone = Window(MIN_ALONE, MIN_ALONE, factor=1.0, delay=0.01)
        #: While small messages are sent: bulk in flight delays them by less than their own round trip.
        self._concurrent = Window(0, 0, factor=1.25, delay=0.0, doubling=False)
        #: When a small message was last concurrent with bulk, and when the last ones were sent.
        self._small_at = -math.inf
        self._small_times: list[float] = []
        self._quickest = 0.0
        self._measured_at = 0.0
        #: The last round trip that was evaluated, and whether to skip the next one: it began before bulk was
        #: in flight.
        self._round = 0
        self._skip = True
        #: The window was used up.
        self._limited = False

    def small_sent(self, now: float, *, bulk_waits: bool, bulk_begins: bool) -> None:
        """A small message is sent, while bulk waits or together with the beginning of bulk, or neither."""
        times = self._small_times
        times.append(now)
        if len(times) > FREQUENT:
            del times[0]
        if bulk_waits or (bulk_begins and len(times) == FREQUENT and now - times[0] < CONCURRENT):
            self._small_at = now

    def idle(self) -> None:
        """No bulk is queued: round trips are not evaluated."""
        self._skip = True

    def window(self, engine: Engine, now: float) -> int:
        """How many bytes may be in flight."""
        number, took, congestion_window = engine.rounds()
        allowance = congestion_window if self._quickest > LONG_ROUND_TRIP else 0
        if now - self._small_at < CONCURRENT:
            window = self._concurrent
            least = min(MIN_CONCURRENT_DATAGRAMS * engine.datagram_size(), MIN_CONCURRENT_BYTES)
            window.floor = max(least, allowance // 2)
        else:
            window = self._alone
            window.floor = max(MIN_ALONE, allowance)
        window.size = max(window.size, window.floor)
        if number != self._round:
            self._round = number
            if self._skip:
                self._skip = False
            elif took < math.inf:
                if not self._quickest or took <= self._quickest:
                    self._quickest, self._measured_at = took, now
                # Bytes that the congestion window holds back are queued too.
                limited = self._limited and window.size <= congestion_window
                window.follow(took, self._quickest, limited=limited)
            self._limited = False
        if self._quickest and now - self._measured_at > REMEASURE:
            # The path may have become longer: measure with a window that makes no queue.
            if now - self._measured_at > REMEASURE + 2 * took:
                self._quickest, self._measured_at = 0.0, now
                self._skip = True
            return window.floor
        return window.size

    def sent(self, *, limited: bool) -> None:
        """Bytes were given to the engine; ``limited``: the window was used up."""
        self._limited = self._limited or limited
