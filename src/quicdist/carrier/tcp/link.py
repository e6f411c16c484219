"""The established link to one node over TCP: one stream of frames, written once per turn of the event loop.

An asyncio transport reads, :mod:`quicdist.carrier.tcp.writer` writes.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final

from quicdist.carrier.busy_wait import AnswerWait
from quicdist.carrier.contract import LostHandler, MessageHandler, TransportStats
from quicdist.carrier.errors import LinkLost, PeerClosed
from quicdist.carrier.keepalive import KeepAlive
from quicdist.carrier.linger import Linger
from quicdist.carrier.link import BufferLimits, LinkBase
from quicdist.carrier.tcp.tcp_info import tcp_stats
from quicdist.carrier.tcp.writer import Writer
from quicdist.protocol import TICK, ProtocolError

if TYPE_CHECKING:
    from quicdist.carrier.tcp.connection import TcpConnection
    from quicdist.protocol import ControlMessage, DistConnection

#: The one stream of a TCP connection.
STREAM: Final = 0

#: The frames of a larger read, in bytes, are decoded one by one, for so many seconds in a turn of the event
#: loop: costly frames of one peer do not delay the others.
LARGE_READ: Final = 32 * 1024
TURN_TIME: Final = 0.005
#: So many frames are decoded at once while that takes less than so many seconds.
MANY: Final = 64
QUICK: Final = 0.0005

#: Seconds without progress after which a closed link stops sending its queue; and seconds for which a link is
#: still read when it can no longer be written.
LINGER: Final = 5.0
#: Seconds to wait for the peer to close as well, when all was written.
FIN_TIME: Final = 1.0


class WriteState(Enum):
    """Whether the link can write to its socket::

    HANDOVER <──> READY <──> BLOCKED

    A link starts READY. It enters HANDOVER if the transport has not written all bytes of the handshake.
    """

    #: The transport still writes the last bytes of the handshake, which go first.
    HANDOVER = "handover"
    #: The kernel takes bytes.
    READY = "ready"
    #: The kernel takes no more for now: the event loop calls when it does.
    BLOCKED = "blocked"


HANDOVER: Final = WriteState.HANDOVER
READY: Final = WriteState.READY
BLOCKED: Final = WriteState.BLOCKED

#: The states that may follow each state.
WRITE_TRANSITIONS: Final = {HANDOVER: {READY}, READY: {BLOCKED, HANDOVER}, BLOCKED: {READY}}


class TcpLink(LinkBase, asyncio.Protocol):
    """A :class:`~quicdist.carrier.Link` over TCP, which takes over a connection and its transport.

    Reading is paused until the link is started: data that comes before stays in the kernels' buffers.
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
        self._write_state = READY
        #: A flush is due at the end of this turn of the event loop.
        self._flush_due = False
        #: Messages are being delivered: those sent meanwhile are flushed after the last one.
        self._receiving = False
        #: Frames of a large read that are not decoded yet; nothing more is read meanwhile.
        self._undecoded: Iterator[tuple[ControlMessage, Any] | None] | None = None
        self._linger: Linger | None = None
        self._answers = AnswerWait(self._loop)
        self._leftover = leftover + connection.take_held()
        #: A call in the event loop is scheduled for when it runs again.
        self._wake_scheduled = False
        self._transport.pause_reading()
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(high=0)
        if self._transport.get_write_buffer_size() > 0:
            self.pause_writing()
        if connection.lost:
            # asyncio has called connection_lost of the TcpConnection, and will not call ours.
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
        self._resume_reading()

    def _resume_reading(self) -> None:
        """Messages can be taken in again."""
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.stats.received += 1
        self._answers.received()
        # Answers to these messages are written in one batch when all are delivered: no turn of the event
        # loop passes between a request and its answer.
        self._receiving = True
        try:
            if len(data) > LARGE_READ:
                self._decode_in_turns(data)
            else:
                self._data_received(STREAM, data)
        finally:
            self._batch_received()

    def _batch_received(self) -> None:
        self._receiving = False
        self.stats.ticks_in = self._dist.ticks_in
        if self._flush_due:
            self._flush()

    def _decode_in_turns(self, data: bytes) -> None:
        if not self.closed:
            self.stats.bytes_in += len(data)
            self._undecoded = self._dist.receive_by_frames(STREAM, data)
            self._decode_one_turn()

    def _decode_one_turn(self) -> None:
        """Decode frames of a large read for a while; the rest follows in the next turn, also when the program
        was interrupted (KeyboardInterrupt)."""
        try:
            self._decode(TURN_TIME)
        finally:
            if self._undecoded is not None:
                self._transport.pause_reading()
                self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        """The next turn of the event loop, for the rest of a large read."""
        if self._undecoded is None:
            return  # All was decoded when the connection was lost.
        # The peer counts as alive: what it sends now is read only after this.
        self.stats.received += 1
        self._receiving = True
        try:
            self._decode_one_turn()
            if self._undecoded is None and not self._transport.is_closing():
                self._resume_reading()
        except Exception as error:
            # asyncio closes a transport whose data_received raises, but this is another callback.
            self._fail(LinkLost(self.peer.name, f"its messages were not decoded: {type(error).__name__}"))
            raise
        finally:
            self._batch_received()

    def _decode(self, seconds: float) -> None:
        """Decode frames of a large read for so many seconds."""
        frames = self._undecoded
        now = self._loop.time()
        until, most = now + seconds, 2
        while frames is not None and not self.closed:
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
                self._undecoded = None
                raise error
            if seen < most:
                break  # an error, or the end
            before, now = now, self._loop.time()
            if now > until:
                return
            # Cheap frames are decoded many at a time.
            most = min(2 * most, MANY) if now - before < QUICK else 2
        self._undecoded = None

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
        """Write the queue, as far as the kernel takes it."""
        self._flush_due = False
        writer = self._writer
        if self._write_state is not READY or writer.sock is None:
            return
        self._lock.acquire()
        try:
            done = writer.write()
        finally:
            self._lock.release()
        if self.busy_wait:
            self._answers.sent(self.stats.messages_in)
        if writer.error is not None:
            self._lose()
            return
        if not done:
            self._enter_write(BLOCKED)
            self._loop.add_writer(writer.sock, self._writable)
        if self._paused:
            self._sent(writer.put - writer.left)

    def _write_out(self) -> None:
        self._flush()

    def _lose(self) -> None:
        """Nothing can be written any more: data that has come is read first, then the end."""
        if self._linger is None:
            self._linger = Linger(LINGER, lambda: self.pending, self._transport.abort)

    def _writable(self) -> None:
        self._unblock()
        self._flush()
        if self.closed and self._writer.is_empty:
            self._write_eof()

    def _unblock(self) -> None:
        sock = self._writer.sock
        if self._write_state is BLOCKED and sock is not None:
            self._enter_write(READY)
            self._loop.remove_writer(sock)

    def _enter_write(self, state: WriteState) -> None:
        before = self._write_state
        assert state in WRITE_TRANSITIONS[before], f"{self.peer.name}: {before.name} to {state.name}"
        self._write_state = state

    # Called by the transport, which writes the last bytes of the handshake and no others.

    def pause_writing(self) -> None:
        if self._write_state is READY:
            self._enter_write(HANDOVER)

    def resume_writing(self) -> None:
        if self._write_state is HANDOVER:
            self._enter_write(READY)
        self._writable()

    @property
    def pending(self) -> int:
        return self._writer.put - self._writer.left

    @property
    def queued(self) -> int:
        return self._writer.put - self._writer.left

    def transport_stats(self) -> TransportStats:
        return tcp_stats(self._writer.sock)

    def send_tick(self) -> None:
        if self.closed or self.pending:
            # Queued bytes are as good a sign of life, once the peer receives them.
            return
        self._count_ticks(1)
        self._write(STREAM, (TICK,), len(TICK))

    def _count_ticks(self, count: int) -> None:
        for _ in range(count):
            self._dist.tick()
        self.stats.ticks_out += count
        self.stats.sent += count
        self.stats.bytes_out += count * len(TICK)

    # -- while the event loop is blocked: in another thread ------------------------------------

    def keep_alive(self, now: float) -> None:
        if self._write_state is HANDOVER:
            return
        if self._writer.keep_alive(now, ticks=not self.closed) and not self._wake_scheduled:
            self._wake_scheduled = True
            self._loop.call_soon_threadsafe(self._kept_alive)

    def _kept_alive(self) -> None:
        """The event loop runs again."""
        with self._lock:
            self._wake_scheduled = False
            count, self._writer.ticks = self._writer.ticks, 0
        self._count_ticks(count)
        self._flush()

    # -- the end ---------------------------------------------------------------------------

    def _close(self, reason: str) -> None:
        # TCP cannot carry a reason.
        self._flush()
        if self._writer.is_empty:
            self._write_eof()
        if not self._transport.is_closing():
            seconds = LINGER if self.pending else FIN_TIME
            if self._linger is not None:
                self._linger.cancel()
            self._linger = Linger(seconds, lambda: self.pending, self._transport.abort)

    def _write_eof(self) -> None:
        # Closing a socket with unread bytes resets the connection, and what the peer has not read yet may be
        # lost. So its bytes are read and dropped until it closes as well.
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
            self._decode(math.inf)  # messages that came before are delivered first
        except Exception as failed:
            error = failed
            context = {"message": "messages were not decoded", "exception": failed, "protocol": self}
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
