"""The user streams of one QUIC link."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from quicdist.carrier.contract import StreamHandler, UserStreams
from quicdist.carrier.link import CLOSED, PENDING, UP, LinkState
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

#: Seconds after which the window of a stream whose data was all read is granted in full again.
TOP_UP: Final = 0.01


class QuicUserStreams(UserStreams):
    """The user streams of one link, opened by either side.

    ``window`` is what a peer may send on a stream ahead of the application, in bytes. The states are those of
    the link.
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
        # Of the peer's streams: the lowest id that is not open, and the lower ones on which nothing has come.
        self._next_peer = plan.first_user_stream(not self._server)
        self._silent: set[int] = set()
        self._streams: dict[int, UserStream] = {}
        self._watched: set[UserStream] = set()
        #: A task waits in ``drain`` or :meth:`room`.
        self.has_waiters = False
        self._handler: StreamHandler | None = None
        self._state: LinkState = PENDING
        #: Streams that the peer opened before the link was started.
        self._early: list[UserStream] = []
        #: Windows of streams whose data was all read, not granted in full.
        self._partial: set[Window] = set()
        self._top_up_timer: asyncio.TimerHandle | None = None
        self._room: list[asyncio.Future[None]] = []
        self._error: QuicDistError | None = None
        #: Why this side cannot open streams; empty if it can.
        self.unusable = ""

    @property
    def _ended(self) -> bool:
        return self._state is CLOSED

    # -- for the node above ----------------------------------------------------------------

    def accept(self, handler: StreamHandler | None) -> None:
        self._handler = handler

    def start(self) -> None:
        """The link was started: streams that were opened before are offered now, in order."""
        if self._state is PENDING:
            self._state = UP
        early, self._early = self._early, []
        for stream in early:
            if stream.error is None:
                self._offer(stream)

    def open(self, priority: int = DEFAULT_PRIORITY) -> UserStream:
        stream_id = self._next
        if self._ended:
            raise StreamLost(self.node, stream_id, self._error)
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
            self.has_waiters = True
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
        self._watched.add(stream)
        self.has_waiters = True

    def consumed(self, window: Window, n: int, *, done: bool) -> None:
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

    # -- for the link ----------------------------------------------------------------------

    def data_received(self, stream_id: int, data: bytes, end: bool) -> None:
        stream = self._streams.get(stream_id) or self._opened_by_peer(stream_id)
        if stream is not None:
            stream.data_received(data, end)

    def reset_received(self, stream_id: int, code: int) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            stream.reset_by_peer(code)
        elif self._first_heard(stream_id):
            # Reset before its first data: it is not offered.
            self._connection.break_off_stream(stream_id, code)

    def events_processed(self) -> None:
        """Acknowledgements and new limits were processed."""
        for stream in list(self._watched):
            if self._connection.queued_on(stream.stream_id) <= self._limits.stream_low_water:
                self._watched.discard(stream)
                stream.left()
        if self._room and self._next // 4 < self._connection.engine.streams_allowed():
            self._wake_openers()
        self.has_waiters = bool(self._watched or self._room)

    def lost(self, error: QuicDistError | None) -> None:
        """The link has ended, and all its streams with it."""
        self._state = CLOSED
        self._error = error
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
        """Whether a stream is the peer's and nothing has come on it."""
        return not self.opened_here(stream_id) and (stream_id >= self._next_peer or stream_id in self._silent)

    def not_a_user_stream(self, stream_id: int) -> None:
        """A stream that the peer opened carries messages."""
        self._first_heard(stream_id)

    def _first_heard(self, stream_id: int) -> bool:
        """Note that something came on a stream of the peer; whether it is the first."""
        if self.opened_here(stream_id):
            return False
        if stream_id >= self._next_peer:
            # Opening a stream opens those with lower ids as well (RFC 9000, section 2.1).
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
        if self._state is PENDING:
            self._early.append(stream)
            return stream
        return stream if self._offer(stream) else None

    def _offer(self, stream: UserStream) -> bool:
        try:
            taken = self._handler is not None and self._handler(stream)
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.exception("the handler of streams of %s failed", self.node)
            taken = False
        if not taken and not stream.closed:
            log.info("stream %d of %s refused: no process accepts streams", stream.stream_id, self.node)
            stream.reset(STREAM_REFUSED)
        return taken

    def _add(self, stream_id: int, priority: int) -> UserStream:
        window = ReceiveWindow(self._connection.engine, stream_id, self._window)
        stream = self._streams[stream_id] = UserStream(self, stream_id, priority, window)
        return stream
