"""Connections over QUIC that do not come about: what each side is told, and that nothing stays."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection as AioquicConnection
from aioquic.quic.packet import QuicProtocolVersion

from quicdist.carrier import (
    AcceptError,
    AcceptTimeout,
    Address,
    CertificateRefused,
    ConnectError,
    ListenError,
    PeerClosed,
    PeerUnreachable,
    SetupTimeout,
)
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.quic.listener import MAX_EARLY
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles, make_development_certificates
from quicdist.carrier.security.tls_config import TlsConfig
from quicdist.errors import QuicDistError
from quicdist.protocol import (
    DEFAULT_FLAGS,
    ConnectionAlive,
    DistFlag,
    HandshakeEnded,
    MalformedHandshake,
    MandatoryFlagsMissing,
    NotAllowed,
    SimultaneousConnect,
    Status,
    WrongCookie,
    WrongNodeName,
)
from tests.carrier.nodes import FakeNode, Inbox
from tests.carrier.quic_support import (
    PATIENCE,
    SETUP_TIME,
    listening,
    nothing_half_made,
    quic_link,
    settings_of,
    until_seen,
)
from tests.support.virtual_time import in_virtual_time

SERVER = "server@127.0.0.1"
CLIENT = "client@127.0.0.1"


async def dial(
    settings: QuicSettings,
    address: Address,
    *,
    node: FakeNode | None = None,
    to: str = SERVER,
    setup_time: float = SETUP_TIME,
) -> Inbox:
    link = await QuicCarrier(settings).setup(to, address, node or FakeNode(CLIENT), setup_time=setup_time)
    return Inbox.of(link)


@in_virtual_time
async def test_wrong_cookies_of_a_source_cost_it_time(settings: QuicSettings) -> None:
    loop = asyncio.get_running_loop()
    async with listening(settings) as server:

        async def fail() -> float:
            begun = loop.time()
            with pytest.raises(WrongCookie):
                await dial(settings, server.address, node=FakeNode(CLIENT, cookie="other"))
            return loop.time() - begun

        free = [await fail() for _ in range(3)]
        await fail()
        many = await asyncio.gather(*(fail() for _ in range(6)))
        assert max(many) > 0.9 + min(free)
        # The right cookie waits for nothing, from the same address.
        failing = asyncio.ensure_future(fail())
        begun = loop.time()
        inbox = await dial(settings, server.address)
        assert loop.time() - begun < 0.6
        await failing
        inbox.link.close()
        await inbox.link.wait_closed()
        (await server.link()).close()


# -- refused in the handshake ------------------------------------------------------------------


async def test_wrong_cookie(settings: QuicSettings, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(settings) as server:
        with pytest.raises(WrongCookie, match=SERVER):
            await dial(settings, server.address, node=FakeNode(CLIENT, cookie="other"))
        error = await server.error()
        assert isinstance(error, WrongCookie)
        assert error.node == CLIENT
        assert_logged(caplog, "127.0.0.1", CLIENT, "cookie")
        await nothing_half_made(server)


async def test_not_allowed(settings: QuicSettings, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(settings, FakeNode(SERVER, status=Status.NOT_ALLOWED)) as server:
        with pytest.raises(NotAllowed, match=SERVER):
            await dial(settings, server.address)
        assert "not_allowed" in str(await server.error())
        assert_logged(caplog, CLIENT, "not_allowed")
        await nothing_half_made(server)


async def test_nok(settings: QuicSettings) -> None:
    async with listening(settings, FakeNode(SERVER, status=Status.NOK)) as server:
        with pytest.raises(SimultaneousConnect, match=SERVER):
            await dial(settings, server.address)
        await server.error()
        await nothing_half_made(server)


async def test_ok_simultaneous_goes_on(settings: QuicSettings) -> None:
    async with listening(settings, FakeNode(SERVER, status=Status.OK_SIMULTANEOUS)) as server:
        client = await dial(settings, server.address)
        assert (await server.link()).peer.name == CLIENT
        client.link.close()


async def test_alive_and_replaced(settings: QuicSettings) -> None:
    node = FakeNode(SERVER, status=Status.ALIVE)
    async with listening(settings, node) as server:
        mine = FakeNode(CLIENT)
        client = await dial(settings, server.address, node=mine)
        assert (await server.link()).peer.name == CLIENT
        assert mine.alive_asked == [SERVER]
        assert node.taken_down == [CLIENT]
        client.link.close()


async def test_alive_and_given_up(settings: QuicSettings) -> None:
    node = FakeNode(SERVER, status=Status.ALIVE)
    async with listening(settings, node) as server:
        with pytest.raises(ConnectionAlive, match=SERVER):
            await dial(settings, server.address, node=FakeNode(CLIENT, go_on=False))
        assert isinstance(await server.error(), ConnectionAlive)
        assert node.taken_down == []
        await nothing_half_made(server)


async def test_a_peer_without_a_mandatory_flag(
    settings: QuicSettings, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = DEFAULT_FLAGS & ~(DistFlag.BIG_CREATION | DistFlag.MANDATORY_25_DIGEST)
    async with listening(settings) as server:
        with pytest.raises((NotAllowed, HandshakeEnded)):
            await dial(settings, server.address, node=FakeNode(CLIENT, flags=lacking))
        error = await server.error()
        assert isinstance(error, MandatoryFlagsMissing)
        assert "BIG_CREATION" in str(error)
        assert_logged(caplog, CLIENT, "BIG_CREATION")
        await nothing_half_made(server)


async def test_another_node_than_the_one_dialled(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        with pytest.raises(WrongNodeName, match=SERVER):
            await dial(settings, server.address, to="other@127.0.0.1")
        await server.error()
        await nothing_half_made(server)


async def test_what_is_no_node_name_is_not_dialled(settings: QuicSettings) -> None:
    with pytest.raises(ConnectError, match="not a node name"):
        await dial(settings, Address("127.0.0.1", 9), to="nonsense")


# -- nobody there ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
@in_virtual_time
async def test_nobody_listens(settings: QuicSettings, free_port: Callable[[], int], host: str) -> None:
    address = Address(host, free_port())
    loop = asyncio.get_running_loop()
    begin = loop.time()
    with pytest.raises(PeerUnreachable, match=SERVER) as caught:
        await dial(settings, address)
    assert "refused" in str(caught.value)
    assert str(address) in str(caught.value)
    assert loop.time() - begin < SETUP_TIME / 2  # the kernel said so; no time-out was waited for


async def test_a_host_nobody_knows(settings: QuicSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown, raising=False)
    with pytest.raises(PeerUnreachable, match="Name or service not known"):
        await dial(settings, Address("nowhere.example", 4433))


async def test_one_that_never_answers(settings: QuicSettings) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(SetupTimeout, match="QUIC") as caught:
            await dial(settings, Address(*silent.getsockname()), setup_time=0.3)
        assert SERVER in str(caught.value)


async def test_the_second_address_is_tried_when_the_first_is_dead(
    settings: QuicSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with listening(settings) as server:
        port = server.address.port

        async def both(*_: object, **__: object) -> list[object]:
            dead = (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("::1", port, 0, 0))
            alive = (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("127.0.0.1", port))
            return [dead, alive]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both, raising=False)
        client = await dial(settings, Address("twofold.example", port))
        await server.link()
        client.link.close()


# -- certificates ------------------------------------------------------------------------------


@pytest.mark.parametrize("node", ["server@127.0.0.1", "server@localhost"])
async def test_a_certificate_of_our_ca_for_the_nodes_host(certificates: CertificateFiles, node: str) -> None:
    settings = settings_of(certificates, verify=True)
    async with listening(settings, FakeNode(node)) as server:
        client = await dial(settings, server.address, to=node)
        await server.link()
        client.link.close()


async def test_a_certificate_of_another_ca(
    certificates: CertificateFiles, settings: QuicSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = make_development_certificates(tmp_path)
    strict = QuicSettings(tls=TlsConfig(cacert=other.ca, verify=True))
    async with listening(settings) as server:
        with pytest.raises(CertificateRefused, match="issuer") as caught:
            await dial(strict, server.address)
        assert SERVER in str(caught.value)
        await nothing_half_made(server)
        assert_logged(caplog, "127.0.0.1", "refused", "issuer")


async def test_a_certificate_for_another_host(certificates: CertificateFiles) -> None:
    settings = settings_of(certificates, verify=True)
    async with listening(settings, FakeNode("server@elsewhere.example")) as server:
        with pytest.raises(CertificateRefused, match=r"elsewhere\.example"):
            await dial(settings, server.address, to="server@elsewhere.example")
        await nothing_half_made(server)


async def test_an_expired_certificate(
    certificates: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(certificates, verify=True)
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=4000)
    monkeypatch.setattr("aioquic.tls.utcnow", lambda: later)
    async with listening(settings) as server:
        with pytest.raises(CertificateRefused, match="no longer valid"):
            await dial(settings, server.address)
        await nothing_half_made(server)


async def test_a_listener_needs_a_certificate() -> None:
    with pytest.raises(ListenError, match="certificate"):
        await QuicCarrier().listen(SERVER, host="127.0.0.1")


async def test_a_port_that_is_taken(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        with pytest.raises(ListenError, match=str(server.address.port)):
            await QuicCarrier(settings).listen("x@127.0.0.1", host="127.0.0.1", port=server.address.port)


async def test_a_node_without_a_certificate_can_dial(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        client = await dial(QuicSettings(), server.address)
        await server.link()
        client.link.close()


# -- peers that are none of ours ---------------------------------------------------------------


class Raw:
    """A QUIC client that does only what a test has it do."""

    def __init__(self, address: Address, *, alpn: str = "erlang-dist", version: int | None = None) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect((address.host, address.port))
        self.remote = (address.host, address.port)
        configuration = QuicConfiguration(is_client=True, alpn_protocols=[alpn], verify_mode=0)
        configuration.supported_versions = [version or QuicProtocolVersion.VERSION_1]
        self.quic = AioquicConnection(configuration=configuration)
        self.loop = asyncio.get_running_loop()
        self.quic.connect(self.remote, self.loop.time())

    def send(self) -> None:
        for data, _ in self.quic.datagrams_to_send(self.loop.time()):
            self.socket.send(data)

    async def receive(self) -> None:
        data = await self.loop.sock_recv(self.socket, 65535)
        self.quic.receive_datagram(data, self.remote, self.loop.time())

    async def go_on(self, condition: Callable[[], bool]) -> None:
        """Talk until ``condition``."""
        async with asyncio.timeout(PATIENCE):
            self.send()
            while not condition():
                await self.receive()
                self.send()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


async def test_a_peer_that_does_not_speak_erlang_dist(
    settings: QuicSettings, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(settings) as server:
        with Raw(server.address, alpn="h3") as raw:
            await raw.go_on(lambda: raw.quic._close_event is not None)
            assert "ALPN" in str(raw.quic._close_event)
        await nothing_half_made(server)
        assert_logged(caplog, "127.0.0.1", "ALPN")


async def test_a_peer_that_says_nothing(settings: QuicSettings, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(settings, setup_time=0.3) as server:
        with Raw(server.address) as raw:
            await raw.go_on(lambda: raw.quic._handshake_confirmed)
            error = await server.error()
            assert isinstance(error, AcceptTimeout)
            assert "name message" in str(error)
            assert_logged(caplog, "127.0.0.1", "name message")
            await raw.go_on(lambda: raw.quic._close_event is not None)
        await nothing_half_made(server)


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\n\r\n", b"N" + bytes(40), b"\x00" * 3 + b"x", b"n\x00\x05" + bytes(20)],
    ids=["http", "empty-name", "no-tick", "old-name"],
)
async def test_a_malformed_handshake(
    settings: QuicSettings, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(settings) as server:
        with Raw(server.address) as raw:
            await raw.go_on(lambda: raw.quic._handshake_confirmed)
            raw.quic.send_stream_data(0, said)
            await raw.go_on(lambda: raw.quic._close_event is not None)
        error = await server.error()
        assert isinstance(error, QuicDistError)
        assert_logged(caplog, "127.0.0.1", str(error))
        await nothing_half_made(server)


async def test_a_handshake_broken_off(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        with Raw(server.address) as raw:
            await raw.go_on(lambda: raw.quic._handshake_confirmed)
            raw.quic.send_stream_data(0, b"N", end_stream=True)
            await raw.go_on(lambda: raw.quic._close_event is not None)
        assert isinstance(await server.error(), HandshakeEnded)
        await nothing_half_made(server)


async def test_a_peer_that_floods_before_its_handshake(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        server.listener.arrived.put_nowait = lambda item: None  # type: ignore[method-assign] # nobody accepts
        with Raw(server.address) as raw:
            await raw.go_on(lambda: raw.quic._handshake_confirmed)
            raw.quic.send_stream_data(4, bytes(4 * MAX_EARLY))
            await raw.go_on(lambda: raw.quic._close_event is not None)
        await nothing_half_made(server)
        del server.listener.arrived.put_nowait


async def test_more_bytes_than_a_handshake_needs_end_the_connection(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        with Raw(server.address) as raw:
            await raw.go_on(lambda: raw.quic._handshake_confirmed)
            raw.quic.send_stream_data(0, bytes(2_000_000))
            await raw.go_on(lambda: raw.quic._close_event is not None)
        assert "before the handshake was over" in str(await server.error())
        await nothing_half_made(server)


async def test_a_handshake_is_not_endless(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        with Raw(server.address) as raw:
            await raw.go_on(lambda: raw.quic._handshake_confirmed)
            raw.quic.send_stream_data(0, bytes(200_000))  # ticks without end
            raw.quic.send_stream_data(0, b"N" + bytes(8) + b"\xff" * 20000)
            await raw.go_on(lambda: raw.quic._close_event is not None)
        assert isinstance(await server.error(), MalformedHandshake)
        await nothing_half_made(server)


# -- what is no connection at all --------------------------------------------------------------


def initial(size: int = 1200, *, version: int = 1, id_length: int = 8) -> bytes:
    """What begins like an Initial packet and is filled with noise."""
    header = b"\xc3" + version.to_bytes(4, "big") + bytes((id_length,)) + os.urandom(id_length) + b"\x00\x00"
    noise = os.urandom(max(0, size - len(header) - 2))
    return header + (0x4000 | len(noise)).to_bytes(2, "big") + noise


async def test_garbage_opens_nothing_and_disturbs_nobody(settings: QuicSettings) -> None:
    garbage = [b"", b"\x00", b"\xff", b"\xc0" * 6, os.urandom(1200), bytes(1200), b"\x40" + os.urandom(40)]
    garbage += [initial(), initial(300), initial(id_length=20), initial(version=0), initial()[:20]]
    garbage += [initial()[:n] for n in range(1, 30)]
    async with listening(settings) as server:
        client = await dial(settings, server.address)
        peer = Inbox.of(await server.link())
        endpoint = server.listener.endpoint
        seen = endpoint.socket.datagrams_in
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for data in garbage:
                sender.sendto(data, (server.address.host, server.address.port))
        link = quic_link(peer.link)
        await until_seen(server, lambda: endpoint.socket.datagrams_in >= seen + len(garbage))
        assert [connection for connection in endpoint.connections if not connection.closed] == [
            link._connection
        ]
        assert not endpoint.half_open
        assert endpoint.strays
        client.link.close()
        assert isinstance(await peer.end(), PeerClosed)


async def test_another_version_is_answered_with_ours(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        with Raw(server.address, version=0x1A2A3A4A) as raw:
            raw.send()
            answer = await raw.loop.sock_recv(raw.socket, 65535)
            assert answer[1:5] == bytes(4)  # Version Negotiation
            assert answer.endswith((1).to_bytes(4, "big"))
            # Never in answer to one, and never to what could not have opened a connection.
            for data in (initial(version=0), initial(600, version=0x1A2A3A4A)):
                raw.socket.send(data)
            raw.socket.send(initial(version=0x1A2A3A4A))
            await raw.loop.sock_recv(raw.socket, 65535)
            with pytest.raises(BlockingIOError):
                raw.socket.recv(65535)
        assert not server.listener.endpoint.connections


async def test_half_open_connections_are_bounded_and_the_oldest_gives_way(
    settings: QuicSettings, caplog: pytest.LogCaptureFixture
) -> None:
    bounded = dataclasses.replace(
        settings, max_half_open=4, max_half_open_per_source=4, address_validation="never"
    )
    async with listening(bounded) as server, contextlib.AsyncExitStack() as stack:
        endpoint = server.listener.endpoint
        raws = [stack.enter_context(Raw(server.address)) for _ in range(6)]
        for raw in raws:
            raw.send()
        first, second = raws[:2]
        await first.go_on(lambda: first.quic._close_event is not None)
        await second.go_on(lambda: second.quic._close_event is not None)
        assert len(endpoint.half_open) == 4
        assert_logged(caplog, "127.0.0.1", "evicted")
        # Nothing is kept of them, and a peer that means it gets in.
        assert len(endpoint.connections) == 4
        client = await dial(settings, server.address)
        assert (await server.link()).peer.name == CLIENT
        assert len(endpoint.half_open) <= 4
        client.link.close()


# -- nothing stays -----------------------------------------------------------------------------


async def test_what_was_refused_is_forgotten_after_its_closing_period(settings: QuicSettings) -> None:
    async with listening(settings, FakeNode(SERVER, status=Status.NOT_ALLOWED)) as server:
        endpoint = server.listener.endpoint
        with pytest.raises(NotAllowed):
            await dial(settings, server.address)
        await server.error()
        (connection,) = endpoint.connections
        forgotten = asyncio.Event()
        forget = connection._on_gone

        def hook(gone: QuicConnection) -> None:
            forget(gone)
            forgotten.set()

        connection._on_gone = hook
        async with asyncio.timeout(PATIENCE):
            await forgotten.wait()
        assert not endpoint.connections
        assert not endpoint.half_open
        assert not endpoint._routes


async def test_a_dial_that_is_cancelled_is_closed(settings: QuicSettings) -> None:
    async with listening(settings, FakeNode(SERVER, status=Status.ALIVE)) as server:
        asked = asyncio.Event()
        node = FakeNode(CLIENT)

        def connection_alive(node: str) -> bool:
            asked.set()
            dialling.cancel()
            return True

        node.connection_alive = connection_alive  # type: ignore[method-assign]
        dialling = asyncio.create_task(dial(settings, server.address, node=node))
        await asked.wait()
        with pytest.raises(asyncio.CancelledError):
            await dialling
        assert isinstance(await server.error(), QuicDistError)
        await nothing_half_made(server)


async def test_closing_the_listener_leaves_links_and_closes_the_rest(settings: QuicSettings) -> None:
    async with listening(settings) as server:
        client = await dial(settings, server.address)
        peer = Inbox.of(await server.link())
        with Raw(server.address) as raw:
            await raw.go_on(lambda: raw.quic._handshake_confirmed)
            await server.carrier.close(server.listener)
            await raw.go_on(lambda: raw.quic._close_event is not None)
        assert isinstance(await server.error(), AcceptError | HandshakeEnded)
        received = peer.link.stats.received
        quic_link(client.link)._connection.ping()
        await until_seen(server, lambda: peer.link.stats.received > received)
        with pytest.raises(ConnectError, match="no longer accepting connections"):
            await dial(settings, server.address)
        client.link.close()
        await peer.end()


def assert_logged(caplog: pytest.LogCaptureFixture, *words: str) -> None:
    """One line on the accepting side that has all these words."""
    lines = [
        record.getMessage()
        for record in caplog.records
        if record.name == "quicdist.carrier.quic" and record.levelno >= logging.WARNING
    ]
    assert any(all(word in line for word in words) for line in lines), lines
