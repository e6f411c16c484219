"""Two Python nodes with a gateway between them: they are connected, and see the end and its reason."""

from __future__ import annotations

import asyncio
import time

import pytest

from quicdist import NotConnected
from quicdist.carrier import Address
from quicdist.discovery.epmd_messages import NodeType
from tests.gateway.gateways import A, B
from tests.gateway.world import World, client, disconnected
from tests.support.epmd import free_port


async def test_the_local_node_dials_and_calls(world: World) -> None:
    async with world.local() as local, world.remote() as remote:

        @remote.export("m")
        def double(number: int) -> int:
            return 2 * number

        assert await local.ping(B)
        assert await local.call(B, "m", "double", [21]) == 42
        assert world.gateway.nodes() == [B]
        assert remote.nodes("connected") == [A]


async def test_a_remote_node_dials_and_calls(world: World) -> None:
    async with world.local() as local, world.remote() as remote:

        @local.export("m")
        def size(data: bytes) -> int:
            return len(data)

        assert await remote.ping(A)
        sizes = [0, 1, 70_000, 3_000_000]
        assert [await remote.call(A, "m", "size", [bytes(size)]) for size in sizes] == sizes


async def test_both_dial_at_once_and_are_connected_once(world: World) -> None:
    async with world.local() as local, world.remote() as remote:
        for _ in range(3):
            assert all(await asyncio.gather(local.ping(B), remote.ping(A)))
            assert world.gateway.nodes() == [B]
            local.disconnect(B)
            await disconnected(local, remote)


async def test_a_remote_node_with_a_wrong_cookie_is_told_so(world: World) -> None:
    async with world.local(), world.remote(cookie="wrong") as remote:
        with pytest.raises(NotConnected, match=r"wrong cookie|refused our digest|after our digest"):
            await remote.connect(A)
        assert world.gateway.nodes() == []


async def test_a_remote_node_is_told_that_the_local_node_is_not_running(world: World) -> None:
    async with world.remote() as remote:
        with pytest.raises(NotConnected, match=f"{A} is not running: it is not registered"):
            await remote.connect(A)


async def test_the_local_node_sees_at_once_that_nobody_listens_for_a_name(world: World) -> None:
    async with world.local() as local:
        begun = time.monotonic()
        assert not await local.ping(B)
        assert time.monotonic() - begun < 2


async def test_the_end_of_a_node_is_seen_by_the_other_with_the_reason(world: World) -> None:
    async with world.local() as local:
        async with world.remote():
            assert await local.ping(B)
        await disconnected(local)
        assert world.gateway.nodes() == []


async def test_a_remote_node_is_told_that_the_local_node_does_not_listen_where_it_is_registered(
    world: World,
) -> None:
    epmd = Address("127.0.0.1", world.gateway.epmd_port)
    registered = await client().alive(epmd, "a", free_port(), NodeType.HIDDEN)
    assert registered is not None
    async with world.remote() as remote:
        with pytest.raises(NotConnected, match=f"{A} is not running: "):
            await remote.connect(A)
    registered[1].close()
    await registered[1].wait_closed()
