"""Limits the bulk bytes that a peer has in flight to us, so that small messages are not queued behind them.

A node of quicdist sees to that when it sends (:mod:`quicdist.carrier.quic.driver.bulk_window`). quic_dist
writes all that a stream's window allows, and a little message on another stream waits its turn behind.
What stops it is the window. It sends a message in pieces of 64 KiB, each whole or not at all; so while
little messages pass beside a large one, its stream is given credit for one piece, and for the next
after a pause as long as that took. Alone it has its whole window.

quic_dist does not look again at what a window held back until its VM has something else to send. So
a signal that it has to answer follows the new credit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from quicdist.carrier.quic.engine.contract import Engine
from quicdist.carrier.quic.receive_window import ReceiveWindow

if TYPE_CHECKING:
    from quicdist.carrier.contract import LinkStats

#: What a fragment of the Erlang VM holds at least, unless it is the last of its message.
FRAGMENT: Final = 64 * 1024
#: Credit for a fragment with all that stands before it, and not for two.
PIECE: Final = FRAGMENT + 16 * 1024
#: The window of a stream to begin with.
WINDOW: Final = 1024 * 1024
#: Messages of so many bytes are little.
LITTLE: Final = 8 * 1024
#: A message of which so much has come is large.
LARGE: Final = 256 * 1024
#: Little messages within so many seconds pass beside a large one.
BESIDE: Final = 0.5
#: A credit of which nothing was used for so many seconds was not waited for.
UNUSED: Final = 0.1


def _nothing() -> None:
    """Nobody is told of new credit any more."""


class _Stream(ReceiveWindow):
    """A stream of messages."""

    __slots__ = ("came", "epoch_at", "epoch_from", "metered", "pieces", "run")

    def __init__(self, engine: Engine, stream_id: int, size: int, now: float) -> None:
        super().__init__(engine, stream_id, size)
        #: Bytes that came since a message last ended.
        self.run = 0
        #: It is given credit by the piece: so many at once, of which so many bytes came.
        self.metered = False
        self.pieces = 1
        self.came = 0
        # When the window was last used up, and where.
        self.epoch_at = now
        self.epoch_from = 0

    def grow(self, most: int, round_trip: float, now: float) -> None:
        """Double the window, up to ``most``, where it is taken in within two round trips: the peer
        would wait for more."""
        if self.size < most and self._consumed - self.epoch_from >= self.size:
            if now - self.epoch_at < 2 * round_trip:
                self.size = min(2 * self.size, most)
            self.epoch_at, self.epoch_from = now, self._consumed


class ReceiveFlowControl:
    """The windows of one link's streams of messages, of ``size`` bytes to begin with and at most ``most``.
    ``changed`` is called when there is more credit to tell the peer of. With ``metered`` the peer is to
    be held to single pieces beside what is little."""

    def __init__(
        self,
        engine: Engine,
        stats: LinkStats,
        *,
        size: int,
        most: int,
        metered: bool,
        changed: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._stats = stats
        self._size = size
        self._most = most
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._streams: dict[int, _Stream] = {}
        self._meters = metered
        self._large_at = self._little_at = -BESIDE
        self._out = (0, 0)
        #: Streams that are given credit by the piece, in turn; the one that has some; when it got it.
        self._metered: deque[_Stream] = deque()
        self._current: _Stream | None = None
        self._given_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        #: No credit before the timer.
        self._pausing = False

    def received(self, stream_id: int, size: int, messages: int, now: float) -> None:
        """``size`` bytes were taken in, and with them so many messages of the node."""
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._streams[stream_id] = _Stream(self._engine, stream_id, self._size, now)
        stream.consumed(size)
        if messages:
            if stream.run + size <= LITTLE * messages and now - self._large_at < BESIDE:
                self._little_at = now
            stream.run = 0
        else:
            stream.run += size
            if stream.run > LARGE:
                self._look_out(now)
                if self._meters and not stream.metered and self._beside(now):
                    stream.metered = True
                    self._metered.append(stream)
        if stream.metered:
            self._meter(stream, size, now)
        elif stream.is_due:
            stream.grow(self._most, self._engine.quickest_round_trip(), now)
            stream.grant()
            self._changed()

    def stop(self) -> None:
        """The link has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._changed = _nothing

    # -- little beside large -----------------------------------------------------------------

    def _look_out(self, now: float) -> None:
        """A large message is under way: see whether little ones were sent meanwhile."""
        out, (messages, size) = (self._stats.messages_out, self._stats.bytes_out), self._out
        if now - self._large_at < BESIDE and 0 < out[1] - size <= LITTLE * (out[0] - messages):
            self._little_at = now
        self._large_at, self._out = now, out

    def _beside(self, now: float) -> bool:
        return now - self._little_at < BESIDE

    def _meter(self, stream: _Stream, size: int, now: float) -> None:
        if stream is self._current:
            stream.came += size
            if stream.came < FRAGMENT * stream.pieces and stream.run:
                return
            # All of it has come, or the end of the message: what it took, less the way there.
            self._current = None
            round_trip = self._engine.quickest_round_trip()
            took = max(now - self._given_at - round_trip, 0.0)
            if took < round_trip / 2:
                stream.pieces = min(2 * stream.pieces, WINDOW // PIECE)
            elif took > round_trip and stream.pieces > 1:
                stream.pieces //= 2
            self._after(took)
        elif self._current is None and not self._pausing and stream.left < PIECE:
            self._after(0.0)

    def _after(self, seconds: float, *, pausing: bool = True) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._pausing = pausing
        self._timer = self._loop.call_later(seconds, self._next)

    def _next(self) -> None:
        """Give the next stream credit, or all of them their windows again."""
        self._timer, self._pausing = None, False
        now = self._loop.time()
        if self._current is not None:
            # It came to nothing: the message was over, or its next piece is larger than any should be.
            self._release(self._current)
            self._current = None
        if not self._beside(now):
            for stream in list(self._metered):
                self._release(stream)
        for stream in self._metered:
            if stream.left < PIECE:
                self._metered.remove(stream)
                self._metered.append(stream)
                stream.came = 0
                stream.grant(PIECE * stream.pieces)
                self._current, self._given_at = stream, now
                self._after(UNUSED + 4 * self._engine.quickest_round_trip())
                self._changed()
                return
        if self._metered:
            # They have what they were given before: to see, in a while, whether that is still so.
            self._after(UNUSED, pausing=False)

    def _release(self, stream: _Stream) -> None:
        self._metered.remove(stream)
        stream.metered = False
        stream.pieces = 1
        stream.grant()
        self._changed()
