"""A node that is used in another thread or event loop than its own raises an error, and does not hang."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Node, NodeError
from tests.support.pairs import LISTENER, pair

Use = Callable[[Node], Coroutine[Any, Any, Any]]

USES: dict[str, Use] = {
    "connect": lambda node: node.connect(LISTENER),
    "connect to a node that is not there": lambda node: node.connect("nobody@127.0.0.1"),
    "is_auth": lambda node: node.is_auth(LISTENER),
    "drain": lambda node: node.drain(LISTENER),
    "call": lambda node: node.call(LISTENER, "erlang", "node"),
    "gen_server_call": lambda node: node.gen_server_call(("net_kernel", LISTENER), "x"),
    "gen_server.stop": lambda node: node.gen_server.stop(("net_kernel", LISTENER)),
    "erpc.multicall": lambda node: node.erpc.multicall([LISTENER], "erlang", "node"),
    "rpc.block_call": lambda node: node.rpc.block_call(LISTENER, "erlang", "node"),
    "sys.get_state": lambda node: node.sys.get_state(("net_kernel", LISTENER)),
    "io.put_chars": lambda node: node.io.put_chars(("user", LISTENER), "x"),
    "global_names.set_lock": lambda node: node.global_names.set_lock(("a", "b")),
    "open_stream": lambda node: node.open_stream(LISTENER),
    "cluster.settled": lambda node: node.cluster.settled(at_least=2),
    "run_forever": lambda node: node.run_forever(),
    "stop": lambda node: node.stop(),
}


@pytest_asyncio.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with pair("tcp", tmp_path, cluster=[LISTENER]) as (dialler, _):
        await dialler.connect(LISTENER)
        yield dialler


async def used(use: Use, node: Node) -> str:
    """The error of a use in this event loop."""
    with pytest.raises(NodeError) as caught:
        await asyncio.wait_for(use(node), 30)
    return str(caught.value)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_a_use_in_another_thread_is_refused(node: Node, use: Use) -> None:
    text = await asyncio.to_thread(lambda: asyncio.run(used(use, node)))
    assert node.name in text
    assert "belongs to the thread of its event loop, MainThread" in text or "another event loop" in text


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_a_use_in_another_event_loop_of_the_same_thread_is_refused(node: Node, use: Use) -> None:
    own = asyncio.get_running_loop()
    asyncio._set_running_loop(None)
    try:
        text = asyncio.run(used(use, node))
    finally:
        asyncio._set_running_loop(own)
        asyncio.set_event_loop(own)
    assert node.name in text
    assert repr(own).partition(" ")[0] in text


async def test_a_use_in_its_own_event_loop_is_not_refused(node: Node) -> None:
    assert await node.ping(LISTENER)
