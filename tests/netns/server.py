"""A Python node that listens in a namespace: ``python -m tests.netns.server NODE HOST PORT CERT KEY``.

Its process ``echo`` answers ``{Pid, Message}`` with ``{self(), Message}``, and ``<<"size">>`` with how long
datagrams to the peer are; it prints the address the node is at for every message. ``mirror`` only answers.
What becomes of nodes is printed too.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from quicdist import Node


async def main(name: str, host: str, port: str, cert: str, key: str) -> None:
    async with Node(
        name, cookie="secret", carrier="quic", host=host, port=int(port), cert=cert, key=key, verify=False
    ) as node:

        @node.process("echo")
        async def echo(process: Any) -> None:
            async for sender, message in process:
                (link,) = node._local.connections.links()
                if message == b"size":
                    message = str(link.datagram_size).encode()
                process.send(sender, (process.pid, message))
                print(link.remote_address.host, message[:64].decode(), flush=True)

        @node.process("mirror")
        async def mirror(process: Any) -> None:
            async for sender, message in process:
                await process.send_wait(sender, (process.pid, message))

        node.subscribe(lambda event: print(event, flush=True))
        print("ready", flush=True)
        await node.run_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
