"""The user streams of one QUIC link: which there are, who takes those that come in, what they hold."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from quicdist.carrier.contract import StreamHandler, UserStreams
from quicdist.carrier.quic.receive_window import ReceiveWindow
from quicdist.carrier.stream_errors import (
    STREAM_REFUSED,
    SendBufferFull,
    StreamLimitReached,
    StreamLost,
    StreamsNotSupported,
)
from quicdist.carrier.stream_priorities import DEFAULT_PRIORITY, MAX_PRIORITY, MIN_PRIORITY
from quicdist.carrier.user_stream import UserStream, Window
from quicdist.logs import get_logger

if TYPE_CHECKING:
    from quicdist.carrier.link import BufferLimits
    from quicdist.carrier.quic.driver.connection import QuicConnection
    from quicdist.errors import QuicDistError
    from quicdist.protocol import StreamPlan

log = get_logger("quicdist.carrier.quic")

#: Seconds after which a reader that has nothing left to read gets its window back whole.
TOP_UP = 0.01


class QuicUserStreams(UserStreams):
    """The user streams of one link, opened by either side.

    ``window`` is what a peer may send on a stream ahead of the application that reads it, in bytes.
    """

    def __init__(
        self, node: str, connection: QuicConnection, plan: StreamPlan, *, window: int, limits: BufferLimits
    ) -> None:
        self.node = node
        self._window = window
        self.loop = asyncio.get_running_loop()
        self._connection = connection
        self._limits = limits
        self._server = plan.sending[0] & 1
        self._next = plan.first_user_stream(self._server)
        # The peer's: the lowest id that it has not opened, and those below of which nothing came.
        self._next_peer = plan.first_user_stream(not self._server)
        self._silent: set[int] = set()
        self._streams: dict[int, UserStream] = {}
        self._watched: set[UserStream] = set()
        self._handler: StreamHandler | None = None
        self._started = False
        self._early: list[UserStream] = []
        #: Windows of streams that were read to the end of what came, not told to the peer in full.
        self._partial: set[Window] = set()
        self._top_up_timer: asyncio.TimerHandle | None = None
        self._room: list[asyncio.Future[None]] = []
        self._lost: QuicDistError | None = None
        #: Why no stream can be opened from this side.
        self.unusable = ""
        self._ended = False

    # -- for the node above ----------------------------------------------------------------

    def accept(self, handler: StreamHandler | None) -> None:
        self._handler = handler

    def start(self) -> None:
        """The link is started: streams that came before are offered now, in order."""
        self._started = True
        early, self._early = self._early, []
        for stream in early:
            if stream.error is None:
                self._offer(stream)

    def open(self, priority: int = DEFAULT_PRIORITY) -> UserStream:
        stream_id = self._next
        if self._ended:
            raise StreamLost(self.node, stream_id, self._lost)
        if self.unusable:
            raise StreamsNotSupported(self.node, self.unusable)
        engine = self._connection.engine
        allowed = engine.streams_allowed()
        if stream_id // 4 >= allowed:
            raise StreamLimitReached(self.node, allowed)
        self._next += 4
        self._connection.open_stream(stream_id)
        return self._add(stream_id, min(max(priority, MIN_PRIORITY), MAX_PRIORITY))

    async def room(self) -> None:
        while not self._ended and self._next // 4 >= self._connection.engine.streams_allowed():
            waiter = self.loop.create_future()
            self._room.append(waiter)
            try:
                await waiter
            finally:
                self._room.remove(waiter)

    def __iter__(self) -> Iterator[UserStream]:
        return iter(list(self._streams.values()))

    def get(self, stream_id: int) -> UserStream | None:
        return self._streams.get(stream_id)

    def opened_here(self, stream_id: int) -> bool:
        return stream_id & 1 == self._server

    # -- for the streams -------------------------------------------------------------------

    def write(self, stream: UserStream, data: bytes) -> None:
        queued = self._connection.queued_on(stream.stream_id)
        if queued > self._limits.max_pending:
            raise SendBufferFull(self.node, queued, self._limits.max_pending)
        self._connection.write_user(stream.stream_id, stream.priority, data)

    def finish(self, stream: UserStream) -> None:
        self._connection.write_user(stream.stream_id, stream.priority, b"", end=True)

    def is_congested(self, stream: UserStream) -> bool:
        return self._connection.queued_on(stream.stream_id) > self._limits.stream_high_water

    def watch(self, stream: UserStream) -> None:
        """Somebody waits for what is queued on a stream to leave."""
        self._watched.add(stream)

    def consumed(self, window: Window, n: int, *, done: bool) -> None:
        """``n`` bytes of a stream were read, and with ``done`` there are no more for now."""
        if self._ended:
            return
        window.consumed(n)
        if window.is_due:
            window.grant()
            self._connection.touch()
        elif done and window.left < window.size:
            self._partial.add(window)
            if self._top_up_timer is None:
                self._top_up_timer = self.loop.call_later(TOP_UP, self._top_up)

    def _top_up(self) -> None:
        self._top_up_timer = None
        partial, self._partial = self._partial, set()
        granted = [window.grant() for window in partial if not self._ended]
        if any(granted):
            self._connection.touch()

    def reset(self, stream: UserStream, code: int) -> None:
        if not self._ended:
            self._connection.break_off_stream(stream.stream_id, code)

    def over(self, stream: UserStream) -> None:
        self._streams.pop(stream.stream_id, None)
        self._watched.discard(stream)

    # -- what the link tells ---------------------------------------------------------------

    def data_received(self, stream_id: int, data: bytes, end: bool) -> None:
        stream = self._streams.get(stream_id) or self._opened_by_peer(stream_id)
        if stream is not None:
            stream.data_received(data, end)

    def reset_received(self, stream_id: int, code: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.reset_by_peer(code)
        elif self._first_heard(stream_id):
            # Reset before anything of it came: nobody has to hear of it.
            self._connection.break_off_stream(stream_id, code)

    def turn_ended(self) -> None:
        """Acknowledgements and new limits have been seen."""
        for stream in list(self._watched):
            if self._connection.queued_on(stream.stream_id) <= self._limits.stream_low_water:
                self._watched.discard(stream)
                stream.left()
        if self._room and self._next // 4 < self._connection.engine.streams_allowed():
            self._wake_openers()

    def lost(self, error: QuicDistError | None) -> None:
        """The link has ended, and all its streams with it."""
        self._ended = True
        self._lost = error
        if self._top_up_timer is not None:
            self._top_up_timer.cancel()
        streams = list(self._streams.values())
        self._early.clear()
        for stream in streams:
            stream.lost(error)
        self._wake_openers()

    def _wake_openers(self) -> None:
        for waiter in self._room:
            if not waiter.done():
                waiter.set_result(None)

    # -- streams that the peer opens -------------------------------------------------------

    def is_new(self, stream_id: int) -> bool:
        """Whether nothing has been heard of a stream, which is the peer's."""
        return not self.opened_here(stream_id) and (stream_id >= self._next_peer or stream_id in self._silent)

    def not_a_user_stream(self, stream_id: int) -> None:
        """The peer has opened a stream of messages among these."""
        self._first_heard(stream_id)

    def _first_heard(self, stream_id: int) -> bool:
        """Whether this is the first that is heard of a stream of the peer; from then on it is not."""
        if self.opened_here(stream_id):
            return False
        if stream_id >= self._next_peer:
            # A stream that is opened opens those below it too (RFC 9000, 2.1), which may come later.
            self._silent.update(range(self._next_peer, stream_id, 4))
            self._next_peer = stream_id + 4
            return True
        if stream_id in self._silent:
            self._silent.discard(stream_id)
            return True
        return False

    def _opened_by_peer(self, stream_id: int) -> UserStream | None:
        if self._ended or not self._first_heard(stream_id):
            return None
        stream = self._add(stream_id, DEFAULT_PRIORITY)
        if not self._started:
            self._early.append(stream)
            return stream
        return stream if self._offer(stream) else None

    def _offer(self, stream: UserStream) -> bool:
        try:
            taken = self._handler is not None and self._handler(stream)
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.exception("a stream of %s was not handled", self.node)
            taken = False
        if not taken and not stream.closed:
            log.info("stream %d of %s refused: nobody accepts streams", stream.stream_id, self.node)
            stream.reset(STREAM_REFUSED)
        return taken

    def _add(self, stream_id: int, priority: int) -> UserStream:
        window = ReceiveWindow(self._connection.engine, stream_id, self._window)
        stream = self._streams[stream_id] = UserStream(self, stream_id, priority, window)
        return stream
