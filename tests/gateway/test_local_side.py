"""The local side of a gateway: its epmds, and what strangers on this machine send to it."""

from __future__ import annotations

import asyncio
import time

import pytest

from quicdist.carrier import Address
from quicdist.carrier.tcp.listener import TcpListener
from quicdist.discovery import NodeNameTaken, RegisteredName
from quicdist.gateway.epmd import MAX_REQUESTS
from quicdist.gateway.remote_nodes import MAX_NODES
from tests.gateway.world import HOST_B, World, client

# -- epmd ------------------------------------------------------------------------------------------


async def test_each_node_is_listed_by_the_epmd_of_its_host(
    world: World,
) -> None:
    port = world.gateway.epmd_port
    async with world.local() as local:
        (own,) = await client().names(Address("127.0.0.1", port))
        assert own == RegisteredName("a", local.addresses[0].port)
        (other,) = await client().names(Address(HOST_B, port))
        assert other.name == "b"
        found = await client().port_please(Address(HOST_B, port), "b")
        assert found is not None
        assert found[0].port == other.port
        assert await client().port_please(Address("127.0.0.1", port), "b") is None


async def test_a_name_that_is_taken_is_refused_by_epmd(world: World) -> None:
    async with world.local():
        with pytest.raises(NodeNameTaken):
            async with world.local():
                pass


STRANGE_REQUESTS = [
    b"",
    b"\0",
    b"\0\0",
    b"\xff\xff" + bytes(100),
    b"\0\x01?",
    b"\0\x01x",
    b"\0\x05z\xff\xfe\xfd\xfc",
    b"\0\x06za@b\n1",
    b"\0\x01z",
    b"\0\x0dx\0\0M\0\0\x06\0\x06\xff\xff\0\0",  # port 0, and a name that is cut off
    b"\0\x01k",  # kill
]


@pytest.mark.parametrize("host", ["127.0.0.1", HOST_B])
async def test_a_strange_request_to_epmd_is_closed_without_an_answer(world: World, host: str) -> None:
    for request in STRANGE_REQUESTS:
        reader, writer = await asyncio.open_connection(host, world.gateway.epmd_port)
        writer.write(request)
        writer.write_eof()
        assert await reader.read() == b"", request
        writer.close()
    assert await client().names(Address("127.0.0.1", world.gateway.epmd_port)) == []


async def test_silent_connections_to_epmd_are_bounded(world: World) -> None:
    silent = [
        await asyncio.open_connection("127.0.0.1", world.gateway.epmd_port) for _ in range(MAX_REQUESTS)
    ]
    reader, writer = await asyncio.open_connection("127.0.0.1", world.gateway.epmd_port)
    assert await reader.read() == b""
    writer.close()
    for _, each in silent:
        each.close()


async def test_names_that_are_asked_for_do_not_open_ports_without_bound(world: World) -> None:
    where = Address(HOST_B, world.gateway.epmd_port)
    for number in range(MAX_NODES + 20):
        assert await client().port_please(where, f"n{number}") is not None
    (remote,) = world.gateway._remote
    assert len(remote._listeners) == MAX_NODES


# -- strangers -------------------------------------------------------------------------------------


async def dial(world: World, data: bytes) -> bytes:
    """What the port that stands for B answers to ``data`` of a stranger on this machine."""
    found = await client().port_please(Address(HOST_B, world.gateway.epmd_port), "b")
    assert found is not None
    reader, writer = await asyncio.open_connection(HOST_B, found[0].port)
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0",
        b"\xff\xff",
        b"\0\x03abc",
        b"\0\x20N" + b"\xff" * 31,
        b"\0\x10n\0\x05" + bytes(13),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_dial_that_is_no_handshake_is_closed(world: World, data: bytes) -> None:
    assert await dial(world, data) == b""


async def test_a_dial_without_a_name_is_closed_after_the_setup_time(world: World) -> None:
    begun = time.monotonic()
    assert await dial(world, b"\0") == b""
    assert 2 < time.monotonic() - begun < 5


async def test_the_local_side_listens_on_loopback_only(world: World) -> None:
    (remote,) = world.gateway._remote
    await client().port_please(Address(HOST_B, world.gateway.epmd_port), "b")
    listeners: list[TcpListener] = list(remote._listeners.values())
    hosts = [listener.address.host for listener in listeners]
    hosts += [epmd.address for epmd in world.gateway._epmds]
    assert hosts
    assert all(host.startswith("127.") for host in hosts)
