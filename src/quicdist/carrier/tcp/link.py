"""An established connection over TCP: one stream of frames, written once per turn of the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from quicdist.carrier.contract import LostHandler, MessageHandler
from quicdist.carrier.errors import LinkLost, PeerClosed
from quicdist.carrier.linger import Linger
from quicdist.carrier.link import BufferLimits, LinkBase

if TYPE_CHECKING:
    from quicdist.carrier.tcp.channel import TcpChannel
    from quicdist.protocol import DistConnection

#: The one stream of a TCP connection.
STREAM = 0

#: Bytes handed to the transport in one go. The rest stays in the buffers it came in, uncopied,
#: until the transport has written these.
FEED = 256 * 1024
#: How long, in seconds, a peer may take nothing of what was sent before the link was closed.
LINGER = 5.0
#: How long, in seconds, it waits for the peer to close as well, when all has been written.
FIN_TIME = 1.0


class TcpLink(LinkBase, asyncio.Protocol):
    """A :class:`~quicdist.carrier.Link` over TCP, which takes over a channel and its transport.

    Reading pauses until the link is started: what comes before waits at the peer.
    """

    carrier_name: ClassVar[str] = "tcp"

    def __init__(
        self,
        connection: DistConnection,
        channel: TcpChannel,
        *,
        leftover: bytes = b"",
        limits: BufferLimits | None = None,
    ) -> None:
        limits = limits or BufferLimits()
        super().__init__(
            connection,
            local_address=channel.local_address,
            remote_address=channel.remote_address,
            limits=limits,
        )
        self._transport = channel.transport
        self._queue: deque[bytes | memoryview] = deque()
        self._queued = 0
        self._flush_due = False
        self._receiving = False
        self._blocked = False
        self._linger: Linger | None = None
        self._leftover = leftover + channel.take_held()
        self._transport.pause_reading()
        # One mark for both, so that whatever is more than it is told when it has become less.
        mark = min(FEED, limits.low_water)
        self._transport.set_write_buffer_limits(high=mark, low=mark)
        self._transport.set_protocol(self)
        if channel.lost:
            # asyncio has told the channel so and will not tell us.
            self._loop.call_soon(self.connection_lost, channel.error)

    # -- in --------------------------------------------------------------------------------

    def start(self, on_message: MessageHandler, on_lost: LostHandler) -> None:
        if self._leftover:
            leftover, self._leftover = self._leftover, b""
            self.stats.received += 1
            self._data_received(STREAM, leftover)
        super().start(on_message, on_lost)
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.stats.received += 1
        # What is sent by those who are told of these messages leaves in one batch when all of
        # them are told: no turn of the loop between a question and its answer.
        self._receiving = True
        try:
            self._data_received(STREAM, data)
        finally:
            self._receiving = False
            self.stats.ticks_in = self._connection.ticks_in
            if self._flush_due:
                self._flush()

    # -- out -------------------------------------------------------------------------------

    def _write(self, stream_id: int, parts: Sequence[bytes | memoryview], size: int) -> int:
        self._queue.extend(parts)
        self._queued += size
        if not self._flush_due:
            self._flush_due = True
            if not self._receiving:
                self._loop.call_soon(self._flush)
        return self.pending if self._blocked else self._queued

    def _flush(self) -> None:
        self._flush_due = False
        queue = self._queue
        if not queue:
            return
        # Not writelines(): up to Python 3.13.1 it does not tell when more than the mark waits.
        write = self._transport.write
        if self._queued <= FEED and not self._blocked:
            self._queued = 0
            write(queue[0] if len(queue) == 1 else b"".join(queue))
            queue.clear()
        else:
            while queue and not self._blocked:
                write(b"".join(self._take(FEED)))
        self._sent(self.pending)

    def _write_out(self) -> None:
        self._flush()

    def _take(self, room: int) -> list[bytes | memoryview]:
        """Up to ``room`` bytes from the front of the queue."""
        queue = self._queue
        taken: list[bytes | memoryview] = []
        while queue and room > 0:
            part = queue.popleft()
            size = len(part)
            if size > room:
                view = memoryview(part)
                queue.appendleft(view[room:])
                part, size = view[:room], room
            taken.append(part)
            room -= size
            self._queued -= size
        return taken

    def pause_writing(self) -> None:
        self._blocked = True

    def resume_writing(self) -> None:
        self._blocked = False
        self._flush()
        self._sent(self.pending)
        if self._ended and not self._queue:
            self._write_eof()

    @property
    def pending(self) -> int:
        return self._queued + self._transport.get_write_buffer_size()

    @property
    def queued(self) -> int:
        return self._queued

    def send_tick(self) -> None:
        if self._ended or self.pending:
            # Bytes that wait for the peer to take them tell it as much, when it takes them.
            return
        stream_id, tick = self._connection.tick()
        self.stats.ticks_out += 1
        self.stats.sent += 1
        self.stats.bytes_out += len(tick)
        self._write(stream_id, (tick,), len(tick))

    # -- the end ---------------------------------------------------------------------------

    def _close(self, reason: str) -> None:
        # TCP has no place for a reason.
        self._flush()
        if not self._queue:
            self._write_eof()
        if not self._transport.is_closing():
            seconds = LINGER if self.pending else FIN_TIME
            self._linger = Linger(seconds, lambda: self.pending, self._transport.abort)

    def _write_eof(self) -> None:
        # To close a socket that holds bytes nobody has read resets the connection, and what the peer has
        # not read yet may be lost with it. So its bytes are read, and dropped, until it closes as well.
        try:
            self._transport.write_eof()
            self._transport.resume_reading()
        except (OSError, RuntimeError):  # gone already
            self._transport.abort()

    def _abandon(self, reason: str) -> None:
        self._queue.clear()
        self._queued = 0
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self._linger is not None:
            self._linger.cancel()
        self._queue.clear()
        self._queued = 0
        name = self.peer.name
        if error is None or isinstance(error, ConnectionResetError | BrokenPipeError):
            how = "the peer closed it" if error is None else f"the peer closed it: {error.strerror or error}"
            self._lost(PeerClosed(name, how))
        else:
            self._lost(LinkLost(name, str(error)))
