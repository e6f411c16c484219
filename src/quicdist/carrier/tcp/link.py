"""An established connection over TCP: one stream of frames, written once per turn of the loop.

The transport reads, :mod:`quicdist.carrier.tcp.writer` writes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from quicdist.carrier.contract import LostHandler, MessageHandler
from quicdist.carrier.errors import LinkLost, PeerClosed
from quicdist.carrier.keepalive import KeepAlive
from quicdist.carrier.linger import Linger
from quicdist.carrier.link import BufferLimits, LinkBase
from quicdist.carrier.tcp.writer import Writer
from quicdist.protocol import TICK, ProtocolError

if TYPE_CHECKING:
    from quicdist.carrier.tcp.connection import TcpConnection
    from quicdist.protocol import ControlMessage, DistConnection

#: The one stream of a TCP connection.
STREAM = 0

#: Of more bytes than these, read at once, the frames are taken in one by one, for so many seconds in a turn
#: of the loop: those of one peer, costly as they may be, do not hold up what others wait for.
LARGE_READ = 32 * 1024
TURN_TIME = 0.005
#: So many frames at once, while that takes less than so many seconds.
MANY = 64
QUICK = 0.0005

#: How long, in seconds, a peer may take nothing of what was sent before the link was closed; and how long a
#: link is read that cannot be written any more.
LINGER = 5.0
#: How long, in seconds, it waits for the peer to close as well, when all has been written.
FIN_TIME = 1.0


class TcpLink(LinkBase, asyncio.Protocol):
    """A :class:`~quicdist.carrier.Link` over TCP, which takes over a connection and its transport.

    Reading pauses until the link is started: what comes before waits at the peer.
    """

    carrier_name: ClassVar[str] = "tcp"

    def __init__(
        self,
        dist: DistConnection,
        connection: TcpConnection,
        *,
        leftover: bytes = b"",
        limits: BufferLimits | None = None,
    ) -> None:
        limits = limits or BufferLimits()
        super().__init__(
            dist,
            local_address=connection.local_address,
            remote_address=connection.remote_address,
            limits=limits,
        )
        self._transport = connection.transport
        self._writer = self._make_writer(connection)
        self._lock = KeepAlive.of(self._loop).lock
        self._flush_due = False
        self._receiving = False
        #: Frames of a large read that are not taken in yet; nothing more is read meanwhile.
        self._untaken: Iterator[tuple[ControlMessage, Any] | None] | None = None
        #: The kernel takes no more for now: the loop tells when it does.
        self._blocked = False
        #: What the handshake wrote last is still with the transport, and goes first.
        self._handing_over = False
        self._linger: Linger | None = None
        self._leftover = leftover + connection.take_held()
        #: The loop has been asked to go on with this link after a standstill.
        self._kept = False
        self._transport.pause_reading()
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(high=0)
        self._handing_over = self._transport.get_write_buffer_size() > 0
        if connection.lost:
            # asyncio has told the connection so and will not tell us.
            self._loop.call_soon(self.connection_lost, connection.error)
        else:
            KeepAlive.of(self._loop).add(self)

    def _make_writer(self, connection: TcpConnection) -> Writer:
        return Writer(connection.transport)

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
            if len(data) > LARGE_READ:
                self._take_in_turns(data)
            else:
                self._data_received(STREAM, data)
        finally:
            self._received_for_now()

    def _received_for_now(self) -> None:
        self._receiving = False
        self.stats.ticks_in = self._dist.ticks_in
        if self._flush_due:
            self._flush()

    def _take_in_turns(self, data: bytes) -> None:
        if not self._ended:
            self.stats.bytes_in += len(data)
            self._untaken = self._dist.receive_by_frames(STREAM, data)
            self._take_a_turn()

    def _take_a_turn(self) -> None:
        """Take in frames of a large read for a while; those that are left have the next turn, also where
        the program was interrupted (KeyboardInterrupt)."""
        try:
            self._take(TURN_TIME)
        finally:
            if self._untaken is not None:
                self._transport.pause_reading()
                self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        """The next turn of the loop, for what is left of a large read."""
        if self._untaken is None:
            return  # All was taken when the connection was lost.
        # The peer is alive as far as can be known: what it sends now is not read before.
        self.stats.received += 1
        self._receiving = True
        try:
            self._take_a_turn()
            if self._untaken is None and not self._transport.is_closing():
                self._transport.resume_reading()
        except Exception as error:
            # asyncio ends a transport for what data_received raises, and knows nothing of this.
            self._fail(LinkLost(self.peer.name, f"its messages were not taken in: {type(error).__name__}"))
            raise
        finally:
            self._received_for_now()

    def _take(self, seconds: float) -> None:
        """Take in frames of a large read for so long."""
        frames = self._untaken
        now = self._loop.time()
        until, most = now + seconds, 2
        while frames is not None and not self._ended:
            messages, seen = [], 0
            error: Exception | None = None
            try:
                for message in islice(frames, most):
                    seen += 1
                    if message is not None:
                        messages.append(message)
            except Exception as raised:
                error = raised
            if messages:
                self._received(messages)
            if isinstance(error, ProtocolError):
                self._fail(error)
            elif error is not None:
                self._untaken = None
                raise error
            if seen < most:
                break  # a fault, or the end
            before, now = now, self._loop.time()
            if now > until:
                return
            # Those that cost little go many at a time.
            most = min(2 * most, MANY) if now - before < QUICK else 2
        self._untaken = None

    # -- out -------------------------------------------------------------------------------

    def _write(self, stream_id: int, parts: Sequence[bytes | memoryview], size: int) -> int:
        writer = self._writer
        writer.queue.extend(parts)
        writer.put += size
        if not self._flush_due:
            self._flush_due = True
            if not self._receiving:
                self._loop.call_soon(self._flush)
        return writer.put - writer.left

    def _flush(self) -> None:
        """Write what is queued, as far as the kernel takes it."""
        self._flush_due = False
        writer = self._writer
        if self._blocked or self._handing_over or writer.sock is None:
            return
        self._lock.acquire()
        try:
            done = writer.write()
        finally:
            self._lock.release()
        if writer.error is not None:
            self._lose()
            return
        if not done:
            self._blocked = True
            self._loop.add_writer(writer.sock, self._writable)
        self._sent(writer.put - writer.left)

    def _write_out(self) -> None:
        self._flush()

    def _lose(self) -> None:
        """Nothing can be written any more: what came before is read first, and then the end."""
        if self._linger is None:
            self._linger = Linger(LINGER, lambda: self.pending, self._transport.abort)

    def _writable(self) -> None:
        self._unblock()
        self._flush()
        if self._ended and self._writer.is_empty:
            self._write_eof()

    def _unblock(self) -> None:
        sock = self._writer.sock
        if self._blocked and sock is not None:
            self._blocked = False
            self._loop.remove_writer(sock)

    # Of the transport, which has the handshake's bytes to write and no others.

    def pause_writing(self) -> None:
        self._handing_over = True

    def resume_writing(self) -> None:
        self._handing_over = False
        self._writable()

    @property
    def pending(self) -> int:
        return self._writer.put - self._writer.left

    @property
    def queued(self) -> int:
        return self._writer.put - self._writer.left

    def send_tick(self) -> None:
        if self._ended or self.pending:
            # Bytes that wait for the peer to take them tell it as much, when it takes them.
            return
        self._count_ticks(1)
        self._write(STREAM, (TICK,), len(TICK))

    def _count_ticks(self, count: int) -> None:
        for _ in range(count):
            self._dist.tick()
        self.stats.ticks_out += count
        self.stats.sent += count
        self.stats.bytes_out += count * len(TICK)

    # -- while the loop stands still: in another thread ----------------------------------------

    def keep_alive(self, now: float) -> None:
        if not self._handing_over and self._writer.keep_alive(now, ticks=not self._ended) and not self._kept:
            self._kept = True
            self._loop.call_soon_threadsafe(self._kept_alive)

    def _kept_alive(self) -> None:
        """The loop goes on."""
        with self._lock:
            self._kept = False
            count, self._writer.ticks = self._writer.ticks, 0
        self._count_ticks(count)
        self._flush()

    # -- the end ---------------------------------------------------------------------------

    def _close(self, reason: str) -> None:
        # TCP has no place for a reason.
        self._flush()
        if self._writer.is_empty:
            self._write_eof()
        if not self._transport.is_closing():
            seconds = LINGER if self.pending else FIN_TIME
            if self._linger is not None:
                self._linger.cancel()
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
        self._unblock()
        with self._lock:
            self._writer.close()
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        try:
            self._take(math.inf)  # what came before is told first
        except Exception as failed:
            error = failed
            context = {"message": "messages were not taken in", "exception": failed, "protocol": self}
            self._loop.call_exception_handler(context)
        if self._linger is not None:
            self._linger.cancel()
        KeepAlive.of(self._loop).discard(self)
        self._unblock()
        with self._lock:
            self._writer.close()
        error = error or self._writer.error
        name = self.peer.name
        if error is None or isinstance(error, ConnectionResetError | BrokenPipeError):
            how = "the peer closed it" if error is None else f"the peer closed it: {error.strerror or error}"
            self._lost(PeerClosed(name, how))
        else:
            self._lost(LinkLost(name, str(error)))
