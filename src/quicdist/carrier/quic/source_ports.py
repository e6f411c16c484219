"""Dialling from other sockets as well, where nothing at all comes back.

quic_dist 0.11.0 opens, on Linux, a second socket on its port (SO_REUSEPORT) that nobody reads. The kernel
gives it a part of the datagrams, by the address and port of who sends: a dial from another port can work
where one did not. NATs and load balancers that have one dead port behave alike.

So a dial of which nothing has come back after three flights goes on, and beside it others begin, each
from a port of its own and given up after a moment. Whichever is through first goes on to say its name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Final, TypeVar

from quicdist.carrier.errors import HandshakeStalled, PeerUnreachable, SetupTimeout, TicketRefused
from quicdist.carrier.happy_eyeballs import Claim, call_off, news

T = TypeVar("T")

#: When others begin, in seconds from the first. With its own, which changes as it begins anew, these are nine
#: ports or more: one dial of five hundred fails at most where half of them are dead. Before, the first flight
#: was sent three times (RFC 9002, section 6.2.2).
BEGIN: Final = (1.3, 1.9, 1.9, 2.6, 2.6, 3.4, 3.4, 4.4)
#: Seconds that each is given: its first flight is sent twice.
PATIENCE: Final = 0.5

#: An event loop that is late by so many seconds may not have read the answers that have come.
LATE: Final = 0.1
#: Others of all dials of a carrier at once. Where many nodes are silent at once it is not for their ports.
MOST: Final = 16

#: What says nothing about a peer that has been heard.
_NOTHING: Final = (HandshakeStalled, PeerUnreachable, SetupTimeout, TicketRefused)

#: Dials until it is through or has failed, asking before it says a name.
Dialler = Callable[[Claim], Coroutine[None, None, T]]


async def dial_from_several_ports(
    first: Dialler[T],
    other: Dialler[T],
    *,
    silent: Callable[[], bool],
    claim: Claim,
    places: asyncio.Semaphore,
) -> T:
    """What the first dial to get through returns. ``first`` decides otherwise, unless one of the others is
    refused by a peer that it has reached. Others begin while ``silent`` says that nothing has come.
    ``claim`` is asked by whichever is through; ``places`` are those for others of all dials."""
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
    waiting = list(BEGIN)
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
                begun = loop.time() - waiting[0] + LATE  # once more, when what has come was read
            if not silent():
                waiting.clear()
            while waiting and loop.time() >= begun + waiting[0]:
                waiting.pop(0)
                if not places.locked():
                    begin(in_a_place)
    finally:
        call_off(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
        tasks.clear()  # An error of theirs holds this frame, so that nothing here may hold it.


def _first_decided(tasks: Iterable[asyncio.Task[T]]) -> int | None:
    """The number of the first task that has come to something that speaks for all, if there is one."""
    for number, task in enumerate(tasks):
        if task.done() and (not number or _decides(task)):
            return number
    return None


def _decides(task: asyncio.Task[T]) -> bool:
    """Whether what another dial came to speaks for all."""
    return task.cancelled() or not isinstance(task.exception(), _NOTHING)
