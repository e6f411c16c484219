"""An event loop whose clock jumps to the next timer, for tests of protocols with timers.

A turn of the loop takes a fixed time, however busy the machine is: a timer fires because of events of the
test, never because another program used the processor. Loopback sockets work as usual: sent data have
arrived before the clock moves.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, ParamSpec, TypeVar, TypeVarTuple

from tests.support.tasks import left_over

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Seconds one turn of the loop takes, and one look at the clock: no two timers are set at the same time.
TURN = 20e-6
LOOK = 1e-9


class _JumpingSelector(selectors.DefaultSelector):
    """Advances the clock to the next timer instead of waiting for it."""

    loop: VirtualTimeLoop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        loop.now += TURN
        if timeout is None or (timeout > 0 and loop.threads):
            # Only a file descriptor or a running thread can cause an event.
            return super().select(None)
        ready = super().select(0)
        if not ready and timeout > 0:
            loop.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """``now`` is its time, in seconds from 0."""

    def __init__(self) -> None:
        self.now = 0.0
        #: Running calls in threads. Meanwhile only timers that are already due fire.
        self.threads = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        self.now += LOOK
        return self.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        self.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_ended)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        # Runs in a thread, with a time limit from Python 3.12 on.
        self.threads += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self.threads -= 1

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self.threads -= 1


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a coroutine function as a test in a :class:`VirtualTimeLoop`. Its fixtures have no event loop."""

    async def watched(*args: P.args, **kwargs: P.kwargs) -> str:
        await test(*args, **kwargs)
        return await left_over(frozenset())

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            assert runner.run(watched(*args, **kwargs)) == ""

    return run
