"""A node in a process of its own, for tests: ``python -m tests.node.streams_peer CARRIER CERT KEY``.
CARRIER is "quic", "tcp", or "simulated": QUIC with a simulated engine.

It prints its port. ``echo`` takes ``{Pid, Term}`` and answers ``Term``; ``size`` answers with the size
of a binary, ``pid`` with its own pid; ``push`` takes ``{Pid, Size}`` and sends a binary of that size;
``stream`` takes ``{Node, Size}`` and sends so many bytes on a user stream. Streams that come are read to
their end and then finished.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from quicdist import Node, Process, UserStream
from tests.support.simulated_engine import SimulatedEngines

NAME = "peer@127.0.0.1"
COOKIE = "streams"


async def main(carrier: str, cert: str, key: str) -> None:
    options: dict[str, Any] = (
        {"epmd": False} if carrier == "tcp" else {"cert": cert, "key": key, "verify": False}
    )
    if carrier == "simulated":
        carrier, options["quic"] = "quic", {"engines": SimulatedEngines()}
    async with Node(NAME, cookie=COOKIE, carrier=carrier, host="127.0.0.1", port=0, **options) as node:
        offer(node)
        print(node.addresses[0].port, flush=True)
        await node.run_forever()


def offer(node: Node) -> None:
    """What this node does for others."""

    @node.process("echo")
    def echo(process: Process, message: Any) -> None:
        process.send(message[0], message[1])

    @node.process("pid")
    def pid(process: Process, message: Any) -> None:
        process.send(message, process.pid)

    @node.process("size")
    def size(process: Process, message: Any) -> None:
        process.send(message[0], len(message[1]))

    @node.process("push")
    def push(process: Process, message: Any) -> None:
        # From a process of its own, as another pair.
        async def send(own: Process) -> None:
            own.send(message[0], bytes(message[1]))

        node.spawn(send)

    @node.process("stream")
    async def stream(process: Process) -> None:
        async for to, count in process:
            async with await node.open_stream(to.name) as opened:
                await opened.send(bytes(count))

    async def take(came: UserStream) -> None:
        async for _ in came:
            pass

    node.accept_streams(take)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
