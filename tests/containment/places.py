"""Where a program's code runs: each place runs one fault there, and says what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from quicdist import QuicDistError
from tests.containment.faults import Fault
from tests.containment.lab import Lab

#: Runs a fault in a place. What it gives is the exit reason, or the answer, that is to be that of the
#: fault; None where it has looked itself.
Run = Callable[[Lab, Fault], Awaitable[Any]]


@dataclass(frozen=True)
class Place:
    """One place, and which faults can happen there."""

    name: str
    run: Run
    #: Whether the fault happens in a task that the place has for itself.
    own_task: bool = False
    #: Whether what the code returns is sent to anyone.
    replies: bool = False
    #: Whether it can wait without stopping the node.
    waits: bool = False
    carriers: tuple[str, ...] = ("tcp", "quic")

    def takes(self, fault: Fault) -> bool:
        return (
            (self.replies or not fault.gives)
            and (self.waits or not fault.never)
            and (self.own_task or not fault.needs_task)
        )


PLACES: dict[str, Place] = {}


def place(name: str, *, coroutine: bool = False, **options: Any) -> Callable[[Run], Run]:
    """Decorator: one more place. A coroutine can wait."""

    def added(run: Run) -> Run:
        assert name not in PLACES
        PLACES[name] = Place(name, run, **{"own_task": coroutine, "waits": coroutine, **options})
        return run

    return added


async def raised(awaitable: Awaitable[Any]) -> Any:
    """What it raises, its value where it does not."""
    return (await asyncio.gather(awaitable, return_exceptions=True))[0]


async def error_of(call: Awaitable[Any]) -> QuicDistError:
    """What a call raises."""
    try:
        value = await call
    except QuicDistError as error:
        return error
    raise AssertionError(f"the call was answered with {value!r}")
