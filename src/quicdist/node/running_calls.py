"""The calls from other nodes that run on this one."""

from __future__ import annotations

import weakref

from quicdist.node.process import Process


class RunningCalls:
    """The processes that run calls which have to be waited for: of coroutines, and in threads."""

    def __init__(self) -> None:
        self._processes: weakref.WeakSet[Process] = weakref.WeakSet()
        #: Whether a new one is ended with ``shutdown`` before it has begun.
        self.refused = False

    def add(self, process: Process) -> None:
        """A process runs a call, which is over when it ends."""
        self._processes.add(process)

    def running(self) -> list[Process]:
        return [process for process in self._processes if process.alive]
