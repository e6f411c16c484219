"""Dials with certificates of every kind and chains of every length, shown by one side or by both, on paths of
every MTU that carries QUIC, and where any datagram of the handshake is lost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from quicdist import Node
from tests.simulated.chains import KINDS, LENGTHS, ChainKind, chain
from tests.simulated.network import Endpoint, Network
from tests.simulated.nodes import PORT, address, name
from tests.simulated.path import IPV4_HEADERS
from tests.simulated.running import simulated

ONE, TWO = address(1), address(2)
#: The longest datagram of QUIC that every path takes, as a packet of IPv4.
LEAST_MTU = 1200 + IPV4_HEADERS
#: The bit of packets of the handshake (RFC 9000, section 17.2).
LONG_HEADER = 0x80
#: Seconds from one node to the other; and bytes in a second, which keep datagrams in order.
DELAY = 0.05
BANDWIDTH = 1e8
#: A dial: two round trips each for QUIC, where both sides verify, and for the distribution, and one more
#: where a chain is longer than what may be sent to an address that is not validated (RFC 9000, section 8.1).
FIVE_ROUND_TRIPS = 5 * 2 * DELAY + 0.05
#: The first two probe timeouts: twice the round-trip time that is assumed, and that twice.
TWO_PROBE_TIMEOUTS = 0.2 + 0.4


@asynccontextmanager
async def nodes(
    network: Network, kind: ChainKind, length: int, *, mutual: bool
) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes with such chains; ``mutual``: both verify each other's."""
    cert, key, ca = chain(kind, length)
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(
                Node(
                    name(number),
                    cookie="chains",
                    carrier="quic",
                    host=address(number),
                    port=PORT,
                    nodes={name(3 - number): (address(3 - number), PORT)},
                    cert=cert,
                    key=key,
                    cacert=ca,
                    verify=mutual,
                    quic={
                        "sockets": network.host(address(number)),
                        "resumption": False,
                        "client_certificate": "require" if mutual else "none",
                    },
                )
            )
            for number in (1, 2)
        ]
        yield one, two


async def dial(network: Network, one: Node, two: Node) -> float:
    """How long it takes until ``one`` has dialled ``two``, in seconds. They talk, and part again."""
    begun = network.loop.time()
    await one.connect(two.name)
    took = network.loop.time() - begun
    await one.is_auth(two.name)
    one.disconnect(two.name)
    await asyncio.sleep(2.0)  # until both have heard of it
    return took


@pytest.mark.parametrize("mutual", [False, True], ids=["server", "mutual"])
@pytest.mark.parametrize("kind", KINDS)
@simulated()
async def test_a_chain_takes_a_path_of_the_least_mtu(network: Network, kind: ChainKind, mutual: bool) -> None:
    network.set(ONE, TWO, mtu=LEAST_MTU, delay=DELAY, bandwidth=BANDWIDTH)

    def watch(source: Endpoint, destination: Endpoint, data: bytes) -> None:
        assert not data[0] & LONG_HEADER or len(data) <= 1200

    network.watch = watch
    for length in LENGTHS:
        async with nodes(network, kind, length, mutual=mutual) as (one, two):
            assert await dial(network, one, two) < FIVE_ROUND_TRIPS, length


@simulated()
async def test_every_mtu_from_the_least_on(network: Network) -> None:
    async with nodes(network, "rsa2048", 3, mutual=True) as (one, two):
        for mtu in (*range(LEAST_MTU, 1501, 16), 9000, 16384 + IPV4_HEADERS, 65535):
            network.set(ONE, TWO, mtu=mtu, delay=DELAY, bandwidth=BANDWIDTH)
            assert await dial(network, one, two) < FIVE_ROUND_TRIPS, mtu


@pytest.mark.parametrize(("kind", "length"), [("rsa4096", 3), ("rsa2048", 4), ("p521", 2)])
@simulated()
async def test_any_datagram_of_the_handshake_may_be_lost(
    network: Network, kind: ChainKind, length: int
) -> None:
    network.set(ONE, TWO, mtu=LEAST_MTU, delay=DELAY, bandwidth=BANDWIDTH)
    async with nodes(network, kind, length, mutual=True) as (one, two):
        for lost in range(16):
            numbers = itertools.count()
            network.watch = lambda *_, numbers=numbers, lost=lost: next(numbers) != lost
            assert await dial(network, one, two) < FIVE_ROUND_TRIPS + TWO_PROBE_TIMEOUTS, lost


@pytest.mark.parametrize("kind", ["rsa2048", "ed25519"])
@simulated()
async def test_a_fifth_of_all_datagrams_may_be_lost(network: Network, kind: ChainKind) -> None:
    network.set(ONE, TWO, mtu=LEAST_MTU, delay=0.01, bandwidth=BANDWIDTH, loss=0.2)
    async with nodes(network, kind, 4, mutual=True) as (one, two):
        for _ in range(12):
            assert await dial(network, one, two) < 7.0
