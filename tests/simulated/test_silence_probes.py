"""A peer that does not find out for itself what was lost (quic_dist up to 1.8.2): its window is full, and its
probes wait for it."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulated.behaviours import QUIC_DIST
from tests.simulated.exchange import mirrored
from tests.simulated.network import Network
from tests.simulated.nodes import address, nodes
from tests.simulated.quic_dist import quic_dist
from tests.simulated.running import simulated

ONE, TWO = address(1), address(2)
#: Round trips of this length, in seconds, and what finding out may take.
ROUND_TRIP, FOUND = 0.02, 3.0


@pytest.mark.parametrize("version", ["1.8.1", "1.8.2", "2.0"])
@pytest.mark.parametrize("cut", [0.05, 0.3, 1.0])
@simulated(5)
async def test_a_whole_window_that_was_lost_is_sent_again(network: Network, version: str, cut: float) -> None:
    network.set(ONE, TWO, delay=ROUND_TRIP / 2, bandwidth=1e6)
    async with nodes(network, 1) as (one,):
        with quic_dist(network, 2, QUIC_DIST[version]) as peer:
            await one.connect(peer.name)
            exchange = mirrored(network, one, peer, sizes=[5_000] * 20)
            await asyncio.sleep(0.1 + 0.8 * network.chance.random())
            back = network.paths(ONE, TWO)[1]
            back.cut = True
            await asyncio.sleep(cut)
            back.cut = False
            await exchange.over(patience=20)
            assert exchange.all_came
            assert exchange.longest_silence < cut + FOUND
