"""Whole nodes in a simulated network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from quicdist import Node
from tests.simulated.certificates import Kind, certificate
from tests.simulated.network import Network

COOKIE = "simulated"
PORT = 4433


def address(number: int) -> str:
    """Of the node with this number, from 1 on."""
    return f"10.0.0.{number}"


def name(number: int) -> str:
    return f"n{number}@{address(number)}"


def node(
    network: Network,
    number: int,
    *,
    key: Kind = "ed25519",
    quic: dict[str, Any] | None = None,
    **options: Any,
) -> Node:
    """A node that is not started yet: ``n1@10.0.0.1`` is number 1. It has a host of its own, listens, and
    knows where the others are. ``quic`` and ``options`` are those of :class:`quicdist.Node`."""
    cert, private_key = certificate(key)
    host = network.host(address(number))
    given: dict[str, Any] = {
        "cookie": COOKIE,
        "carrier": "quic",
        "host": host.address,
        "port": PORT,
        "nodes": {name(other): (address(other), PORT) for other in range(1, 17) if other != number},
        "cert": cert,
        "key": private_key,
        "verify": False,
        "quic": {"sockets": host, **(quic or {})},
    }
    return Node(name(number), **{**given, **options})


@asynccontextmanager
async def nodes(network: Network, count: int = 2, **options: Any) -> AsyncIterator[list[Node]]:
    """So many nodes, started, not connected; all with the same ``options`` of :func:`node`."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(node(network, number, **options))
            for number in range(1, count + 1)
        ]


@asynccontextmanager
async def connected(network: Network, **options: Any) -> AsyncIterator[tuple[Node, Node]]:
    """Two nodes, the first of which has dialled the second."""
    async with nodes(network, 2, **options) as (one, two):
        await one.connect(two.name)
        yield one, two
