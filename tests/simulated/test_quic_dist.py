"""Nodes beside simulated quic_dist of all kinds, both ways."""

from __future__ import annotations

import pytest

from tests.simulated.behaviours import QUIC_DIST
from tests.simulated.exchange import mirrored
from tests.simulated.network import Network
from tests.simulated.nodes import address, nodes
from tests.simulated.quic_dist import quic_dist
from tests.simulated.running import simulated

ONE, TWO = address(1), address(2)
versions = pytest.mark.parametrize("version", QUIC_DIST)


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
            assert one.nodes() == [peer.name]
            exchange = mirrored(network, one, peer)
            await exchange.over()
            assert exchange.all_came
            link.close()
