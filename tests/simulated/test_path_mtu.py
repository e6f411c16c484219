"""Paths that become shorter, or too short for QUIC, while much, little or nothing is sent; and loss that is
not to be taken for that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quicdist import Node
from quicdist.carrier.quic.engine.aioquic import probe_packets
from quicdist.carrier.quic.engine.path_mtu import MIN_SIZE
from quicdist.carrier.quic.link import QuicLink
from quicdist.node import NodeDown, NotConnected
from quicdist.term import Atom
from tests.simulated.exchange import Exchange, between
from tests.simulated.network import Network
from tests.simulated.nodes import address, connected, nodes
from tests.simulated.path import IPV4_HEADERS
from tests.simulated.running import simulated

ONE, TWO = address(1), address(2)
BANDWIDTH = 1e6
#: What is sent while the path changes: sizes of messages of one process each way.
TRAFFIC = {
    "bulk": [200_000] * 4,
    "a datagram each": [1250] * 400,
    "small and bulk": [*[20] * 20, 100_000] * 6,
    "all sizes": list(range(0, 12_000, 97)),
}


def link_of(node: Node) -> QuicLink:
    (link,) = node._local.connections.links()
    assert isinstance(link, QuicLink)
    return link


def size_of(node: Node) -> int:
    return link_of(node).datagram_size


def probe_timeout(node: Node) -> float:
    """Of a node's connection, now, in seconds (RFC 9002, section 6.2)."""
    return link_of(node)._connection.engine.probe_timeout()


async def filled(network: Network, one: Node, two: Node, size: int, *, over: bool = False) -> None:
    """Send until both sides have found that their datagrams may have so many bytes; with ``over`` until they
    ask for no more."""
    for _ in range(60):
        await between(network, one, two, processes=1, sizes=[100_000]).over()
        asks = [not link_of(node)._connection._prober._mtu._quiet_until for node in (one, two)]
        if size_of(one) == size_of(two) == size and not (over and any(asks)):
            return
    raise AssertionError(f"datagrams have {size_of(one)} and {size_of(two)} bytes, not {size}")


async def moving(exchange: Exchange) -> None:
    """Wait until messages are under way."""
    await asyncio.sleep(0.15)
    assert not exchange.all_came


@pytest.mark.parametrize(("traffic", "delay"), [*((each, 0.02) for each in TRAFFIC), ("bulk", 0.1)])
@pytest.mark.parametrize(("before", "after"), [(1500, 1280), (9000, 1500)])
@simulated()
async def test_a_path_that_becomes_shorter_is_noticed_within_some_probe_timeouts(
    network: Network, before: int, after: int, traffic: str, delay: float
) -> None:
    network.set(ONE, TWO, mtu=before, delay=delay, bandwidth=BANDWIDTH)
    async with connected(network) as (one, two):
        await filled(network, one, two, before - IPV4_HEADERS)
        exchange = between(network, one, two, processes=1, sizes=TRAFFIC[traffic])
        await moving(exchange)
        network.set(ONE, TWO, mtu=after)
        # One or two without a long packet acknowledged, counted from when one was sent; a round trip until a
        # short one is; and two more round trips where few packets were under way.
        begun, timeout = network.loop.time(), 0.0
        while max(size_of(one), size_of(two)) > after - IPV4_HEADERS:
            timeout = max(timeout, probe_timeout(one), probe_timeout(two))
            assert network.loop.time() - begun < 2 * timeout + 4 * (2 * delay) + 0.5
            await asyncio.sleep(0.02)
        await exchange.over(patience=10.0)
        assert exchange.all_came


@pytest.mark.parametrize("traffic", TRAFFIC)
@pytest.mark.parametrize("delay", [0.05])
@simulated()
async def test_a_path_that_is_too_short_for_quic_ends_the_link_within_seconds(
    network: Network, traffic: str, delay: float
) -> None:
    network.set(ONE, TWO, mtu=1500, delay=delay, bandwidth=BANDWIDTH)
    async with connected(network) as (one, two):
        downs: list[Any] = []
        for node in (one, two):
            node.subscribe(lambda event: downs.append(event) if isinstance(event, NodeDown) else None)
        exchange = between(network, one, two, processes=1, sizes=TRAFFIC[traffic])
        await moving(exchange)
        network.set(ONE, TWO, mtu=1000)
        begun = network.loop.time()
        await exchange.over(patience=30.0)
        assert network.loop.time() - begun < 12.0
        assert {pair.told for pair in exchange.pairs} <= {None, Atom("noconnection")}
        assert any(pair.told for pair in exchange.pairs)
        assert any("too narrow for QUIC" in str(down) for down in downs), downs


@simulated()
async def test_a_path_that_is_too_short_for_quic_and_comes_back(network: Network) -> None:
    network.set(ONE, TWO, mtu=1500, delay=0.02, bandwidth=BANDWIDTH)
    async with connected(network) as (one, two):
        exchange = between(network, one, two, processes=1, sizes=TRAFFIC["bulk"])
        await moving(exchange)
        network.set(ONE, TWO, mtu=1000)
        await asyncio.sleep(0.3)
        network.set(ONE, TWO, mtu=1500)
        assert await exchange.over(patience=10.0) < 20
        assert exchange.all_came


@simulated()
async def test_an_idle_link_outlives_a_path_that_is_too_short_for_a_while(network: Network) -> None:
    async with connected(network) as (one, two):
        network.set(ONE, TWO, mtu=1000)
        await asyncio.sleep(200)
        await one.is_auth(two.name)


@simulated()
async def test_a_dial_whose_first_datagram_the_system_refuses_says_so(network: Network) -> None:
    network.host(ONE).mtu = MIN_SIZE + IPV4_HEADERS - 1
    async with nodes(network, 2) as (one, two):
        begun = network.loop.time()
        with pytest.raises(NotConnected, match=r"too narrow for QUIC .*refuses datagrams of 1200 bytes"):
            await one.connect(two.name)
        assert network.loop.time() - begun < 0.1
        network.host(ONE).mtu += 1
        await one.connect(two.name)


@simulated()
async def test_an_interface_that_becomes_too_narrow_ends_the_link(network: Network) -> None:
    network.set(ONE, TWO, delay=0.01, bandwidth=BANDWIDTH)
    async with connected(network) as (one, two):
        downs: list[Any] = []
        one.subscribe(lambda event: downs.append(event) if isinstance(event, NodeDown) else None)
        exchange = between(network, one, two, processes=1, sizes=TRAFFIC["bulk"])
        await moving(exchange)
        network.host(ONE).mtu = 1000
        begun = network.loop.time()
        await exchange.over(patience=30.0)
        assert network.loop.time() - begun < 10.0
        assert any("too narrow for QUIC" in str(down) for down in downs), downs


@pytest.mark.parametrize("delay", [0.001, 0.025])
@simulated(3)
async def test_loss_is_not_taken_for_a_shorter_path(network: Network, delay: float) -> None:
    network.set(ONE, TWO, mtu=1500, delay=delay, bandwidth=BANDWIDTH)
    async with connected(network) as (one, two):
        await filled(network, one, two, 1500 - IPV4_HEADERS)
        sizes: set[int] = set()
        for node in (one, two):
            connection = link_of(node)._connection
            fit = connection._prober._fit

            def hook(fit: Any = fit, quic: Any = connection.engine) -> None:
                fit()
                sizes.add(probe_packets.datagram_size(quic))

            connection._prober._fit = hook  # type: ignore[method-assign]
        network.set(ONE, TWO, loss=0.2)
        await between(network, one, two, processes=2, sizes=[*[20] * 30, 100_000]).over()
        assert sizes <= {1500 - IPV4_HEADERS}


@simulated()
async def test_a_cut_is_not_taken_for_a_shorter_path(network: Network) -> None:
    network.set(ONE, TWO, mtu=1500, delay=0.01, bandwidth=BANDWIDTH)
    async with connected(network) as (one, two):
        await filled(network, one, two, 1500 - IPV4_HEADERS)
        exchange = between(network, one, two, processes=1, sizes=TRAFFIC["bulk"])
        await moving(exchange)
        network.set(ONE, TWO, cut=True)
        await asyncio.sleep(5)
        assert size_of(one) == size_of(two) == 1500 - IPV4_HEADERS
        network.set(ONE, TWO, cut=False)
        await exchange.over(patience=20.0)
        assert size_of(one) == size_of(two) == 1500 - IPV4_HEADERS


@simulated()
async def test_a_path_that_becomes_longer_again_is_used_after_a_time(network: Network) -> None:
    network.set(ONE, TWO, mtu=9000, bandwidth=BANDWIDTH * 10)
    async with connected(network) as (one, two):
        for mtu in (9000, 1500):
            network.set(ONE, TWO, mtu=mtu)
            await filled(network, one, two, mtu - IPV4_HEADERS, over=True)
        network.set(ONE, TWO, mtu=9000)
        await asyncio.sleep(601)
        await filled(network, one, two, 9000 - IPV4_HEADERS)
