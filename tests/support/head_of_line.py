"""The time of small messages during a bulk transfer, as a multiple of their time alone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from statistics import median
from time import perf_counter
from typing import Any

from quicdist import Node, Process

#: The highest allowed multiple.
LIMIT = 2.0
#: Echoes before the bulk transfer, and after it.
ALONE = 200
#: Measurements; the median must be within the limit.
ROUNDS = 5


async def in_process(node: Node, body: Callable[[Process], Awaitable[Any]]) -> Any:
    """Run ``body`` in a process of ``node``; return its result."""
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


async def ratio(
    node: Node,
    echo: Any,
    bulk: Callable[[Process, Process], Awaitable[Any]],
    clock: Callable[[], float] = perf_counter,
) -> float:
    """The median time of an echo (``{Pid, Term}`` to ``echo``, answered with ``Term``) while ``bulk``, the
    body of another process, runs, as a multiple of the median before and after."""

    async def measure(process: Process) -> float:
        async def once() -> float:
            start = clock()
            process.send(echo, (process.pid, 1))
            assert await process.receive() == 1
            return clock() - start

        alone = [await once() for _ in range(ALONE)]
        running = asyncio.ensure_future(in_process(node, lambda other: bulk(other, process)))
        during = []
        while not running.done():
            during.append(await once())
        await running
        alone += [await once() for _ in range(ALONE)]
        return median(during) / median(alone)

    return float(await in_process(node, measure))


async def assert_small_messages_do_not_wait(measure: Callable[[], Awaitable[float]]) -> None:
    """The median of :data:`ROUNDS` ratios that ``measure`` gives is at most :data:`LIMIT`."""
    ratios = [await measure() for _ in range(ROUNDS)]
    assert median(ratios) <= LIMIT, f"an echo during a bulk transfer took {ratios} times as long as alone"
