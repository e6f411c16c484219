"""Running a test in the simulation, with many seeds; a failing one says how to repeat it."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from tests.simulated.loop import SimulatedLoop
from tests.simulated.network import Network, drawn_from
from tests.support.tasks import left_over

T = TypeVar("T")

#: Environment variables: the one seed to run each test with, or how many, in place of what the test says.
SEED = "SIMULATED_SEED"
SEEDS = "SIMULATED_SEEDS"


def simulate(scenario: Callable[[Network], Coroutine[Any, Any, T]], seed: int) -> T:
    """What ``scenario`` returns in a new network with this seed. No task may be left over, and what a
    callback of the loop raises is raised."""
    faults: list[dict[str, Any]] = []

    async def watched() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, fault: faults.append(fault))
        result = await scenario(Network(seed))
        assert await left_over(frozenset()) == ""
        for fault in faults:
            raise fault.get("exception") or AssertionError(fault["message"])
        return result

    with drawn_from(seed), asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(watched())


def seeds(count: int) -> Sequence[int]:
    """The seeds to run a test with that wants ``count``."""
    if one := os.environ.get(SEED):
        return [int(one)]
    return range(int(os.environ.get(SEEDS) or count))


def simulated(count: int = 1) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Decorator: run a coroutine function as a test ``count`` times, with the seeds from 0 on. Its first
    argument is the network; others are pytest's, and have no event loop."""

    def decorated(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            for seed in seeds(count):
                try:
                    simulate(functools.partial(_with, test, given), seed)
                except BaseException as error:
                    error.add_note(f"repeat it with: {SEED}={seed} {_command(test)}")
                    raise

        functools.update_wrapper(run, test)
        del run.__wrapped__  # type: ignore[attr-defined]
        signature = inspect.signature(test)
        parameters = list(signature.parameters.values())[1:]
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        )
        return run

    return decorated


async def _with(
    test: Callable[..., Coroutine[Any, Any, None]], given: dict[str, Any], network: Network
) -> None:
    await test(network, **given)


def _command(test: Callable[..., Any]) -> str:
    current = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]
    return f"python -m pytest '{current or test.__qualname__}'"
