"""The life of a process: the code it runs, and its end."""

from __future__ import annotations

import asyncio
import contextvars
import enum
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from quicdist.containment import settle
from quicdist.node.code_output import code_output
from quicdist.node.errors import ProcessExit
from quicdist.node.exit_reason import CANCELLED, NORMAL
from quicdist.node.interface import ProcessRuntime


class ProcessState(enum.Enum):
    """The states of a process. They only go forward; EXITING may be left out."""

    RUNNING = enum.auto()
    #: An exit signal ends the process while its body cleans up. Links and monitors have not fired yet.
    EXITING = enum.auto()
    #: Links and monitors have fired. What its body still does has no effect on other processes.
    ENDED = enum.auto()


_RUNNING, _EXITING, _ENDED = ProcessState


class ProcessLifecycle:
    """The part of a :class:`~quicdist.node.process.Process` that runs its code and ends it."""

    __slots__ = ("_on_end", "exit_reason", "runtime", "state", "task")

    def __init__(self, runtime: ProcessRuntime[Any]) -> None:
        self.runtime = runtime
        self.state = _RUNNING
        #: Why it ends or has ended; None while it is running.
        self.exit_reason: Any = None
        #: The task that runs its code now, if that is a coroutine.
        self.task: asyncio.Future[Any] | None = None
        self._on_end: list[Callable[[], Any]] | None = None

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.state is not _ENDED

    def must_live(self) -> None:
        """Raises :class:`ProcessExit` if the process has ended: its remaining code can do nothing in its
        name."""
        if self.state is _ENDED:
            raise ProcessExit(self.exit_reason)

    def run(self, body: Awaitable[Any]) -> None:
        """Run a coroutine as the body of the process, which ends with it."""
        self.run_code(body, self._body_ended, inherits_output=True)

    def run_code(
        self,
        awaitable: Awaitable[Any],
        done: Callable[[Any, BaseException | None], None],
        *,
        inherits_output: bool = False,
    ) -> None:
        """Run code of the program as the task of this process; ``done`` is called with its value or its
        exception, a ``CancelledError`` if the task itself was cancelled. ``inherits_output``: what it prints
        goes where the output of the code goes that calls this."""

        def settled(task: asyncio.Future[Any]) -> None:
            self.task = None
            if inspect.iscoroutine(awaitable):
                awaitable.close()  # cancelled before it had begun
            if task.cancelled():
                done(None, asyncio.CancelledError())
            elif (error := task.exception()) is not None:
                done(None, error)
            else:
                done(*task.result())

        alive = self.alive
        if inherits_output or code_output.get() is None:
            self.task = asyncio.ensure_future(settle(awaitable))
        else:
            context = contextvars.copy_context()
            context.run(code_output.set, None)
            self.task = context.run(asyncio.ensure_future, settle(awaitable))
        self.task.add_done_callback(settled)
        if alive and not self.alive:  # eager tasks (Python 3.12) may have ended the process already
            self.task.cancel()

    def _body_ended(self, _: Any, error: BaseException | None) -> None:
        if self.state is _EXITING:
            self.runtime.terminate(self, self.exit_reason)
        elif self.state is _ENDED:
            return
        elif error is None:
            self.runtime.terminate(self, NORMAL)
        elif isinstance(error, asyncio.CancelledError):
            self.runtime.terminate(self, CANCELLED)
        else:
            self.runtime.crashed(self, error)

    def is_run_by(self, task: asyncio.Future[Any] | None) -> bool:
        """Whether ``task`` is the one that runs the code of this process now."""
        return task is not None and self.task is task

    def exit_begins(self, reason: Any) -> None:
        """End this running process because of an exit signal with ``reason``: now, or when its body has
        cleaned up."""
        if self.task is None:
            self.runtime.terminate(self, reason)
            return
        self.state = _EXITING
        self.exit_reason = reason
        self.task.cancel()

    async def finished(self) -> None:
        """Wait until the process has ended and none of its code runs any more."""
        ended = asyncio.Event()
        self.on_end(ended.set)
        await ended.wait()
        while self.task is not None:
            await asyncio.wait([self.task])
            await asyncio.sleep(0)  # the callbacks of the task

    def on_end(self, callback: Callable[[], Any]) -> None:
        """Call ``callback`` when the process has ended; at once if it has already."""
        if not self.alive:
            callback()
        elif self._on_end is None:
            self._on_end = [callback]
        else:
            self._on_end.append(callback)

    def end(self, reason: Any) -> None:
        """Set the state and the reason, before links and monitors fire."""
        self.state = _ENDED
        self.exit_reason = reason

    def ended(self) -> None:
        """Called once, when the process has ended: run the callbacks and cancel its code."""
        callbacks, self._on_end = self._on_end, None
        for callback in callbacks or ():
            self.runtime.submit(callback)
        if self.task is not None:
            self.task.cancel()


async def finished_within(process: ProcessLifecycle, timeout: float | None) -> bool:
    """Wait until a process has :meth:`~Process.finished`, for ``timeout`` seconds at most, None
    without end; whether it has."""
    try:
        async with asyncio.timeout(timeout):
            await process.finished()
    except TimeoutError:
        return False
    return True
