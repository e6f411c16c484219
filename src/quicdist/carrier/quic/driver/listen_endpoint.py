"""A listening socket: datagrams are routed to its connections by connection id (RFC 9000, section 5.2)."""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from quicdist.carrier.addresses import source_of
from quicdist.carrier.datagram_socket import Datagram, SocketAddress
from quicdist.carrier.evicting_table import EvictingTable
from quicdist.carrier.quic.driver.admission import Admission, AdmissionSettings, Opening
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.driver.connection_lifecycle import ConnectionHandler
from quicdist.carrier.quic.driver.endpoint import MAX_KEPT, Endpoint, EndpointState
from quicdist.carrier.quic.driver.peer_loss import CONNECTION_UNKNOWN, PORT_UNREACHABLE, PeerLossDetector
from quicdist.carrier.quic.driver.stateless_reset import RESET, StatelessResets, is_reset
from quicdist.carrier.quic.driver.unauthenticated_queue import Stage, UnauthenticatedQueue
from quicdist.carrier.quic.engine.contract import Acceptor
from quicdist.carrier.quic.engine.path_mtu import MIN_SIZE
from quicdist.carrier.quic.engine.state import EngineState
from quicdist.carrier.quic.engine.wire.long_header import LONG, VERSION_NEGOTIATION, long_header
from quicdist.carrier.udp import REFUSED, UdpSocket
from quicdist.logs import RateLimit, get_logger

log = get_logger("quicdist.carrier.quic")

#: Datagrams kept for the event loop while it is blocked: those of connections that are not authenticated.
MAX_WAITING = 1024


class ListenEndpoint(Endpoint):
    """A listening socket and the connections that it has accepted.

    ``new_handler`` makes the handler of a new connection. The number of connections that are not
    authenticated is bounded: when all places are taken, a new one evicts another
    (:class:`~quicdist.carrier.evicting_table.EvictingTable`). ``acceptor`` makes the engines, ``resets``
    answers packets of unknown connections.
    """

    def __init__(
        self,
        socket: UdpSocket,
        acceptor: Acceptor,
        new_handler: Callable[[ListenEndpoint], IncomingHandler],
        *,
        admission: AdmissionSettings,
        resets: StatelessResets,
    ) -> None:
        super().__init__()
        self.socket = socket
        socket.receiver = self
        socket.sift = self._sift
        socket.report_to(self._reported)
        self._acceptor = acceptor
        self._id_length = acceptor.id_length
        self._new_handler = new_handler
        self._resets = resets
        self._routes: dict[bytes, QuicConnection] = {}
        self._ids: dict[QuicConnection, set[bytes]] = {}
        self._peer_losses: dict[QuicConnection, PeerLossDetector] = {}
        #: Connections in their QUIC or distribution handshake.
        self.half_open: EvictingTable[QuicConnection] = EvictingTable(
            admission.max_half_open, admission.max_half_open_per_source
        )
        self._admission = Admission(
            admission,
            id_length=self._id_length,
            half_open=self.half_open.__len__,
            answer=self._answer,
            packets=acceptor.packets,
        )
        self._queue = UnauthenticatedQueue(self._handle_unauthenticated, self._work_later)
        self._strays = 0
        #: Datagrams that came while the event loop was blocked; and whether a call that handles them is
        #: scheduled.
        self._waiting: list[Datagram] = []
        self._wake_scheduled = False
        self._lines = RateLimit(lines=1)

    @property
    def connections(self) -> Sequence[QuicConnection]:
        return tuple(self._ids)

    @property
    def strays(self) -> int:
        """Datagrams dropped because they belong to no connection and open none, or because the queue for
        unauthenticated peers was full."""
        return self._strays + self._queue.dropped

    def stop_accepting(self) -> None:
        """Accept no more connections; the socket closes with the last one."""
        if self.state is EndpointState.OPEN:
            self._enter(EndpointState.FINISHING)
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self.state is EndpointState.FINISHING and not self._ids:
            self._close()

    # -- routing ---------------------------------------------------------------------------

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        now = self._clock()
        batches: dict[QuicConnection, list[Datagram]] = {}
        routes = self._routes
        end = 1 + self._id_length
        for datagram in batch:
            data = datagram[0]
            # A short header is a byte and the connection id (RFC 9000, section 17.3).
            connection = routes.get(data[1:end]) if data and not data[0] & LONG else None
            if connection is None or not connection.is_authenticated:
                self._put(datagram, connection)
                continue
            if connection in batches:
                batches[connection].append(datagram)
            else:
                batches[connection] = [datagram]
        for connection, its in batches.items():
            connection.receive(its, now)
        for connection in batches:
            connection.process_events()
        if self._queue.size:
            self._queue.work(now)

    def _sift(self, datagrams: Sequence[Datagram]) -> list[Datagram]:
        """The datagrams of authenticated connections; the others are queued."""
        routes = self._routes
        end = 1 + self._id_length
        links = []
        #: Addresses whose queue is full: their other datagrams are dropped at once.
        full: set[SocketAddress] = set()
        for datagram in datagrams:
            data, address = datagram
            connection = routes.get(data[1:end]) if data and not data[0] & LONG else None
            if connection is not None and connection.is_authenticated:
                links.append(datagram)
            elif address in full:
                self._strays += 1
            elif not self._put(datagram, connection):
                full.add(address)
        return links

    def _put(self, datagram: Datagram, connection: QuicConnection | None) -> bool:
        """Queue a datagram that belongs to no link; False if the queue is full. ``connection``: the
        connection of a short header."""
        if connection is None and self._ids:
            header = long_header(datagram[0])
            connection = None if header is None else self._routes.get(header.destination)
        stage = Stage.NEW
        if connection is not None and _may_come_from(connection, datagram[1]):
            stage = Stage.VALIDATED if connection.engine.path_is_valid() else Stage.HANDSHAKE
        return self._queue.put(datagram, stage)

    def _work_later(self, seconds: float) -> None:
        self._loop.call_later(seconds, self._work)

    def _work(self) -> None:
        self._queue.work_later(self._clock())

    def _handle_unauthenticated(self, address: SocketAddress, datagrams: Sequence[Datagram]) -> None:
        """Handle all queued datagrams of one address."""
        now = self._clock()
        touched: dict[QuicConnection, None] = {}
        for data, _ in datagrams:
            if data and not data[0] & LONG:
                connection = self._routes.get(data[1 : 1 + self._id_length])
                if connection is None:
                    self._stray(data, address, now)
                    continue
            elif (connection := self._route_long(data, address, now)) is None:
                continue
            if not (connection.is_authenticated or _may_come_from(connection, address)):
                self._strays += 1
                continue
            connection.receive([(data, address)], now)
            touched[connection] = None
        for connection in touched:
            if connection.engine.state() is EngineState.FIRST_FLIGHT:
                # No packet in it could be decrypted: it did not begin a connection.
                connection.abandon("its first datagram could not be decrypted")
                continue
            if connection.engine.path_is_valid():
                self.half_open.validated(connection)
            connection.process_events()

    def _keep_alive(self, now: float) -> int:
        batches: dict[QuicConnection, list[Datagram]] = {connection: [] for connection in self.connections}
        taken = self.socket.take(MAX_KEPT)
        for data, address in taken:
            connection = None
            if data and not data[0] & LONG:
                connection = self._routes.get(data[1 : 1 + self._id_length])
            if connection in batches and connection.takes_datagrams:
                batches[connection].append((data, address))
            # New connections and handshakes are for the event loop.
            elif len(self._waiting) < MAX_WAITING:
                self._waiting.append((data, address))
        for connection, batch in batches.items():
            connection.keep_alive(now, batch)
        if self._waiting and not self._wake_scheduled:
            self._wake_scheduled = True
            self._loop.call_soon_threadsafe(self._kept_alive)
        return len(taken)

    def _kept_alive(self) -> None:
        """The event loop runs again."""
        with self._keeper.lock:
            self._wake_scheduled = False
            waiting, self._waiting = self._waiting, []
        self.datagrams_received(waiting)

    def _route_long(self, data: bytes, address: SocketAddress, now: float) -> QuicConnection | None:
        """The connection of a packet with a long header, which may be opened for it; None if it has none."""
        header = long_header(data)
        if header is None:
            self._strays += 1
            return None
        connection = self._routes.get(header.destination)
        # A shorter datagram opens no connection and gets no answer (RFC 9000, sections 6.1 and 14.1).
        if connection is None and len(data) >= MIN_SIZE:
            if header.version in self._acceptor.versions:
                accepting = self.state is EndpointState.OPEN
                opening = self._admission.consider(header, data, address, now, accepting=accepting)
                if opening is not None:
                    return self._open(header.destination, opening, address)
            # Never in answer to Version Negotiation: two listeners could be made to answer each other.
            elif header.version != VERSION_NEGOTIATION and self._admission.may_negotiate(now):
                self._answer(self._acceptor.packets.version_negotiation(header), address)
        self._strays += connection is None
        return connection

    def _stray(self, data: bytes, address: SocketAddress, now: float) -> None:
        """A packet with a short header belongs to no connection: this side has lost it, or it is a stateless
        reset of a peer that has."""
        self._strays += 1
        for connection in self._links_of(address):
            if is_reset(data, connection.engine.reset_tokens()):
                connection.abandon(RESET)
                return
            self._hint(connection, CONNECTION_UNKNOWN)
        answer = self._resets.answer(data, data[1 : 1 + self._id_length], now)
        if answer is not None:
            self._answer(answer, address)

    def _links_of(self, address: SocketAddress) -> list[QuicConnection]:
        """The authenticated connections with the peer at an address."""
        return [
            connection
            for connection in self._ids
            if connection.is_authenticated and connection.engine.get_peer_address() == address
        ]

    def _hint(self, connection: QuicConnection, reason: str) -> None:
        """The peer may have lost the connection."""
        if connection not in self._ids:
            return  # A hint about another connection has ended this one as well.
        peer_loss = self._peer_losses.get(connection)
        if peer_loss is None:
            peer_loss = self._peer_losses[connection] = PeerLossDetector(connection)
        peer_loss.hint(reason)

    def _reported(self, number: int, address: SocketAddress) -> None:
        """ICMP reported an error for an address that was sent to."""
        for connection in self._links_of(address):
            if number in REFUSED:
                self._hint(connection, PORT_UNREACHABLE)
            elif number == errno.EMSGSIZE:
                connection.too_long()

    def _answer(self, data: bytes, address: SocketAddress) -> None:
        self.socket.send(((data, address),))

    # -- new connections -------------------------------------------------------------------

    def _open(self, connection_id: bytes, opening: Opening, address: SocketAddress) -> QuicConnection:
        engine = self._acceptor.accept(opening.original_id, opening.retry_id)
        handler = self._new_handler(self)
        connection = QuicConnection(
            engine, self.socket, handler, on_gone=self._connection_gone, on_connection_id=self._connection_id
        )
        self._ids[connection] = set()
        for each in (connection_id, engine.host_cid):
            self._connection_id(connection, each, True)
        handler.opened(connection)
        source = source_of(str(address[0]))
        evicted = self.half_open.enter(connection, source, validated=opening.retry_id is not None)
        if evicted is not None:
            self._evict(evicted)
        return connection

    def _evict(self, connection: QuicConnection) -> None:
        note = self._lines.admit()
        if note is not None:
            log.warning(
                "connection from %s evicted by a new one: %d are in their handshake%s",
                connection.remote_address,
                len(self.half_open),
                note,
            )
        connection.dismiss("evicted by a newer connection while in its handshake")

    def _connection_id(self, connection: QuicConnection, connection_id: bytes, issued: bool) -> None:
        ids = self._ids.get(connection)
        if ids is None:
            return
        if issued:
            ids.add(connection_id)
            self._routes[connection_id] = connection
        else:
            ids.discard(connection_id)
            self._routes.pop(connection_id, None)

    def _connection_gone(self, connection: QuicConnection) -> None:
        self.half_open.leave(connection)
        peer_loss = self._peer_losses.pop(connection, None)
        if peer_loss is not None:
            peer_loss.stop()
        for connection_id in self._ids.pop(connection, ()):
            self._routes.pop(connection_id, None)
        self._close_if_idle()

    def socket_error(self, error: OSError) -> None:
        # The kernel does not say which connection it is about; QUIC recovers what was lost.
        log.debug("socket %s: %s", self.socket.local, error)

    def too_long(self, size: int, address: SocketAddress) -> None:
        for connection in self.connections:
            if connection.engine.get_peer_address() == address:
                connection.too_long(size)


def _may_come_from(connection: QuicConnection, address: SocketAddress) -> bool:
    """Whether a packet of a connection in its handshake may come from ``address``: a client must not change
    its address before the handshake is confirmed (RFC 9000, section 9)."""
    known = connection.engine.get_peer_address()
    return known is None or known == address or connection.engine.path_is_valid()


class IncomingHandler(ConnectionHandler, ABC):
    """The handler of a connection that was just accepted."""

    @abstractmethod
    def opened(self, connection: QuicConnection) -> None:
        """Called once, before anything else, with the connection."""
