"""One QUIC connection in the event loop: its engine, its timer, its way out.

What arrived in one turn of the loop is taken in first; then each connection concerned transmits
once. Nothing here makes a task, a future or a queue entry per datagram.

While the loop stands still, :meth:`QuicConnection.keep_alive` does in another thread what has to be done for
the peer, and leaves for the loop what is for the handler (:mod:`quicdist.carrier.keepalive`). So the
engine is used under a lock, and the handler is called without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from quicdist.carrier.addresses import Address
from quicdist.carrier.keepalive import KeepAlive
from quicdist.carrier.linger import Linger
from quicdist.carrier.no_handler import NO_HANDLER
from quicdist.carrier.quic.driver.blocked_loop import BlockedLoopDriver
from quicdist.carrier.quic.driver.close_packets import ClosePackets
from quicdist.carrier.quic.driver.path_probing import PathProber
from quicdist.carrier.quic.driver.send_scheduler import SendScheduler
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.contract import Engine
from quicdist.carrier.quic.engine.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    ConnectionTerminated,
    HandshakeCompleted,
    StreamData,
    StreamReset,
)
from quicdist.carrier.udp import Datagram, SocketAddress, UdpSocket, to_address
from quicdist.logs import get_logger

log = get_logger("quicdist.carrier.quic")

#: A timer due sooner than this, in seconds, is met by going round the loop: selectors sleep whole
#: milliseconds, and the pacer asks for microseconds.
SPIN = 0.0005

#: Bytes of a reason that are told to the peer.
MAX_REASON = 256
#: A timer that fires later than this, in seconds, fires after a standstill: the socket is read first.
LATE = 1.0


class ConnectionHandler(Protocol):
    """Who is told what happens on a connection. All calls come from the event loop."""

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        """The QUIC handshake is over: streams can be used."""

    def stream_data(self, stream_id: int, data: bytes, end: bool) -> None:
        """Bytes of a stream, in order; ``end``: the peer sends no more on it."""

    def stream_reset(self, stream_id: int, code: int) -> None:
        """The peer broke off what it sent on a stream, or (STOP_SENDING) will not take ours."""

    def turn_ended(self) -> None:
        """All that came in one turn of the loop has been told; acknowledgements have been seen."""

    def connection_closed(self, closing: Closing) -> None:
        """The connection is gone, and not because this side closed it. Told once."""


class QuicConnection:
    """A QUIC connection that drives itself. Made by an endpoint, which feeds it datagrams."""

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
        #: May be replaced between calls, as a connection goes from handshake to link.
        self.handler = handler
        #: Nothing can be sent any more: the peer has closed, or has been told that we have.
        self.closed = False
        #: Goes on from another socket, where this side has dialled. Raises OSError.
        self.migrate: Callable[[], None] | None = None
        #: The QUIC session went on from an earlier one; what was sent ahead of its handshake counted.
        self.resumed = self.early_data_accepted = False
        self._outgoing = SendScheduler(engine)
        self._towards: SocketAddress | None = None
        self._loop = asyncio.get_running_loop()
        self._keeper = KeepAlive.of(self._loop)
        self._lock = self._keeper.lock
        self._prober = PathProber(engine, self._lock, self._time)
        self._blocked_loop: BlockedLoopDriver | None = None
        self._on_gone = on_gone
        self._on_connection_id = on_connection_id
        self._touched = False
        self._in_turn = False
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0
        self._deadline: float | None = None
        self._on_told: list[Callable[[], None]] = []
        self._close_packets = ClosePackets()
        self._parting: tuple[int, str] | None = None
        self._linger: Linger | None = None
        self._gone = False

    # -- addresses -------------------------------------------------------------------------

    @property
    def local_address(self) -> Address:
        return self.socket.local

    @property
    def remote_address(self) -> Address:
        address = self.engine.get_peer_address()
        return to_address(address) if address is not None else Address("", 0)

    @property
    def path(self) -> object:
        """What is another where either address is."""
        return self.engine.get_peer_address(), self.socket.local

    def authenticated(self) -> None:
        """The peer has been authenticated: the bounds are those of a link from now on."""
        with self._lock:
            self.engine.authenticated()

    # -- out -------------------------------------------------------------------------------

    def write(self, stream_id: int, parts: Sequence[bytes | memoryview], size: int) -> int:
        """Queue ``parts``, ``size`` bytes in all, on a stream; bytes queued on all streams now."""
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
        """Open a stream of this side; its peer hears of it with the first bytes."""
        with self._lock:
            self._outgoing.open_stream(stream_id)

    def hold_stream(self, stream_id: int, other: int) -> None:
        """Send nothing more of a stream until all that was written to ``other`` is acknowledged."""
        with self._lock:
            self._outgoing.hold(stream_id, other)

    def write_user(self, stream_id: int, priority: int, data: bytes, *, end: bool = False) -> None:
        """Queue ``data`` on a user stream, and its ``end``."""
        with self._lock:
            self._outgoing.add_user(stream_id, priority, data, end)
        self.touch()

    def touch(self) -> None:
        """There is, or may be, something to transmit: do so at the end of this turn of the loop."""
        if not self._touched:
            self._touched = True
            if not self._in_turn:
                self._loop.call_soon(self._transmit_touched)

    def ping(self) -> None:
        """Ask the peer for an acknowledgement."""
        if not self.closed:
            with self._lock:
                self.engine.send_ping(0)
            self.touch()

    def path_changed(self) -> None:
        """What is sent from now on leaves from another address."""
        if not self.closed:
            with self._lock:
                self._prober.new_path()
                # Who sees both paths is not to know the connection again (RFC 9000, section 9.5).
                self.engine.change_connection_id()
            self.ping()

    def unacknowledged(self, stream_id: int) -> int:
        """Bytes written to a stream that the peer has not acknowledged."""
        return self._outgoing.size_of(stream_id) + self.engine.unacknowledged(stream_id)

    @property
    def queued(self) -> int:
        """Bytes of messages that wait for those before them to leave."""
        return self._outgoing.size

    def queued_on(self, stream_id: int) -> int:
        """Bytes written to one stream that wait for those before them to leave."""
        return self._outgoing.size_of(stream_id)

    @property
    def pending(self) -> int:
        """Bytes written to any stream that the peer has not acknowledged."""
        outgoing = self._outgoing
        with self._lock:
            return outgoing.size + outgoing.user_size + self.engine.total_unacknowledged()

    def refuse_stream(self, stream_id: int, code: int) -> None:
        """Break off a stream the peer opened, in both directions, if it is not over by itself."""
        with self._lock:
            exists = self.engine.stream_exists(stream_id)
            if exists:
                self.engine.stop_stream(stream_id, code)
                if not stream_id & 2:  # the bit of unidirectional streams
                    self.engine.reset_stream(stream_id, code)
        if exists:
            self.touch()

    def break_off_stream(self, stream_id: int, code: int) -> None:
        """End a bidirectional stream at once, in both directions: nothing more is sent or taken."""
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
        if self._touched and not self._gone:
            self.transmit()

    def transmit(self) -> None:
        """Send what can be sent now."""
        self._touched = False
        if self.closed or self.socket.blocked:
            return  # The endpoint calls again when the socket takes more.
        engine, lock, prober = self.engine, self._lock, self._prober
        try:
            lock.acquire()
            try:
                now = self._time()
                address = engine.get_peer_address()
                if address is not self._towards:
                    # It is the peer that has moved. What goes to its new address first has to fit.
                    self._towards = address
                    prober.new_path()
                if address is None:
                    return
                self._outgoing.feed(now)
                datagrams = engine.datagrams_to_send(now)
                probes = prober.built(datagrams) if datagrams else prober.owes_short
                deadline = engine.get_timer()
            finally:
                lock.release()
            if datagrams:
                self.socket.send(datagrams)
            if probes:
                deadline = self._probe_path()
            self._dispatch()
        except Exception as error:
            self._broken("transmitting", error)
            return
        if prober.fault:
            self.break_off(prober.fault)
        elif self._parting is not None and not self.pending:
            self._close_now()
        elif not self._gone:
            self._arm(now, deadline)

    # -- the length of datagrams -------------------------------------------------------------

    @property
    def datagram_size(self) -> int:
        """How long the datagrams are that are sent, at most."""
        return self._prober.size

    def too_long(self, size: int = 0) -> None:
        """The system takes no datagrams of ``size`` bytes, or (0) has heard of one that was too long."""
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
        """Send the probes that are due; when the timer is due then."""
        self._prober.probe(self.socket)
        with self._lock:
            return self.engine.get_timer()

    # -- in --------------------------------------------------------------------------------

    def receive(self, data: bytes, address: SocketAddress, now: float) -> None:
        """Take in one datagram; :meth:`turn` follows when the batch is complete."""
        if self.closed:
            # It has missed the CONNECTION_CLOSE.
            if repeated := self._close_packets.answer(len(data)):
                self.socket.send(repeated)
            return
        try:
            if self._blocked_loop is None:
                # Without the lock: the handshake may ask a function of the program for a pre-shared key.
                self.engine.receive_datagram(data, address, now)
                return
            self._lock.acquire()
            try:
                self.engine.receive_datagram(data, address, max(now, self._keeper.acted_at))
            finally:
                self._lock.release()
        except Exception as error:
            self._broken("reading a datagram", error)

    def turn(self) -> None:
        """All datagrams of this turn are in: tell the handler, then transmit."""
        if self._gone:
            return
        self._in_turn = True
        try:
            self._dispatch()
            if not self.closed:
                self.handler.turn_ended()
        except Exception as error:
            self._broken("handling what came", error)
            return
        finally:
            self._in_turn = False
        if self._touched:
            # Something answers already: that goes out at once, acknowledgement and all.
            self.transmit()
        else:
            # Tasks that were woken answer in the next turn; one transmit for all of it.
            self.touch()

    def _dispatch(self) -> None:
        engine, lock = self.engine, self._lock
        while engine.events_waiting():
            lock.acquire()
            try:
                happened = engine.take_events()
            finally:
                lock.release()
            self._tell(happened)
        if not self.closed and (closing := self.engine.closing()) is not None:
            self._ending(closing)

    def _tell(self, happened: Sequence[Any]) -> None:
        stream_id = -1
        parts: list[bytes] = []
        for event in happened:
            kind = type(event)
            if kind is StreamData:
                if event.stream_id != stream_id:
                    if parts:
                        self._tell_data(stream_id, parts, False)
                        parts = []
                    stream_id = event.stream_id
                if event.data:
                    parts.append(event.data)
                if event.end_stream:
                    self._tell_data(stream_id, parts, True)
                    parts = []
                    stream_id = -1
            elif kind is StreamReset:
                if parts:
                    self._tell_data(stream_id, parts, False)
                    parts = []
                    stream_id = -1
                if self._parting is None:
                    self.handler.stream_reset(event.stream_id, event.error_code)
            elif kind is HandshakeCompleted:
                self.resumed = event.session_resumed
                # Up to 1.8.1 quic_dist says so even where it has not resumed the session.
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
            self._tell_data(stream_id, parts, False)

    def _tell_data(self, stream_id: int, parts: list[bytes], end: bool) -> None:
        if self._parting is None and not self.closed:
            self.handler.stream_data(stream_id, parts[0] if len(parts) == 1 else b"".join(parts), end)

    # -- time ------------------------------------------------------------------------------

    def _time(self) -> float:
        """Now, as the engine is told: never before what another thread has told it. Asked under the lock."""
        now = self._loop.time()
        acted_at = self._keeper.acted_at
        return now if now > acted_at else acted_at

    def _arm(self, now: float, deadline: float | None) -> None:
        self._deadline = deadline
        if deadline is None:
            return
        # A timer that fires early looks at the deadline and sleeps on: cheaper than to cancel and
        # make one for every datagram.
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
        if deadline - now < SPIN:
            self._timer_at = now
            self._timer = self._loop.call_soon(self._on_timer)
        else:
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._gone or self._deadline is None:
            return
        now = self._time()
        if now < self._deadline:
            self._sleep(self._deadline, now)
            return
        if now - self._deadline > LATE:
            # What came while the loop stood still may say that it is not time yet.
            self.socket.read()
            if self._gone:
                return
        try:
            with self._lock:
                self.engine.handle_timer(self._time())
                self._prober.timed_out()
            self._dispatch()
            if self._gone:
                return
        except Exception as error:
            self._broken("handling a timer", error)
            return
        if self.closed:
            self._rearm()
        else:
            self.transmit()

    # -- while the loop stands still ---------------------------------------------------------

    def keep(self, stream_id: int, tick: bytes, on_ticks: Callable[[int], None]) -> None:
        """From now on keep the connection alive while the loop stands still, with ``tick`` sent on a
        stream; ``on_ticks`` is told afterwards how often."""
        self._blocked_loop = BlockedLoopDriver(self.engine, self._outgoing, stream_id, tick, on_ticks)

    @property
    def takes_datagrams(self) -> bool:
        """Whether datagrams are taken in while the loop stands still."""
        return self._blocked_loop is not None and not self.closed and self._blocked_loop.takes_datagrams

    def keep_alive(self, now: float, batch: Sequence[Datagram]) -> None:
        """In another thread, under the lock: what cannot wait for the loop, with a ``batch`` of datagrams."""
        standstill = self._blocked_loop
        if standstill is None or self.closed:
            return
        moved = self.engine.get_peer_address() is not self._towards
        acted = standstill.act(self.socket, now, batch, ticks=self._parting is None, moved=moved)
        if acted and not standstill.told:
            standstill.told = True
            self._loop.call_soon_threadsafe(self._kept_alive, standstill)

    def _kept_alive(self, standstill: BlockedLoopDriver) -> None:
        """The loop goes on."""
        with self._lock:
            standstill.told = False
            count, standstill.ticks = standstill.ticks, 0
        if count:
            standstill.on_ticks(count)
        if standstill.fault is not None:
            self._broken("keeping it alive", standstill.fault)
        else:
            self.turn()

    # -- the end ---------------------------------------------------------------------------

    def close(
        self,
        code: int = 0,
        reason: str = "",
        *,
        linger: float = 0.0,
        on_told: Callable[[], None] | None = None,
    ) -> None:
        """Close the connection; the handler hears nothing more of it.

        What was written before is sent on until the peer has acknowledged it, or nothing of it for
        ``linger`` seconds. ``on_told`` is called once the peer has been told.
        """
        if on_told is not None:
            if self.closed:
                on_told()
            else:
                self._on_told.append(on_told)
        if self.closed or (self._parting is not None and linger):
            return
        # It has to fit a packet.
        self._parting = code, reason.encode()[:MAX_REASON].decode(errors="ignore")
        if linger and self.pending:
            self._linger = Linger(linger, lambda: self.pending, self._close_now)
            self.touch()
        else:
            self._close_now()

    def _close_now(self) -> None:
        if self.closed:
            return
        code, reason = self._parting or (0, "")
        engine = self.engine
        datagrams: list[Datagram] = []
        if engine.get_peer_address() is not None:
            try:
                with self._lock:
                    now = self._time()
                    self._outgoing.feed(now)
                    datagrams += engine.datagrams_to_send(now)
                    engine.close(code, reason_phrase=reason)
                    datagrams += self._close_packets.made(engine, engine.datagrams_to_send(now))
            except Exception:
                log.exception("closing the connection to %s", self.remote_address)
        if datagrams:
            self.socket.send(datagrams)
        self._end()
        if self._close_packets:
            self._dispatch()
            if not self._gone:
                self._rearm()
        else:
            self._terminated()

    def _ending(self, closing: Closing) -> None:
        """The engine ends the connection: the peer closed it, fell silent, or broke the protocol."""
        parting, handler = self._parting is not None, self.handler
        if not closing.by_peer and not self._gone:
            # It has a CONNECTION_CLOSE to send.
            with self._lock:
                datagrams = self._close_packets.made(self.engine, self.engine.datagrams_to_send(self._time()))
            if datagrams:
                self.socket.send(datagrams)
        self._end()
        if not self._gone:
            self._rearm()
        if not parting:
            handler.connection_closed(closing)

    def _broken(self, doing: str, error: Exception) -> None:
        """A bug, here or in the engine: costs this connection, no other."""
        log.error("connection with %s: %s failed", self.remote_address, doing, exc_info=error)
        if self.closed:
            return
        parting, handler = self._parting is not None, self.handler
        self._parting = 0, "internal error"
        self._close_now()
        if not parting:
            handler.connection_closed(Closing(0, f"internal error when {doing}"))

    def abandon(self, reason: str, *, unreachable: bool = False) -> None:
        """The peer cannot be reached: end without a CONNECTION_CLOSE, and tell the handler."""
        if self.closed:
            return
        parting, handler = self._parting is not None, self.handler
        self._end()
        self._terminated()
        if not parting:
            handler.connection_closed(Closing(0, reason, unreachable=unreachable))

    def break_off(self, reason: str) -> None:
        """Close the connection, and tell the handler that it is gone."""
        if self.closed:
            return
        parting, handler = self._parting is not None, self.handler
        self.close(reason=reason)
        if not parting:
            handler.connection_closed(Closing(0, reason))

    def dismiss(self, reason: str) -> None:
        """As :meth:`break_off`, and let go of it at once: what comes later gets no CONNECTION_CLOSE any more
        (RFC 9000, section 10.2, allows that), and nothing is kept for it."""
        self.break_off(reason)
        self._terminated()

    def _end(self) -> None:
        with self._lock:
            self.closed = True
            self._outgoing.clear()
        if self._linger is not None:
            self._linger.cancel()
        told, self._on_told = self._on_told, []
        for callback in told:
            callback()

    def _terminated(self) -> None:
        """Closing and draining are over: let go of everything."""
        if self._gone:
            return
        self._gone = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.closed:
            closing = self.engine.closing()
            parting = self._parting is not None
            self._end()
            if not parting and closing is not None:
                self.handler.connection_closed(closing)
        on_gone, self._on_gone = self._on_gone, _nothing
        on_gone(self)
        self._release()

    def _release(self) -> None:
        """Let go of all that holds this: what is left is freed when nobody asks for it any more."""
        self.handler = NO_HANDLER
        self.migrate = self._on_connection_id = self._blocked_loop = self._linger = None
        self._prober.release()
        with self._lock:
            self.engine.release()


def _nothing(connection: QuicConnection) -> None:
    """Nobody waits for its end."""
