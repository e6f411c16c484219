"""The order in which signals take effect on this node.

Erlang Reference Manual, *Processes*: Signals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from quicdist.logs import get_logger
from quicdist.node.process import Process
from quicdist.node.process_lifecycle import ProcessState

log = get_logger("quicdist.node")

_RUNNING = ProcessState.RUNNING


class SignalQueue:
    """Applies signals one at a time, in the order they were sent.

    A handler that sends to another handler must neither recurse nor overtake. So the signals that a signal
    causes wait in the queue until it has taken effect.

    ``crashed`` is called with a process, the exception its handler raised, and the message.
    """

    __slots__ = ("_busy", "_crashed", "_waiting")

    def __init__(self, crashed: Callable[[Process, BaseException, Any], None]) -> None:
        self._crashed = crashed
        self._waiting: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether a signal takes effect now."""
        return self._busy

    def deliver(self, process: Process, message: Any) -> None:
        """Hand a message to a process: now, or after the signals before it."""
        if self._busy:
            self._waiting.append((self.hand_over, (process, message)))
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
            self._busy = False

    def _failed(self, process: Process, error: BaseException, message: Any) -> None:
        try:
            self._crashed(process, error, message)
        except KeyboardInterrupt:
            raise
        except BaseException:
            log.exception("a message to %r could not be delivered", process)

    def submit(self, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function`` as a signal: now, or after the signals before it. What it raises is logged."""
        self._waiting.append((function, args))
        if self._busy:
            return
        self._busy = True
        try:
            self._work_off()
        finally:
            self._busy = False

    def _work_off(self) -> None:
        waiting = self._waiting
        while waiting:
            function, args = waiting.popleft()
            try:
                function(*args)
            except KeyboardInterrupt:
                raise
            except BaseException:
                log.exception("a signal failed in %r", function)

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
