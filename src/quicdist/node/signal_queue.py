"""The order in which signals take effect on this node.

Erlang Reference Manual, *Processes*: Signals.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Final

from quicdist.logs import get_logger
from quicdist.node.process import Process
from quicdist.node.process_lifecycle import ProcessState

log = get_logger("quicdist.node")

_RUNNING = ProcessState.RUNNING

#: So many signals, or as many as wait, take effect before the event loop runs again: processes that send to
#: each other, or one that sends to itself, may never stop.
IN_A_ROW: Final = 1000


class SignalQueue:
    """Applies signals one at a time, in the order they were sent.

    A handler that sends to another handler must neither recurse nor overtake. So the signals that a signal
    causes wait in the queue until it has taken effect. The event loop runs after many in a row, as a BEAM
    takes the processor from a process after some reductions; those that are sent meanwhile wait as well.

    ``crashed`` is called with a process, the exception its handler raised, and the message.
    """

    __slots__ = ("_busy", "_crashed", "_interrupted", "_resumed", "_waiting")

    def __init__(self, crashed: Callable[[Process, BaseException, Any], None]) -> None:
        self._crashed = crashed
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        #: Signals have to wait: one takes effect now, or the event loop runs before the next ones do.
        self._busy = False
        self._interrupted = False
        #: The event loop has run, and those that waited for it take effect now.
        self._resumed = False

    @property
    def busy(self) -> bool:
        """Whether a signal takes effect now."""
        return self._busy and not self._interrupted

    @property
    def interrupted(self) -> bool:
        """Whether signals wait until the event loop has run."""
        return self._interrupted

    def deliver(self, process: Process, message: Any) -> None:
        """Hand a message to a process: now, or after the signals before it."""
        if self._busy:
            self._wait(self.hand_over, process, message)
            return
        self._busy = True
        try:
            # As hand_over() does, without its call: so most messages come.
            if process.state is _RUNNING:
                try:
                    process.handle(message)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    self._failed(process, error, message)
            if self._waiting:
                self._work_off()
        finally:
            self._leave()

    def _failed(self, process: Process, error: BaseException, message: Any) -> None:
        try:
            self._crashed(process, error, message)
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.exception("a message to %r could not be delivered", process)

    def submit(self, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function`` as a signal: now, or after the signals before it. What it raises is logged."""
        self._wait(function, *args)
        if self._busy:
            return
        self._busy = True
        try:
            self._work_off()
        finally:
            self._leave()

    def _wait(self, function: Callable[..., Any], *args: Any) -> None:
        if self._interrupted or self._resumed:
            # Those before it are not part of the call that sends this one.
            self._waiting.append((copy_context().run, (function, *args)))
        else:
            self._waiting.append((function, args))

    def _work_off(self) -> None:
        waiting = self._waiting
        left = max(IN_A_ROW, len(waiting))
        while waiting:
            if not left:
                if self._interrupt():
                    return
                left = IN_A_ROW
            left -= 1
            function, args = waiting.popleft()
            try:
                function(*args)
            except KeyboardInterrupt:
                raise
            except BaseException:
                log.exception("a signal failed in %r", function)

    def _interrupt(self) -> bool:
        """Let the event loop run before the signals that wait; False if none runs."""
        try:
            asyncio.get_running_loop().call_soon(self._go_on)
        except RuntimeError:
            return False
        self._interrupted = True
        return True

    def _go_on(self) -> None:
        self._interrupted, self._resumed = False, True
        try:
            self._work_off()
        finally:
            self._resumed = False
            self._leave()

    def _leave(self) -> None:
        if self._waiting and not self._interrupted:
            self._interrupt()  # after a KeyboardInterrupt
        self._busy = self._interrupted

    def hand_over(self, process: Process, message: Any, priority: bool = False) -> None:
        """Hand a message to a process at once, as part of the signal that takes effect now."""
        if process.state is not _RUNNING:
            return
        try:
            if priority:
                process.handle_priority(message)
            else:
                process.handle(message)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._crashed(process, error, message)
