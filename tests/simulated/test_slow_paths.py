"""Transfers that take longer than ``net_ticktime``, and move on all the time."""

from __future__ import annotations

from tests.simulated.behaviours import QUIC_DIST
from tests.simulated.exchange import between, mirrored
from tests.simulated.network import Network
from tests.simulated.nodes import address, connected, nodes
from tests.simulated.quic_dist import quic_dist
from tests.simulated.running import simulated

ONE, TWO = address(1), address(2)
TICKTIME = 60.0
#: Bytes a second, and of one message.
SLOW, LARGE = 10_000, 700_000


def make_slow(network: Network) -> None:
    network.set(ONE, TWO, delay=0.05, bandwidth=SLOW)


@simulated()
async def test_a_message_that_takes_longer_than_the_ticktime_arrives(network: Network) -> None:
    make_slow(network)
    async with connected(network) as (one, two):
        exchange = between(network, one, two, processes=1, sizes=[LARGE, 0])
        assert await exchange.over(patience=10 * TICKTIME) > TICKTIME
        assert exchange.all_came


@simulated()
async def test_one_for_quic_dist_and_back_does_too(network: Network) -> None:
    make_slow(network)
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST["1.8.1"]) as peer:
            await one.connect(peer.name)
            exchange = mirrored(network, one, peer, processes=1, sizes=[LARGE, 0])
            assert await exchange.over(patience=10 * TICKTIME) > TICKTIME
            assert exchange.all_came
