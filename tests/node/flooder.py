"""A node in a process of its own that asks much and takes nothing: ``python -m tests.node.flooder
CARRIER CERT KEY PORT KIND``.

It dials ``flooded@127.0.0.1`` at a port, asks for as many answers of a mebibyte as
:data:`REQUESTS`, and is then stopped (SIGSTOP) by itself.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from quicdist import Atom, ImproperList, Node, Process
from quicdist.otp.gen_messages import GEN_CALL

NAME = "flooder@127.0.0.1"
FLOODED = "flooded@127.0.0.1"
COOKIE = "flood"
REQUESTS = 64

Ask = Callable[[Node, Process], None]


def call(name: str, request: Any) -> Ask:
    def ask(node: Node, process: Process) -> None:
        tag = ImproperList([Atom("alias")], process.alias())
        process.send((name, FLOODED), (GEN_CALL, (process.pid, tag), request))

    return ask


def send(name: str) -> Ask:
    return lambda node, process: process.send((name, FLOODED), process.pid)


def spawn(**options: bool) -> Ask:
    """Of what ends with a large reason."""

    def ask(node: Node, process: Process) -> None:
        process.trap_exit = True
        process.spawn_request(FLOODED, "m", "die", **options)  # type: ignore[arg-type]

    return ask


#: What an answer of a mebibyte is asked of.
ASKED: dict[str, Ask] = {
    "rex": call("rex", (Atom("call"), Atom("m"), Atom("large"), [], None)),
    "block_call": call("rex", (Atom("block_call"), Atom("m"), Atom("large"), [], None)),
    "gen_server": call("server", Atom("large")),
    "handler": send("handler"),
    "coroutine": send("coroutine"),
    "spawn_monitor": spawn(monitor=True),
    "spawn_link": spawn(link=True),
}


async def main(carrier: str, cert: str, key: str, port: str, kind: str) -> None:
    options: dict[str, Any] = {"verify": False} if carrier == "quic" else {"epmd": False}
    nodes = {FLOODED: ("127.0.0.1", int(port))}
    async with Node(NAME, cookie=COOKIE, carrier=carrier, nodes=nodes, listen=False, **options) as node:
        await node.connect(FLOODED)
        link = node._local.connections.link(FLOODED)
        assert link is not None

        async def ask(process: Process) -> None:
            for _ in range(REQUESTS):
                ASKED[kind](node, process)

        node.spawn(ask)
        # Until the requests are on their way: with the packets of one turn of the loop.
        for _ in range(3):
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGSTOP)
        await node.run_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
