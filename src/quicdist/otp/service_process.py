"""The processes of the node itself whose body is a plain function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicdist.node.exit_reason import EXIT
from quicdist.node.process import HandlerProcess, Process
from quicdist.node.runtime import Runtime
from quicdist.term import Pid


class HandlerService(HandlerProcess):
    """A process of the node, see :class:`~quicdist.otp.keeper.Keeper`."""

    __slots__ = ()

    def handle(self, message: Any) -> None:
        match message:
            case (tag, Pid() as sender, reason) if tag == EXIT and sender == self.parent:
                self.stop(reason)  # the node stops
            case _:
                super().handle(message)


def spawn_service(
    runtime: Runtime, function: Callable[[Process, Any], Any], name: str | None = None
) -> Process:
    """Start a process whose body is ``function``, called with it and each message."""
    return runtime.add(HandlerService(runtime, runtime.identifiers.pid(), function), name=name)
