"""Connections that came and went, and messages that passed, leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Node, NodeDown, Process, make_development_certificates
from quicdist.node import NodeEvent

COOKIE = "leaks"


@pytest_asyncio.fixture(params=["tcp", "quic"])
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    options: dict[str, Any] = {"cookie": COOKIE, "carrier": request.param, "host": "127.0.0.1"}
    if request.param == "quic":
        files = make_development_certificates(tmp_path)
        options |= {"cert": files.cert, "key": files.key, "cacert": files.ca}
    async with Node("there@127.0.0.1", port=0, nodes={}, **options) as there:
        nodes = {there.name: ("127.0.0.1", there.addresses[0].port)}
        async with Node("here@127.0.0.1", listen=False, nodes=nodes, **options) as here:
            yield here, there


def objects() -> Counter[str]:
    """How many there are of each kind that only connections and messages are made of."""
    gc.collect()
    kinds = Counter(f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.get_objects())
    return Counter({kind: count for kind, count in kinds.items() if kind.startswith(("quicdist", "aioquic"))})


async def connect_and_disconnect(here: Node, there: Node, times: int) -> None:
    down = asyncio.Event()

    def told(event: NodeEvent) -> None:
        if isinstance(event, NodeDown):
            down.set()

    unsubscribe = there.subscribe(told)
    for _ in range(times):
        down.clear()
        await here.connect(there.name)
        assert await here.ping(there.name)
        here.disconnect(there.name)
        await down.wait()
    unsubscribe()


async def left_over(before: Counter[str], fewer_than: int) -> Counter[str]:
    """What there are ``fewer_than`` so many more of not even once closed connections have been let go of
    (RFC 9000, section 10.2)."""
    for _ in range(100):
        more = {kind: count for kind, count in (objects() - before).items() if count >= fewer_than}
        if not more:
            break
        await asyncio.sleep(0.05)
    return Counter(more)


async def test_connections_that_ended_leave_no_object(pair: tuple[Node, Node]) -> None:
    here, there = pair
    await connect_and_disconnect(here, there, 3)
    before = objects()
    await connect_and_disconnect(here, there, 20)
    assert not await left_over(before, 10)


async def test_messages_that_were_taken_leave_no_object(pair: tuple[Node, Node]) -> None:
    here, there = pair
    taken = asyncio.Event()

    @there.process("taker")
    def take(process: Process, message: int) -> None:
        if not message:
            taken.set()

    async def send(count: int) -> None:
        taken.clear()
        for left in reversed(range(count)):
            here.send(("taker", there.name), left)
        await taken.wait()

    await here.connect(there.name)
    await send(100)
    before = objects()
    await send(5000)
    assert not await left_over(before, 1000)
