"""Processes of the node itself whose body is a plain function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicdist.node.exit_reason import EXIT
from quicdist.node.process import HandlerProcess, Process
from quicdist.node.runtime import Runtime
from quicdist.term import Pid


class KernelProcess(HandlerProcess):
    """A process of the node itself; see :class:`~quicdist.otp.kernel_supervisor.KernelSupervisor`."""

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
    return runtime.add(KernelProcess(runtime, runtime.identifiers.pid(), function), name=name)
