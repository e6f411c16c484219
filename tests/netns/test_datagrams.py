"""How long datagrams are, by the networks between two nodes."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from quicdist.carrier.quic.engine.path_mtu import MAX_SIZE
from quicdist.carrier.security.certificates import CertificateFiles
from tests.netns.programs import Program, client_of, python_server
from tests.netns.spaces import Spaces

#: What IPv4 and UDP put before a datagram.
HEADERS = 28


@contextlib.asynccontextmanager
async def nodes(spaces: Spaces, certificates: CertificateFiles) -> AsyncIterator[Program]:
    async with python_server(spaces, certificates), client_of(spaces) as client:
        assert await client.line() == "linked"
        yield client


async def sizes(client: Program) -> list[int]:
    """How long the datagrams of client and server are, when much was sent."""
    client.say("fill")
    return [int(size) for size in (await client.line()).split()]


@pytest.mark.parametrize("mtu", [1500, 9000])
async def test_an_mtu_is_used_to_the_last_byte(
    spaces: Spaces, certificates: CertificateFiles, mtu: int
) -> None:
    spaces.mtu(0, mtu)
    async with nodes(spaces, certificates) as client:
        assert await sizes(client) == [mtu - HEADERS, mtu - HEADERS]


async def test_an_mtu_that_is_larger_than_any_datagram(
    spaces: Spaces, certificates: CertificateFiles
) -> None:
    spaces.mtu(0, 65535)
    async with nodes(spaces, certificates) as client:
        assert await sizes(client) == [MAX_SIZE, MAX_SIZE]


async def test_an_mtu_less_than_that_of_ethernet(spaces: Spaces, certificates: CertificateFiles) -> None:
    """As tunnels have it."""
    spaces.mtu(0, 1400)
    async with nodes(spaces, certificates) as client:
        for size in await sizes(client):
            assert 1330 < size <= 1400 - HEADERS


async def test_what_only_one_end_takes_is_lost_without_a_word(
    spaces: Spaces, certificates: CertificateFiles
) -> None:
    """The client's interface lets pass what the server's then drops, and no ICMP is sent."""
    spaces.mtu(0, 9000, server=False)
    spaces.mtu(0, 1500, client=False)
    async with nodes(spaces, certificates) as client:
        assert await sizes(client) == [1500 - HEADERS, 1500 - HEADERS]


async def test_an_mtu_that_changes_under_way(spaces: Spaces, certificates: CertificateFiles) -> None:
    spaces.mtu(0, 9000)
    async with nodes(spaces, certificates) as client:
        assert await sizes(client) == [9000 - HEADERS, 9000 - HEADERS]
        spaces.mtu(0, 1500)
        assert await sizes(client) == [1500 - HEADERS, 1500 - HEADERS]
