"""Ends a node's processes, in order.

A BEAM ends its applications on ``init:stop()`` while distribution is up: each supervisor gets ``shutdown``
and ends its children, in order and within their shutdown times. Unsupervised processes run on, and other
nodes see ``noconnection`` when the node halts. Here it is the same, except that running calls are answered
first, and that servers end with the supervisors, also unsupervised ones.
OTP: ``init(3)``, ``application(3)``; Design Principles, *Supervisor Behaviour*.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from quicdist.logs import get_logger
from quicdist.node.exit_reason import KILLED, SHUTDOWN
from quicdist.term import Pid

if TYPE_CHECKING:
    from quicdist.node.process import Process
    from quicdist.node.runtime import Runtime

log = get_logger("quicdist.node")

#: Seconds for running calls to end, and then for processes that are not supervised: the default shutdown
#: time of a supervisor's child.
SHUTDOWN_TIME = 5.0
#: Seconds for the code of a killed process to end.
KILL_TIME = 1.0
#: Seconds between log lines about a supervisor that is still ending its children.
PATIENCE = 10.0


class Shutdown:
    """Ends the processes of one node."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        #: The sender of exit signals to processes without a parent.
        self._source = runtime.identifiers.pid()

    async def calls(self) -> None:
        """Wait until running calls have been answered, for ``SHUTDOWN_TIME`` seconds at most. New calls are
        accepted while the first ones run."""
        calls = self._runtime.calls
        deadline = asyncio.get_running_loop().time() + SHUTDOWN_TIME
        await _finished(calls.running(), deadline)
        calls.refused = True
        await _finished(calls.running(), deadline)

    async def servers(self) -> None:
        """While the connections are up: end supervisors, in reverse start order, then the unsupervised
        servers, all at once. Services of the node run on."""
        await self._end(lambda process: process.ends_while_connected and not self._is_service(process))

    async def others(self) -> None:
        """When the connections are closed: end all other processes, services last. Trapping exits does not
        prevent it; a BEAM kills all processes then. A coroutine may clean up."""
        await self._end_at_once(lambda process: not self._is_service(process))
        await self._end_at_once(lambda process: True)

    def all_at_once(self) -> None:
        """End all processes without waiting."""
        for process in self._runtime.processes():
            self._runtime.terminate(process, SHUTDOWN)

    async def _end(self, wanted: Callable[[Process], bool]) -> None:
        processes = list(filter(wanted, self._runtime.processes()))
        for process in reversed(processes):
            if process.is_supervisor and not self._is_supervised(process):
                await self._end_supervisor(process)
        await self._end_all(wanted, self._tell)

    async def _end_at_once(self, wanted: Callable[[Process], bool]) -> None:
        await self._end_all(wanted, lambda process: self._runtime.exit(process, SHUTDOWN))

    async def _end_all(self, wanted: Callable[[Process], bool], tell: Callable[[Process], None]) -> None:
        deadline = asyncio.get_running_loop().time() + SHUTDOWN_TIME
        # Twice, because an ending process may start another one.
        for _ in range(2):
            left = list(filter(wanted, self._runtime.processes()))
            for process in left:
                tell(process)
            await _finished(left, deadline)
        await self._kill(filter(wanted, self._runtime.processes()))

    async def _end_supervisor(self, process: Process) -> None:
        """End a supervisor; it ends its children itself, within their shutdown times, however long those
        are."""
        self._tell(process)
        finished = asyncio.ensure_future(process.finished())
        try:
            while not (await asyncio.wait({finished}, timeout=PATIENCE))[0]:
                log.warning("%r is still ending its children", process)
        finally:
            finished.cancel()

    async def _kill(self, processes: Iterable[Process]) -> None:
        killed = list(processes)
        for process in killed:
            log.error("%r has not ended within %g s of shutdown and is killed", process, SHUTDOWN_TIME)
            self._runtime.terminate(process, KILLED)
        await _finished(killed, asyncio.get_running_loop().time() + KILL_TIME)

    def _tell(self, process: Process) -> None:
        """Send a process the exit signal ``shutdown`` as its parent would. A process that traps exits gets a
        message; a server that traps exits ends with that message."""
        if process.parent is None:
            process.parent = self._source
        self._runtime.links.exit_received(process.parent, process.pid, SHUTDOWN)

    def _is_supervised(self, process: Process) -> bool:
        """Whether a supervisor of this node ends it."""
        parent = self._parent(process)
        return parent is not None and parent.is_supervisor

    def _is_service(self, process: Process) -> bool:
        return process.pid in self._runtime.kernel_processes

    def _parent(self, process: Process) -> Process | None:
        parent = process.parent
        return self._runtime.find(parent) if isinstance(parent, Pid) else None


async def _finished(processes: Iterable[Process], deadline: float) -> None:
    """Wait until the processes have ended and none of their code runs, or until ``deadline``."""
    waiting = {asyncio.ensure_future(process.finished()) for process in processes}
    if not waiting:
        return
    try:
        await asyncio.wait(waiting, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
    finally:
        for one in waiting:
            one.cancel()
