"""What a process that the program forked has of its node: nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Node, NodeDown, RemoteError, make_development_certificates
from tests.forking.running import ROOT, Program, program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

COOKIE = "forking"
NAME = "forking@127.0.0.1"


@dataclass
class Pair:
    """A node of ours, and one that is a program and has forked its workers."""

    node: Node
    program: Program
    #: What it takes to start the program again.
    again: tuple[str, str, dict[str, Any]]

    async def call(self, function: str, *arguments: Any) -> Any:
        return await self.node.call(NAME, "py", function, arguments, timeout=30)


@pytest_asyncio.fixture(params=["asyncio", "uvloop"])
async def loop(request: pytest.FixtureRequest) -> str:
    """The event loop of the program."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return str(request.param)


@pytest.fixture(params=["tcp", "quic"])
def options(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What the nodes have in common."""
    carrier: dict[str, Any] = {"carrier": request.param}
    if request.param == "quic":
        files = make_development_certificates(tmp_path)
        carrier |= {"cert": str(files.cert), "key": str(files.key), "verify": False}
    return carrier | {"cookie": COOKIE, "host": "127.0.0.1", "epmd": False}


@pytest_asyncio.fixture
async def pair(options: dict[str, Any], loop: str, free_port: Callable[[], int]) -> AsyncIterator[Pair]:
    port = free_port()
    its_options = options | {"port": port}
    ours: dict[str, Any] = options | {"nodes": {NAME: ("127.0.0.1", port)}, "listen": False}
    async with program(loop, NAME, its_options) as running:
        assert await running.line() == "up"
        async with Node("peer@127.0.0.1", **ours) as node:
            both = Pair(node, running, (loop, NAME, its_options))
            assert await both.call("double", 21) == 42
            yield both


async def test_a_forked_worker_has_nothing_of_the_node(pair: Pair) -> None:
    assert await pair.call("sockets") == []
    assert await pair.call("signals") == []
    refused = (
        f"NodeNotStarted: node {NAME} runs in process {pair.program.process.pid}: "
        "a process forked from it cannot use the node"
    )
    assert await pair.call("uses") == [refused.encode()] * 6
    os.kill((await pair.call("workers"))[0], signal.SIGTERM)  # the pool ends the other one
    assert "BrokenProcessPool" in await last(pair.call("double", 1) for _ in count())
    assert await pair.call("is_stopping") is False  # the signal was the worker's alone


async def last(calls: Iterator[Coroutine[Any, Any, Any]]) -> str:
    """What the first call that fails says; it takes a moment until a worker is missed."""
    for call in calls:
        try:
            await call
        except RemoteError as error:
            return str(error)
    raise AssertionError


@pytest.mark.parametrize("loop", ["asyncio"], indirect=True)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_node_that_is_killed_is_gone_and_can_start_again(pair: Pair, how: signal.Signals) -> None:
    gone = asyncio.Event()
    pair.node.subscribe(lambda event: gone.set() if isinstance(event, NodeDown) else None)
    await pair.call("default_signals")
    pair.program.kill(how)
    if pair.again[2]["carrier"] == "tcp":
        await asyncio.wait_for(gone.wait(), 10)
    else:
        pair.node.disconnect(NAME)  # UDP does not tell that it was killed
    assert pair.program.workers
    for worker in pair.program.workers:
        os.kill(worker, 0)  # they live
    async with program(*pair.again) as again:
        assert await again.line() == "up"
        assert await pair.node.ping(NAME)


async def test_a_forked_child_of_connected_nodes_ends_without_a_crash(
    loop: str, options: dict[str, Any]
) -> None:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.forking.ends", loop, repr(options)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            output, errors = await child.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
    assert output.decode().splitlines() == [
        "ends_at_once {0}",
        "collects_garbage {0}",
        "is_of_multiprocessing {0}",
        "leaves_the_block {0}",
        "exits, after the loop {0}",
    ], errors.decode()
