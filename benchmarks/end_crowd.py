"""Many nodes in one process, each with one connection, by which it pings once a second."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
from contextlib import AsyncExitStack
from typing import Any

from benchmarks import control
from quicdist import Node, QuicDistError

PERIOD = 1.0
#: Nodes that dial at once.
AT_ONCE = 8


class Crowd:
    """``missed`` counts pings that no answer came to within their second."""

    def __init__(self, nodes: list[Node], hub: str) -> None:
        self.nodes = nodes
        self.hub = hub
        self.answered = self.missed = 0
        self.slowest = 0.0
        self.errors: set[str] = set()
        self.tasks: list[asyncio.Task[None]] = []

    async def connect(self) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(node: Node) -> None:
            async with gate:
                await node.connect(self.hub)

        await asyncio.gather(*map(one, self.nodes))

    async def begin(self, seconds: float) -> None:
        self.tasks = [asyncio.create_task(self._ping(node, seconds)) for node in self.nodes]

    async def _ping(self, node: Node, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + random.random() * PERIOD
        until = loop.time() + seconds
        while at < until:
            await asyncio.sleep(at - loop.time())
            start = loop.time()
            try:
                await node.is_auth(self.hub, timeout=PERIOD)
            except QuicDistError as error:
                self.missed += 1
                self.errors.add(str(error))
            else:
                self.answered += 1
                self.slowest = max(self.slowest, loop.time() - start)
            at += PERIOD

    async def end(self) -> dict[str, Any]:
        await asyncio.gather(*self.tasks)
        return {
            "answered": self.answered,
            "missed": self.missed,
            "slowest": self.slowest,
            "errors": sorted(self.errors)[:5],
        }


async def main(options: dict[str, Any]) -> None:
    nodes = [Node(**node) for node in options["nodes"]]
    async with AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(node)
        crowd = Crowd(nodes, options["hub"])
        await control.serve({"connect": crowd.connect, "begin": crowd.begin, "end": crowd.end}, {})


if __name__ == "__main__":
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    asyncio.run(main(json.loads(sys.argv[1])))
