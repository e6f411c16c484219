"""One QUIC connection in the event loop: its engine, its timer, its datagrams.

All datagrams that arrived in one turn of the event loop are received first; then each connection transmits
once. Nothing here makes a task, a future or a queue entry per datagram.

While the event loop is blocked, :meth:`QuicConnection.keep_alive` serves the peer from another thread and
leaves the events for the loop (:mod:`quicdist.carrier.keepalive`). So the engine is used under a lock, and
the handler is called without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from quicdist.carrier.addresses import Address
from quicdist.carrier.clock import clock_of, timers_of
from quicdist.carrier.datagram_socket import Datagram, SocketAddress, to_address
from quicdist.carrier.keepalive import KeepAlive
from quicdist.carrier.quic.driver.blocked_loop import BlockedLoopDriver
from quicdist.carrier.quic.driver.connection_lifecycle import (
    FLUSHING,
    OPEN,
    TERMINATED,
    ConnectionHandler,
    ConnectionLifecycle,
)
from quicdist.carrier.quic.driver.path_probing import PathProber
from quicdist.carrier.quic.driver.send_scheduler import SendScheduler
from quicdist.carrier.quic.engine.contract import Engine
from quicdist.carrier.quic.engine.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    ConnectionTerminated,
    HandshakeCompleted,
    StreamData,
    StreamReset,
)
from quicdist.carrier.quic.engine.path_mtu import FULL
from quicdist.carrier.udp import UdpSocket

#: A timer that fires later than this, in seconds, fires after the loop was blocked: the socket is read first.
LATE: Final = 1.0


class QuicConnection(ConnectionLifecycle):
    """A QUIC connection in the event loop. An endpoint makes it and passes it the datagrams that it receives.

    ``on_gone`` is called when it is over. ``on_connection_id`` is called with each connection id of this
    side: with True when the peer may use it, with False when it no longer does. Its states are those of
    :class:`~quicdist.carrier.quic.driver.connection_lifecycle.ConnectionState`.
    """

    def __init__(
        self,
        engine: Engine,
        socket: UdpSocket,
        handler: ConnectionHandler,
        *,
        on_gone: Callable[[QuicConnection], None],
        on_connection_id: Callable[[QuicConnection, bytes, bool], None] | None = None,
    ) -> None:
        self.engine = engine
        self.socket = socket
        #: Receives the events. Replaced between two calls, when the handshake has become a link.
        self.handler = handler
        #: Migrates to another socket; None on the accepting side. Raises OSError.
        self.migrate: Callable[[], None] | None = None
        #: The TLS session was resumed; early data was accepted.
        self.resumed = self.early_data_accepted = False
        #: The peer has shown that it knows the cookie.
        self.is_authenticated = False
        self._towards: SocketAddress | None = None
        self._loop = asyncio.get_running_loop()
        self._clock, self._call_later = clock_of(self._loop), timers_of(self._loop)
        self._keeper = KeepAlive.of(self._loop)
        super().__init__(self._keeper.lock, SendScheduler(engine))
        self._prober = PathProber(engine, self._lock, self._time)
        self._blocked_loop: BlockedLoopDriver | None = None
        self._on_gone = on_gone
        self._on_connection_id = on_connection_id
        #: A transmit is due in this turn of the event loop; :meth:`process_events` is running.
        self._touched = self._is_processing = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._deadline: float | None = None

    # -- addresses -------------------------------------------------------------------------

    @property
    def local_address(self) -> Address:
        return self.socket.local

    @property
    def remote_address(self) -> Address:
        address = self.engine.get_peer_address()
        return to_address(address) if address is not None else Address("", 0)

    def authenticated(self) -> None:
        """The peer is authenticated: the small limits for unauthenticated peers no longer apply."""
        self.is_authenticated = True
        with self._lock:
            self.engine.authenticated()

    def use_socket(self, udp: UdpSocket) -> None:
        """Send from another socket from now on."""
        self.socket = udp
        if not self.closed:
            with self._lock:
                self._prober.new_path()
                # An observer of both paths cannot link them (RFC 9000, section 9.5).
                self.engine.change_connection_id()
            self.handler.path_changed()
            self.ping()

    def _peer_moved(self) -> None:
        """The peer sends from another address. Called under the lock."""
        first = self._towards is None
        self._towards = self.engine.get_peer_address()
        # The new path may have a smaller MTU.
        self._prober.new_path()
        if not first:
            self._loop.call_soon(self._tell_path)

    def _tell_path(self) -> None:
        if self.state is OPEN:
            self.handler.path_changed()

    # -- out -------------------------------------------------------------------------------

    def write(self, stream_id: int, parts: Sequence[bytes | memoryview], size: int) -> int:
        """Queue ``parts``, ``size`` bytes in all, on a stream of messages. Returns the bytes queued on all of
        these streams."""
        outgoing = self._outgoing
        keeper = self._keeper
        keeper.busy = True
        try:
            if keeper.acting:
                with self._lock:
                    outgoing.add(stream_id, parts, size)
            else:
                outgoing.add(stream_id, parts, size)
        finally:
            keeper.busy = False
        if not self._touched:
            self.touch()
        return outgoing.size

    def open_stream(self, stream_id: int) -> None:
        """Open a stream of this side. The peer learns of it with the first bytes."""
        with self._lock:
            self._outgoing.open_stream(stream_id)

    def hold_stream(self, stream_id: int, other: int) -> None:
        """Hold a stream until all bytes written to ``other`` are acknowledged."""
        with self._lock:
            self._outgoing.hold(stream_id, other)

    def write_user(self, stream_id: int, priority: int, data: bytes, *, end: bool = False) -> None:
        """Queue ``data`` on a user stream, and FIN if ``end``."""
        with self._lock:
            self._outgoing.add_user(stream_id, priority, data, end)
        self.touch()

    def touch(self) -> None:
        """Transmit at the end of this turn of the event loop."""
        if not self._touched:
            self._touched = True
            if not self._is_processing:
                self._loop.call_soon(self._transmit_touched)

    def ping(self) -> None:
        """Ask the peer for an acknowledgement."""
        if not self.closed:
            with self._lock:
                self.engine.send_ping(0)
            self.touch()

    def unacknowledged(self, stream_id: int) -> int:
        """Bytes written to a stream that the peer has not acknowledged."""
        return self._outgoing.size_of(stream_id) + self.engine.unacknowledged(stream_id)

    @property
    def queued(self) -> int:
        """Bytes of messages in the send queues: the engine does not have them yet."""
        return self._outgoing.size

    def queued_on(self, stream_id: int) -> int:
        """Bytes of one stream in the send queues."""
        return self._outgoing.size_of(stream_id)

    @property
    def pending(self) -> int:
        """Bytes written to any stream that the peer has not acknowledged."""
        outgoing = self._outgoing
        with self._lock:
            return outgoing.size + outgoing.user_size + self.engine.total_unacknowledged()

    def refuse_stream(self, stream_id: int, code: int) -> None:
        """Reset a stream that the peer opened, in both directions, unless it is over."""
        with self._lock:
            exists = self.engine.stream_exists(stream_id)
            if exists:
                self.engine.stop_stream(stream_id, code)
                if not stream_id & 2:  # the bit of unidirectional streams
                    self.engine.reset_stream(stream_id, code)
        if exists:
            self.touch()

    def break_off_stream(self, stream_id: int, code: int) -> None:
        """Reset a bidirectional stream in both directions: nothing more is sent or received."""
        engine = self.engine
        with self._lock:
            self._outgoing.drop(stream_id)
            exists = engine.stream_exists(stream_id)
            if exists:
                engine.stop_stream(stream_id, code)
                engine.reset_stream(stream_id, code)
                engine.stop_receiving(stream_id)
        if exists:
            self.touch()

    def _transmit_touched(self) -> None:
        if self._touched and self.state is not TERMINATED:
            self.transmit()

    def transmit(self) -> None:
        """Send what can be sent now."""
        self._touched = False
        state = self.state
        if (state is not OPEN and state is not FLUSHING) or self.socket.blocked:
            return  # The endpoint calls again when the socket is writable.
        engine, lock, prober = self.engine, self._lock, self._prober
        try:
            lock.acquire()
            try:
                now = self._time()
                address = engine.get_peer_address()
                if address is not self._towards:
                    self._peer_moved()
                if address is None:
                    return
                self._outgoing.feed(now)
                datagrams = engine.datagrams_to_send(now)
                if len(datagrams) > 1 or (datagrams and len(datagrams[0][0]) > FULL):
                    probes = prober.built(datagrams)
                else:
                    probes = prober.owes_short
            finally:
                lock.release()
            if datagrams:
                self.socket.send(datagrams)
            # After the datagrams have left: the peer does not wait for it.
            with lock:
                deadline = engine.get_timer()
            if probes:
                deadline = self._probe_path()
            self._dispatch()
        except Exception as error:
            self._broken("transmitting", error)
            return
        if prober.fault:
            self.break_off(prober.fault)
        elif self.state is FLUSHING and not self.pending:
            self._close_now()
        elif self.state is not TERMINATED:
            self._arm(now, deadline)

    # -- the size of datagrams -------------------------------------------------------------

    @property
    def datagram_size(self) -> int:
        """The size of the longest datagrams that are sent, in bytes."""
        return self._prober.size

    def too_long(self, size: int = 0) -> None:
        """The system refuses datagrams of ``size`` bytes; 0: ICMP reported one of unknown size as too big."""
        prober = self._prober
        if size:
            prober.refused(size)
        else:
            prober.hinted()
        if not prober.fault:
            self.touch()
        elif prober.is_up:
            self.break_off(prober.fault)
        else:
            self.abandon(prober.fault)  # A CONNECTION_CLOSE would be as long.

    def _probe_path(self) -> float | None:
        """Send the probes that are due. Returns the engine's timer after that."""
        self._prober.probe(self.socket)
        with self._lock:
            return self.engine.get_timer()

    # -- in --------------------------------------------------------------------------------

    def receive(self, datagrams: Sequence[Datagram], now: float) -> None:
        """Receive datagrams. The caller calls :meth:`process_events` after them."""
        state = self.state
        if state is not OPEN and state is not FLUSHING:
            # The CONNECTION_CLOSE has not reached the peer yet.
            for data, _ in datagrams:
                if repeated := self._close_packets.answer(len(data)):
                    self.socket.send(repeated)
            return
        try:
            if self._blocked_loop is None:
                # Without the lock: the TLS handshake may call the program's function for pre-shared keys.
                self.engine.receive_datagrams(datagrams, now)
                return
            self._lock.acquire()
            try:
                self.engine.receive_datagrams(datagrams, max(now, self._keeper.acted_at))
            finally:
                self._lock.release()
        except Exception as error:
            self._broken("receiving datagrams", error)

    def process_events(self) -> None:
        """After a batch of datagrams: deliver the events to the handler, then transmit."""
        if self.state is TERMINATED:
            return
        self._is_processing = True
        try:
            self._dispatch()
            # If the handler has written an answer, it leaves at once, with the acknowledgement.
            if answered := self._touched:
                self.transmit()
            if self.state is OPEN or self.state is FLUSHING:
                self.handler.events_processed()
        except Exception as error:
            self._broken("handling events", error)
            return
        finally:
            self._is_processing = False
        if not answered or self._touched:
            # Tasks that were woken answer in the next turn of the event loop: one transmit for all.
            self._touched = False
            self.touch()

    def _dispatch(self) -> None:
        engine, lock = self.engine, self._lock
        while engine.events_waiting():
            lock.acquire()
            try:
                happened = engine.take_events()
            finally:
                lock.release()
            self._deliver(happened)
        state = self.state
        if (state is OPEN or state is FLUSHING) and (closing := engine.closing()) is not None:
            self._ending(closing)

    def _deliver(self, happened: Sequence[Any]) -> None:
        stream_id = -1
        parts: list[bytes] = []
        for event in happened:
            kind = type(event)
            if kind is StreamData:
                if event.stream_id != stream_id:
                    if parts:
                        self._deliver_data(stream_id, parts, False)
                        parts = []
                    stream_id = event.stream_id
                if event.data:
                    parts.append(event.data)
                if event.end_stream:
                    self._deliver_data(stream_id, parts, True)
                    parts = []
                    stream_id = -1
            elif kind is StreamReset:
                if parts:
                    self._deliver_data(stream_id, parts, False)
                    parts = []
                    stream_id = -1
                if self.state is OPEN:
                    self.handler.stream_reset(event.stream_id, event.error_code)
            elif kind is HandshakeCompleted:
                self.resumed = event.session_resumed
                # quic_dist up to 1.8.1 accepts early data even where it has not resumed the session.
                self.early_data_accepted = event.session_resumed and event.early_data_accepted
                self._prober.handshake_completed(whole=self.socket.whole)
                self.handler.handshake_completed(event)
            elif kind is ConnectionIdIssued:
                if self._on_connection_id is not None:
                    self._on_connection_id(self, event.connection_id, True)
            elif kind is ConnectionIdRetired:
                if self._on_connection_id is not None:
                    self._on_connection_id(self, event.connection_id, False)
            elif kind is ConnectionTerminated:
                self._terminated()
        if parts:
            self._deliver_data(stream_id, parts, False)

    def _deliver_data(self, stream_id: int, parts: list[bytes], end: bool) -> None:
        if self.state is OPEN:
            self.handler.stream_data(stream_id, parts[0] if len(parts) == 1 else b"".join(parts), end)

    # -- time ------------------------------------------------------------------------------

    def _time(self) -> float:
        """The time for the engine, which must not go back: the keep-alive thread may have used a later one.
        Called under the lock."""
        now = self._clock()
        acted_at = self._keeper.acted_at
        return now if now > acted_at else acted_at

    def _arm(self, now: float, deadline: float | None) -> None:
        self._deadline = deadline
        if deadline is None:
            return
        # A timer that fires early is set again for the deadline: cheaper than to cancel and make one for
        # every datagram.
        if self._timer is not None:
            if self._timer_at <= deadline:
                return
            self._timer.cancel()
        self._sleep(deadline, now)

    def _rearm(self) -> None:
        with self._lock:
            deadline = self.engine.get_timer()
        self._arm(self._time(), deadline)

    def _sleep(self, deadline: float, now: float) -> None:
        self._timer_at = deadline
        self._timer = self._call_later(max(0.0, deadline - now), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        now = self._time()
        if now < self._deadline:
            self._sleep(self._deadline, now)
            return
        if now - self._deadline > LATE:
            # Datagrams that came while the loop was blocked may have moved the deadline.
            self.socket.read()
            if self._deadline is None:
                return  # Terminated.
        try:
            with self._lock:
                self.engine.handle_timer(self._time())
                self._prober.timed_out()
            self._dispatch()
            if self._deadline is None:
                return  # Terminated.
        except Exception as error:
            self._broken("handling a timer", error)
            return
        if self.closed:
            self._rearm()
        else:
            self.transmit()

    # -- while the event loop is blocked ------------------------------------------------------

    def keep(self, stream_id: int, tick: bytes, on_ticks: Callable[[int], None]) -> None:
        """From now on serve the peer while the event loop is blocked, and send ``tick`` on a stream.
        ``on_ticks`` is called with the number of ticks when the loop runs again."""
        self._blocked_loop = BlockedLoopDriver(self.engine, self._outgoing, stream_id, tick, on_ticks)

    @property
    def takes_datagrams(self) -> bool:
        """Whether datagrams are received while the event loop is blocked."""
        return self._blocked_loop is not None and not self.closed and self._blocked_loop.takes_datagrams

    def keep_alive(self, now: float, batch: Sequence[Datagram]) -> None:
        """Receive ``batch`` and send what is due. Called in another thread, under the lock."""
        blocked_loop = self._blocked_loop
        if blocked_loop is None or self.closed:
            return
        moved = self.engine.get_peer_address() is not self._towards
        acted = blocked_loop.act(self.socket, now, batch, ticks=self.state is OPEN, moved=moved)
        if acted and not blocked_loop.wake_scheduled:
            blocked_loop.wake_scheduled = True
            self._loop.call_soon_threadsafe(self._kept_alive, blocked_loop)

    def _kept_alive(self, blocked_loop: BlockedLoopDriver) -> None:
        """The event loop runs again."""
        with self._lock:
            blocked_loop.wake_scheduled = False
            count, blocked_loop.ticks = blocked_loop.ticks, 0
        if count:
            blocked_loop.on_ticks(count)
        if blocked_loop.fault is not None:
            self._broken("keeping it alive in a blocked event loop", blocked_loop.fault)
        else:
            self.process_events()

    def _released(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._deadline = None
        on_gone, self._on_gone = self._on_gone, _nothing
        on_gone(self)
        self.migrate = self._on_connection_id = self._blocked_loop = None
        self._prober.release()
        with self._lock:
            self.engine.release()


def _nothing(connection: QuicConnection) -> None:
    """In place of ``on_gone`` once it was called."""
