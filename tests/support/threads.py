"""Coroutines in an event loop of another thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Elsewhere(Generic[T]):
    """The value of an asynchronous context manager in the other thread, with methods to use it there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, value: T) -> None:
        self.loop = loop
        self.value = value

    async def run(self, function: Callable[[T], Coroutine[Any, Any, R]]) -> R:
        """Run a coroutine function with the value in the other thread."""
        future = asyncio.run_coroutine_threadsafe(function(self.value), self.loop)
        return await asyncio.wrap_future(future)

    async def call(self, function: Callable[[T], R]) -> R:
        """Call a function with the value in the other thread."""

        async def called(value: T) -> R:
            return function(value)

        return await self.run(called)


@asynccontextmanager
async def elsewhere(
    make: Callable[[], AbstractAsyncContextManager[T]],
    *,
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> AsyncIterator[Elsewhere[T]]:
    """Enter the context manager of ``make`` in another thread with its own event loop."""
    here = asyncio.get_running_loop()
    entered: asyncio.Future[Elsewhere[T]] = here.create_future()
    over: asyncio.Future[None] = here.create_future()
    leave: list[Callable[[], object]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        left = asyncio.Event()
        leave.append(lambda: loop.call_soon_threadsafe(left.set))
        async with make() as value:
            here.call_soon_threadsafe(entered.set_result, Elsewhere(loop, value))
            await left.wait()

    def run() -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(main())
        except BaseException as error:
            if not entered.done():
                here.call_soon_threadsafe(entered.set_exception, error)
            here.call_soon_threadsafe(over.set_exception, error)
        else:
            here.call_soon_threadsafe(over.set_result, None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield await entered
    finally:
        leave[0]()
        await over
        thread.join()
