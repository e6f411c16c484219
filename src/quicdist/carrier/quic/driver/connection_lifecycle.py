"""The states of a QUIC connection, and how it ends (RFC 9000, section 10)."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from quicdist.carrier.addresses import Address
from quicdist.carrier.datagram_socket import Datagram
from quicdist.carrier.linger import Linger
from quicdist.carrier.no_handler import NO_HANDLER
from quicdist.carrier.quic.driver.close_packets import ClosePackets
from quicdist.carrier.quic.driver.send_scheduler import SendScheduler
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.contract import Engine
from quicdist.carrier.quic.engine.events import HandshakeCompleted
from quicdist.carrier.udp import UdpSocket
from quicdist.logs import get_logger

log = get_logger("quicdist.carrier.quic")

#: Bytes of the reason phrase in CONNECTION_CLOSE: it has to fit a packet.
MAX_REASON: Final = 256


class ConnectionState(Enum):
    """The state of a QUIC connection::

        OPEN ──> FLUSHING ──> CLOSING ──> TERMINATED
         │          │                         ^
         │          └──────> DRAINING ────────┤
         ├─────────────────> DRAINING ────────┤
         ├─────────────────> CLOSING ─────────┤
         └────────────────────────────────────┘

    OPEN to CLOSING: this side closes it, or the peer broke the protocol. To DRAINING: the peer closed it or
    cannot be reached. To TERMINATED: nothing came for the idle time-out. CLOSING and DRAINING last three
    probe timeouts (RFC 9000, section 10.2).
    """

    #: In its QUIC handshake, or established: bytes go both ways.
    OPEN = "open"
    #: Closed by this side: data written before is still sent, the handler is not called any more.
    FLUSHING = "flushing"
    #: CONNECTION_CLOSE was sent, and is sent again to a peer that keeps sending (RFC 9000, section 10.2.1).
    CLOSING = "closing"
    #: The peer has closed the connection, or cannot be reached: nothing is sent (section 10.2.2).
    DRAINING = "draining"
    #: Over: everything is released.
    TERMINATED = "terminated"


OPEN: Final = ConnectionState.OPEN
FLUSHING: Final = ConnectionState.FLUSHING
CLOSING: Final = ConnectionState.CLOSING
DRAINING: Final = ConnectionState.DRAINING
TERMINATED: Final = ConnectionState.TERMINATED

#: The states that may follow each state.
TRANSITIONS: Final = {
    OPEN: {FLUSHING, CLOSING, DRAINING, TERMINATED},
    FLUSHING: {CLOSING, DRAINING, TERMINATED},
    CLOSING: {TERMINATED},
    DRAINING: {TERMINATED},
    TERMINATED: frozenset[ConnectionState](),
}


class ConnectionHandler(Protocol):
    """Receives the events of a QUIC connection. Called in the event loop only."""

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        """The QUIC handshake is complete: streams can be used."""

    def stream_data(self, stream_id: int, data: bytes, end: bool) -> None:
        """Bytes of a stream, in order. ``end``: the peer has finished the stream (FIN)."""

    def stream_reset(self, stream_id: int, code: int) -> None:
        """The peer reset its sending part of a stream, or asked to stop ours (STOP_SENDING)."""

    def path_changed(self) -> None:
        """The local or the remote address of the connection has changed."""

    def events_processed(self) -> None:
        """All events of a batch of datagrams were delivered, and acknowledgements were processed."""

    def connection_closed(self, closing: Closing) -> None:
        """The connection ended without being closed by this side. Called once."""


class ConnectionLifecycle(ABC):
    """The part of a connection that holds its state and ends it.

    When it ends, ``connection_closed`` of the handler is called once, unless this side closed it.
    """

    engine: Engine
    socket: UdpSocket
    handler: ConnectionHandler

    def __init__(self, lock: threading.RLock, outgoing: SendScheduler) -> None:
        self.state = OPEN
        self._lock = lock
        self._outgoing = outgoing
        #: Code and reason of the CONNECTION_CLOSE that this side sends.
        self._close_with = (0, "")
        self._close_packets = ClosePackets()
        #: Called once nothing can be sent any more.
        self._on_closed: list[Callable[[], None]] = []
        self._linger: Linger | None = None

    def _enter(self, state: ConnectionState) -> None:
        assert state in TRANSITIONS[self.state], f"{self.remote_address}: {self.state.name} to {state.name}"
        self.state = state

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more: CONNECTION_CLOSE was sent or received, or the peer is
        unreachable or silent."""
        return self.state is not OPEN and self.state is not FLUSHING

    # -- implemented by the connection -----------------------------------------------------------

    @property
    @abstractmethod
    def remote_address(self) -> Address: ...

    @property
    @abstractmethod
    def pending(self) -> int:
        """Bytes written to any stream that the peer has not acknowledged."""

    @abstractmethod
    def touch(self) -> None:
        """Transmit at the end of this turn of the event loop."""

    @abstractmethod
    def _time(self) -> float:
        """The engine's time. Called under the lock."""

    @abstractmethod
    def _dispatch(self) -> None:
        """Deliver the waiting events of the engine to the handler."""

    @abstractmethod
    def _rearm(self) -> None:
        """Set the timer to what the engine asks for."""

    @abstractmethod
    def _released(self) -> None:
        """The connection is over: release what was held for it."""

    # -- closed by this side -----------------------------------------------------------------------

    def close(
        self,
        code: int = 0,
        reason: str = "",
        *,
        linger: float = 0.0,
        on_closed: Callable[[], None] | None = None,
    ) -> None:
        """Close the connection with an application error ``code``; the handler is not called any more.

        Data written before is still sent, until the peer has acknowledged all of it, or has acknowledged none
        of it for ``linger`` seconds. ``on_closed`` is called once CONNECTION_CLOSE was sent, at once on a
        connection that is closed.
        """
        if on_closed is not None:
            if self.closed:
                on_closed()
            else:
                self._on_closed.append(on_closed)
        if self.closed or (self.state is FLUSHING and linger):
            return
        self._close_with = code, reason.encode()[:MAX_REASON].decode(errors="ignore")
        if linger and self.pending:
            if self.state is OPEN:
                self._enter(FLUSHING)
            self._linger = Linger(linger, lambda: self.pending, self._close_now)
            self.touch()
        else:
            self._close_now()

    def break_off(self, reason: str) -> None:
        """Close the connection, and call ``connection_closed`` of the handler with ``reason``."""
        if self.closed:
            return
        closed_here, handler = self.state is FLUSHING, self.handler
        self.close(reason=reason)
        if not closed_here:
            handler.connection_closed(Closing(0, reason))

    def dismiss(self, reason: str) -> None:
        """As :meth:`break_off`, and release the connection at once, without a closing period (RFC 9000,
        section 10.2, allows that): later packets are not answered with CONNECTION_CLOSE."""
        self.break_off(reason)
        self._terminated()

    def _close_now(self) -> None:
        if self.closed:
            return
        code, reason = self._close_with
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
                log.exception("closing the connection to %s failed", self.remote_address)
        if datagrams:
            self.socket.send(datagrams)
            if self.closed:
                return  # The socket reported an ICMP error, which ended the connection.
        self._end(CLOSING)
        if self._close_packets:
            self._dispatch()
            if self.state is not TERMINATED:
                self._rearm()
        else:
            self._terminated()

    def _broken(self, doing: str, error: Exception) -> None:
        """An unexpected error, here or in the engine, ends this connection and no other."""
        log.error("connection with %s: %s failed", self.remote_address, doing, exc_info=error)
        if self.closed:
            return
        closed_here, handler = self.state is FLUSHING, self.handler
        self._close_with = 0, "internal error"
        self._close_now()
        if not closed_here:
            handler.connection_closed(Closing(0, f"internal error when {doing}"))

    # -- ended otherwise ---------------------------------------------------------------------------

    def _ending(self, closing: Closing) -> None:
        """The engine ends the connection: the peer closed it, was silent for too long, or broke the
        protocol."""
        closed_here, handler = self.state is FLUSHING, self.handler
        if closing.by_peer:
            self._end(DRAINING)
        else:
            # The engine has a CONNECTION_CLOSE to send.
            with self._lock:
                datagrams = self._close_packets.made(self.engine, self.engine.datagrams_to_send(self._time()))
            if datagrams:
                self.socket.send(datagrams)
                if self.closed:
                    return  # As in _close_now.
            self._end(CLOSING)
        if self.state is not TERMINATED:
            self._rearm()
        if not closed_here:
            handler.connection_closed(closing)

    def abandon(self, reason: str, *, unreachable: bool = False) -> None:
        """The peer cannot be reached: end without CONNECTION_CLOSE, and call ``connection_closed`` of the
        handler."""
        if self.closed:
            return
        closed_here, handler = self.state is FLUSHING, self.handler
        self._end(DRAINING)
        self._terminated()
        if not closed_here:
            handler.connection_closed(Closing(0, reason, unreachable=unreachable))

    def _end(self, state: ConnectionState) -> None:
        """Enter ``state``: from now on only CONNECTION_CLOSE is sent."""
        with self._lock:
            self._enter(state)
            self._outgoing.clear()
        if self._linger is not None:
            self._linger.cancel()
        callbacks, self._on_closed = self._on_closed, []
        for callback in callbacks:
            callback()

    def _terminated(self) -> None:
        """The closing or draining period is over."""
        before = self.state
        if before is TERMINATED:
            return
        if before is OPEN or before is FLUSHING:
            closing, handler = self.engine.closing(), self.handler
            self._end(TERMINATED)
            if before is OPEN and closing is not None:
                handler.connection_closed(closing)
        else:
            self._enter(TERMINATED)
        # The handler usually holds the connection: break the reference cycle.
        self.handler = NO_HANDLER
        self._linger = None
        self._released()
