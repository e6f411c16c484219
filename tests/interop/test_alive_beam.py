"""A node that dials again while its peer still holds the connection of before: status ``alive``.

ERTS, *Distribution Protocol*, *Distribution Handshake*: the dialler is told ``alive``, answers ``true``, and
the old connection goes down before the new one comes up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from quicdist import Node, NodeDown, NodeUp
from quicdist.carrier.quic.link import QuicLink
from quicdist.carrier.tcp.link import TcpLink
from quicdist.node import NodeEvent
from tests.interop.carriers import COOKIE
from tests.interop.cluster import Cluster


@contextlib.asynccontextmanager
async def without_a_word(node: Node, peer: str) -> AsyncIterator[None]:
    """``node`` loses its connection, and ``peer`` hears nothing of that until the end of the block."""
    link = node._local.connections.link(peer)
    held = None
    down = asyncio.Event()
    done = node.subscribe(lambda event: down.set())
    if isinstance(link, QuicLink):
        link._connection.abandon("a cable was cut")
    else:
        assert isinstance(link, TcpLink)
        # Open as long as any descriptor is.
        held = os.dup(link._transport.get_extra_info("socket").fileno())
        link._transport.abort()
    await down.wait()
    done()
    assert node.nodes("connected") == []
    try:
        yield
    finally:
        if held is not None:
            os.close(held)


def another(pair: Cluster, name: str, peer: str, host: str, port: int) -> Node:
    """A node that has the name of one of the pair, and knows the way to the other."""
    options: dict[str, Any] = {} if pair.carrier == "tcp" else {"verify": False}
    nodes = {peer: (host, port)}
    return Node(name, cookie=COOKIE, carrier=pair.node_carrier, nodes=nodes, listen=False, **options)


#: What the BEAM has heard of our node.
EVENTS = "(fun F() -> receive {What, PY, _} -> [What | F()] after 0 -> [] end end)()"


@pytest.mark.parametrize("restarted", [False, True])
async def test_towards_a_beam(pair: Cluster, restarted: bool) -> None:
    """The BEAM takes it for the same node or, by its creation, for the next of that name."""
    node, beam_name = pair.node, pair.beam_name
    await pair.eval("net_kernel:monitor_nodes(true, [{node_type, all}])")
    for number in range(1, 4):
        await node.connect(beam_name)
        assert await node.ping(beam_name)
        link = node._local.connections.link(beam_name)
        assert link is not None
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(without_a_word(node, beam_name))
            if restarted:
                where = link.remote_address
                again = another(pair, node.name, beam_name, where.host, where.port)
                await stack.enter_async_context(again)
            else:
                again = node
            await again.connect(beam_name)
            assert await again.ping(beam_name)
            assert await pair.eval(EVENTS) == "[nodeup,nodedown,nodeup]", number
            again.disconnect(beam_name)
            assert await pair.eval("receive {nodedown, PY, _} -> down end") == "down"


async def down_and_up(pair: Cluster, events: asyncio.Queue[NodeEvent]) -> None:
    """The old connection has made room for the new one, which carries calls both ways."""
    assert await pair.node.ping(pair.beam_name)
    assert await pair.eval("net_adm:ping(PY)") == "pong"
    assert await events.get() == NodeUp(pair.beam_name)
    down = await events.get()
    assert isinstance(down, NodeDown)
    assert "has made another" in str(down.error)
    assert await events.get() == NodeUp(pair.beam_name)
    assert events.empty()


async def test_a_beam_that_was_restarted(pair: Cluster) -> None:
    """We hold a connection with an earlier node of its name."""
    node, beam_name = pair.node, pair.beam_name
    events: asyncio.Queue[NodeEvent] = asyncio.Queue()
    node.subscribe(events.put_nowait)
    where = node.addresses[0]
    async with another(pair, beam_name, node.name, where.host, where.port) as earlier:
        await earlier.connect(node.name)
        async with without_a_word(earlier, node.name):
            assert await pair.eval("net_kernel:connect_node(PY)") == "true"
            await down_and_up(pair, events)


async def test_a_beam_that_says_nothing_and_dials_again(pair: Cluster) -> None:
    if pair.carrier != "quic":
        pytest.skip("a BEAM that disconnects over TCP, from its gateway too, is seen to")
    events: asyncio.Queue[NodeEvent] = asyncio.Queue()
    pair.node.subscribe(events.put_nowait)
    assert await pair.eval("net_kernel:connect_node(PY)") == "true"
    assert await pair.eval("net_kernel:disconnect(PY)") == "true"
    assert await pair.eval("net_kernel:connect_node(PY)") == "true"
    await down_and_up(pair, events)
