"""Nodes beside simulated quic_dist of all kinds, both ways."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from quicdist.carrier.quic.link import QuicLink
from tests.simulated.behaviours import QUIC_DIST
from tests.simulated.exchange import mirrored
from tests.simulated.network import Endpoint, Network
from tests.simulated.nodes import address, nodes
from tests.simulated.quic_dist import quic_dist
from tests.simulated.running import simulated

ONE, TWO = address(1), address(2)
#: The first byte of a Handshake packet, but for its protected half (RFC 9000, section 17.2.4).
HANDSHAKE = 0xE0
versions = pytest.mark.parametrize("version", [version for version in QUIC_DIST if version != "0.11"])


@versions
@simulated()
async def test_dialled_by_python(network: Network, version: str) -> None:
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST[version]) as peer:
            await one.connect(peer.name)
            await one.is_auth(peer.name)
            exchange = mirrored(network, one, peer)
            await exchange.over()
            assert exchange.all_came


@versions
@simulated()
async def test_dials_python(network: Network, version: str) -> None:
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST[version]) as peer:
            link = await peer.connect(1)
            assert one.nodes("connected") == [peer.name]
            exchange = mirrored(network, one, peer)
            await exchange.over()
            assert exchange.all_came
            link.close()


@versions
@simulated(3)
async def test_dials_of_a_lossy_path_find_it(network: Network, version: str) -> None:
    """Whatever it does not send again."""
    network.set(ONE, TWO, loss=0.05, delay=0.01)
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST[version]) as peer:
            for _ in range(3):
                await one.connect(peer.name)
                one.disconnect(peer.name)
                await asyncio.sleep(1)


@versions
@simulated(10)
async def test_a_handshake_whose_packets_overtake_each_other_is_not_begun_anew(
    network: Network, version: str
) -> None:
    """What came too early to be read is sent only once (up to 1.8.1)."""
    network.set(ONE, TWO, delay=0.01, jitter=0.01)
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST[version]) as peer:
            begun = network.loop.time()
            await one.connect(peer.name)
            assert network.loop.time() - begun < 0.5


@pytest.mark.parametrize("lost", [1, 2, 3])
@simulated(3)
async def test_a_handshake_of_which_a_part_is_lost_for_good_is_begun_anew_soon(
    network: Network, lost: int
) -> None:
    """Up to 1.8.1 it is not sent again: each time the peer is heard and then is not."""
    network.set(ONE, TWO, delay=0.01)
    dropped: set[int] = set()

    def lose_the_certificate(source: Endpoint, destination: Endpoint, data: bytes) -> bool:
        if source[0] == TWO and data[0] & 0xF0 == HANDSHAKE and len(dropped) < lost:
            dropped.add(destination[1])
            return False
        return not (source[0] == TWO and destination[1] in dropped and data[0] & 0xF0 == HANDSHAKE)

    network.watch = lose_the_certificate
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST["1.8.1"]) as peer:
            begun = network.loop.time()
            await one.connect(peer.name)
            assert len(dropped) == lost
            assert network.loop.time() - begun < (0, 1.0, 2.5, 5.0)[lost]


@pytest.mark.parametrize(("version", "resumed"), [("1.8.1", False), ("1.8.2", True), ("2.0", True)])
@simulated()
async def test_tickets_resume_where_it_takes_them(network: Network, version: str, resumed: bool) -> None:
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST[version]) as peer:
            for expected in (False, resumed):
                await one.connect(peer.name)
                link = one._local.connections.link(peer.name)
                assert isinstance(link, QuicLink)
                assert link.resumed is expected
                exchange = mirrored(network, one, peer)
                await exchange.over()
                assert exchange.all_came
                one.disconnect(peer.name)
                await asyncio.sleep(1)


@simulated(3)
async def test_messages_on_streams_beyond_ours_are_told(network: Network) -> None:
    """With 32 data streams in place of 16 nothing is lost without a word."""
    many = replace(QUIC_DIST["2.0"], data_streams=32)
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, many) as peer:
            await one.connect(peer.name)
            exchange = mirrored(network, one, peer, processes=30)
            await exchange.over()


@simulated(3)
async def test_a_hole_in_a_stream_is_told(network: Network) -> None:
    """What a full send queue did not take is never sent (before 2.0.2)."""
    network.set(ONE, TWO, delay=0.02)
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST["1.8.1"]) as peer:
            await one.connect(peer.name)
            link = await peer.linked_to(1)
            exchange = mirrored(network, one, peer, messages=30)
            await asyncio.sleep(0.1)
            for stream_id in range(1, 64, 4):
                link.leave_hole(stream_id)
            # It shows by what comes behind it, and may stay open for net_ticktime.
            assert await exchange.over(patience=100) > 60
            assert not exchange.all_came


@pytest.mark.parametrize("version", ["1.8.2", "2.0"])
@simulated(3)
async def test_a_cut_of_more_than_16_seconds_is_told(network: Network, version: str) -> None:
    network.set(ONE, TWO, delay=0.02)
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST[version]) as peer:
            await one.connect(peer.name)
            exchange = mirrored(network, one, peer, messages=20)
            await asyncio.sleep(0.05)
            network.set(ONE, TWO, cut=True)
            await asyncio.sleep(25)
            network.set(ONE, TWO, cut=False)
            assert await exchange.over() < 60
            assert not exchange.all_came
            await one.connect(peer.name)
            after = mirrored(network, one, peer)
            await after.over()
            assert after.all_came


@pytest.mark.parametrize(("version", "within"), [("1.3", 75.0), ("1.8.1", 1.0), ("1.8.2", 1.0), ("2.0", 1.0)])
@simulated()
async def test_a_connection_that_it_has_forgotten_is_told(
    network: Network, version: str, within: float
) -> None:
    """By a stateless reset (from 1.7.0 on), as soon as something is sent."""
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST[version]) as peer:
            await one.connect(peer.name)
            (await peer.linked_to(1)).end()
            exchange = mirrored(network, one, peer, processes=1)
            assert await exchange.over(patience=90) < within
            assert not exchange.all_came


@versions
@simulated()
async def test_a_node_that_was_started_again_is_reached(network: Network, version: str) -> None:
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST[version]) as peer:
            await one.connect(peer.name)
            peer.restart()
            exchange = mirrored(network, one, peer, processes=1)
            await exchange.over(patience=90)
            assert not exchange.all_came
            await one.connect(peer.name)
            after = mirrored(network, one, peer)
            await after.over()
            assert after.all_came


@simulated()
async def test_a_few_bytes_beyond_our_window_are_taken(network: Network) -> None:
    """Before 2.1.0 a small frame that rides on an acknowledgement may exceed it by up to 40."""
    network.set(ONE, TWO, delay=0.01)
    async with nodes(network, 1, quic={"max_stream_data": 65536, "stream_window": 65536}) as (one,):
        with quic_dist(network, 2, replace(QUIC_DIST["2.0"], overrun=40)) as peer:
            await one.connect(peer.name)
            exchange = mirrored(network, one, peer, processes=2, sizes=[500_000, 100])
            await exchange.over()
            assert exchange.all_came
            link = await peer.linked_to(1)
            assert link.overran > 0


@simulated(20)
async def test_dials_find_the_socket_that_is_read(network: Network) -> None:
    """0.11.0 has two on Linux, and reads one: by the port that dials, the kernel chooses."""
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST["0.11"]) as peer:
            await one.connect(peer.name)
