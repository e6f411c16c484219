"""Limits the bulk bytes that a peer has in flight to us, so that small messages are not queued behind them.

quicdist does that when it sends (:mod:`quicdist.carrier.quic.driver.bulk_window`). quic_dist writes all that
a stream's window allows, and a small message on another stream is queued behind it. Only the window stops it.
It sends a message in pieces of 64 KiB, each whole or not at all. So while small messages are concurrent with
a bulk message, the stream of the latter gets credit for one piece at a time. The pause before the next one is
twice as long as the last one took, on a slow network as long. Otherwise the stream has its whole window. A
small message is concurrent if it comes or is sent while a bulk message has come in part: a request before it,
or a confirmation after it, is not.

quic_dist chooses one of its 16 streams by a hash of sender and receiver. Small messages may share a stream
with bulk messages of other processes. They come in order, each behind all of the bulk message before it. So
such a stream gets several pieces at a time, without a pause.

quic_dist sends data that a window held back only when its VM has something else to send. So new credit is
followed by a signal that it has to answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from quicdist.carrier.clock import clock_of
from quicdist.carrier.quic.engine.contract import Engine
from quicdist.carrier.quic.receive_window import ReceiveWindow

if TYPE_CHECKING:
    from quicdist.carrier.contract import LinkStats

#: The size of a fragment of the Erlang VM, in bytes, unless it is the last of its message.
FRAGMENT: Final = 64 * 1024
#: Credit for one fragment with its headers, and not for two.
PIECE: Final = FRAGMENT + 16 * 1024
#: The initial window of a stream, in bytes.
WINDOW: Final = 1024 * 1024
#: Messages of at most so many bytes are small.
SMALL: Final = 8 * 1024
#: A message of which more than so many bytes have come is bulk.
BULK: Final = 256 * 1024
#: Bulk is concurrent with small messages for so many seconds after one came or was sent.
CONCURRENT: Final = 0.5
#: The pause after a piece, in times that the piece took. With 2 the peer's CPU is free for two thirds of the
#: time: the slowest of a hundred calls takes two thirds as long as with 1, and bulk no longer.
PAUSES: Final = 2.0
#: The longest pause in seconds, unless the piece itself took longer: then the network is slow and not the
#: peer's CPU, and a longer pause would leave it unused.
LONG_PAUSE: Final = 0.02
#: The pieces at a time of a stream that small messages come on as well. With 4 a call that waits behind
#: messages of 4 MiB takes two to three times as long.
SHARED: Final = WINDOW // PIECE
#: The shortest time in which a window is taken to be used up, in seconds: event loops sleep no shorter.
SLEEP: Final = 0.001
#: Seconds after which unused credit goes to the next stream.
UNUSED: Final = 0.1


def _nothing() -> None:
    """The link has ended: new credit is not sent."""


class _DataStream(ReceiveWindow):
    """A stream of messages."""

    __slots__ = ("came", "epoch_at", "epoch_from", "metered", "pieces", "run", "small_at")

    def __init__(self, engine: Engine, stream_id: int, size: int, now: float) -> None:
        super().__init__(engine, stream_id, size)
        #: Bytes that came since a message last ended.
        self.run = 0
        #: When a small message last came on it.
        self.small_at = -CONCURRENT
        #: It gets credit by the piece: ``pieces`` at once, of which ``came`` bytes have come.
        self.metered = False
        self.pieces = 1
        self.came = 0
        # When the window was last used up, and at which offset.
        self.epoch_at = now
        self.epoch_from = 0

    def grow(self, most: int, round_trip: float, now: float) -> None:
        """Double the window, up to ``most``, if it was consumed within two round trips: the peer waits for
        more."""
        if self.size < most and self._consumed - self.epoch_from >= self.size:
            if now - self.epoch_at < 2 * round_trip:
                self.size = min(2 * self.size, most)
            self.epoch_at, self.epoch_from = now, self._consumed


class ReceiveFlowControl:
    """The receive windows of the data streams of one link: ``size`` bytes at first, at most ``most``.
    ``changed`` is called when there is new credit to send. ``metered``: the peer gets credit by the piece
    while small messages are concurrent with bulk."""

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
        self._clock = clock_of(self._loop)
        self._streams: dict[int, _DataStream] = {}
        self._meters = metered
        self._small_at = -CONCURRENT
        #: The bulk messages that have come in part.
        self._incomplete = 0
        #: Messages and bytes sent, as of the last bulk bytes.
        self._out = (0, 0)
        #: Streams that get credit by the piece, in turn; the one that has some; when it got it.
        self._metered: list[_DataStream] = []
        self._current: _DataStream | None = None
        self._given_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        #: No credit before the timer.
        self._pausing = False

    def received(self, stream_id: int, size: int, messages: int, now: float) -> None:
        """``size`` bytes were received, which completed so many messages. ``now`` is a time of
        :func:`~quicdist.carrier.clock.clock_of`: a piece may take less than a millisecond."""
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._streams[stream_id] = _DataStream(self._engine, stream_id, self._size, now)
        stream.consumed(size)
        if messages:
            if stream.run > BULK:
                self._incomplete -= 1
                if messages > 1:  # others came behind it
                    stream.small_at = now
            elif stream.run + size <= SMALL * messages:
                stream.small_at = now
                if self._incomplete:
                    self._small_at = now
            stream.run = 0
        else:
            was_bulk = stream.run > BULK
            stream.run += size
            if stream.run > BULK:
                if not was_bulk:
                    self._incomplete += 1
                self._note_small_sent(now, since=was_bulk or self._incomplete > 1)
                if self._meters and not stream.metered and self._is_concurrent(now):
                    stream.metered = True
                    self._metered.append(stream)
        if stream.metered:
            self._meter(stream, size, now)
        elif stream.is_due:
            stream.grow(self._most, max(self._engine.quickest_round_trip(), SLEEP), now)
            stream.grant()
            self._changed()

    def stop(self) -> None:
        """The link has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._changed = _nothing

    # -- small concurrent with bulk ------------------------------------------------------------

    def _note_small_sent(self, now: float, *, since: bool) -> None:
        """Bulk bytes have come. If bulk was incomplete ``since`` the last ones, note whether small messages
        were sent meanwhile."""
        out, (messages, size) = (self._stats.messages_out, self._stats.bytes_out), self._out
        if since and 0 < out[1] - size <= SMALL * (out[0] - messages):
            self._small_at = now
        self._out = out

    def _is_concurrent(self, now: float) -> bool:
        return now - self._small_at < CONCURRENT

    def _meter(self, stream: _DataStream, size: int, now: float) -> None:
        if stream is self._current:
            stream.came += size
            if stream.came < FRAGMENT * stream.pieces and stream.run:
                return
            # All of it has come, or the end of the message: the time it took, without the round trip.
            self._current = None
            round_trip = self._engine.quickest_round_trip()
            took = max(now - self._given_at - round_trip, 0.0)
            if took < round_trip / 2:
                stream.pieces = min(2 * stream.pieces, WINDOW // PIECE)
            elif took > round_trip and stream.pieces > 1:
                stream.pieces //= 2
            pause = min(PAUSES * took, max(took, LONG_PAUSE))
            self._schedule(0.0 if now - stream.small_at < CONCURRENT else pause)
        elif self._current is None and not self._pausing and stream.left < PIECE:
            self._schedule(0.0)

    def _schedule(self, seconds: float, *, pausing: bool = True) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._pausing = pausing
        self._timer = self._loop.call_later(seconds, self._next)

    def _next(self) -> None:
        """Grant credit to the next stream, or the whole window to each."""
        self._timer, self._pausing = None, False
        now = self._clock()
        if self._current is not None:
            # The credit was not used: the message was complete, or its next piece is too large.
            self._release(self._current)
            self._current = None
        if not self._is_concurrent(now):
            for stream in list(self._metered):
                self._release(stream)
        for stream in self._metered:
            if stream.left < PIECE:
                self._metered.remove(stream)
                self._metered.append(stream)
                stream.came = 0
                if now - stream.small_at < CONCURRENT:
                    stream.pieces = max(SHARED, stream.pieces)
                stream.grant(PIECE * stream.pieces)
                self._current, self._given_at = stream, now
                self._schedule(UNUSED + 4 * self._engine.quickest_round_trip())
                self._changed()
                return
        if self._metered:
            # They have not used up their earlier windows: check again later.
            self._schedule(UNUSED, pausing=False)

    def _release(self, stream: _DataStream) -> None:
        self._metered.remove(stream)
        stream.metered = False
        stream.pieces = 1
        stream.grant()
        self._changed()
