"""Runs a program: chooses its event loop, and stops it on SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from quicdist.carrier.termination import termination

new_event_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
with contextlib.suppress(ImportError):
    import uvloop

    new_event_loop = uvloop.new_event_loop

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` as :func:`asyncio.run` does, on uvloop if it is installed
    (``pip install quicdist[uvloop]``), else on asyncio's own event loop; returns the value of ``main``. A
    node runs on either, and on any other event loop that has ``add_reader``.

    SIGTERM and SIGINT stop the nodes that wait in ``run_forever``, and ``main`` continues after it.
    If there are none, ``main`` is cancelled, so that its ``async with`` blocks end, and this function raises
    ``KeyboardInterrupt`` after SIGINT, ``SystemExit`` with the status 143 (128 plus the number of the
    signal) after SIGTERM. A second signal ends the program at once.
    """
    program = _Program(main)
    runner = asyncio.Runner(loop_factory=new_event_loop)
    try:
        with termination.listening(program.cancel, runner.get_loop(), last=True), runner:
            return runner.run(program.run())
    except asyncio.CancelledError:
        if program.signal is signal.SIGTERM:
            raise SystemExit(128 + program.signal) from None
        if program.signal is signal.SIGINT:
            raise KeyboardInterrupt from None
        raise


class _Program(Generic[T]):
    """The main coroutine, which a signal cancels."""

    def __init__(self, main: Coroutine[Any, Any, T]) -> None:
        if not asyncio.iscoroutine(main):
            raise ValueError(f"a coroutine was expected, got {main!r}")
        self._main = main
        self._task: asyncio.Task[Any] | None = None
        #: The signal that has cancelled it.
        self.signal: signal.Signals | None = None

    async def run(self) -> T:
        self._task = asyncio.current_task()
        if self.signal is not None:
            self._main.close()
            raise asyncio.CancelledError
        return await self._main

    def cancel(self, number: signal.Signals) -> None:
        """Cancel the program because of the signal ``number``."""
        self.signal = number
        if self._task is not None:
            self._task.cancel()
