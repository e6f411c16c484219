"""Who sends without end and awaits ``drain`` lets all others run, whatever has become of the other node,
and fills no log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from quicdist import Node, Process
from tests.support.head_of_line import in_process
from tests.support.pairs import CARRIERS, LISTENER, pair

ROUNDS = 500


async def alternates(send: Callable[[], Awaitable[None]]) -> None:
    """``send`` lets another task run each time."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    for number in range(ROUNDS):
        await send()
        assert turns >= number
    task.cancel()


async def sends(node: Node, to: str, waits: str) -> None:
    async def body(process: Process) -> None:
        async def drained() -> None:
            process.send(("nobody", to), b"x" * 100)
            await node.drain(to)

        await alternates(
            drained if waits == "drain" else lambda: process.send_wait(("nobody", to), b"x" * 100)
        )

    await in_process(node, body)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("waits", ["drain", "send_wait"])
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_sending_to_a_connected_node_lets_other_tasks_run(
    carrier: str, waits: str, tmp_path: Path
) -> None:
    async with pair(carrier, tmp_path) as (node, _):
        await sends(node, LISTENER, waits)


@pytest.mark.parametrize("waits", ["drain", "send_wait"])
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_sending_to_a_lost_node_lets_other_tasks_run(
    carrier: str, waits: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with pair(carrier, tmp_path) as (node, other):
        await node.connect(LISTENER)
        link = node._local.connections.link(LISTENER)
        assert link is not None
        link.close()  # the node is told in the next turn of the loop
        await other.stop()
        await sends(node, LISTENER, waits)
    assert len(lines(caplog)) <= 5


@pytest.mark.parametrize("waits", ["drain", "send_wait"])
@pytest.mark.parametrize("to", ["nowhere@127.0.0.1", "no name", "here@127.0.0.1"])
async def test_sending_without_a_connection_lets_other_tasks_run(
    to: str, waits: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with Node("here@127.0.0.1", cookie="secret", carrier="tcp", epmd=False, listen=False) as node:
        await sends(node, to, waits)
    assert len(lines(caplog)) <= 5


async def test_drain_of_a_stopped_node_lets_other_tasks_run() -> None:
    node = Node("here@127.0.0.1", cookie="secret", carrier="tcp", epmd=False, listen=False)
    async with node:
        pass
    await alternates(lambda: node.drain("there@127.0.0.1"))
