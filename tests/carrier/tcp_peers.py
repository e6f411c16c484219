"""TCP carriers joined in one loop, and peers that speak raw bytes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from quicdist.carrier import Address
from quicdist.carrier.tcp.carrier import TcpCarrier
from quicdist.carrier.tcp.link import TcpLink
from quicdist.carrier.tcp.listener import TcpListener
from quicdist.protocol import Acceptor, Connected, HandshakeFraming, Initiator, PeerNamed, Status
from tests.carrier.nodes import FakeNode

SETUP_TIME = 20.0


@asynccontextmanager
async def listening(
    carrier: TcpCarrier | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[TcpCarrier, TcpListener, Address]]:
    carrier = carrier or TcpCarrier()
    listener = await carrier.listen("b@127.0.0.1", host=host)
    try:
        yield carrier, listener, Address(listener.address.host, listener.address.port)
    finally:
        await carrier.close(listener)


async def accept_one(
    carrier: TcpCarrier, listener: TcpListener, node: FakeNode, *, setup_time: float = SETUP_TIME
) -> TcpLink:
    """Accept the next connection and run its handshake."""
    async for incoming in carrier.accept(listener):
        return await carrier.accept_connection(incoming, node, setup_time=setup_time)
    raise AssertionError("the listener was closed")


@asynccontextmanager
async def joined(
    a: FakeNode, b: FakeNode, carrier: TcpCarrier | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[TcpLink, TcpLink]]:
    """The two ends of one connection that ``a`` has dialled and ``b`` accepted; none is started."""
    async with listening(carrier, host) as (carrier, listener, address):
        links = await asyncio.gather(
            carrier.setup(b.name, address, a, setup_time=SETUP_TIME), accept_one(carrier, listener, b)
        )
        try:
            yield links
        finally:
            for link in links:
                link.close()
            for link in links:
                await link.wait_closed()


@dataclass
class RawPeer:
    """A connection without a carrier: its handshake, if it has one, is run step by step."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def initiate(self, node: FakeNode, to: str) -> Connected:
        role = Initiator(node.identity, to, node.cookie, HandshakeFraming.PACKET_2)
        return await self._run(role)

    async def accept(self, node: FakeNode) -> Connected:
        role = Acceptor(node.identity, HandshakeFraming.PACKET_2, node.cookie_for)
        return await self._run(role)

    async def _run(self, role: Initiator | Acceptor) -> Connected:
        while True:
            self.writer.writelines(role.data_to_send())
            data = await self.reader.read(1 << 16)
            if not data:
                raise role.connection_closed()
            for event in role.receive_data(data):
                if isinstance(event, PeerNamed):
                    assert isinstance(role, Acceptor)
                    role.send_status(Status.OK)
                if isinstance(event, Connected):
                    self.writer.writelines(role.data_to_send())
                    return event

    async def closed(self) -> bytes:
        """What the other side still says until it closes."""
        async with asyncio.timeout(30):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):  # it was reset: that is closed too
            await self.writer.wait_closed()


@asynccontextmanager
async def raw_dial(address: Address, local: str | None = None) -> AsyncIterator[RawPeer]:
    """A raw peer that has dialled ``address``, from an address of its own."""
    source = None if local is None else (local, 0)
    peer = RawPeer(*await asyncio.open_connection(address.host, address.port, local_addr=source))
    try:
        yield peer
    finally:
        await peer.close()


@asynccontextmanager
async def raw_listener() -> AsyncIterator[tuple[Address, asyncio.Queue[RawPeer]]]:
    """An address, and the raw peers that come of whoever dials it."""
    peers = asyncio.Queue[RawPeer]()
    all_peers: list[RawPeer] = []

    async def dialled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = RawPeer(reader, writer)
        all_peers.append(peer)
        peers.put_nowait(peer)

    async with await asyncio.start_server(dialled, "127.0.0.1", 0) as server:
        try:
            yield Address(*server.sockets[0].getsockname()), peers
        finally:
            for peer in all_peers:
                await peer.close()
