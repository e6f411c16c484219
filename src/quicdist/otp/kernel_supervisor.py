"""Supervises the processes of the node itself (``net_kernel``, ``rex``, ``user``, ``logger_proxy``).

One that ends is started again, and reported. From another node only an exit signal ``kill`` can end one; a
BEAM whose ``rex`` or ``net_kernel`` is killed halts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from quicdist.containment import contained, describe
from quicdist.logs import get_logger
from quicdist.node.errors import NodeError
from quicdist.node.exit_reason import EXIT
from quicdist.node.process import HandlerProcess, Process
from quicdist.node.reports import shown
from quicdist.node.runtime import Runtime
from quicdist.term import Pid

log = get_logger("quicdist.otp")

#: Restarts of all these processes together within ``PERIOD`` seconds; with more the node stops.
MAX_RESTARTS = 5
PERIOD = 10.0


class KernelProcess(HandlerProcess):
    """A process of the node itself whose body is a plain function."""

    __slots__ = ()

    def handle(self, message: Any) -> None:
        match message:
            case (tag, Pid() as sender, reason) if tag == EXIT and sender == self.parent:
                self.stop(reason)  # the node stops
            case _:
                super().handle(message)


def spawn_kernel_process(
    runtime: Runtime, function: Callable[[Process, Any], Any], name: str | None = None
) -> Process:
    """Start a process that calls ``function`` with itself and each message."""
    process = KernelProcess(runtime, runtime.identifiers.pid(), function)
    process.body = function
    return runtime.add(process, name=name)


class KernelSupervisor:
    """Starts processes of the node, and restarts them until :meth:`stop`. ``fail`` is called with the
    error when they end too often; the node then stops."""

    def __init__(self, runtime: Runtime, fail: Callable[[NodeError], None]) -> None:
        self._runtime = runtime
        self._fail = fail
        self._ends: deque[float] = deque(maxlen=MAX_RESTARTS + 1)
        self._stopped = False
        self._when_stopping: list[Callable[[], None]] = []
        self._when_stopped: list[Callable[[], None]] = []
        #: Writes the remaining output.
        self.flush: Callable[[], Awaitable[None]]

    def keep(self, what: str, start: Callable[[], Process]) -> None:
        """Start a process now, and again whenever it has ended. ``start`` registers its name."""
        process = start()
        process.trap_exit = True
        self._runtime.kernel_processes.add(process.pid)
        process.on_end(partial(self._ended, what, start, process))

    def _ended(self, what: str, start: Callable[[], Process], process: Process) -> None:
        self._runtime.kernel_processes.discard(process.pid)
        if self._stopped:
            return
        name = f"{what} ({process.pid}) of {self._runtime.name}"
        why = f"{name} ended with {shown(process.exit_reason)}"
        now = asyncio.get_running_loop().time()
        self._ends.append(now)
        if len(self._ends) <= MAX_RESTARTS or now - self._ends[0] > PERIOD:
            try:
                self.keep(what, start)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                why += f" and cannot be started again: {describe(error)}"
            else:
                log.error("%s and was started again", why)
                return
        else:
            why += f": more than {MAX_RESTARTS} processes of the node ended within {PERIOD:g} s"
        self.stop()
        log.critical("%s; the node stops", why)
        self._fail(NodeError(why))

    def when_stopped(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the node has stopped."""
        self._when_stopped.append(callback)

    def when_stopping(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` when the node begins to stop."""
        self._when_stopping.append(callback)

    def stop(self) -> None:
        """Restart nothing any more: the node stops."""
        self._stopped = True
        callbacks, self._when_stopping = self._when_stopping, []
        for callback in callbacks:
            contained(log, f"{callback!r}", callback)

    def let_go(self) -> None:
        """Call the callbacks of :meth:`when_stopped`: the node has stopped."""
        self.stop()
        callbacks, self._when_stopped = self._when_stopped, []
        for callback in callbacks:
            callback()
