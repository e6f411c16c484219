"""A Python node in a namespace: ``python -m tests.netns.talker NODE HOST PORT``.

Does what the lines that come in say, and answers each with a line:

- ``connect``: connects with ``NODE``; ``connected``, and ``early`` if its name went with early data;
- ``talk COUNT``: so many messages of mixed sizes, by several processes, to the process registered as
  ``mirror`` there and back; ``talked`` if all came back, in order and once;
- ``leave``: disconnects; ``left``.

Should a link, a monitor or the node say anything meanwhile, or a message not be the one expected, the line
says so.
"""

from __future__ import annotations

import asyncio
import random
import sys
from typing import Any

from quicdist import Node, Process
from quicdist.carrier.quic.link import QuicLink
from quicdist.node import NodeDown
from quicdist.term import Atom
from tests.netns.client import lines, say

#: Processes that talk at once, each pair in its own order.
PROCESSES = 4


def sizes(count: int, seed: int) -> list[int]:
    """Of messages: most are small, some take several packets, a few are in fragments."""
    chance = random.Random(seed)
    return [
        chance.choices((chance.randrange(1200), chance.randrange(20_000), 100_000), (95, 4.5, 0.5))[0]
        for _ in range(count)
    ]


async def talk(process: Process, server: str, count: int, over: asyncio.Future[str]) -> None:
    process.send((Atom("mirror"), Atom(server)), (process.pid, b"who"))
    mirror, _ = await process.receive()
    process.link(mirror)
    monitor = process.monitor(mirror)
    messages = [(number, bytes(size)) for number, size in enumerate(sizes(count, process.pid.id))]
    for message in messages:
        await process.send_wait(mirror, (process.pid, message))
    # What was sent twice would be here before this.
    messages.append((count, b"end"))
    process.send(mirror, (process.pid, messages[-1]))
    for message in messages:
        answer = await process.receive()
        if answer != (mirror, message):
            over.set_result(f"{str(answer)[:100]} in place of message {message[0]}")
            return
    process.demonitor(monitor)
    process.unlink(mirror)
    # A link of which the other end has not heard that it is over breaks with the connection, and the
    # process there would end with it.
    process.send(mirror, (process.pid, b"unlinked"))
    await process.receive()
    over.set_result("talked")


async def connect(node: Node, server: str) -> str:
    await node.connect(server)
    link = node._local.connections.link(server)
    return "connected early" if isinstance(link, QuicLink) and link.early_data_accepted else "connected"


async def main(server: str, host: str, port: str) -> None:
    async with Node(
        "client@127.0.0.1",
        cookie="secret",
        carrier="quic",
        nodes={server: (host, int(port))},
        listen=False,
        verify=False,
    ) as node:
        downs: list[Any] = []
        node.subscribe(lambda event: downs.append(event) if isinstance(event, NodeDown) else None)
        reader = await lines()
        while line := (await reader.readline()).decode().split():
            match line:
                case ["connect"]:
                    say(await connect(node, server))
                case ["leave"]:
                    node.disconnect(server)
                    say("left" if len(downs) == 1 else downs)
                    downs.clear()
                case ["talk", count]:
                    overs = [asyncio.get_running_loop().create_future() for _ in range(PROCESSES)]
                    for over in overs:
                        node.spawn(talk, server, int(count) // PROCESSES, over)
                    told = set(await asyncio.gather(*overs))
                    say(*told, *downs)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
