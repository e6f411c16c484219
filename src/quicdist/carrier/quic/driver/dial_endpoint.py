"""The socket of a dialled connection.

It is connected to the peer: the kernel then tells at once when nobody listens there, and a move to
another network is a new socket.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

from quicdist.carrier.quic.driver.channel import Channel, ChannelHandler
from quicdist.carrier.quic.driver.doubt import CONNECTION_LOST, NOBODY_ANY_MORE, Doubt
from quicdist.carrier.quic.driver.endpoint import MAX_KEPT, Endpoint
from quicdist.carrier.quic.driver.migration import Migration
from quicdist.carrier.quic.driver.stateless_reset import RESET, is_reset
from quicdist.carrier.quic.engine.contract import Engine
from quicdist.carrier.quic.engine.wire.long_header import LONG
from quicdist.carrier.udp import REFUSED, UNREACHABLE, Datagram, OpenSocket, SocketAddress, UdpSocket

#: Why a dialled connection never came about, by the kernel's account.
NOBODY_LISTENS = "nobody listens there (connection refused)"
NO_WAY = "no way leads there"


class DialEndpoint(Endpoint):
    """The socket of one dialled connection."""

    def __init__(
        self,
        socket: UdpSocket,
        remote: SocketAddress,
        engine: Engine,
        handler: ChannelHandler,
        *,
        sockets: OpenSocket,
    ) -> None:
        super().__init__()
        self.socket = socket
        socket.receiver = self
        #: Our connection ids. The peer's stateless reset shows one that is none of them.
        self._ids: set[bytes] = set()
        self._id_end = 1 + len(engine.host_cid)
        self.channel = Channel(
            engine,
            socket,
            handler,
            on_gone=self._channel_gone,
            on_connection_id=self._connection_id,
        )
        self._ids.add(self.channel.quic.host_cid)
        self._migration = Migration(self, remote, sockets)
        self._doubt = Doubt(self.channel)
        self.channel.migrate = self._migration.migrate
        # Nothing is sent before ``channel.transmit()``: there may be early data to go with it.
        self.channel.quic.connect(remote, self._loop.time())

    @property
    def channels(self) -> Sequence[Channel]:
        return (self.channel,)

    def _channel_gone(self, channel: Channel) -> None:
        self._migration.stop()
        self._doubt.stop()
        self.socket.close()
        self.gone()

    def _connection_id(self, channel: Channel, connection_id: bytes, issued: bool) -> None:
        if issued:
            self._ids.add(connection_id)
        else:
            self._ids.discard(connection_id)

    def shut(self, reason: str = "") -> None:
        super().shut(reason)
        self._migration.stop()

    # -- another path: what Migration asks for -----------------------------------------------

    @property
    def closed(self) -> bool:
        return self.channel.closed

    @property
    def heard(self) -> int:
        return self.channel.quic.packets_received()

    @property
    def waiting(self) -> bool:
        return self.heard > 0 and self.channel.quic.in_flight() > 0

    def use(self, udp: UdpSocket) -> None:
        udp.receiver = self
        self.socket = self.channel.socket = udp
        self._doubt.stop()
        self.channel.path_changed()

    # -- the socket's receiver ---------------------------------------------------------------

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        now = self._loop.time()
        receive, ids, end = self.channel.receive, self._ids, self._id_end
        stray = False
        for data, address in batch:
            if data[1:end] not in ids and data and not data[0] & LONG:
                if is_reset(data, self.channel.quic.reset_tokens()):
                    self.channel.abandon(RESET)
                    return
                stray = True
            receive(data, address, now)
        self.channel.turn()
        if stray and self.heard:
            self._doubt.hint(CONNECTION_LOST)

    def _keep_alive(self, now: float) -> int:
        channel = self.channel
        batch = self.socket.take(MAX_KEPT) if channel.takes_datagrams else []
        channel.keep_alive(now, batch)
        return len(batch)

    def socket_error(self, error: OSError) -> None:
        channel = self.channel
        if error.errno == errno.EMSGSIZE:
            channel.too_long()
        elif channel.quic.packets_received() == 0:
            # Still dialling.
            if error.errno in REFUSED:
                channel.abandon(NOBODY_LISTENS, unreachable=True)
            elif error.errno in UNREACHABLE:
                channel.abandon(f"{NO_WAY}: {error.strerror}", unreachable=True)
        elif self._migration.socket_error(error):
            pass
        elif error.errno in REFUSED:
            self._doubt.hint(NOBODY_ANY_MORE)

    def too_long(self, size: int, address: SocketAddress) -> None:
        self.channel.too_long(size)
