"""One user stream: bytes out, bytes in, and its end, as asyncio's reader and writer in one.

quic_dist's rules hold on both ends: each side finishes what it sends (FIN), the stream is over when
both have; a reset by either side ends it at once, in both directions.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

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

#: Bytes taken at once from what is sent from memory or from a file.
PIECE = 128 * 1024

#: ``bytes`` and whatever else shows its memory: arrays, mappings of files.
Buffer = bytes | bytearray | memoryview


class StreamConsumer(Protocol):
    """Who is told at once what comes on a stream, in place of a reader that asks for it."""

    def stream_data(self, stream: UserStream, data: bytes, fin: bool) -> None:
        """Bytes came, or none, and ``fin`` with the last. :meth:`UserStream.consumed` lets the peer
        send as many more."""

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
        """What it may send now."""

    @property
    def is_due(self) -> bool:
        """Whether it is time to tell the peer of what was consumed."""

    def consumed(self, n: int) -> None:
        """``n`` bytes were read."""

    def grant(self) -> bool:
        """Let the peer send as many more; whether there was anything to tell."""


class StreamOwner(Protocol):
    """The link's part of its streams, as they see it."""

    node: str
    loop: asyncio.AbstractEventLoop

    def opened_here(self, stream_id: int) -> bool:
        """Whether this side has opened a stream."""

    def write(self, stream: UserStream, data: bytes) -> None:
        """Queue ``data``. Raises :class:`~quicdist.carrier.stream_errors.SendBufferFull`."""

    def finish(self, stream: UserStream) -> None:
        """Queue the end of what this side sends."""

    def is_congested(self, stream: UserStream) -> bool:
        """Whether more is queued on a stream than senders are to add to."""

    def watch(self, stream: UserStream) -> None:
        """Tell a stream when what is queued on it has left."""

    def consumed(self, window: Window, n: int, *, done: bool) -> None:
        """``n`` bytes of a stream were read, and with ``done`` there are no more for now."""

    def reset(self, stream: UserStream, code: int) -> None:
        """Break a stream off in both directions."""

    def over(self, stream: UserStream) -> None:
        """A stream has ended in both directions."""


class UserStream:
    """A bidirectional stream of bytes to another node, beside the messages on the same connection.

    ``node`` names the other end, ``stream_id`` is QUIC's, ``priority`` (16 first, 255 last) that of
    what is sent here. An asynchronous iterator over what comes, in pieces of any size; an
    asynchronous context manager, which closes it.
    """

    def __init__(self, streams: StreamOwner, stream_id: int, priority: int, window: Window) -> None:
        self.stream_id = stream_id
        self.node = streams.node
        self.priority = priority
        #: Whether the peer has finished what it sends; more of it may wait to be read.
        self.recv_fin = False
        #: Whether this side has finished what it sends.
        self.send_fin = False
        #: Why it ended before its time: a reset, or the end of the connection. None otherwise.
        self.error: StreamError | None = None
        #: How far ahead of the application the peer may send.
        self.window = window
        self._streams = streams
        self._consumer: StreamConsumer | None = None
        self._chunks: deque[bytes] = deque()
        #: Bytes of the first chunk that were read.
        self._taken = 0
        #: Bytes that came and that the application is not done with.
        self._unread = 0
        self._received = False
        self._discarding = False
        self._waiter: asyncio.Future[None] | None = None
        self._draining: list[asyncio.Future[None]] = []

    def __repr__(self) -> str:
        state = "reset" if self.error else f"recv_fin={self.recv_fin} send_fin={self.send_fin}"
        return f"<UserStream {self.stream_id} with {self.node} {state}>"

    @property
    def closed(self) -> bool:
        """Whether it is over: finished by both sides, reset, or lost."""
        return self.error is not None or (self.recv_fin and self.send_fin)

    # -- out -------------------------------------------------------------------------------

    def write(self, data: Buffer) -> None:
        """Queue ``data`` and return at once; await :meth:`drain` between writes, or use :meth:`send`.

        Raises :class:`StreamError` after :meth:`write_eof`, :class:`StreamReset` or
        :class:`StreamLost` on a stream that is no more, :class:`SendBufferFull` when more waits
        already than a connection holds.
        """
        self._check_writable()
        view = memoryview(data)
        if not view.nbytes:
            return
        if type(data) is not bytes:
            # The caller may change it before it has left.
            data = view.tobytes()
        self._streams.write(self, data)

    def write_eof(self) -> None:
        """Finish what is sent here, after all that was written (FIN). Twice does no harm."""
        if self.send_fin and self.error is None:
            return
        self._check_writable()
        self.send_fin = True
        self._streams.finish(self)
        self._over_if_both_ends()

    async def drain(self) -> None:
        """Wait while more is queued than the stream's bound, as its peer takes it more slowly than
        it is written. Raises why the stream has ended, if it has before its time."""
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
        """Write all of ``data``, of any size, as fast as the peer takes it: a piece at a time is
        copied, the rest stays where it is. Raises as :meth:`write` and :meth:`drain`."""
        view = memoryview(data).cast("B")
        for start in range(0, view.nbytes, PIECE):
            self.write(view[start : start + PIECE])
            await self.drain()

    async def sendfile(self, file: BinaryIO) -> int:
        """Write what ``file``, open for reading bytes, has to give, a piece at a time, read in a
        thread; how many bytes that were."""
        sent = 0
        while piece := await asyncio.to_thread(file.read, PIECE):
            self.write(piece)
            sent += len(piece)
            await self.drain()
        return sent

    def reset(self, code: int = 0) -> None:
        """Break the stream off in both directions, with an error code of the application (below
        2**62). What has not left is dropped; the peer is told. On a stream that is over it does
        nothing."""
        if not 0 <= code < 1 << 62:
            raise ValueError(f"a stream's error code is an integer below 2**62, not {code!r}")
        if self.closed:
            return
        self._streams.reset(self, code)
        self._end(StreamReset(self.node, self.stream_id, code, by_peer=False))

    def close(self) -> None:
        """Finish what is sent here, if that is not done, and take no interest in what still comes:
        it is thrown away."""
        if self.error is None and not self.send_fin:
            self.write_eof()
        self._discarding = True
        self._discard()

    def _discard(self) -> None:
        self._chunks.clear()
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
        """Up to ``n`` bytes, as soon as there is one; ``b""`` at the end. With -1 all that comes
        until the end. Raises :class:`StreamReset` and :class:`StreamLost`."""
        if n == 0:
            return b""
        if n < 0:
            return b"".join([chunk async for chunk in self])
        if not await self._readable():
            return b""
        return self._take(n)

    async def readexactly(self, n: int) -> bytes:
        """Exactly ``n`` bytes. Raises :class:`IncompleteStream` where the stream ends before."""
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
        """Fill a buffer, an array's memory for one, with what comes; how many bytes, fewer than it
        has only where the stream ends."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < view.nbytes and await self._readable():
            data = self._take(view.nbytes - filled)
            view[filled : filled + len(data)] = data
            filled += len(data)
        return filled

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """What comes, as it comes, until the end."""
        while await self._readable():
            yield self._take(self._unread)

    def at_eof(self) -> bool:
        """Whether the peer has finished and all was read."""
        return self.recv_fin and not self._chunks

    async def _readable(self) -> bool:
        """Wait for a byte or the end; whether it is a byte."""
        if self._consumer is not None:
            raise StreamError(self.node, f"what comes on stream {self.stream_id} goes to its owner")
        while True:
            if self.error is not None:
                raise self.error
            if self._chunks:
                return True
            if self.recv_fin:
                return False
            if self._waiter is not None:
                raise RuntimeError(f"another reader waits for stream {self.stream_id}")
            self._waiter = self._streams.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _take(self, n: int) -> bytes:
        """Up to ``n`` bytes of those that are here."""
        chunks = self._chunks
        parts: list[bytes] = []
        missing = n
        while chunks and missing:
            chunk, start = chunks[0], self._taken
            if len(chunk) - start <= missing:
                parts.append(chunk[start:])
                chunks.popleft()
                self._taken = 0
            else:
                parts.append(chunk[start : start + missing])
                self._taken += missing
            missing -= len(parts[-1])
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        self.consumed(len(data))
        return data

    def consumed(self, n: int) -> None:
        """The application is done with ``n`` bytes: the peer may send as many more."""
        self._unread -= n
        if not self.recv_fin and self.error is None:
            self._streams.consumed(self.window, n, done=not self._unread)

    # -- who is told what comes ------------------------------------------------------------

    @property
    def consumer(self) -> StreamConsumer | None:
        return self._consumer

    def hand_over(self, consumer: StreamConsumer | None) -> None:
        """Tell ``consumer`` from now on what comes, what was not read yet first; None: keep it for a
        reader. What a consumer was told, and what is over, is not told to the next."""
        if self._waiter is not None:
            raise RuntimeError(f"a reader waits for stream {self.stream_id}")
        before, self._consumer = self._consumer, consumer
        if before is not None or consumer is None:
            return
        unread = self._chunks and b"".join(self._chunks)[self._taken :]
        self._chunks.clear()
        self._taken = 0
        if unread or self.recv_fin:
            consumer.stream_data(self, unread or b"", self.recv_fin)

    # -- what the connection tells -----------------------------------------------------------

    def data_received(self, data: bytes, fin: bool) -> None:
        if self.error is not None or self.recv_fin:
            return
        self._received = True
        self._unread += len(data)
        self.recv_fin = fin
        if self._consumer is not None:
            self._consumer.stream_data(self, data, fin)
        elif self._discarding:
            self._discard()
        else:
            if data:
                self._chunks.append(data)
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
        """Less is queued than was."""
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
        self._chunks.clear()
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
