"""Many nodes in one process, each with one connection, on which it pings once a second."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack
from typing import Any

from benchmarks import control
from quicdist import Node, NodeDown, QuicDistError

PERIOD = 1.0
#: Seconds after which an unanswered ping counts as missed: a tick interval of OTP, `net_ticktime` / 4.
PATIENCE = 15.0
#: Concurrent dials.
AT_ONCE = 8


class Crowd:
    """``missed`` counts pings that were not answered, ``late`` those answered after their second,
    ``lost`` the links that went down."""

    def __init__(self, nodes: list[Node], hub: str) -> None:
        self.nodes = nodes
        self.hub = hub
        self.answered = self.late = self.missed = self.lost = 0
        self.slowest = 0.0
        self.errors: set[str] = set()
        self.tasks: list[asyncio.Task[None]] = []

    async def connect(self, first: int = 0, count: int | None = None) -> None:
        """Connect ``count`` nodes, all by default."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(node: Node) -> None:
            async with gate:
                await node.connect(self.hub)

        await asyncio.gather(*map(one, self.nodes[first:][:count]))

    async def begin(self, seconds: float) -> None:
        for node in self.nodes:
            node.subscribe(self._told)
        self.tasks = [asyncio.create_task(self._ping(node, seconds)) for node in self.nodes]

    def _told(self, event: object) -> None:
        self.lost += isinstance(event, NodeDown)

    async def _ping(self, node: Node, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        at = loop.time() + random.random() * PERIOD
        until = loop.time() + seconds
        while at < until:
            await asyncio.sleep(at - loop.time())
            start = loop.time()
            try:
                await node.is_auth(self.hub, timeout=PATIENCE)
            except QuicDistError as error:
                self.missed += 1
                self.errors.add(str(error))
            else:
                took = loop.time() - start
                self.answered += 1
                self.late += took > PERIOD
                self.slowest = max(self.slowest, took)
            at += PERIOD

    async def end(self) -> dict[str, Any]:
        await asyncio.gather(*self.tasks)
        return {
            "answered": self.answered,
            "late": self.late,
            "missed": self.missed,
            "lost": self.lost,
            "slowest": self.slowest,
            "errors": sorted(self.errors)[:1],
        }


async def main(options: dict[str, Any]) -> None:
    nodes = [Node(**node) for node in options["nodes"]]
    async with AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(node)
        crowd = Crowd(nodes, options["hub"])
        commands: dict[str, control.Do] = {
            "connect": crowd.connect,
            "begin": crowd.begin,
            "end": crowd.end,
            "usage": control.usage,
        }
        ports = [address.port for node in nodes for address in node.addresses[:1]]
        await control.serve(commands, {"ports": ports})


if __name__ == "__main__":
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    asyncio.run(main(control.options()))
