"""Nodes with a simulated engine over loopback, in two processes."""

from __future__ import annotations

import asyncio
import sys

import pytest

from quicdist import Node, Process
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.node import NodeDown
from tests.node.streams_peer import COOKIE, NAME
from tests.support.programs import running_program
from tests.support.simulated_engine import SimulatedEngines

MIB = 1024 * 1024
#: Any test here that takes longer hangs.
PATIENCE = 30.0


@pytest.mark.parametrize("killed", [False, True])
async def test_nodes_in_two_processes_exchange_messages_until_one_ends(
    certificates: CertificateFiles, killed: bool
) -> None:
    files = certificates
    command = sys.executable, "-m", "tests.node.streams_peer", "simulated", str(files.cert), str(files.key)
    async with (
        asyncio.timeout(PATIENCE),
        running_program(*command, stdout=asyncio.subprocess.PIPE) as program,
    ):
        assert program.stdout is not None
        nodes = {NAME: ("127.0.0.1", int(await program.stdout.readline()))}
        engines = {"engines": SimulatedEngines()}
        async with Node(
            "here@127.0.0.1", cookie=COOKIE, nodes=nodes, listen=False, verify=False, quic=engines
        ) as node:
            down: asyncio.Queue[NodeDown] = asyncio.Queue()
            node.subscribe(lambda event: down.put_nowait(event) if isinstance(event, NodeDown) else None)
            await node.connect(NAME)
            sizes: asyncio.Queue[int] = asyncio.Queue()

            async def exchange(process: Process) -> None:
                for size in (0, 1, 70_000, 3 * MIB):
                    process.send(("size", NAME), (process.pid, bytes(size)))
                    sizes.put_nowait(await process.receive())
                    process.send(("push", NAME), (process.pid, size))
                    sizes.put_nowait(len(await process.receive()))

            node.spawn(exchange)
            assert [await sizes.get() for _ in range(8)] == [0, 0, 1, 1, 70_000, 70_000, 3 * MIB, 3 * MIB]
            assert down.empty()
            if killed:
                program.kill()
            else:
                program.terminate()
            assert (await down.get()).node == NAME
