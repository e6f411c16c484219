"""Dialling from further source ports while no answer comes back.

quic_dist 0.11.0 opens, on Linux, a second socket on its port (SO_REUSEPORT) that nothing reads. The kernel
sends a share of the datagrams to it, chosen by source address and port: a dial from another port can succeed
where one failed. NATs and load balancers with a dead port behave alike.

So if no answer has come after three flights, further dials begin concurrently, each from a new port and for a
short time. The first whose QUIC handshake completes continues with the distribution handshake.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Final, TypeVar

from quicdist.carrier.errors import DialAgain, PeerUnreachable, SetupTimeout
from quicdist.carrier.happy_eyeballs import Claim, call_off, news

T = TypeVar("T")

#: When further dials begin, in seconds from the first. Together they use nine ports or more: where half of
#: the ports are dead, at most one dial of five hundred fails. By the first of these times the first flight
#: was sent three times (RFC 9002, section 6.2.2).
START_TIMES: Final = (1.3, 1.9, 1.9, 2.6, 2.6, 3.4, 3.4, 4.4)
#: Seconds for each further dial: its first flight is sent twice.
EXTRA_DIAL_TIME: Final = 0.5

#: An event loop that is late by so many seconds may not have read the answers that have come.
LATE: Final = 0.1
#: Concurrent further dials of a carrier: if many nodes are silent, ports are not the reason.
MAX_EXTRA_DIALS: Final = 16

#: Errors of a further dial that do not decide the dial.
_INDECISIVE: Final = (DialAgain, PeerUnreachable, SetupTimeout)

#: Dials, and calls the claim before it sends this node's name.
Dialler = Callable[[Claim], Coroutine[None, None, T]]


async def dial_from_several_ports(
    first: Dialler[T],
    other: Dialler[T],
    *,
    silent: Callable[[], bool],
    claim: Claim,
    places: asyncio.Semaphore,
) -> T:
    """The result of the first dial that succeeds. If none does, the error is that of ``first``, or of a
    further dial (``other``) that has reached the peer and was refused.

    Further dials begin while ``silent()`` is true, nothing has come back, and ``places`` is not used up. The
    one that succeeds calls ``claim``."""
    loop = asyncio.get_running_loop()
    through: asyncio.Future[int] = loop.create_future()
    tasks: list[asyncio.Task[T]] = []

    def begin(dialler: Dialler[T]) -> None:
        number = len(tasks)

        def through_first() -> bool:
            if not through.done():
                if not claim():
                    return False
                through.set_result(number)
            return through.result() == number

        tasks.append(loop.create_task(dialler(through_first)))

    async def in_a_place(claim: Claim) -> T:
        async with places:
            return await other(claim)

    begun = loop.time()
    waiting = list(START_TIMES)
    begin(first)
    try:
        while True:
            pause = max(0.0, begun + waiting[0] - loop.time()) if waiting else None
            await news(through, tasks, pause)
            if through.done():
                call_off(task for number, task in enumerate(tasks) if number != through.result())
                return await tasks[through.result()]
            if (number := _first_decided(tasks)) is not None:
                return tasks[number].result()
            if waiting and loop.time() > begun + waiting[0] + LATE:
                begun = loop.time() - waiting[0] + LATE  # check again once the answers were read
            if not silent():
                waiting.clear()
            while waiting and loop.time() >= begun + waiting[0]:
                waiting.pop(0)
                if not places.locked():
                    begin(in_a_place)
    finally:
        call_off(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
        tasks.clear()  # Their errors hold this frame: avoid the cycle.


def _first_decided(tasks: Iterable[asyncio.Task[T]]) -> int | None:
    """The number of the first task whose result or error decides the dial; None if there is none."""
    for number, task in enumerate(tasks):
        if task.done() and (not number or _decides(task)):
            return number
    return None


def _decides(task: asyncio.Task[T]) -> bool:
    """Whether the result or error of a further dial decides the dial."""
    return task.cancelled() or not isinstance(task.exception(), _INDECISIVE)
