"""Timers that send a message to a process of this node.

OTP: ``erlang(3)``: ``send_after/3``, ``start_timer/3``, ``cancel_timer/1``, ``read_timer/1``; ERTS User's
Guide, *Time and Time Correction*.
"""

from __future__ import annotations

import asyncio
from typing import Any

from quicdist.node.process import Process
from quicdist.node.process_table import ProcessTable
from quicdist.term import Atom, Pid, Reference
from quicdist.term.names import REGISTERED_NAME, atom_of

_TIMEOUT = Atom("timeout")


class Timers:
    """The timers of one node, by reference. Each is one timer handle of the event loop."""

    def __init__(self, processes: ProcessTable) -> None:
        self._processes = processes
        self._timers: dict[Reference, tuple[asyncio.TimerHandle, Pid | Atom]] = {}

    def __len__(self) -> int:
        return len(self._timers)

    def start(self, seconds: float, to: Any, message: Any, *, tagged: bool) -> Reference:
        """Send ``message``, if ``tagged`` as ``{timeout, Reference, Message}``, to a pid, a process or a
        registered name of this node after so many seconds."""
        if not seconds >= 0:
            raise ValueError(f"a timer needs 0 seconds or more, got {seconds!r}")
        target = self._local(to)
        reference = self._processes.identifiers.reference()
        if tagged:
            message = (_TIMEOUT, reference, message)
        process = self._processes.find(target) if isinstance(target, Pid) else None
        if isinstance(target, Pid) and process is None:
            return reference  # as in OTP, the timer of a process that has ended is cancelled at once
        handle = asyncio.get_running_loop().call_later(seconds, self._expired, reference, message)
        self._timers[reference] = handle, target
        if process is not None:
            process.relations.timers[reference] = None
        return reference

    def _local(self, to: Any) -> Pid | Atom:
        if isinstance(to, Process):
            to = to.pid
        if not isinstance(to, Pid):
            return atom_of(to, REGISTERED_NAME)
        if not self._processes.is_local(to):
            raise ValueError(f"a timer sends to processes of {self._processes.name}, {to} is of {to.node}")
        return to

    def _expired(self, reference: Reference, message: Any) -> None:
        _, target = self._timers.pop(reference)
        process = self._processes.resolve(target)  # a name is looked up now, as in OTP
        if process is not None:
            if isinstance(target, Pid):
                process.relations.timers.pop(reference, None)
            self._processes.deliver(process, message)

    def cancel(self, reference: Reference) -> float | None:
        """Cancel a timer; the seconds that were left, None if there is no such timer."""
        timer = self._timers.pop(reference, None)
        if timer is None:
            return None
        handle, target = timer
        handle.cancel()
        process = self._processes.find(target) if isinstance(target, Pid) else None
        if process is not None:
            process.relations.timers.pop(reference, None)
        return _left(handle)

    def read(self, reference: Reference) -> float | None:
        """The seconds that are left; None if there is no such timer."""
        timer = self._timers.get(reference)
        return None if timer is None else _left(timer[0])

    def process_ended(self, process: Process) -> None:
        """Cancel the timers that would send to a process that has ended."""
        timers = process.relations.timers
        for reference in timers:
            handle, _ = self._timers.pop(reference)
            handle.cancel()
        timers.clear()

    def close(self) -> None:
        """Cancel all timers: the node has stopped."""
        for handle, _ in self._timers.values():
            handle.cancel()
        self._timers.clear()


def _left(handle: asyncio.TimerHandle) -> float:
    return max(handle.when() - asyncio.get_running_loop().time(), 0.0)
