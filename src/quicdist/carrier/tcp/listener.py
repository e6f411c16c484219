"""Where the TCP carrier listens, and the connections that came in there."""

from __future__ import annotations

import asyncio

from quicdist.carrier.addresses import Address, NetAddress, source_of
from quicdist.carrier.contract import Incoming, Listener
from quicdist.carrier.errors import AcceptError
from quicdist.carrier.evicting_table import EvictingTable
from quicdist.carrier.refusal_log import RefusalLog
from quicdist.carrier.tcp.connection import TcpConnection
from quicdist.logs import RateLimit


class TcpIncoming(Incoming):
    """A TCP connection that came in, on which no handshake has run yet."""

    def __init__(self, connection: TcpConnection, listener: TcpListener) -> None:
        self.connection = connection
        self.listener = listener
        #: It was closed for the sake of another.
        self.gave_way = False

    @property
    def remote_address(self) -> Address:
        return self.connection.remote_address

    def close(self) -> None:
        self.connection.close()
        self.listener.settled(self)

    def give_way(self, reason: str) -> None:
        """Its place is needed: its handshake fails with ``reason``."""
        self.gave_way = True
        self.connection.fail(AcceptError(self.remote_address, reason))


class TcpListener(Listener):
    """A listening socket, and the connections that came in by it and are not links yet.

    At most ``max_half_open`` of those: then the oldest of the source that has most gives way to the next, as
    :class:`~quicdist.carrier.evicting_table.EvictingTable` says.
    """

    def __init__(self, max_half_open: int) -> None:
        # While nobody else comes one source may have all places: a hundred nodes behind one address that
        # start at once are no attack.
        self._half_open: EvictingTable[TcpIncoming] = EvictingTable(max_half_open, max_half_open)
        self._waiting: asyncio.Queue[TcpIncoming | None] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._address: NetAddress | None = None
        #: Lines about connections refused, and about those that gave way: one event, from however many hosts.
        self.refused = RefusalLog()
        self.gave_way = RateLimit()

    @property
    def address(self) -> NetAddress:
        assert self._address is not None
        return self._address

    def listening(self, server: asyncio.Server, address: NetAddress) -> None:
        self._server = server
        self._address = address

    def came_in(self, connection: TcpConnection) -> None:
        incoming = TcpIncoming(connection, self)
        source = source_of(connection.remote_address.host)
        # Over TCP whoever has connected does receive what is sent to its address.
        loser = self._half_open.enter(incoming, source, validated=True)
        if loser is not None:
            loser.give_way(f"{len(self._half_open)} others are in their handshake, and it is the oldest")
        self._waiting.put_nowait(incoming)

    def named(self, incoming: TcpIncoming) -> None:
        """It has said a name: a flood of connections that say nothing does not take its place."""
        self._half_open.spoke(incoming)

    def settled(self, incoming: TcpIncoming) -> None:
        """It is a link now, or closed."""
        self._half_open.leave(incoming)

    async def next(self) -> TcpIncoming | None:
        incoming = await self._waiting.get()
        if incoming is None:
            self._waiting.put_nowait(None)  # for whoever else waits
        return incoming

    def close(self) -> None:
        # Not Server.wait_closed(): from Python 3.12 on that waits for established links as well.
        if self._server is not None:
            self._server.close()
            self._server = None
            for incoming in list(self._half_open):
                incoming.close()
            self._waiting.put_nowait(None)
