"""How long small messages take beside bulk, as a multiple of what they take alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter
from typing import Any

from quicdist import Node, Process

#: An echo beside a large message takes at most so many times what it takes alone.
LIMIT = 2.0
#: Echoes before, and as many after.
ALONE = 200
#: Measurements, of which the median counts.
ROUNDS = 5


async def in_process(node: Node, body: Callable[[Process], Awaitable[Any]]) -> Any:
    """Run ``body`` in a process of ``node``; its result."""
    result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def run(process: Process) -> None:
        try:
            value = await body(process)
        except Exception as error:
            result.set_exception(error)
        else:
            result.set_result(value)

    node.spawn(run)
    return await result


async def ratio(node: Node, echo: Any, large: Callable[[Process, Process], Awaitable[Any]]) -> float:
    """The median time of an echo (``{Pid, Term}`` to ``echo``, answered with ``Term``) while ``large``,
    the body of another process, runs, as a multiple of the median before and after."""

    async def measure(process: Process) -> float:
        async def once() -> float:
            start = perf_counter()
            process.send(echo, (process.pid, 1))
            assert await process.receive() == 1
            return perf_counter() - start

        alone = [await once() for _ in range(ALONE)]
        running = asyncio.ensure_future(in_process(node, lambda other: large(other, process)))
        beside = []
        while not running.done():
            beside.append(await once())
        await running
        alone += [await once() for _ in range(ALONE)]
        return median(beside) / median(alone)

    return float(await in_process(node, measure))


async def assert_small_messages_do_not_wait(measure: Callable[[], Awaitable[float]]) -> None:
    """The median of :data:`ROUNDS` ratios that ``measure`` gives is at most :data:`LIMIT`."""
    ratios = [await measure() for _ in range(ROUNDS)]
    assert median(ratios) <= LIMIT, f"an echo beside a large message took {ratios} times what it takes alone"
