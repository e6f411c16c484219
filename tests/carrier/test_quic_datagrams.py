"""Links on paths that take datagrams of some lengths only. See also tests/netns."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from quicdist.carrier.quic.engine.path_mtu import BASE_SIZE, GRANULARITY, MAX_SIZE, MIN_SIZE
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.quic.settings import QuicSettings
from tests.carrier.flights import Proxy, proxied
from tests.carrier.quic_support import PATIENCE, LinkPair, linked, linked_to, listening, quic_link
from tests.support.engine import connection_of
from tests.support.virtual_time import in_virtual_time

#: A round trip that is short, and longer than the delay of acknowledgements.
DELAY = 0.001
LARGE = bytes(range(256)) * 1024
#: More than fits a datagram.
MUCH = LARGE[: 48 * 1024]


@asynccontextmanager
async def narrow(
    settings: QuicSettings, longest: int = 65535, client_settings: QuicSettings | None = None
) -> AsyncIterator[tuple[LinkPair, Proxy]]:
    """Two ends of a link, and the path between them, which takes datagrams of up to ``longest`` bytes."""
    settings = dataclasses.replace(settings, initial_rtt=0.02)
    async with listening(settings) as server, proxied(server.address, DELAY) as proxy:
        proxy.longest = longest
        client_settings = dataclasses.replace(client_settings or settings, initial_rtt=0.02)
        async with linked_to(server, client_settings, proxy.address) as pair:
            yield pair, proxy


def both(pair: LinkPair) -> tuple[QuicLink, QuicLink]:
    return quic_link(pair.client.link), quic_link(pair.server.link)


async def exchange(pair: LinkPair) -> None:
    """Much each way."""
    pair.to_server(MUCH)
    pair.to_client(MUCH)
    assert (await pair.server.get())[1] == MUCH
    assert (await pair.client.get())[1] == MUCH


async def settle(pair: LinkPair) -> tuple[int, int]:
    """Send until either side has found how long its datagrams may be, and both have sent such ones;
    their sizes."""
    async with asyncio.timeout(PATIENCE):
        while not all(link._connection._prober._mtu._quiet_until for link in both(pair)):
            await exchange(pair)
    client, server = both(pair)
    return client.datagram_size, server.datagram_size


def fits(size: int, longest: int) -> bool:
    """Whether a size is about what the path takes."""
    most = min(longest, MAX_SIZE)
    return most * (GRANULARITY - 1) // GRANULARITY <= size <= most


@pytest.mark.parametrize("longest", [1200, 1300, 1452, 1472, 2000, 5000, 8952, 9000, 12_000, 16_384, 65_535])
@in_virtual_time
async def test_the_size_of_datagrams_is_what_the_path_takes(settings: QuicSettings, longest: int) -> None:
    async with narrow(settings, longest) as (pair, proxy):
        sizes = await settle(pair)
        assert all(fits(size, longest) for size in sizes), sizes
        # From here on all that is sent gets through.
        proxy.dropped.clear()
        proxy.passed.clear()
        await exchange(pair)
        assert not proxy.dropped
        assert min(sizes[0], BASE_SIZE) <= max(proxy.passed) <= max(sizes)


@in_virtual_time
async def test_an_idle_link_probes_nothing(settings: QuicSettings) -> None:
    async with narrow(settings) as (pair, proxy):
        for number in range(20):
            pair.to_server(number)
            assert (await pair.server.get())[1] == number
        assert max(proxy.passed) == MIN_SIZE
        assert [link.datagram_size for link in both(pair)] == [MIN_SIZE, MIN_SIZE]


@pytest.mark.parametrize("ours", [MIN_SIZE, BASE_SIZE])
@pytest.mark.parametrize("dials", [True, False])
@in_virtual_time
async def test_who_builds_no_long_datagrams_is_sent_none(
    settings: QuicSettings, ours: int, dials: bool
) -> None:
    """As quic_dist, which says nothing of them either."""
    short = dataclasses.replace(settings, max_datagram_size=ours)
    client, server = (short, settings) if dials else (settings, short)
    async with narrow(server, client_settings=client) as (pair, proxy):
        assert await settle(pair) == ((ours, BASE_SIZE) if dials else (BASE_SIZE, ours))
        assert max(proxy.passed) == BASE_SIZE  # the probe
        assert not proxy.dropped


@in_virtual_time
async def test_what_is_set_is_the_most(settings: QuicSettings) -> None:
    few = dataclasses.replace(settings, max_datagram_size=5000)
    async with narrow(settings, client_settings=few) as (pair, proxy):
        assert await settle(pair) == (5000, MAX_SIZE)
        assert max(proxy.passed) == MAX_SIZE


@pytest.mark.parametrize("longest", [1300, 1452, 4000])
@in_virtual_time
async def test_a_path_that_becomes_narrow_while_much_is_under_way(
    settings: QuicSettings, longest: int
) -> None:
    async with narrow(settings) as (pair, proxy):
        assert await settle(pair) == (MAX_SIZE, MAX_SIZE)
        for number in range(40):
            pair.to_server((number, LARGE))
            pair.to_client((number, LARGE))
        assert (await pair.server.get())[1] == (0, LARGE)
        proxy.longest = longest
        for number in range(1, 40):
            assert (await pair.server.get())[1] == (number, LARGE)
        for number in range(40):
            assert (await pair.client.get())[1] == (number, LARGE)
        assert max(proxy.dropped) == MAX_SIZE
        sizes = await settle(pair)
        assert all(fits(size, longest) for size in sizes), sizes


@in_virtual_time
async def test_a_silence_that_is_not_for_the_length_costs_nothing(settings: QuicSettings) -> None:
    async with narrow(settings) as (pair, proxy):
        assert await settle(pair) == (MAX_SIZE, MAX_SIZE)
        proxy.longest = 0
        for number in range(8):
            pair.to_server((number, LARGE))
        await asyncio.sleep(1.0)
        client, _ = both(pair)
        assert connection_of(client._connection.engine)._loss._pto_count > 2
        assert client.datagram_size == MAX_SIZE
        proxy.longest = 65535
        for number in range(8):
            assert (await pair.server.get())[1] == (number, LARGE)
        assert await settle(pair) == (MAX_SIZE, MAX_SIZE)


@in_virtual_time
async def test_after_a_move_it_begins_anew(settings: QuicSettings) -> None:
    async with linked(settings) as pair:
        assert await settle(pair) == (MAX_SIZE, MAX_SIZE)
        client, server = both(pair)
        assert client.migrate()
        assert client.datagram_size == MIN_SIZE
        pair.to_server(1)
        assert (await pair.server.get())[1] == 1
        assert server.datagram_size == MIN_SIZE
        assert await settle(pair) == (MAX_SIZE, MAX_SIZE)


@pytest.mark.parametrize("longest", [1300, BASE_SIZE, 3000])
@in_virtual_time
async def test_a_move_to_a_narrower_path(settings: QuicSettings, longest: int) -> None:
    """The peer's address changes, as it does behind a NAT, in the middle of it all."""
    async with narrow(settings) as (pair, proxy):
        assert await settle(pair) == (MAX_SIZE, MAX_SIZE)
        for number in range(10):
            pair.to_server((number, LARGE))
            pair.to_client((number, LARGE))
        await asyncio.sleep(0)
        proxy.longest = longest
        await proxy.forget()
        for inbox in (pair.server, pair.client):
            for number in range(10):
                assert (await inbox.get())[1] == (number, LARGE)
        sizes = await settle(pair)
        assert all(fits(size, longest) for size in sizes), sizes


@pytest.mark.parametrize("size", [0, 1199, 16385])
def test_sizes_that_no_datagram_can_have(size: int) -> None:
    with pytest.raises(ValueError, match="max_datagram_size"):
        QuicSettings(max_datagram_size=size)
