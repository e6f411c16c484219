"""The calls from other nodes that run on this one."""

from __future__ import annotations

import weakref

from quicdist.node.process import Process


class RunningCalls:
    """The processes whose calls a stopping node waits for: coroutines, and calls in threads."""

    def __init__(self) -> None:
        self._processes: weakref.WeakSet[Process] = weakref.WeakSet()
        #: Whether new calls are refused with ``shutdown``.
        self.refused = False

    def add(self, process: Process) -> None:
        """Add a process that runs a call; the call ends with it."""
        self._processes.add(process)

    def running(self) -> list[Process]:
        return [process for process in self._processes if process.alive]
