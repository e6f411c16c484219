"""A Python node in a namespace: ``python -m tests.netns.client NODE HOST PORT``.

It links with the process registered as ``echo`` on ``NODE`` and monitors it. Each line that comes in is
sent there; what comes back is printed after the address this node sends from. ``lost`` and a reason is
printed if the link or the monitor says anything. After ``fill`` much is sent to and fro, and how long
datagrams are then is printed: those of this node, and of the other.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from quicdist import Node
from quicdist.node import NodeDown
from quicdist.term import Atom

#: Enough for several probes that are lost, each of which takes some probe timeouts.
MESSAGES = 96
LARGE = 256 * 1024


def say(*words: object) -> None:
    print(*words, flush=True)


async def lines() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


async def main(server: str, host: str, port: str) -> None:
    async with Node(
        "client@127.0.0.1",
        cookie="secret",
        carrier="quic",
        nodes={server: (host, int(port))},
        listen=False,
        verify=False,
    ) as node:
        node.subscribe(lambda event: say("lost", event) if isinstance(event, NodeDown) else None)
        reader = await lines()

        async def talk(process: Any) -> None:
            process.send((Atom("echo"), Atom(server)), (process.pid, b"who"))
            echo, _ = await process.receive()
            process.link(echo)
            process.monitor(echo)
            say("linked")
            while line := (await reader.readline()).strip():
                if line == b"fill":
                    for _ in range(MESSAGES):
                        process.send(echo, (process.pid, bytes(LARGE)))
                    for _ in range(MESSAGES):
                        await process.receive()
                    process.send(echo, (process.pid, b"size"))
                    _, theirs = await process.receive()
                    link = node._local.connections.link(server)
                    say(link.datagram_size if link else None, theirs.decode())
                    continue
                process.send(echo, (process.pid, line))
                match await process.receive():
                    case (_, answer) if answer == line:
                        link = node._local.connections.link(server)
                        say(link.local_address.host if link else None, line.decode())
                    case other:
                        say("lost", other)

        process = node.spawn(talk)
        over = asyncio.Event()
        process.on_end(over.set)
        await over.wait()
        say("over")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
