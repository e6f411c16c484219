"""Connections that ended leave nothing behind, however they ended: their memory is free at once, not with
Python's next full collection."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aioquic.quic.connection import QuicConnection as AioquicConnection
from aioquic.tls import Epoch

from quicdist.carrier import Address
from quicdist.carrier.errors import CarrierError
from quicdist.carrier.link import LinkBase
from quicdist.carrier.quic.carrier import QuicCarrier, QuicIncoming
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.driver.dial_endpoint import DialEndpoint
from quicdist.carrier.quic.engine.aioquic.configuration import client_configuration
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.aioquic.release import release
from quicdist.carrier.quic.handshake import QuicHandshake
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.carrier.udp import UdpSocket
from quicdist.errors import QuicDistError
from tests.carrier.crafted import crypto_frame, seal, stream_frame
from tests.carrier.nodes import FakeNode
from tests.carrier.quic_support import PATIENCE, Listening, linked_to, listening, quic_link, settings_of
from tests.support.engine import connection_of

#: What a connection is made of.
PARTS = (AioquicConnection, QuicConnection, DialEndpoint, UdpSocket, QuicHandshake, QuicIncoming, LinkBase)


def alive() -> Counter[str]:
    return Counter(type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, PARTS))


@pytest.fixture
def settings(certificates: CertificateFiles) -> QuicSettings:
    # Three times this is how long a connection stays that was closed.
    return settings_of(certificates, initial_rtt=0.01, linger=0.1)


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


Ending = Callable[[Listening, QuicSettings], Awaitable[None]]


async def _linked_and_closed(server: Listening, settings: QuicSettings, *, by_dialler: bool) -> None:
    async with linked_to(server, settings) as pair:
        pair.to_server(1)
        await pair.server.get()
        pair.to_client(2)
        await pair.client.get()
        ending, other = (pair.client, pair.server) if by_dialler else (pair.server, pair.client)
        ending.link.close("enough")
        await other.end()


async def closed_by_the_dialler(server: Listening, settings: QuicSettings) -> None:
    await _linked_and_closed(server, settings, by_dialler=True)


async def closed_by_the_listener(server: Listening, settings: QuicSettings) -> None:
    await _linked_and_closed(server, settings, by_dialler=False)


async def closed_with_user_streams(server: Listening, settings: QuicSettings) -> None:
    async with linked_to(server, settings) as pair:
        came = asyncio.Event()
        taken = []

        def take(stream: object) -> bool:
            taken.append(stream)
            came.set()
            return True

        quic_link(pair.server.link).user_streams.accept(take)
        stream = quic_link(pair.client.link).user_streams.open()
        await stream.send(b"unread" * 1000)
        await came.wait()
        taken.clear()


async def lost_without_a_word(server: Listening, settings: QuicSettings) -> None:
    async with linked_to(server, settings) as pair:
        for inbox in (pair.client, pair.server):
            quic_link(inbox.link)._connection.abandon("the way is gone")


async def broken_by_the_peer(server: Listening, settings: QuicSettings) -> None:
    async with linked_to(server, settings) as pair:
        connection, other = (quic_link(inbox.link)._connection for inbox in (pair.client, pair.server))
        quic = connection_of(connection.engine)
        number, quic._packet_number = quic._packet_number, quic._packet_number + 1
        datagram = seal(quic, stream_frame(3, 0, b"x"), number), connection.socket._sock.getsockname()
        other.receive([datagram], other._time())
        other.process_events()
        await pair.server.end()


async def with_another_cookie(server: Listening, settings: QuicSettings) -> None:
    node = FakeNode("client@127.0.0.1", cookie="other")
    with contextlib.suppress(QuicDistError):
        await QuicCarrier(settings).setup(server.node.name, server.address, node, setup_time=1.0)
    await server.error()


async def with_a_certificate_that_is_refused(server: Listening, settings: QuicSettings) -> None:
    strict = dataclasses.replace(
        settings, tls=dataclasses.replace(settings.tls, verify=True, cacert=settings.tls.cert)
    )
    node = FakeNode("client@127.0.0.1")
    with contextlib.suppress(CarrierError):
        await QuicCarrier(strict).setup("server@elsewhere.example", server.address, node, setup_time=1.0)


async def where_nobody_listens(server: Listening, settings: QuicSettings) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    node = FakeNode("client@127.0.0.1")
    with contextlib.suppress(CarrierError):
        await QuicCarrier(settings).setup(
            "nobody@127.0.0.1", Address("127.0.0.1", port), node, setup_time=1.0
        )


async def where_nobody_answers(server: Listening, settings: QuicSettings) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        node = FakeNode("client@127.0.0.1")
        address = Address("127.0.0.1", silent.getsockname()[1])
        with contextlib.suppress(CarrierError):
            await QuicCarrier(settings).setup("silent@127.0.0.1", address, node, setup_time=0.2)


@contextlib.contextmanager
def strangers(server: Listening, settings: QuicSettings) -> Iterator[Callable[[bytes | None], None]]:
    """Sends Initial packets to the listener, each of a connection and from a port of its own: the frames
    given, or a ClientHello."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as sockets:

        def send(frames: bytes | None) -> None:
            udp = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            udp.connect((server.address.host, server.address.port))
            client = Connection(configuration=client_configuration(settings.for_dialling("127.0.0.1")))
            client.connect(("127.0.0.1", 1), loop.time())
            if frames is None:
                for data, _ in client.datagrams_to_send(loop.time()):
                    udp.send(data)
            else:
                udp.send(seal(client, frames, 0, Epoch.INITIAL))
            release(client)

        yield send


async def half_open(server: Listening, settings: QuicSettings) -> None:
    endpoint = server.listener.endpoint
    with strangers(server, settings) as send:
        for frames in (None, crypto_frame(5, b"x"), None, crypto_frame(0, b"\1\0\1\0")):
            send(frames)
        async with asyncio.timeout(PATIENCE):
            while len(endpoint.half_open) < 4:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    for connection in list(endpoint.half_open):
        connection.break_off("too late")


async def garbage(server: Listening, settings: QuicSettings) -> None:
    with strangers(server, settings) as send:
        for frames in (
            crypto_frame(0, b"\7\0\0\0"),
            b"\x1e",
            b"\xff" * 40,
            crypto_frame(0, b"\1\0\0\1x"),
            b"\0\0",
        ):
            send(frames)
        send(b"".join(crypto_frame(2 * i + 1, b"x") for i in range(100)))
        await asyncio.sleep(0.1)


ENDINGS = [
    closed_by_the_dialler,
    closed_by_the_listener,
    closed_with_user_streams,
    lost_without_a_word,
    broken_by_the_peer,
    with_another_cookie,
    with_a_certificate_that_is_refused,
    where_nobody_listens,
    where_nobody_answers,
    half_open,
    garbage,
]


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("end", ENDINGS, ids=[end.__name__ for end in ENDINGS])
async def test_a_connection_that_ended_is_freed_at_once(settings: QuicSettings, end: Ending) -> None:
    async with listening(settings) as server:
        before = alive()
        await end(server, settings)
        # Draining takes three probe timeouts.
        async with asyncio.timeout(PATIENCE):
            while alive() - before:  # noqa: ASYNC110  # nobody tells of it
                await asyncio.sleep(0.05)
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            gc.collect()
            found = [
                thing
                for thing in gc.garbage
                if type(thing).__module__.startswith(("aioquic", "quicdist.carrier"))
            ]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        assert found == []
