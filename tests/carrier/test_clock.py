"""The clock and the timers of QUIC connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from quicdist.carrier.clock import clock_of, timers_of
from quicdist.node.event_loop import new_event_loop
from tests.simulated.loop import SimulatedLoop

LOOPS = [
    asyncio.SelectorEventLoop,
    pytest.param(
        new_event_loop, marks=pytest.mark.skipif(new_event_loop is None, reason="uvloop is not installed")
    ),
]


@pytest.mark.parametrize("new_loop", LOOPS)
def test_the_clock_of_a_real_loop_runs_while_a_callback_runs(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> None:
        clock = clock_of(asyncio.get_running_loop())
        begun = clock()
        until = time.perf_counter() + 0.0003
        while time.perf_counter() < until:
            pass
        assert clock() - begun >= 0.0003

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("new_loop", LOOPS)
def test_a_timer_is_not_called_early(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        clock, call_later = clock_of(loop), timers_of(loop)
        for tenths in range(1, 40):
            called: asyncio.Future[None] = loop.create_future()
            await asyncio.sleep(0)  # the time of the loop is that of this turn
            due = clock() + tenths / 10_000
            call_later(tenths / 10_000, lambda called=called: called.set_result(None))  # type: ignore[misc]
            await called
            assert clock() >= due

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def test_the_clock_of_a_simulated_loop_is_its_own() -> None:
    loop = SimulatedLoop()
    try:
        assert clock_of(loop)() == loop.time()
    finally:
        loop.close()
