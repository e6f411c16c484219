"""Limits bulk bytes in flight, so that small messages are not queued behind them.

On one connection all streams share the socket, the congestion window and the peer's time to
decrypt. What was sent waits there in the order it was sent, whatever its stream: a congestion
window full of one large message is a queue that every small one has to pass. So large messages and
user streams are held to a window of their own, as delay-based congestion control does (TCP Vegas;
LEDBAT, RFC 6817): it grows while acknowledgements come back about as soon as they can, and shrinks
when they take longer. That is looked at once in a round trip, by the shortest of its round-trip times: loss,
jitter and reordering make others longer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from quicdist.carrier.quic.engine.contract import Engine

#: Bytes that are added at least when a window grows: a datagram.
STEP: Final = 1452
#: No window grows beyond what any path holds.
MOST: Final = 64 * 1024 * 1024
#: What may be under way beside little messages at least: so many datagrams, as many bytes at most. They take
#: about a third of what a question and its answer take, be they four of 1452 bytes or one of 16384.
BESIDE_DATAGRAMS: Final = 4
BESIDE_BYTES: Final = 16 * 1024
#: What may be under way alone at least.
ALONE: Final = 256 * 1024
#: Where a round trip takes so many seconds, congestion control knows what the path holds, and what fits waits
#: nowhere: large messages may have all of its window alone, and half of it beside little ones.
FAR: Final = 0.01
#: Little messages within so many seconds count as traffic beside the large.
BESIDE: Final = 0.5
#: The quickest acknowledgement is looked for anew after so many seconds, as BBR does.
LOOK_AGAIN: Final = 10.0


@dataclass(slots=True)
class Window:
    """A window that follows the time acknowledgements take: ``size`` and ``floor`` in bytes, and
    what it allows that time to be, ``factor`` times the quickest and ``delay`` seconds more."""

    size: int
    floor: int
    factor: float
    delay: float
    doubling: bool = True

    def follow(self, took: float, quickest: float, *, limited: bool = True) -> None:
        """An acknowledgement ``took`` so long; ``limited``: there was more to send than room."""
        if took > quickest * self.factor + self.delay:
            self.doubling = False
            self.size = max(self.floor, self.size * 3 // 4)
        elif not limited or took > quickest * self.factor + self.delay / 2:
            pass
        elif self.doubling:
            self.size = min(MOST, self.size * 2)
        else:
            self.size = min(MOST, self.size + max(STEP, self.size // 8))


class BulkWindow:
    """The window of one connection."""

    __slots__ = ("_alone", "_beside", "_limited", "_little_at", "_looked_at", "_quickest", "_round", "_skip")

    def __init__(self) -> None:
        #: Nothing little about: as much as keeps the peer busy.
        self._alone = Window(ALONE, ALONE, factor=1.0, delay=0.01)
        #: Beside little messages: what is under way is to cost them less than their own way does,
        #: at either end.
        self._beside = Window(0, 0, factor=1.25, delay=0.0, doubling=False)
        self._little_at = -math.inf
        self._quickest = 0.0
        self._looked_at = 0.0
        #: The round trip that was looked at last, and whether the next one tells nothing: it began before
        #: something large was under way.
        self._round = 0
        self._skip = True
        #: There was more to send than the window had room for.
        self._limited = False

    def little(self, now: float) -> None:
        """Something little is sent."""
        self._little_at = now

    def idle(self) -> None:
        """Nothing large waits: acknowledgements tell nothing."""
        self._skip = True

    def window(self, engine: Engine, now: float) -> int:
        """How many bytes may be under way."""
        number, took, congestion_window = engine.rounds()
        far = congestion_window if self._quickest > FAR else 0
        if now - self._little_at < BESIDE:
            window = self._beside
            window.floor = max(min(BESIDE_DATAGRAMS * engine.datagram_size(), BESIDE_BYTES), far // 2)
        else:
            window = self._alone
            window.floor = max(ALONE, far)
        window.size = max(window.size, window.floor)
        if number != self._round:
            self._round = number
            if self._skip:
                self._skip = False
            elif took < math.inf:
                if not self._quickest or took <= self._quickest:
                    self._quickest, self._looked_at = took, now
                # What the congestion window holds back is queued here as well.
                limited = self._limited and window.size <= congestion_window
                window.follow(took, self._quickest, limited=limited)
            self._limited = False
        if self._quickest and now - self._looked_at > LOOK_AGAIN:
            # The way may have become longer: what a window that holds nobody up takes is quickest.
            if now - self._looked_at > LOOK_AGAIN + 2 * took:
                self._quickest, self._looked_at = 0.0, now
                self._skip = True
            return window.floor
        return window.size

    def sent(self, *, limited: bool) -> None:
        """Bytes were handed on; ``limited``: there was no room for more."""
        self._limited = self._limited or limited
