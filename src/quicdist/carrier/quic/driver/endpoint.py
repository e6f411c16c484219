"""Sockets with the QUIC connections on them: one that dials, one that listens.

A dialled connection has a socket of its own, connected to the peer: the kernel then tells at once
when nobody listens there, and a move to another network is a new socket. A listener has one socket
for all its connections and tells them apart by connection id (RFC 9000, section 5.2).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from weakref import WeakKeyDictionary, WeakSet

from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE, QuicConfiguration
from aioquic.quic.packet import encode_quic_version_negotiation
from aioquic.tls import SessionTicket, SessionTicketHandler

from quicdist.carrier.keepalive import KeepAlive
from quicdist.carrier.process_exit import at_exit
from quicdist.carrier.quic.driver import aioquic_adapter as adapter
from quicdist.carrier.quic.driver.channel import Channel, ChannelHandler
from quicdist.carrier.quic.driver.migration import Migration
from quicdist.carrier.quic.driver.tickets import TicketStore
from quicdist.carrier.udp import REFUSED, UNREACHABLE, Datagram, SocketAddress, UdpSocket, to_address
from quicdist.logs import get_logger

log = get_logger("quicdist.carrier.quic")

#: ICMP may be forged, and a peer may be back in a moment: an established connection is given up only
#: after this many refusals in a row, over this many seconds, with nothing from the peer in between.
REFUSALS = 3
REFUSED_FOR = 1.0

#: Datagrams taken from a socket at once while the loop stands still: then they are acknowledged. More are
#: taken for so many seconds.
MAX_KEPT = 64
KEPT_TIME = 0.1
#: Datagrams that wait for the loop then: those of connections that are no links yet.
MAX_WAITING = 1024

#: Why a dialled connection never came about, by the kernel's account.
NOBODY_LISTENS = "nobody listens there (connection refused)"
NO_WAY = "no way leads there"


class Endpoint(ABC):
    """A socket and the connections on it, known to the event loop and to the end of the process,
    so that peers get a CONNECTION_CLOSE even if the program just stops, and are kept alive while the
    loop stands still."""

    socket: UdpSocket

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._keeper = KeepAlive.of(self._loop)

    @property
    @abstractmethod
    def channels(self) -> Sequence[Channel]:
        """The connections on this socket."""

    def keep_alive(self, now: float) -> None:
        """See :class:`~quicdist.carrier.keepalive.Kept`."""
        while self._keep_alive(time.monotonic()) == MAX_KEPT and time.monotonic() - now < KEPT_TIME:
            pass

    @abstractmethod
    def _keep_alive(self, now: float) -> int:
        """One round of that; how many datagrams were taken from the socket."""

    def gone(self) -> None:
        """Nothing is left to shut or to keep alive."""
        _endpoints.discard(self)
        self._keeper.discard(self)

    def shut(self, reason: str = "") -> None:
        """Close all connections and the socket now."""
        for channel in self.channels:
            channel.close(reason=reason)
        self.socket.close()

    def socket_writable(self) -> None:
        for channel in self.channels:
            channel.transmit()


# -- the end of the loop and of the process ----------------------------------------------------

_endpoints: WeakSet[Endpoint] = WeakSet()
_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncIterator[None]] = WeakKeyDictionary()


async def _loop_watcher(loop: asyncio.AbstractEventLoop) -> AsyncIterator[None]:
    try:
        yield
    finally:
        _shut_all(loop)


def _shut_all(loop: asyncio.AbstractEventLoop | None = None) -> None:
    for endpoint in list(_endpoints):
        if loop is None or endpoint.socket.loop is loop:
            with contextlib.suppress(Exception):
                endpoint.shut("the program ends")


async def register(endpoint: Endpoint) -> None:
    """Have ``endpoint`` shut when the loop or the process ends, and kept alive in its standstills."""
    loop = asyncio.get_running_loop()
    if not endpoint.socket.closed:
        _endpoints.add(endpoint)
        KeepAlive.of(loop).add(endpoint)
    if loop not in _watchers:
        # asyncio closes the asynchronous generators it knows as the last thing it does in a loop:
        # the one notice of its end there is without a task.
        watcher = _watchers[loop] = _loop_watcher(loop)
        await anext(watcher)


at_exit(_shut_all)


# -- dialling ----------------------------------------------------------------------------------


class DialEndpoint(Endpoint):
    """The socket of one dialled connection."""

    def __init__(
        self,
        socket: UdpSocket,
        remote: SocketAddress,
        configuration: QuicConfiguration,
        handler: ChannelHandler,
        on_ticket: SessionTicketHandler | None = None,
    ) -> None:
        super().__init__()
        self.socket = socket
        socket.receiver = self
        self._refusals = 0
        self._refused_at = 0.0
        self.channel = Channel(
            adapter.Connection(configuration=configuration, session_ticket_handler=on_ticket),
            socket,
            handler,
            on_gone=self._channel_gone,
        )
        self._migration = Migration(self, remote)
        self.channel.migrate = self._migration.migrate
        # Nothing is sent before ``channel.transmit()``: there may be early data to go with it.
        self.channel.quic.connect(remote, self._loop.time())

    @property
    def channels(self) -> Sequence[Channel]:
        return (self.channel,)

    def _channel_gone(self, channel: Channel) -> None:
        self._migration.stop()
        self.socket.close()
        self.gone()

    def shut(self, reason: str = "") -> None:
        super().shut(reason)
        self._migration.stop()

    # -- another path: what Migration asks for -----------------------------------------------

    @property
    def closed(self) -> bool:
        return self.channel.closed

    @property
    def heard(self) -> int:
        return adapter.packets_received(self.channel.quic)

    @property
    def waiting(self) -> bool:
        return self.heard > 0 and adapter.in_flight(self.channel.quic) > 0

    def use(self, udp: UdpSocket) -> None:
        udp.receiver = self
        self.socket = self.channel.socket = udp
        self._refusals = 0
        self.channel.path_changed()

    # -- the socket's receiver ---------------------------------------------------------------

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        now = self._loop.time()
        receive = self.channel.receive
        for data, address in batch:
            receive(data, address, now)
        self.channel.turn()
        self._refusals = 0

    def _keep_alive(self, now: float) -> int:
        channel = self.channel
        batch = self.socket.take(MAX_KEPT) if channel.takes_datagrams else []
        channel.keep_alive(now, batch)
        return len(batch)

    def socket_error(self, error: OSError) -> None:
        channel = self.channel
        if error.errno == errno.EMSGSIZE:
            channel.too_long()
        elif adapter.packets_received(channel.quic) == 0:
            # Still dialling.
            if error.errno in REFUSED:
                channel.abandon(NOBODY_LISTENS, unreachable=True)
            elif error.errno in UNREACHABLE:
                channel.abandon(f"{NO_WAY}: {error.strerror}", unreachable=True)
        elif self._migration.socket_error(error):
            pass
        elif error.errno in REFUSED:
            now = self._loop.time()
            if not self._refusals:
                self._refused_at = now
            self._refusals += 1
            if self._refusals >= REFUSALS and now - self._refused_at >= REFUSED_FOR:
                channel.abandon("nobody listens at its address any more", unreachable=True)
            else:
                channel.ping()

    def too_long(self, size: int, address: SocketAddress) -> None:
        self.channel.too_long(size)


# -- listening ---------------------------------------------------------------------------------


#: The version field of a Version Negotiation packet (RFC 8999, section 6).
_VERSION_NEGOTIATION = 0
#: The type bits of an Initial packet in QUIC version 1 (RFC 9000, section 17.2).
_INITIAL = 0x00
_MAX_ID = 20


def _long_header(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Version, destination and source connection id of a packet with a long header, as all
    versions of QUIC have it (RFC 8999, section 5.1); None for anything else."""
    try:
        source = 6 + data[5]
        end = source + 1 + data[source]
    except IndexError:
        return None
    if end > len(data) or data[5] > _MAX_ID or data[source] > _MAX_ID:
        return None
    return int.from_bytes(data[1:5], "big"), data[6:source], data[source + 1 : end]


class ListenEndpoint(Endpoint):
    """A socket with all the connections that came in by it.

    ``new_handler`` gives the handler of a new connection. At most ``max_half_open`` connections
    may be in their QUIC handshake at once; further ones are not answered, and a peer that means it
    asks again. ``issued`` keeps the session tickets given out; without it there are none.
    """

    def __init__(
        self,
        socket: UdpSocket,
        configuration: QuicConfiguration,
        new_handler: Callable[[ListenEndpoint], IncomingHandler],
        *,
        max_half_open: int,
        issued: TicketStore[bytes] | None = None,
    ) -> None:
        super().__init__()
        self.socket = socket
        socket.receiver = self
        self._configuration = configuration
        self._id_length = configuration.connection_id_length
        self._new_handler = new_handler
        self._max_half_open = max_half_open
        self._issued = issued
        self._routes: dict[bytes, Channel] = {}
        self._ids: dict[Channel, set[bytes]] = {}
        #: Connections that are no links yet.
        self.half_open: set[Channel] = set()
        self.accepting = True
        #: Datagrams that belonged to no connection and opened none.
        self.strays = 0
        #: What came while the loop stood still and is for the loop; whether it was told.
        self._waiting: list[Datagram] = []
        self._told = False

    @property
    def channels(self) -> Sequence[Channel]:
        return tuple(self._ids)

    def stop_accepting(self) -> None:
        """Take no more connections; the socket closes with the last one."""
        self.accepting = False
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if not (self.accepting or self._ids):
            self.socket.close()
            self.gone()

    # -- routing ---------------------------------------------------------------------------

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        now = self._loop.time()
        touched: dict[Channel, None] = {}
        routes = self._routes
        end = 1 + self._id_length
        for data, address in batch:
            # A short header is a byte and the connection id (RFC 9000, section 17.3).
            if data and not data[0] & 0x80:
                channel = routes.get(data[1:end])
            else:
                channel = self._route_long(data, address)
            if channel is None:
                self.strays += 1
                continue
            channel.receive(data, address, now)
            touched[channel] = None
        for channel in touched:
            if channel in self.half_open and adapter.is_fresh(channel.quic):
                # Not one packet in it made sense: no connection, whatever it was.
                channel.abandon("its first datagram was not understood")
            else:
                channel.turn()

    def _keep_alive(self, now: float) -> int:
        batches: dict[Channel, list[Datagram]] = {channel: [] for channel in self.channels}
        taken = self.socket.take(MAX_KEPT)
        for data, address in taken:
            channel = None
            if data and not data[0] & 0x80:
                channel = self._routes.get(data[1 : 1 + self._id_length])
            if channel in batches and channel.takes_datagrams:
                batches[channel].append((data, address))
            # What begins a connection, or goes on with a handshake, is for the loop.
            elif len(self._waiting) < MAX_WAITING:
                self._waiting.append((data, address))
        for channel, batch in batches.items():
            channel.keep_alive(now, batch)
        if self._waiting and not self._told:
            self._told = True
            self._loop.call_soon_threadsafe(self._kept_alive)
        return len(taken)

    def _kept_alive(self) -> None:
        """The loop goes on: so does what is no link."""
        with self._keeper.lock:
            self._told = False
            waiting, self._waiting = self._waiting, []
        self.datagrams_received(waiting)

    def _route_long(self, data: bytes, address: SocketAddress) -> Channel | None:
        header = _long_header(data)
        if header is None:
            return None
        version, destination_id, source_id = header
        channel = self._routes.get(destination_id)
        # What is shorter opens no connection and gets no answer (RFC 9000, sections 6.1 and 14.1).
        if channel is not None or len(data) < SMALLEST_MAX_DATAGRAM_SIZE or not self.accepting:
            return channel
        supported = self._configuration.supported_versions
        if version in supported:
            return self._open(destination_id, address) if data[0] & 0x30 == _INITIAL else None
        if version != _VERSION_NEGOTIATION:  # else two listeners could be set on each other
            offer = encode_quic_version_negotiation(
                source_cid=destination_id, destination_cid=source_id, supported_versions=supported
            )
            self.socket.send(((offer, address),))
        return None

    def _open(self, original_id: bytes, address: SocketAddress) -> Channel | None:
        if len(self.half_open) >= self._max_half_open:
            log.warning(
                "connection from %s not answered: %d others are in their handshake",
                to_address(address),
                len(self.half_open),
            )
            return None
        issued = self._issued
        quic = adapter.Connection(
            configuration=self._configuration,
            original_destination_connection_id=original_id,
            session_ticket_fetcher=issued.take if issued is not None else None,
            session_ticket_handler=self._ticket_issued if issued is not None else None,
        )
        handler = self._new_handler(self)
        channel = Channel(
            quic, self.socket, handler, on_gone=self._channel_gone, on_connection_id=self._connection_id
        )
        self._ids[channel] = set()
        self.half_open.add(channel)
        for connection_id in (original_id, quic.host_cid):
            self._connection_id(channel, connection_id, True)
        handler.opened(channel)
        return channel

    def _ticket_issued(self, ticket: SessionTicket) -> None:
        if self._issued is not None:
            self._issued.put(ticket.ticket, ticket)

    def _connection_id(self, channel: Channel, connection_id: bytes, issued: bool) -> None:
        ids = self._ids.get(channel)
        if ids is None:
            return
        if issued:
            ids.add(connection_id)
            self._routes[connection_id] = channel
        else:
            ids.discard(connection_id)
            self._routes.pop(connection_id, None)

    def _channel_gone(self, channel: Channel) -> None:
        self.half_open.discard(channel)
        for connection_id in self._ids.pop(channel, ()):
            self._routes.pop(connection_id, None)
        self._close_if_idle()

    def socket_error(self, error: OSError) -> None:
        # Which of the connections it concerns the kernel does not say; loss is QUIC's to repair.
        log.debug("socket %s: %s", self.socket.local, error)

    def too_long(self, size: int, address: SocketAddress) -> None:
        for channel in self.channels:
            if channel.quic.get_peer_address() == address:
                channel.too_long(size)


class IncomingHandler(ChannelHandler, ABC):
    """The handler of a connection that just came in."""

    @abstractmethod
    def opened(self, channel: Channel) -> None:
        """This is the connection."""
