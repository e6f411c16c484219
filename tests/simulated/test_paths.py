"""Bad paths, one fault at a time: what it may cost, and what it may not."""

from __future__ import annotations

import asyncio
import contextlib
from typing import get_args

import pytest

from quicdist.carrier.quic.link import QuicLink
from quicdist.node import NotConnected
from quicdist.protocol import WrongCookie
from tests.simulated.behaviours import QUIC_DIST
from tests.simulated.certificates import Kind
from tests.simulated.exchange import between, mirrored
from tests.simulated.network import Network
from tests.simulated.nodes import address, connected, nodes
from tests.simulated.quic_dist import quic_dist
from tests.simulated.running import simulated

ONE, TWO = address(1), address(2)
MIB = 1024 * 1024


@simulated(9)
async def test_no_stream_to_quic_dist_stands_still_after_a_cut(network: Network) -> None:
    network.set(ONE, TWO, delay=0.02)
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST["1.8.1"]) as peer:
            await one.connect(peer.name)
            exchange = mirrored(network, one, peer, messages=30)
            await asyncio.sleep(network.chance.random() * 0.2)
            network.set(ONE, TWO, cut=True)
            await asyncio.sleep(5)
            network.set(ONE, TWO, cut=False)
            assert await exchange.over() < 20
            assert exchange.all_came


@pytest.mark.parametrize("mtu", [1450, 1280])
@simulated()
async def test_a_listener_with_an_rsa_certificate_is_reached_by_short_paths(
    network: Network, mtu: int
) -> None:
    network.set(ONE, TWO, mtu=mtu, delay=0.01)
    async with connected(network, key="rsa2048") as (one, two):
        await one.is_auth(two.name)


@pytest.mark.parametrize("kind", [kind for kind in get_args(Kind) if kind != "rsa4096"])
@simulated()
async def test_certificates_of_all_kinds_on_an_ordinary_path(network: Network, kind: Kind) -> None:
    async with connected(network, key=kind) as (one, two):
        await one.is_auth(two.name)


@simulated()
async def test_reordering_costs_little(network: Network) -> None:
    """Without jitter it takes 0.8 s."""
    network.set(ONE, TWO, delay=0.02, jitter=0.002)
    async with connected(network) as (one, two):
        assert await between(network, one, two, processes=1, sizes=[4 * MIB, 0]).over() < 1.6


@simulated(40)
async def test_dials_that_loss_makes_fail_do_not_blame_the_cookie(network: Network) -> None:
    network.set(ONE, TWO, delay=0.2, loss=0.2)
    async with nodes(network, 2) as (one, two):
        with contextlib.suppress(NotConnected):
            await one.connect(two.name)
        error = one._local.connections.not_connected(two.name)
        assert not any(isinstance(each, WrongCookie) for each in error.attempts)


@pytest.mark.parametrize("mtu", [1000])
@simulated()
async def test_a_path_that_becomes_shorter_in_mid_transfer(network: Network, mtu: int) -> None:
    """Nothing is sent that is too short for it, or the senders are told; within ``net_ticktime``."""
    network.set(ONE, TWO, delay=0.01, bandwidth=2e6)
    async with connected(network) as (one, two):
        exchange = between(network, one, two, processes=1, sizes=[4 * MIB, 0])
        await asyncio.sleep(0.5)
        network.set(ONE, TWO, mtu=mtu)
        await exchange.over()


@simulated()
async def test_a_new_path_is_validated_by_datagrams_that_every_path_takes(network: Network) -> None:
    """Of 1200 bytes (RFC 9000, section 8.2), however long others are."""
    async with connected(network) as (one, two):
        await between(network, one, two, processes=1, sizes=[1_000_000, 0]).over()
        (link,) = one._local.connections.links()
        assert isinstance(link, QuicLink)
        assert link.datagram_size > 1280
        await asyncio.sleep(1)
        sizes: list[int] = []
        network.watch = lambda source, destination, data: sizes.append(len(data))
        network.rebind(ONE)
        await one.is_auth(two.name)
        await asyncio.sleep(1)
        assert max(sizes) == 1200
