"""SIGTERM and SIGINT: the first signal stops a program in order, the second ends it at once.

The handlers are set while there is a listener. They are set by ``signal.signal``, as ``asyncio.run`` does
for SIGINT, not by ``loop.add_signal_handler``: so the second signal also ends a program whose event loop
is blocked. The kernel ignores signals for process 1 that have no handler, so nothing here relies on a
default action. A handler of the program itself is not replaced.
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

#: The signals that stop a program in order: sent by systemd, Docker and Kubernetes, and by Ctrl-C.
SIGNALS = (signal.SIGTERM, signal.SIGINT)

#: Called in the event loop with the first signal.
Callback = Callable[[signal.Signals], object]


@dataclass(eq=False, frozen=True, slots=True)
class _Listener:
    loop: asyncio.AbstractEventLoop
    callback: Callback
    #: Called only while there is no other listener.
    last: bool


class Termination:
    """Calls listeners with the first signal. There is one for each OS process, because signals belong to the
    process."""

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
        """Call ``callback`` in ``loop`` when the first signal comes, at once if it has come since the
        handlers were set. Does nothing outside the main thread, where Python cannot handle signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        listener = _Listener(loop, callback, last)
        self._listeners.append(listener)
        if len(self._listeners) == 1:
            self._set_handlers()
        if self._received is not None and not last:
            loop.call_soon_threadsafe(callback, self._received)
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
            # In a forked worker the signal is meant for the worker.
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            signal.raise_signal(number)
            return
        if self._received is not None:
            end_at_once(number)
        self._received = signal.Signals(number)
        called = [each for each in self._listeners if not each.last] or self._listeners
        for listener in called:
            with contextlib.suppress(RuntimeError):  # its loop is closed
                listener.loop.call_soon_threadsafe(listener.callback, self._received)


def _is_default(handler: Any) -> bool:
    """Whether a handler is the one that Python or asyncio sets."""
    if handler in (signal.SIG_DFL, signal.default_int_handler):
        return True
    # asyncio.run's, for SIGINT.
    of_runner = isinstance(handler, functools.partial) and getattr(handler.func, "__self__", None)
    return isinstance(of_runner, asyncio.Runner)


def end_at_once(number: int) -> None:
    """End this process with the exit status of a process ended by the signal ``number``. Peers are notified
    as far as possible without waiting."""
    run_exit_callbacks()
    os._exit(128 + number)


termination = Termination()
