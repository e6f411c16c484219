"""The socket of a dialled connection.

It is connected to the peer: so the kernel reports at once that the port is closed (ICMP), and a move to
another network is a new socket.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Final

from quicdist.carrier.datagram_socket import Datagram, OpenSocket, SocketAddress
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.driver.connection_lifecycle import ConnectionHandler
from quicdist.carrier.quic.driver.endpoint import MAX_KEPT, Endpoint
from quicdist.carrier.quic.driver.migration import Migration
from quicdist.carrier.quic.driver.peer_loss import CONNECTION_UNKNOWN, PORT_UNREACHABLE, PeerLossDetector
from quicdist.carrier.quic.driver.stateless_reset import RESET, is_reset
from quicdist.carrier.quic.engine.contract import Engine
from quicdist.carrier.quic.engine.wire.long_header import LONG
from quicdist.carrier.udp import REFUSED, UNREACHABLE, UdpSocket

#: Why a dialled connection was not established, as reported by the kernel.
CONNECTION_REFUSED: Final = "connection refused (ICMP port unreachable)"
UNREACHABLE_NETWORK: Final = "network unreachable"


class DialEndpoint(Endpoint):
    """The socket of one dialled connection."""

    def __init__(
        self,
        socket: UdpSocket,
        remote: SocketAddress,
        engine: Engine,
        handler: ConnectionHandler,
        *,
        sockets: OpenSocket,
    ) -> None:
        super().__init__()
        self.socket = socket
        socket.receiver = self
        #: The connection ids of this side. A stateless reset of the peer shows none of them.
        self._ids: set[bytes] = set()
        self._id_end = 1 + len(engine.host_cid)
        self.connection = QuicConnection(
            engine,
            socket,
            handler,
            on_gone=self._connection_gone,
            on_connection_id=self._connection_id,
        )
        self._ids.add(self.connection.engine.host_cid)
        self._migration = Migration(self, remote, sockets)
        self._peer_loss = PeerLossDetector(self.connection)
        self.connection.migrate = self._migration.migrate
        # Nothing is sent before ``connection.transmit()``: early data may be written first.
        self.connection.engine.connect(remote, self._clock())

    @property
    def connections(self) -> Sequence[QuicConnection]:
        return (self.connection,)

    def _connection_gone(self, connection: QuicConnection) -> None:
        self._migration.stop()
        self._peer_loss.stop()
        self._close()

    def _connection_id(self, connection: QuicConnection, connection_id: bytes, issued: bool) -> None:
        if issued:
            self._ids.add(connection_id)
        else:
            self._ids.discard(connection_id)

    def shut(self, reason: str = "") -> None:
        super().shut(reason)
        self._migration.stop()

    # -- migration -----------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        return self.connection.closed

    @property
    def heard(self) -> int:
        return self.connection.engine.packets_received()

    @property
    def waiting(self) -> bool:
        return self.heard > 0 and self.connection.engine.in_flight() > 0

    def use(self, udp: UdpSocket) -> None:
        udp.receiver = self
        self.socket = udp
        self._peer_loss.stop()
        self.connection.use_socket(udp)

    # -- the socket's receiver ---------------------------------------------------------------

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        now = self._clock()
        ids, end = self._ids, self._id_end
        stray = False
        for number, (data, _) in enumerate(batch):
            if data[1:end] not in ids and data and not data[0] & LONG:
                if is_reset(data, self.connection.engine.reset_tokens()):
                    self.connection.receive(batch[:number], now)
                    self.connection.abandon(RESET)
                    return
                stray = True
        self.connection.receive(batch, now)
        self.connection.process_events()
        if stray and self.heard:
            self._peer_loss.hint(CONNECTION_UNKNOWN)

    def _keep_alive(self, now: float) -> int:
        connection = self.connection
        batch = self.socket.take(MAX_KEPT) if connection.takes_datagrams else []
        connection.keep_alive(now, batch)
        return len(batch)

    def socket_error(self, error: OSError) -> None:
        connection = self.connection
        if error.errno == errno.EMSGSIZE:
            connection.too_long()
        elif connection.engine.packets_received() == 0:
            # Still dialling.
            if error.errno in REFUSED:
                connection.abandon(CONNECTION_REFUSED, unreachable=True)
            elif error.errno in UNREACHABLE:
                connection.abandon(f"{UNREACHABLE_NETWORK}: {error.strerror}", unreachable=True)
        elif self._migration.socket_error(error):
            pass
        elif error.errno in REFUSED:
            self._peer_loss.hint(PORT_UNREACHABLE)

    def too_long(self, size: int, address: SocketAddress) -> None:
        self.connection.too_long(size)
