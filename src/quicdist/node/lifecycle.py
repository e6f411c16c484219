"""The life of a node: it is started once and stopped once, however often that is asked for.

This module handles waiting for the start and the stop, protects both against cancellation, and raises the
node's failure in the program. The work itself is done by :class:`~quicdist.node.local_node.LocalNode`.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from quicdist.carrier.termination import termination
from quicdist.logs import get_logger
from quicdist.node.errors import NodeError, NodeNotStarted

log = get_logger("quicdist.node")


#: Does the work of a start or a stop.
Work = Callable[[], Coroutine[Any, Any, None]]


class NodeState(enum.Enum):
    """The states of a node, in order. A failed start goes from STARTING to STOPPING; in a forked process all
    but STOPPED become FORKED."""

    NEW = enum.auto()
    STARTING = enum.auto()
    RUNNING = enum.auto()
    STOPPING = enum.auto()
    STOPPED = enum.auto()
    #: A copy in a process that the program has forked: the node runs in the other one.
    FORKED = enum.auto()


_NEW, _STARTING, _RUNNING, _STOPPING, _STOPPED, _FORKED = NodeState


class Lifecycle:
    """Starts and stops one node.

    ``start`` and ``stop`` do the work. ``stop`` is called once, also after a ``start`` that failed or was
    cancelled, and undoes as much as was done. ``is_own_task`` says whether a task runs code that the
    stop has to end, such as the body of a process.
    """

    def __init__(
        self, name: str, start: Work, stop: Work, is_own_task: Callable[[asyncio.Task[Any] | None], bool]
    ) -> None:
        self._name = name
        self._start = start
        self._stop = stop
        self._is_own_task = is_own_task
        self.state = _NEW
        #: The error that made the node stop by itself.
        self.error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = contextvars.Context()
        self._starting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        #: Set when the node has stopped.
        self._over = asyncio.Event()
        #: The number of tasks in :meth:`run_forever`.
        self._waiting = 0
        #: The task in an ``async with`` block of this node, and whether it was cancelled for ``error``.
        self._inside: asyncio.Task[Any] | None = None
        self._called_off = False
        #: In a forked process, the one that the node runs in.
        self._parent = 0

    # -- starting --------------------------------------------------------------------------

    async def start(self) -> None:
        """Start the node. Raises :class:`NodeError` for a node that was started before, and what the work
        raises, after everything it did has been undone."""
        if self.state is _FORKED:
            raise self.not_running()
        if self.state is not _NEW:
            raise NodeError(self._not_again())
        self.state = _STARTING
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._starting = self._loop.create_task(self._start(), name=f"quicdist: start of {self._name}")
        try:
            await asyncio.wait({self._starting})
        except asyncio.CancelledError:
            await _outlast(self.begin_stop())
            raise
        error = None if self._starting.cancelled() else self._starting.exception()
        if error is None and self.state is _STARTING and not self._starting.cancelled():
            self.state = _RUNNING
            return
        await _outlast(self.begin_stop())
        raise error or NodeError(f"node {self._name} was stopped while it was starting") from self.error

    def _not_again(self) -> str:
        if self.state in (_STARTING, _RUNNING):
            return f"node {self._name} has been started already: each `async with` needs a Node of its own"
        return f"node {self._name} has stopped and cannot be started again: make a new Node"

    def forked(self) -> None:
        """This is a copy in a process that the program has forked."""
        if self.state is not _STOPPED:
            self.state = _FORKED
            self._parent = os.getppid()

    def not_running(self) -> NodeNotStarted:
        """The error for an operation that needs a running node."""
        if self.state is _FORKED:
            return NodeNotStarted(
                f"node {self._name} runs in process {self._parent}: "
                "a process forked from it cannot use the node"
            )
        if self.state in (_NEW, _STARTING):
            return NodeNotStarted(f"node {self._name} has not been started: use it in `async with`")
        return NodeNotStarted(f"node {self._name} has stopped")

    # -- stopping --------------------------------------------------------------------------

    def begin_stop(self) -> asyncio.Task[None]:
        """Begin the stop, unless it has begun; returns its task. The node has to have been started."""
        loop = self._loop
        if loop is None:
            raise self.not_running()
        if self._stopping is None:
            self.state = _STOPPING
            # The caller may be a process or a call; the task of the stop must not count as one.
            self._stopping = loop.create_task(
                self._stopped(), name=f"quicdist: stop of {self._name}", context=self._context.copy()
            )
        return self._stopping

    async def _stopped(self) -> None:
        starting = self._starting
        try:
            if starting is not None and not starting.done():
                starting.cancel()
                await asyncio.wait({starting})
            await self._stop()
        except asyncio.CancelledError:
            log.warning("stop of node %s was cancelled and is incomplete", self._name)
            raise
        except Exception:
            log.exception("stop of node %s failed", self._name)
        finally:
            self.state = _STOPPED
            if self.error is not None and self._waiting == 0:
                self._call_off()
            self._over.set()

    async def stop(self) -> None:
        """Stop the node and wait until it has stopped, also if the stop has begun already. Code that the
        stop waits for does not wait for it (``init:stop/0`` returns at once too)."""
        if self.state in (_NEW, _STOPPED):
            return
        if self.state is _FORKED:
            raise self.not_running()
        self._check_loop("stop")
        own = self._is_own_task(asyncio.current_task())
        stopping = self.begin_stop()
        if not own:
            await asyncio.shield(stopping)

    def _check_loop(self, method: str) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise NodeError(
                f"node {self._name} belongs to another event loop, {self._loop!r}: use "
                f"asyncio.run_coroutine_threadsafe(node.{method}(), loop)"
            )

    def fail(self, error: BaseException) -> None:
        """Stop the node because of ``error``, which is raised in :meth:`run_forever`, or else in the
        ``async with`` block."""
        if self.state not in (_STARTING, _RUNNING):
            return
        log.error("node %s stops: %s", self._name, error)
        self.error = error
        self.begin_stop()

    def _call_off(self) -> None:
        """Cancel the ``async with`` block, because nothing in ``run_forever`` raises the error."""
        if self._inside is not None and not self._inside.done():
            self._called_off = True
            self._inside.cancel()

    async def run_forever(self) -> None:
        """Wait until the node has stopped; SIGTERM and SIGINT stop it. Raises :attr:`error`."""
        if self._loop is None or self.state is _STARTING:
            raise self.not_running()
        self._check_loop("run_forever")
        self._waiting += 1
        try:
            with termination.listening(self._signalled, self._loop):
                await self._over.wait()
        finally:
            self._waiting -= 1
        if self.error is not None:
            raise self.error

    def _signalled(self, number: signal.Signals) -> None:
        if self.state is _RUNNING:
            log.info("%s: node %s stops; a second signal ends it at once", number.name, self._name)
            self.begin_stop()

    # -- async with ------------------------------------------------------------------------

    async def enter(self) -> None:
        await self.start()
        self._inside = asyncio.current_task()

    async def exit(self, raised: BaseException | None) -> None:
        """End the block, which ``raised`` has ended if that is not None. Waits for the stop even if
        cancelled meanwhile, because the program may end with this task. Does nothing in a forked process."""
        if self.state is _FORKED:
            return
        inside, self._inside = self._inside, None
        await _outlast(self.begin_stop())
        called_off = self._called_off and inside is not None and inside.uncancel() == 0
        if self.error is not None and (
            raised is None or (called_off and isinstance(raised, asyncio.CancelledError))
        ):
            raise self.error


async def _outlast(task: asyncio.Task[None]) -> None:
    """Wait until ``task`` is done. A cancellation of the waiting task is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
