"""What a listener sends to an address that is not validated: three times what came from there at most
(RFC 9000, section 8.1), in whatever way the connection ends."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.driver.close_packets import ClosePackets
from quicdist.carrier.quic.driver.listen_endpoint import ListenEndpoint
from quicdist.carrier.quic.engine.aioquic.address_validation import unvalidated_credit
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.tls_config import TlsConfig
from tests.carrier.nodes import FakeNode
from tests.carrier.quic_support import SETUP_TIME, listening, quic_link, send
from tests.carrier.security import TestCa
from tests.carrier.strangers import Outside, Stranger, noise, outside
from tests.support.virtual_time import in_virtual_time

SERVER = "server@127.0.0.1"
CLIENT = "client@127.0.0.1"
HERE = ("192.0.2.1", 5000)
THERE = ("192.0.2.2", 6000)

#: Names in the certificate: short, and 10 KB of them.
NAMES = {"small": 1, "10 KB": 420}


def with_names(directory: Path, count: int) -> QuicSettings:
    hosts = ["127.0.0.1", *(f"host-{number:06}.example.com" for number in range(count))]
    shown = TestCa(directory, "ca").sign(hosts=hosts)
    tls = TlsConfig(shown.cert, shown.key)
    return QuicSettings(tls=tls, address_validation="never")


@pytest.fixture(params=NAMES)
def shown(request: pytest.FixtureRequest, tmp_path: Path) -> QuicSettings:
    settings = with_names(tmp_path, NAMES[request.param])
    size = len(Path(settings.tls.cert or "").read_bytes())  # type: ignore[arg-type]
    assert size > 10_000 or request.param == "small"
    return settings


async def until_forgotten(endpoint: ListenEndpoint) -> None:
    """Let time pass until nothing is sent any more (of virtual time there is enough)."""
    await asyncio.sleep(60)
    assert not endpoint.connections


Act = Callable[[Outside, Stranger, list[bytes]], int]


def silent(world: Outside, stranger: Stranger, sent: list[bytes]) -> int:
    return 0


def sends_it_again(world: Outside, stranger: Stranger, sent: list[bytes]) -> int:
    world.arrive((sent[0], HERE))
    return len(sent[0])


def sends_noise(world: Outside, stranger: Stranger, sent: list[bytes]) -> int:
    """Packets to the connection that say nothing: it is the bytes that count."""
    connection_id = next(iter(world.endpoint.connections)).engine.host_cid
    data = b"\x40" + connection_id + bytes(30)
    world.arrive(*[(data, HERE)] * 20)
    return 20 * len(data)


def is_dismissed(world: Outside, stranger: Stranger, sent: list[bytes]) -> int:
    for connection in world.endpoint.connections:
        connection.dismiss("another came" * 20)
    return 0


def is_closed(world: Outside, stranger: Stranger, sent: list[bytes]) -> int:
    for connection in world.endpoint.connections:
        connection.close(reason="no more of it" * 20)
    return sends_it_again(world, stranger, sent)


@pytest.mark.parametrize("act", [silent, sends_it_again, sends_noise, is_dismissed, is_closed])
def test_one_initial_packet_brings_three_times_its_bytes_at_most(shown: QuicSettings, act: Act) -> None:
    @in_virtual_time
    async def run() -> None:
        async with listening(shown) as server:
            endpoint = server.listener.endpoint
            with outside(endpoint) as world:
                stranger = Stranger(shown, HERE)
                sent = [data for data, _ in stranger.datagrams()]
                world.arrive(*[(data, HERE) for data in sent])
                await world.answered(HERE)
                came = sum(map(len, sent)) + act(world, stranger, sent)
                await until_forgotten(endpoint)
                assert 1000 < world.bytes_sent(HERE) <= 3 * came

    run()


def test_what_tls_refuses_brings_three_times_its_bytes_at_most(shown: QuicSettings) -> None:
    @in_virtual_time
    async def run() -> None:
        async with listening(shown) as server:
            with outside(server.listener.endpoint) as world:
                stranger = Stranger(shown, HERE)
                stranger.quic.configuration.alpn_protocols = ["h3"]
                stranger.quic._connect(0.0)
                sent = stranger.datagrams()[-1:]
                world.arrive(*sent)
                await world.answered(HERE)
                world.arrive(*sent * 10)
                await until_forgotten(server.listener.endpoint)
                assert 0 < world.bytes_sent(HERE) <= 3 * sum(len(data) for data, _ in sent)

    run()


@pytest.mark.parametrize(
    "data", [noise(version=0x1A2A3A4A), noise(), b"\x40" + bytes(30), b"\x40" + bytes(1200)]
)
async def test_answers_without_a_connection_are_shorter_than_what_they_answer(
    settings: QuicSettings, data: bytes
) -> None:
    always = dataclasses.replace(settings, address_validation="always")
    async with listening(always) as server:
        with outside(server.listener.endpoint) as world:
            world.arrive((data, HERE))
            assert 0 < world.bytes_sent(HERE) < len(data)


@in_virtual_time
async def test_link_that_moves_to_an_address_that_never_answers(tmp_path: Path) -> None:
    settings = with_names(tmp_path, 1)
    async with listening(settings) as server:
        carrier = QuicCarrier(settings)
        node = FakeNode(SERVER)
        link = await carrier.setup(SERVER, server.address, FakeNode(CLIENT), setup_time=SETUP_TIME)
        accepted = await server.link()
        connection = quic_link(link)._connection
        with outside(server.listener.endpoint) as world:
            for _ in range(100):
                send(accepted, node, bytes(10_000))
            connection.engine.send_ping(0)
            moved = [
                data for data, _ in connection.engine.datagrams_to_send(asyncio.get_running_loop().time())
            ]
            assert moved
            world.arrive(*[(data, THERE) for data in moved])
            assert quic_link(accepted)._connection.engine.get_peer_address() == THERE
            await asyncio.sleep(30)
            assert 0 < world.bytes_sent(THERE) <= 3 * sum(map(len, moved))
        link.close()
        accepted.close()


# -- CONNECTION_CLOSE in the closing state ---------------------------------------------------------


class _Path:
    is_validated = True
    bytes_received = bytes_sent = 0


class _Quic:
    def __init__(self, path: _Path) -> None:
        self._network_paths = [path]

    unvalidated_credit = unvalidated_credit


def test_close_is_repeated_ever_more_seldom() -> None:
    closing = ClosePackets()
    datagrams = [(bytes(100), HERE)]
    assert closing.made(_Quic(_Path()), datagrams) == datagrams  # type: ignore[arg-type]
    repeated = [number for number in range(1, 10_000) if closing.answer(40)]
    assert repeated == [1 << power for power in range(14)]


def test_close_that_would_be_too_much_waits_for_more_to_come() -> None:
    closing = ClosePackets()
    path = _Path()
    path.is_validated = False
    path.bytes_received, path.bytes_sent = 1200, 3700  # the close is in it
    assert not closing.made(_Quic(path), [(bytes(200), HERE)])  # type: ignore[arg-type]
    assert not closing.answer(30)
    assert closing.answer(30)
    assert not closing.answer(1)
