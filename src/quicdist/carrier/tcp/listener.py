"""A TCP listener, and its incoming connections until they are links."""

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
    """An incoming TCP connection, before its distribution handshake is complete."""

    def __init__(self, connection: TcpConnection, listener: TcpListener) -> None:
        self.connection = connection
        self.listener = listener
        #: It was evicted by a newer connection.
        self.evicted = False

    @property
    def remote_address(self) -> Address:
        return self.connection.remote_address

    def close(self) -> None:
        self.connection.close()
        self.listener.settled(self)

    def evict(self, reason: str) -> None:
        """Give its place to a newer connection: the handshake fails with ``reason``."""
        self.evicted = True
        self.connection.fail(AcceptError(self.remote_address, reason))


class TcpListener(Listener):
    """A listening socket, and its half-open connections.

    Beyond ``max_half_open`` of them, a new one evicts the oldest of the source with most
    (:class:`~quicdist.carrier.evicting_table.EvictingTable`).
    """

    def __init__(self, max_half_open: int) -> None:
        # One source may take all places while no other source needs them: a hundred nodes behind one address
        # may start at once.
        self._half_open: EvictingTable[TcpIncoming] = EvictingTable(max_half_open, max_half_open)
        self._waiting: asyncio.Queue[TcpIncoming | None] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self._address: NetAddress | None = None
        #: Log lines about refused connections, and about evicted ones: one event for all hosts.
        self.refused = RefusalLog()
        self.evictions = RateLimit()

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
        # The TCP handshake has validated the address.
        evicted = self._half_open.enter(incoming, source, validated=True)
        if evicted is not None:
            evicted.evict(f"{len(self._half_open)} others are in their handshake, and it is the oldest")
        self._waiting.put_nowait(incoming)

    def named(self, incoming: TcpIncoming) -> None:
        """The peer has sent its name: a flood of silent connections does not evict it."""
        self._half_open.spoke(incoming)

    def settled(self, incoming: TcpIncoming) -> None:
        """The connection is a link now, or closed."""
        self._half_open.leave(incoming)

    async def next(self) -> TcpIncoming | None:
        incoming = await self._waiting.get()
        if incoming is None:
            self._waiting.put_nowait(None)  # for other callers of next()
        return incoming

    def close(self) -> None:
        # Not Server.wait_closed(): from Python 3.12 on it waits for established links as well.
        if self._server is not None:
            self._server.close()
            self._server = None
            for incoming in list(self._half_open):
                incoming.close()
            self._waiting.put_nowait(None)
