"""The life of two nodes, whatever their engine is: run by ``test_simulated_engine.py``, and as a program
(``python -m tests.simulated.engine_life``), which says whether aioquic was loaded for it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from quicdist import Atom, Node, Process, StreamReset, UserStream
from quicdist.node import NodeDown
from tests.simulated.exchange import between
from tests.simulated.network import Network
from tests.simulated.nodes import connected
from tests.simulated.running import simulate
from tests.support.simulated_engine import SimulatedEngines

MIB = 1024 * 1024
SIZES = (0, 1, 1000, 70_000, 2 * MIB)

DOWN, EXIT, BOOM = Atom("DOWN"), Atom("EXIT"), Atom("boom")


async def exchange_messages(network: Network, one: Node, two: Node) -> None:
    """Messages of all sizes, both ways at once."""
    exchange = between(network, one, two, processes=2, sizes=SIZES)
    await exchange.over()
    assert exchange.all_came


async def watch_processes(one: Node, two: Node) -> None:
    """A process is spawned on the other node, linked to and monitored, and ends."""
    told: asyncio.Queue[Any] = asyncio.Queue()

    @two.exports.process("engine_life")
    async def wait(process: Process) -> None:
        process.stop(await process.receive())

    async def parent(process: Process) -> None:
        process.trap_exit = True
        pid, reference = await process.spawn_monitor_on(two.name, "engine_life", "wait", [], link=True)
        process.send(pid, BOOM)
        for _ in range(2):
            told.put_nowait((pid, reference, await process.receive()))

    one.spawn(parent)
    came = [await told.get() for _ in range(2)]
    pid, reference, _ = came[0]
    assert {message for _, _, message in came} == {
        (EXIT, pid, BOOM),
        (DOWN, reference, Atom("process"), pid, BOOM),
    }


async def use_streams(one: Node, two: Node) -> None:
    """User streams: one to the end both ways, one that is reset, one whose reader stops."""
    async with two.accept_streams() as streams:
        came = aiter(streams)
        ours = await one.open_stream(two.name)
        await ours.send(bytes(MIB))
        ours.write_eof()
        theirs = await anext(came)
        assert len(await theirs.read()) == MIB
        await theirs.send(b"answer")
        theirs.write_eof()
        assert await ours.read() == b"answer"

        ours, theirs = await _opened(one, two, came)
        theirs.reset(77)
        for end in (ours, theirs):
            with pytest.raises(StreamReset) as caught:
                await end.read()
            assert caught.value.code == 77

        ours, theirs = await _opened(one, two, came)
        ours.close()
        await theirs.send(bytes(8 * MIB))
        theirs.write_eof()
        await theirs.drain()


async def _opened(one: Node, two: Node, came: Any) -> tuple[UserStream, UserStream]:
    ours = await one.open_stream(two.name)
    ours.write(b"!")
    theirs = await anext(came)
    assert await theirs.readexactly(1) == b"!"
    return ours, theirs


def nodes_down(node: Node) -> asyncio.Queue[NodeDown]:
    """The nodes that go down from now on, as ``node`` sees it."""
    down: asyncio.Queue[NodeDown] = asyncio.Queue()
    node.subscribe(lambda event: down.put_nowait(event) if isinstance(event, NodeDown) else None)
    return down


async def live(network: Network, **quic: Any) -> None:
    """All of that between two nodes, which then disconnect."""
    async with connected(network, quic=quic) as (one, two):
        down = nodes_down(two)
        await exchange_messages(network, one, two)
        await watch_processes(one, two)
        await use_streams(one, two)
        one.disconnect(two.name)
        assert (await down.get()).node == one.name


if __name__ == "__main__":
    simulate(lambda network: live(network, engines=SimulatedEngines()), seed=0)
    print("aioquic" if "aioquic" in sys.modules else "no aioquic")
