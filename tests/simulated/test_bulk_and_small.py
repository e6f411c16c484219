"""Small messages during a bulk transfer are delayed by less than their own round trip.

In simulated time, which other load of the machine does not change. The bandwidth stands for the time that the
peer takes for a datagram, too.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.node import streams_peer
from tests.node.bulk import WAYS
from tests.simulated.network import Network
from tests.simulated.nodes import address, connected
from tests.simulated.running import simulated
from tests.support.head_of_line import LIMIT, ratio

MIB = 1 << 20
ONE, TWO = address(1), address(2)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("delay", [0.0001, 0.001])
@simulated()
async def test_an_echo_during_a_bulk_transfer_takes_at_most_twice_as_long(
    network: Network, way: str, delay: float
) -> None:
    for source, destination in ((ONE, TWO), (TWO, ONE)):
        # A queue that loses nothing: what is under way without need waits there, before what is small.
        network.set(source, destination, delay=delay, bandwidth=30e6, queue=64 * MIB)
    async with connected(network) as (one, two):
        streams_peer.offer(two)
        bulk = WAYS[way](two.name, 8 * MIB)
        assert await ratio(one, ("echo", two.name), bulk, asyncio.get_running_loop().time) <= LIMIT
