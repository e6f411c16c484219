"""Dialling a quic_dist that gives a part of the ports to a socket that nobody reads (0.11.0 on Linux)."""

from __future__ import annotations

from random import Random

import pytest

from quicdist.node import NotConnected
from tests.simulated.behaviours import QUIC_DIST
from tests.simulated.network import Endpoint, Network
from tests.simulated.nodes import PORT, address, name, nodes
from tests.simulated.quic_dist import quic_dist
from tests.simulated.running import simulated

ONE, TWO = address(1), address(2)


class Watch:
    """Which ports have dialled, and what came of each."""

    def __init__(self, network: Network, *, dead: float) -> None:
        self.network = network
        self.dead = dead
        #: Datagrams from each of them.
        self.ports: dict[int, int] = {}
        network.watch = self._look

    def _look(self, source: Endpoint, destination: Endpoint, data: bytes) -> bool:
        if destination != (TWO, PORT):
            return True
        self.ports[source[1]] = self.ports.get(source[1], 0) + 1
        # By a hash of the port, as the kernel does.
        return Random(f"{self.network.seed} {source[1]}").random() >= self.dead


@simulated(2)
async def test_twenty_dials_all_succeed_where_half_of_the_ports_are_dead(network: Network) -> None:
    network.set(ONE, TWO, delay=0.01)
    watch = Watch(network, dead=0.5)
    took = []
    with quic_dist(network, 2, QUIC_DIST["1.3"]) as peer:
        for _ in range(20):
            async with nodes(network, 1) as (one,):
                begun = network.loop.time()
                await one.connect(peer.name)
                took.append(network.loop.time() - begun)
                await one.is_auth(peer.name)
    assert max(took) < 5
    assert sorted(took)[10] < 2
    assert len(watch.ports) > 20


@pytest.mark.parametrize("delay", [0.0005, 0.1, 0.3])
@simulated()
async def test_a_peer_that_answers_is_dialled_from_one_port(network: Network, delay: float) -> None:
    network.set(ONE, TWO, delay=delay)
    watch = Watch(network, dead=0)
    async with nodes(network, 2) as (one, _):
        await one.connect(name(2))
    assert len(watch.ports) == 1


@simulated()
async def test_a_host_that_says_nothing_is_sent_few_datagrams(network: Network) -> None:
    network.host(TWO).tells = False
    watch = Watch(network, dead=0)
    async with nodes(network, 1) as (one,):
        begun = network.loop.time()
        with pytest.raises(NotConnected, match="no QUIC handshake response within 7 s"):
            await one.connect(name(2))
        assert network.loop.time() - begun < 9
    assert len(watch.ports) <= 11
    assert sum(watch.ports.values()) <= 70


@simulated()
async def test_a_host_where_nobody_listens_is_dialled_from_one_port(network: Network) -> None:
    network.host(TWO)
    watch = Watch(network, dead=0)
    async with nodes(network, 1) as (one,):
        begun = network.loop.time()
        with pytest.raises(NotConnected, match="connection refused"):
            await one.connect(name(2))
        assert network.loop.time() - begun < 1.5
    assert watch.ports == {next(iter(watch.ports)): 1}


@simulated(10)
async def test_a_dial_that_loses_most_is_said_once(network: Network) -> None:
    """Whichever of its sockets is through: one link, at both ends."""
    network.set(ONE, TWO, delay=0.1, loss=0.5)
    async with nodes(network, 2) as (one, two):
        try:
            await one.connect(name(2))
        except NotConnected:
            return
        assert await one.ping(name(2))
        assert len(list(two._local.connections.links())) <= 1
