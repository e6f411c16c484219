"""One user stream: asyncio's reader and writer in one object.

As in quic_dist each side finishes what it sends (FIN), and the stream is over when both have; a reset by
either side ends it at once, in both directions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from enum import Enum
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol

from quicdist.carrier.receive_buffer import ReceiveBuffer
from quicdist.carrier.stream_errors import (
    STREAM_REFUSED,
    IncompleteStream,
    StreamError,
    StreamLost,
    StreamRefused,
    StreamReset,
)

if TYPE_CHECKING:
    from types import TracebackType

    from quicdist.errors import QuicDistError

#: Bytes that :meth:`UserStream.send` and :meth:`UserStream.sendfile` write at once.
PIECE: Final = 128 * 1024

#: ``bytes`` and other objects with the buffer protocol.
Buffer = bytes | bytearray | memoryview


class SendState(Enum):
    """The sending part of a stream (RFC 9000, section 3.1)::

    SEND ── write_eof() ──> DATA_SENT
      └── reset, connection lost ──> RESET
    """

    #: Data can be written.
    SEND = "send"
    #: This side has finished (FIN); nothing can be written.
    DATA_SENT = "data_sent"
    #: The stream was reset by either side, or lost with its connection, before this side had finished.
    RESET = "reset"


class ReceiveState(Enum):
    """The receiving part of a stream (RFC 9000, section 3.2)::

    RECV ── close() ──> DISCARDING
      │                     │
      ├── FIN of the peer ──┴──────> DATA_RECVD
      └── reset, connection lost ──> RESET
    """

    #: Data can come.
    RECV = "recv"
    #: The application has closed the stream: data that comes is dropped.
    DISCARDING = "discarding"
    #: The peer has finished (FIN) and all of its data has come; some may still have to be read.
    DATA_RECVD = "data_recvd"
    #: The stream was reset by either side, or lost with its connection, before the peer had finished.
    RESET = "reset"


#: The states that may follow each state.
SEND_TRANSITIONS: Final = {
    SendState.SEND: {SendState.DATA_SENT, SendState.RESET},
    SendState.DATA_SENT: frozenset[SendState](),
    SendState.RESET: frozenset[SendState](),
}
RECEIVE_TRANSITIONS: Final = {
    ReceiveState.RECV: {ReceiveState.DISCARDING, ReceiveState.DATA_RECVD, ReceiveState.RESET},
    ReceiveState.DISCARDING: {ReceiveState.DATA_RECVD, ReceiveState.RESET},
    ReceiveState.DATA_RECVD: frozenset[ReceiveState](),
    ReceiveState.RESET: frozenset[ReceiveState](),
}


class StreamConsumer(Protocol):
    """Receives the data of a stream by callbacks, in place of a reader."""

    def stream_data(self, stream: UserStream, data: bytes, fin: bool) -> None:
        """Data came; it may be empty, and is the last if ``fin``. :meth:`UserStream.consumed` lets the peer
        send as many bytes more."""

    def stream_reset(self, stream: UserStream, code: int) -> None:
        """The stream was reset, by either side."""

    def stream_closed(self, stream: UserStream) -> None:
        """Both sides have finished."""

    def stream_lost(self, stream: UserStream, error: StreamLost) -> None:
        """The connection ended."""


class Window(Protocol):
    """How far ahead of the application the peer may send on a stream, in bytes."""

    size: int

    @property
    def left(self) -> int:
        """What the peer may send now."""

    @property
    def is_due(self) -> bool:
        """Whether enough was consumed to send the peer a new limit."""

    def consumed(self, n: int) -> None:
        """``n`` bytes were read."""

    def grant(self) -> bool:
        """Let the peer send as many bytes more; whether the limit has grown."""


class StreamOwner(Protocol):
    """The user streams of a link, as one of them uses them."""

    node: str
    loop: asyncio.AbstractEventLoop

    def opened_here(self, stream_id: int) -> bool:
        """Whether this side opened a stream."""

    def write(self, stream: UserStream, data: bytes) -> None:
        """Queue ``data``. Raises :class:`~quicdist.carrier.stream_errors.SendBufferFull`."""

    def finish(self, stream: UserStream) -> None:
        """Queue the end (FIN) of what this side sends."""

    def is_congested(self, stream: UserStream) -> bool:
        """Whether more bytes are queued on a stream than ``drain`` allows."""

    def watch(self, stream: UserStream) -> None:
        """Call :meth:`UserStream.left` when bytes queued on a stream have left."""

    def consumed(self, window: Window, n: int, *, done: bool) -> None:
        """``n`` bytes of a stream were read; ``done``: none are left for now."""

    def reset(self, stream: UserStream, code: int) -> None:
        """Reset a stream in both directions."""

    def over(self, stream: UserStream) -> None:
        """A stream is over in both directions."""


class UserStream:
    """A bidirectional stream of bytes to another node, concurrent with the messages on the connection.

    ``node`` is the name of the other node, ``stream_id`` is QUIC's, ``priority`` (16 first, 255 last) that of
    the data sent here. An asynchronous iterator over the data received, in pieces of any size; an
    asynchronous context manager, which closes the stream.

    Its two halves have states as in RFC 9000, sections 3.1 and 3.2: :class:`SendState` and
    :class:`ReceiveState`.
    """

    def __init__(self, streams: StreamOwner, stream_id: int, priority: int, window: Window) -> None:
        self.stream_id = stream_id
        self.node = streams.node
        self.priority = priority
        self.send_state = SendState.SEND
        self.receive_state = ReceiveState.RECV
        #: Why it ended early: a reset, or the end of the connection. None otherwise.
        self.error: StreamError | None = None
        #: How far ahead of the application the peer may send.
        self.window = window
        self._streams = streams
        self._consumer: StreamConsumer | None = None
        self._buffer = ReceiveBuffer()
        #: Bytes that came and that the application has not consumed.
        self._unread = 0
        #: The peer has sent data or FIN.
        self._received = False
        self._waiter: asyncio.Future[None] | None = None
        self._draining: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        state = "reset" if self.error else f"recv_fin={self.recv_fin} send_fin={self.send_fin}"
        return f"<UserStream {self.stream_id} with {self.node} {state}>"

    def _enter_send(self, state: SendState) -> None:
        assert state in SEND_TRANSITIONS[self.send_state], f"{self!r}: {state.name}"
        self.send_state = state

    def _enter_receive(self, state: ReceiveState) -> None:
        assert state in RECEIVE_TRANSITIONS[self.receive_state], f"{self!r}: {state.name}"
        self.receive_state = state

    @property
    def send_fin(self) -> bool:
        """Whether this side has finished what it sends."""
        return self.send_state is SendState.DATA_SENT

    @property
    def recv_fin(self) -> bool:
        """Whether the peer has finished what it sends; some of it may still have to be read."""
        return self.receive_state is ReceiveState.DATA_RECVD

    @property
    def closed(self) -> bool:
        """Whether it is over: finished by both sides, reset, or lost."""
        return self.error is not None or (self.recv_fin and self.send_fin)

    # -- out -------------------------------------------------------------------------------

    def write(self, data: Buffer) -> None:
        """Queue ``data`` and return at once; await :meth:`drain` between writes, or use :meth:`send`.

        Raises :class:`StreamError` after :meth:`write_eof`, :class:`StreamReset` or
        :class:`StreamLost` on a stream that has ended early, :class:`SendBufferFull` when more bytes
        are queued than the stream may hold.
        """
        self._check_writable()
        view = memoryview(data)
        if not view.nbytes:
            return
        if type(data) is not bytes:
            # The caller may change it before it is sent.
            data = view.tobytes()
        self._streams.write(self, data)

    def write_eof(self) -> None:
        """Finish what this side sends (FIN), after all that was written. The second call does nothing."""
        if self.send_fin and self.error is None:
            return
        self._check_writable()
        self._enter_send(SendState.DATA_SENT)
        self._streams.finish(self)
        self._over_if_both_ends()

    async def drain(self) -> None:
        """Wait while more bytes are queued than the stream's limit, because the peer receives more slowly
        than this side writes. Raises :class:`StreamReset` or :class:`StreamLost` on a stream that has ended
        early."""
        if self.error is None and self._streams.is_congested(self):
            waiter = self._streams.loop.create_future()
            self._draining.append(waiter)
            self._streams.watch(self)
            try:
                await waiter
            finally:
                self._draining.remove(waiter)
        if self.error is not None:
            raise self.error

    async def send(self, data: Buffer) -> None:
        """Write all of ``data``, of any size, as fast as the peer receives: 128 KiB are copied at a time.
        Raises as :meth:`write` and :meth:`drain`."""
        view = memoryview(data).cast("B")
        for start in range(0, view.nbytes, PIECE):
            self.write(view[start : start + PIECE])
            await self.drain()

    async def sendfile(self, file: BinaryIO) -> int:
        """Write the rest of ``file``, open for reading bytes, which is read in a thread, 128 KiB at a time.
        Returns the number of bytes. Raises as :meth:`send`, and OSError."""
        sent = 0
        while piece := await asyncio.to_thread(file.read, PIECE):
            self.write(piece)
            sent += len(piece)
            await self.drain()
        return sent

    def reset(self, code: int = 0) -> None:
        """Reset the stream in both directions, with an error code of the application (below 2**62). Queued
        bytes are dropped; the peer gets RESET_STREAM and STOP_SENDING. Does nothing on a stream that is
        over."""
        if not 0 <= code < 1 << 62:
            raise ValueError(f"a stream's error code is an integer below 2**62, not {code!r}")
        if self.closed:
            return
        self._streams.reset(self, code)
        self._end(StreamReset(self.node, self.stream_id, code, by_peer=False))

    def close(self) -> None:
        """Finish what this side sends, unless that is done, and drop what still comes."""
        if self.send_state is SendState.SEND:
            self.write_eof()
        if self.receive_state is ReceiveState.RECV:
            self._enter_receive(ReceiveState.DISCARDING)
        self._discard()

    def _discard(self) -> None:
        self._buffer.clear()
        self.consumed(self._unread)

    async def __aenter__(self) -> UserStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream; reset it, with code 0, if an exception ends the block."""
        if kind is None:
            self.close()
        else:
            self.reset()

    def _check_writable(self) -> None:
        if self.error is not None:
            raise self.error
        if self.send_fin:
            raise StreamError(
                self.node, f"stream {self.stream_id} to {self.node} is finished: nothing can follow its end"
            )

    # -- in --------------------------------------------------------------------------------

    async def read(self, n: int = -1) -> bytes:
        """Up to ``n`` bytes, as soon as there is one; ``b""`` at the end. With -1 all until the end.
        Raises :class:`StreamReset` and :class:`StreamLost`."""
        if n == 0:
            return b""
        if n < 0:
            return b"".join([chunk async for chunk in self])
        if not await self._readable():
            return b""
        return self._take(n)

    async def readexactly(self, n: int) -> bytes:
        """Exactly ``n`` bytes. Raises :class:`IncompleteStream` if the stream ends before."""
        parts: list[bytes] = []
        missing = n
        while missing and await self._readable():
            parts.append(self._take(missing))
            missing -= len(parts[-1])
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if missing:
            raise IncompleteStream(self.node, self.stream_id, data, n)
        return data

    async def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill a buffer. Returns the number of bytes: fewer than its length only at the end of the
        stream."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < view.nbytes and await self._readable():
            data = self._take(view.nbytes - filled)
            view[filled : filled + len(data)] = data
            filled += len(data)
        return filled

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Data as it comes, until the end."""
        while await self._readable():
            yield self._take(self._unread)

    def at_eof(self) -> bool:
        """Whether the peer has finished and all was read."""
        return self.recv_fin and not self._buffer

    async def _readable(self) -> bool:
        """Wait for data or the end; whether there is data."""
        if self._consumer is not None:
            raise StreamError(
                self.node, f"stream {self.stream_id} cannot be read: its data goes to its owner"
            )
        while True:
            if self.error is not None:
                raise self.error
            if self._buffer:
                return True
            if self.recv_fin:
                return False
            if self._waiter is not None:
                raise RuntimeError(f"stream {self.stream_id} is being read by another task")
            self._waiter = self._streams.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _take(self, n: int) -> bytes:
        """Up to ``n`` bytes of those that have come."""
        data = self._buffer.take(n)
        self.consumed(len(data))
        return data

    def consumed(self, n: int) -> None:
        """The application has consumed ``n`` bytes: the peer may send as many more."""
        self._unread -= n
        if not self.recv_fin and self.error is None:
            self._streams.consumed(self.window, n, done=not self._unread)

    # -- a consumer ------------------------------------------------------------

    @property
    def consumer(self) -> StreamConsumer | None:
        return self._consumer

    def hand_over(self, consumer: StreamConsumer | None) -> None:
        """Pass the data to ``consumer`` from now on, beginning with the unread data; None: keep it for a
        reader. Calls that went to an earlier consumer are not repeated."""
        if self._waiter is not None:
            raise RuntimeError(f"stream {self.stream_id} is being read by another task")
        before, self._consumer = self._consumer, consumer
        if before is not None or consumer is None:
            return
        unread = self._buffer.take_all()
        if unread or self.recv_fin:
            consumer.stream_data(self, unread, self.recv_fin)

    # -- called by the link -----------------------------------------------------------

    def data_received(self, data: bytes, fin: bool) -> None:
        state = self.receive_state
        if self.error is not None or state is ReceiveState.DATA_RECVD:
            return
        self._received = True
        self._unread += len(data)
        if fin:
            self._enter_receive(ReceiveState.DATA_RECVD)
        if self._consumer is not None:
            self._consumer.stream_data(self, data, fin)
        elif state is ReceiveState.DISCARDING:
            self._discard()
        else:
            if data:
                self._buffer.append(data)
            self._wake()
        if fin:
            self._over_if_both_ends()

    def reset_by_peer(self, code: int) -> None:
        if self.closed:
            return
        self._streams.reset(self, code)
        refused = code == STREAM_REFUSED and not self._received and self._streams.opened_here(self.stream_id)
        self._end(
            StreamRefused(self.node, self.stream_id)
            if refused
            else StreamReset(self.node, self.stream_id, code, by_peer=True)
        )

    def lost(self, error: QuicDistError | None) -> None:
        if not self.closed:
            self._end(StreamLost(self.node, self.stream_id, error))
        else:
            self.left()

    def left(self) -> None:
        """Bytes that were queued have left."""
        for waiter in self._draining:
            if not waiter.done():
                waiter.set_result(None)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _over_if_both_ends(self) -> None:
        if self.recv_fin and self.send_fin:
            self._streams.over(self)
            if self._consumer is not None:
                self._consumer.stream_closed(self)

    def _end(self, error: StreamError) -> None:
        self.error = error
        if self.send_state is SendState.SEND:
            self._enter_send(SendState.RESET)
        if not self.recv_fin:
            self._enter_receive(ReceiveState.RESET)
        self._buffer.clear()
        self._streams.over(self)
        self._wake()
        self.left()
        consumer: Any = self._consumer
        if consumer is None:
            return
        if isinstance(error, StreamReset):
            consumer.stream_reset(self, error.code)
        elif isinstance(error, StreamLost):
            consumer.stream_lost(self, error)
