"""Two QUIC carriers with a link between them, for tests."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from quicdist.carrier import Address, Link
from quicdist.carrier.datagram_socket import Datagram
from quicdist.carrier.quic.carrier import QuicCarrier, QuicListener
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.protocol import RegSend
from quicdist.term import Atom
from tests.carrier.nodes import FakeNode, Inbox
from tests.support.engine import connection_of
from tests.support.virtual_time import in_virtual_time

SETUP_TIME = 10.0
#: Any test here that takes longer hangs.
PATIENCE = 60.0


@dataclass
class Listening:
    """A node that listens, and what its accepting comes to."""

    node: FakeNode
    carrier: QuicCarrier
    listener: QuicListener
    links: asyncio.Queue[QuicLink]
    errors: asyncio.Queue[BaseException]

    @property
    def address(self) -> Address:
        return Address(self.listener.address.host, self.listener.address.port)

    async def link(self) -> QuicLink:
        async with asyncio.timeout(PATIENCE):
            return await self.links.get()

    async def error(self) -> BaseException:
        async with asyncio.timeout(PATIENCE):
            return await self.errors.get()


@asynccontextmanager
async def listening(
    settings: QuicSettings,
    node: FakeNode | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    setup_time: float = SETUP_TIME,
) -> AsyncIterator[Listening]:
    """Listen and accept until the end of the block."""
    carrier = QuicCarrier(settings)
    node = node or FakeNode("server@127.0.0.1")
    listener = await carrier.listen(node.name, host=host, port=port)
    side = Listening(node, carrier, listener, asyncio.Queue(), asyncio.Queue())

    async def accept_one(incoming: Any) -> None:
        try:
            side.links.put_nowait(await carrier.accept_connection(incoming, side.node, setup_time=setup_time))
        except Exception as error:
            side.errors.put_nowait(error)

    async def accept() -> None:
        async with asyncio.TaskGroup() as group:
            async for incoming in carrier.accept(listener):
                group.create_task(accept_one(incoming))
                del incoming

    accepting = asyncio.create_task(accept())
    try:
        yield side
    finally:
        await carrier.close(listener)
        async with asyncio.timeout(PATIENCE):
            await accepting


@dataclass
class LinkPair:
    """Both ends of one connection, started."""

    client_node: FakeNode
    server_node: FakeNode
    client: Inbox
    server: Inbox

    def to_server(self, payload: Any, sender: int = 1) -> None:
        send(self.client.link, self.client_node, payload, sender)

    def to_client(self, payload: Any, sender: int = 1) -> None:
        send(self.server.link, self.server_node, payload, sender)


def send(link: Link, node: FakeNode, payload: Any, sender: int = 1) -> None:
    link.send(RegSend(node.pid(sender), Atom(""), Atom("echo")), payload)


@asynccontextmanager
async def linked(
    settings: QuicSettings, client_settings: QuicSettings | None = None
) -> AsyncIterator[LinkPair]:
    """A client and a server in this loop, connected."""
    async with listening(settings) as server, linked_to(server, client_settings or settings) as pair:
        yield pair


@asynccontextmanager
async def linked_to(
    server: Listening, settings: QuicSettings, address: Address | None = None
) -> AsyncIterator[LinkPair]:
    """A client of a server in this loop, connected by the server's address or another."""
    client_node = FakeNode("client@127.0.0.1")
    carrier = QuicCarrier(settings)
    client = await carrier.setup(
        server.node.name, address or server.address, client_node, setup_time=SETUP_TIME
    )
    peer = await server.link()
    pair = LinkPair(client_node, server.node, Inbox.of(client), Inbox.of(peer))
    try:
        yield pair
    finally:
        for link in (client, peer):
            link.close()
        async with asyncio.timeout(PATIENCE):
            await client.wait_closed()
            await peer.wait_closed()


def settings_of(certificates: CertificateFiles, *, verify: bool = False, **more: Any) -> QuicSettings:
    return dataclasses.replace(QuicSettings(tls=certificates.tls(verify=verify)), **more)


def quic_link(link: Link) -> QuicLink:
    assert isinstance(link, QuicLink)
    return link


def written(link: QuicLink, stream_id: int) -> int:
    """Bytes written to a stream of a link, ever."""
    return int(connection_of(link._connection.engine)._streams[stream_id].sender._buffer_stop)


async def until(link: QuicLink, condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds, looking after everything that comes in on ``link``."""
    turned = asyncio.Event()
    events_processed = link.events_processed

    def hook() -> None:
        events_processed()
        turned.set()

    link.events_processed = hook  # type: ignore[method-assign]
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                turned.clear()
                await turned.wait()
    finally:
        link.events_processed = events_processed  # type: ignore[method-assign]


async def until_seen(server: Listening, condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds, looking after every batch of datagrams a listener gets, after those of
    strangers that it handles later, and when a connection is gone: by a timer, where its peer is."""
    endpoint = server.listener.endpoint
    came = asyncio.Event()
    datagrams_received, work = endpoint.datagrams_received, endpoint._queue.work_later
    leave = endpoint.half_open.leave

    def received(batch: Sequence[Datagram]) -> None:
        datagrams_received(batch)
        came.set()

    def worked(now: float) -> None:
        work(now)
        came.set()

    def left(thing: QuicConnection) -> None:
        leave(thing)
        came.set()

    endpoint.half_open.leave = left  # type: ignore[method-assign]
    endpoint.datagrams_received = received  # type: ignore[method-assign]
    endpoint._queue.work_later = worked  # type: ignore[method-assign]
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                came.clear()
                await came.wait()
    finally:
        endpoint.datagrams_received = datagrams_received  # type: ignore[method-assign]
        endpoint._queue.work_later = work  # type: ignore[method-assign]
        endpoint.half_open.leave = leave  # type: ignore[method-assign]


async def nothing_half_made(server: Listening) -> None:
    """Wait until every connection to a listener is a link or closed."""
    half_open = server.listener.endpoint.half_open
    await until_seen(server, lambda: all(connection.closed for connection in half_open))


def with_linked_pair(settings: QuicSettings, test: Callable[[LinkPair], Awaitable[None]]) -> None:
    """Run ``test`` on two linked nodes, in virtual time."""

    @in_virtual_time
    async def run() -> None:
        async with linked(settings) as pair:
            await test(pair)

    run()
