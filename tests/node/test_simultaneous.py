"""Two nodes that dial each other at the same instant end with exactly one connection.

ERTS, *Distribution Protocol*, *Distribution Handshake*: statuses ``ok_simultaneous`` and ``nok``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from quicdist import Node, NodeDown, NodeUp, make_development_certificates
from quicdist.discovery import StaticDiscovery
from quicdist.node import NodeEvent


@contextlib.asynccontextmanager
async def two_nodes(carrier: str, directory: Path) -> AsyncIterator[tuple[Node, Node]]:
    """``one`` and ``two``, listening, each knowing where the other is."""
    options: dict[str, Any] = {"cookie": "secret", "carrier": carrier, "host": "127.0.0.1", "port": 0}
    if carrier == "quic":
        files = make_development_certificates(directory)
        options |= {"cert": files.cert, "key": files.key, "cacert": files.ca}
    # One table: a node that registers is found by the other.
    table = StaticDiscovery()
    async with (
        Node("one@127.0.0.1", discovery=table, **options) as one,
        Node("two@127.0.0.1", discovery=table, **options) as two,
    ):
        yield one, two


async def collide(one: Node, two: Node) -> None:
    """Dial from both sides at once; wait until both are through."""
    await asyncio.gather(one.connect(two.name), two.connect(one.name))


async def lockstep(one: Node, two: Node, rounds: int) -> None:
    """Collide again and again, and count what each side saw."""
    events: list[list[NodeEvent]] = [[], []]
    down: list[asyncio.Event] = [asyncio.Event(), asyncio.Event()]
    for node, seen, gone in zip((one, two), events, down, strict=True):

        def note(event: NodeEvent, seen: list[NodeEvent] = seen, gone: asyncio.Event = gone) -> None:
            seen.append(event)
            if isinstance(event, NodeDown):
                gone.set()

        node.subscribe(note)
    for number in range(rounds):
        await collide(one, two)
        assert one.nodes("connected") == [two.name], f"round {number}"
        assert two.nodes("connected") == [one.name], f"round {number}"
        # The one connection carries calls both ways.
        assert await one.ping(two.name)
        assert await two.ping(one.name)
        (one if number % 2 else two).disconnect(two.name if number % 2 else one.name)
        await asyncio.gather(*(gone.wait() for gone in down))
        for gone in down:
            gone.clear()
    for node, seen in zip((two, one), events, strict=True):
        ups = [event for event in seen if event == NodeUp(node.name)]
        downs = [event for event in seen if isinstance(event, NodeDown)]
        assert (len(ups), len(downs)) == (rounds, rounds)


@pytest.mark.parametrize("carrier", ["tcp", "quic"])
async def test_exactly_one_connection(carrier: str, tmp_path: Path) -> None:
    async with two_nodes(carrier, tmp_path) as (one, two):
        await lockstep(one, two, 30)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("carrier", ["tcp", "quic"])
async def test_exactly_one_connection_a_thousand_times(carrier: str, tmp_path: Path) -> None:
    async with two_nodes(carrier, tmp_path) as (one, two):
        await lockstep(one, two, 1000)
