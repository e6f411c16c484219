"""A QUIC listener, and its incoming connections until they are accepted."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Final, TypeVar

from quicdist.carrier.addresses import Address, NetAddress
from quicdist.carrier.contract import Incoming, Listener
from quicdist.carrier.errors import AcceptError
from quicdist.carrier.quic.accept_handshake import Accepting
from quicdist.carrier.quic.close_codes import incoming_ended
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.driver.listen_endpoint import IncomingHandler, ListenEndpoint
from quicdist.carrier.quic.engine.closing import Closing
from quicdist.carrier.quic.engine.events import HandshakeCompleted
from quicdist.carrier.refusal_log import RefusalLog
from quicdist.carrier.udp import SocketBuffers, UdpSocket
from quicdist.logs import clean, get_logger

log = get_logger("quicdist.carrier.quic")

A = TypeVar("A", bound=Accepting)

#: Bytes kept of a peer whose connection is not accepted yet; a handshake begins with far less.
MAX_EARLY: Final = 64 * 1024
#: Seconds from the first datagram of a connection until ``accept_connection`` must have taken it.
INCOMING_TIME: Final = 10.0


class IncomingState(Enum):
    """The state of an incoming connection::

    NEW ──> QUEUED ──> ACCEPTED
     └────────┴──────> CLOSED
    """

    #: Its QUIC handshake is under way.
    NEW = "new"
    #: The QUIC handshake is complete, or early data has come: ``accept`` yields it.
    QUEUED = "queued"
    #: Taken by ``accept_connection``: the distribution handshake runs.
    ACCEPTED = "accepted"
    #: Closed by either side before it was accepted.
    CLOSED = "closed"


#: The states that may follow each state.
TRANSITIONS: Final = {
    IncomingState.NEW: {IncomingState.QUEUED, IncomingState.CLOSED},
    IncomingState.QUEUED: {IncomingState.ACCEPTED, IncomingState.CLOSED},
    IncomingState.ACCEPTED: frozenset[IncomingState](),
    IncomingState.CLOSED: frozenset[IncomingState](),
}


class QuicListener(Listener):
    """A listening address of a QUIC carrier, and the connections that wait to be accepted."""

    endpoint: ListenEndpoint

    def __init__(self, udp: UdpSocket, family: str) -> None:
        self._address = NetAddress(
            udp.local.host, udp.local.port, family, "inet6" if ":" in udp.local.host else "inet"
        )
        #: The socket buffers that the system granted.
        self.buffers: SocketBuffers = udp.buffers
        #: Connections to be accepted; None at the end. Bounded by the endpoint's ``max_half_open``.
        self.arrived: asyncio.Queue[QuicIncoming | None] = asyncio.Queue()
        #: Log lines about refused connections.
        self.refused = RefusalLog()
        self.failed: Counter[str] = Counter()

    @property
    def address(self) -> NetAddress:
        return self._address

    def close(self) -> None:
        """Stop listening; connections in their handshake are closed."""
        for connection in tuple(self.endpoint.half_open):
            connection.break_off("no longer listening")
        self.endpoint.stop_accepting()
        self.arrived.put_nowait(None)


class QuicIncoming(Incoming, IncomingHandler):
    """An incoming QUIC connection, from its first datagram until ``accept_connection``."""

    def __init__(self, endpoint: ListenEndpoint, listener: QuicListener) -> None:
        self.endpoint = endpoint
        self.connection: QuicConnection
        self.state = IncomingState.NEW
        self._listener = listener
        self._early: list[tuple[int, bytes, bool]] = []
        self._early_size = 0
        self._closing: Closing | None = None
        self._timer = asyncio.get_running_loop().call_later(INCOMING_TIME, self._too_late)

    def _enter(self, state: IncomingState) -> None:
        assert state in TRANSITIONS[self.state], f"{self.remote_address}: {self.state.name} to {state.name}"
        self.state = state

    @property
    def remote_address(self) -> Address:
        return self.connection.remote_address

    # -- the handler of the QUIC connection ----------------------------------------------------

    def opened(self, connection: QuicConnection) -> None:
        self.connection = connection

    def handshake_completed(self, event: HandshakeCompleted) -> None:
        self._queue()

    def _queue(self) -> None:
        if self.state is IncomingState.NEW:
            self._enter(IncomingState.QUEUED)
            self._listener.arrived.put_nowait(self)

    def stream_data(self, stream_id: int, data: bytes, end: bool) -> None:
        self._early.append((stream_id, data, end))
        self._early_size += len(data)
        # Early data, if the QUIC handshake is not complete: the name can be answered already.
        self._queue()
        if self._early_size > MAX_EARLY:
            self._drop(f"it sent more than {MAX_EARLY} bytes before it was accepted")

    def stream_reset(self, stream_id: int, code: int) -> None:
        self._drop(f"it reset stream {stream_id} before the handshake")

    def path_changed(self) -> None:
        """The address is read from the connection."""

    def events_processed(self) -> None:
        """Nothing waits for acknowledgements."""

    def connection_closed(self, closing: Closing) -> None:
        self._count(_kind(closing))
        self._end()
        self._closing = closing
        known = closing.by_peer or closing.tls_alert is not None
        self.refused(logging.WARNING if known else logging.DEBUG, incoming_ended(closing))

    # -- the end -------------------------------------------------------------------------------

    def _too_late(self) -> None:
        self._drop(f"no handshake within {INCOMING_TIME:g} s")

    def _count(self, kind: str) -> None:
        if self.state is IncomingState.NEW:
            self._listener.failed[kind] += 1

    def _drop(self, reason: str) -> None:
        self._count("Dropped")
        self.refused(logging.WARNING, reason)
        self.close(reason)

    def refused(self, level: int, reason: str) -> None:
        """Log why it was refused, a few times a minute."""
        where = self.remote_address
        if not log.isEnabledFor(level):
            return
        note = self._listener.refused.admit(where.host, level)
        if note is not None:
            log.log(level, "connection from %s refused: %s%s", where, clean(reason, 1000), note)

    def close(self, reason: str = "not accepted") -> None:
        self._end()
        self.connection.close(reason=reason)

    def _end(self) -> None:
        self._timer.cancel()
        if self.state is IncomingState.NEW or self.state is IncomingState.QUEUED:
            self._enter(IncomingState.CLOSED)

    def accept(self, begin: Callable[[QuicConnection], A]) -> A:
        """Begin the distribution handshake with the data that has come. Raises AcceptError if the connection
        has ended."""
        if self.state is IncomingState.CLOSED:
            raise AcceptError(self.remote_address, f"it has ended: {self._closing or 'it was closed'}")
        self._timer.cancel()
        self._enter(IncomingState.ACCEPTED)
        handshake = begin(self.connection)
        self.connection.handler = handshake
        early, self._early = self._early, []
        for stream_id, data, end in early:
            handshake.stream_data(stream_id, data, end)
        return handshake


def _kind(closing: Closing) -> str:
    """The reason in :attr:`Listener.failed` of a connection that ended in its QUIC handshake."""
    if closing.tls_alert is not None:
        return "TlsAlert"
    if closing.is_idle:
        return "Silent"
    return "PeerClosed" if closing.by_peer else "Dropped"
