"""SIGTERM and SIGINT: the first asks a program to end in order, the second ends it at once.

The handlers stand while somebody listens. They are set by ``signal.signal``, as the one of
``asyncio.run`` for SIGINT is, not by ``loop.add_signal_handler``: so the second signal also ends a
program whose event loop stands still. The kernel ignores signals for process 1 that have no handler,
so nothing here relies on a default action. A handler of the program's own is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from quicdist.carrier.process_exit import run_exit_callbacks

#: What ends a program in order: the kill of systemd, Docker and Kubernetes, and Ctrl-C.
SIGNALS = (signal.SIGTERM, signal.SIGINT)

#: Is called in the event loop with the first signal that comes.
Callback = Callable[[signal.Signals], object]


@dataclass(eq=False, frozen=True, slots=True)
class _Listener:
    loop: asyncio.AbstractEventLoop
    callback: Callback
    #: Told only while there is no other.
    last: bool


class Termination:
    """Who is told of the first signal; there is one of this, for signals are the process's."""

    def __init__(self) -> None:
        self._listeners: list[_Listener] = []
        self._previous: dict[int, Any] = {}
        self._received: signal.Signals | None = None
        #: The process that has set the handlers: a forked child has them too.
        self._pid = 0

    @contextlib.contextmanager
    def listening(
        self, callback: Callback, loop: asyncio.AbstractEventLoop, *, last: bool = False
    ) -> Iterator[None]:
        """Have ``callback`` called in ``loop`` when the first signal comes, at once if it has come
        since the handlers were set. Does nothing outside the main thread, where Python lets nobody
        handle signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        listener = _Listener(loop, callback, last)
        self._listeners.append(listener)
        if len(self._listeners) == 1:
            self._set_handlers()
        if self._received is not None and not last:
            loop.call_soon(callback, self._received)
        try:
            yield
        finally:
            self._listeners.remove(listener)
            if not self._listeners:
                self._restore_handlers()

    def _set_handlers(self) -> None:
        self._received = None
        self._pid = os.getpid()
        for number in SIGNALS:
            previous = signal.getsignal(number)
            if _is_default(previous):
                with contextlib.suppress(ValueError):  # a subinterpreter
                    signal.signal(number, self._handle)
                    self._previous[number] = previous

    def _restore_handlers(self) -> None:
        previous, self._previous = self._previous, {}
        for number, handler in previous.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)

    def _handle(self, number: int, _: Any) -> None:
        if os.getpid() != self._pid:
            # A worker that was forked: these signals are the workers' own.
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            signal.raise_signal(number)
            return
        if self._received is not None:
            end_at_once(number)
        self._received = signal.Signals(number)
        told = [each for each in self._listeners if not each.last] or self._listeners
        for listener in told:
            with contextlib.suppress(RuntimeError):  # its loop is closed: nothing of it is left
                listener.loop.call_soon_threadsafe(listener.callback, self._received)


def _is_default(handler: Any) -> bool:
    """Whether it is what Python or asyncio has set, and nobody's own."""
    if handler in (signal.SIG_DFL, signal.default_int_handler):
        return True
    # asyncio.run's, for SIGINT.
    of_runner = isinstance(handler, functools.partial) and getattr(handler.func, "__self__", None)
    return isinstance(of_runner, asyncio.Runner)


def end_at_once(number: int) -> None:
    """End this process, with the exit status of one that the signal ``number`` has ended. Peers are
    told as far as that does not wait."""
    run_exit_callbacks()
    os._exit(128 + number)


termination = Termination()
