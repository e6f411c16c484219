"""Links, monitors and aliases, and the signals that keep both ends of them of one mind.

Erlang Reference Manual, *Processes*: Links, Error Handling, Monitors, Process Aliases; ERTS,
*Distribution Protocol*: Link Protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import quicdist.protocol as wire
from quicdist.node.exits import KILL, KILLED, NOCONNECTION, NOPROC, NORMAL, error_term
from quicdist.protocol import ControlMessage
from quicdist.term import Atom, Pid, Reference, TermError

if TYPE_CHECKING:
    from quicdist.node.process import Process
    from quicdist.node.runtime import Runtime

_EXIT = Atom("EXIT")
#: Unlink ids are 64 bits wide and never 0.
_MAX_UNLINK_ID = (1 << 64) - 1


@dataclass(slots=True)
class Monitor:
    """A monitor held by this node: what is watched, where, and who is told."""

    #: None for a process that is being spawned on another node.
    target: Pid | Atom | None
    node: str
    owner: Process | None
    on_down: Callable[[Any], None]


class Relations:
    """The links, monitors and aliases of a node's processes."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._monitors: dict[Reference, Monitor] = {}
        self._aliases: dict[Reference, Callable[[Any], None]] = {}
        self._unlink_id = 0

    # -- links -----------------------------------------------------------------------------

    def link(self, process: Process, to: Pid) -> None:
        """Link ``process`` with ``to``; what is linked already stays so."""
        if to == process.pid or to in process.links:
            return
        process.links.add(to)
        process.unlinking.pop(to, None)
        runtime = self._runtime
        if not runtime.is_local(to):
            runtime.signal(to.node.name, wire.Link(process.pid, to))
            return
        other = runtime.find(to)
        if other is None:
            runtime.later(self.link_exit, to, process.pid, NOPROC)
        else:
            other.links.add(process.pid)

    def unlink(self, process: Process, to: Pid) -> None:
        """Remove a link; an exit signal by it that is on its way is ignored."""
        if to not in process.links:
            return
        process.links.discard(to)
        runtime = self._runtime
        if runtime.is_local(to):
            other = runtime.find(to)
            if other is not None:
                other.links.discard(process.pid)
            return
        self._unlink_id = self._unlink_id % _MAX_UNLINK_ID + 1
        process.unlinking[to] = self._unlink_id
        runtime.signal(to.node.name, wire.UnlinkId(self._unlink_id, process.pid, to))

    def link_requested(self, source: Pid, to: Pid) -> None:
        """LINK came in."""
        process = self._runtime.find(to)
        if process is None:
            self._runtime.signal(source.node.name, wire.PayloadExit(to, source), NOPROC)
        elif source not in process.unlinking:
            # While an unlink is unanswered, a LINK can only be one that crossed it.
            process.links.add(source)

    def unlink_requested(self, unlink_id: int, source: Pid, to: Pid) -> None:
        """UNLINK_ID came in: it is acknowledged whether there was a link or not."""
        process = self._runtime.find(to)
        if process is not None:
            process.links.discard(source)
        self._runtime.signal(source.node.name, wire.UnlinkIdAck(unlink_id, to, source))

    def unlink_acknowledged(self, unlink_id: int, source: Pid, to: Pid) -> None:
        """UNLINK_ID_ACK came in."""
        process = self._runtime.find(to)
        if process is not None and process.unlinking.get(source) == unlink_id:
            del process.unlinking[source]

    # -- exit signals ----------------------------------------------------------------------

    def link_exit(self, source: Pid, to: Pid, reason: Any) -> None:
        """The exit signal of a link: without the link it means nothing."""
        process = self._runtime.find(to)
        if process is None or source not in process.links:
            return
        process.links.discard(source)
        if process.trap_exit:
            self._runtime.deliver(process, (_EXIT, source, reason))
        elif reason != NORMAL:
            self._runtime.terminate(process, reason)

    def exit(self, source: Pid, to: Pid, reason: Any) -> None:
        """The exit signal of ``exit/2``, toward any node or come in from one."""
        runtime = self._runtime
        if not runtime.is_local(to):
            runtime.signal(to.node.name, wire.PayloadExit2(source, to), reason)
            return
        process = runtime.find(to)
        if process is None:
            return
        if reason == KILL:
            runtime.terminate(process, KILLED)
        elif process.trap_exit:
            runtime.deliver(process, (_EXIT, source, reason))
        elif reason != NORMAL or source == to:
            runtime.terminate(process, reason)

    # -- monitors held here ----------------------------------------------------------------

    def monitor(
        self,
        owner: Process | None,
        watcher: Pid,
        target: Any,
        on_down: Callable[[Any], None],
        *,
        reference: Reference | None = None,
    ) -> Reference:
        """Monitor ``target`` for ``watcher``; ``on_down`` gets the reason, once."""
        runtime = self._runtime
        reference = reference or runtime.identifiers.reference()
        node, where = runtime.locate(target)
        self._monitors[reference] = Monitor(where, node, owner, on_down)
        if owner is not None:
            owner.monitors.add(reference)
        if node != runtime.name:
            runtime.signal(node, wire.MonitorP(watcher, where, reference))
            return reference
        process = runtime.whereis(where.name) if isinstance(where, Atom) else runtime.find(where)
        if process is None:
            runtime.later(self.down, reference, NOPROC)
        else:
            process.monitored_by[reference] = (watcher, where)
        return reference

    def await_spawned(self, reference: Reference, node: str, on_down: Callable[[Any], None]) -> None:
        """Hold the monitor that a SPAWN_REQUEST sets up under its own reference. It is held from
        the start: on parallel streams the end of the new process may overtake its SPAWN_REPLY."""
        self._monitors[reference] = Monitor(None, node, None, on_down)

    def spawned(self, reference: Reference, pid: Pid) -> None:
        """The process that monitor is for is known now."""
        monitor = self._monitors.get(reference)
        if monitor is not None:
            monitor.target = pid

    def demonitor(self, reference: Reference, watcher: Pid) -> bool:
        """Remove a monitor held here; whether there was one."""
        monitor = self._forget(reference)
        if monitor is None:
            return False
        runtime = self._runtime
        if monitor.node != runtime.name:
            if monitor.target is not None and runtime.is_connected(monitor.node):
                runtime.signal(monitor.node, wire.DemonitorP(watcher, monitor.target, reference))
        elif monitor.target is not None and (process := runtime.resolve(monitor.target)) is not None:
            process.monitored_by.pop(reference, None)
        return True

    def down(self, reference: Reference, reason: Any) -> None:
        """A monitor has fired: MONITOR_P_EXIT came in, or the process was of this node."""
        monitor = self._forget(reference)
        if monitor is not None:
            monitor.on_down(reason)

    def _forget(self, reference: Reference) -> Monitor | None:
        monitor = self._monitors.pop(reference, None)
        if monitor is not None and monitor.owner is not None:
            monitor.owner.monitors.discard(reference)
        return monitor

    # -- monitors others hold on us --------------------------------------------------------

    def monitor_requested(self, watcher: Pid, target: Pid | Atom, reference: Reference) -> None:
        """MONITOR_P came in."""
        process = self._runtime.resolve(target)
        if process is None:
            self._runtime.signal(
                watcher.node.name, wire.PayloadMonitorPExit(target, watcher, reference), NOPROC
            )
        else:
            process.monitored_by[reference] = (watcher, target)

    def demonitor_requested(self, target: Pid | Atom, reference: Reference) -> None:
        """DEMONITOR_P came in; the name may have gone to another process meanwhile."""
        process = self._runtime.resolve(target)
        if process is not None and process.monitored_by.pop(reference, None) is not None:
            return
        for process in self._runtime.processes():
            if process.monitored_by.pop(reference, None) is not None:
                return

    # -- aliases ---------------------------------------------------------------------------

    def alias(self, receiver: Callable[[Any], None], reference: Reference | None = None) -> Reference:
        """Make a reference that messages can be sent to."""
        reference = reference or self._runtime.identifiers.reference()
        self._aliases[reference] = receiver
        return reference

    def unalias(self, reference: Reference) -> bool:
        return self._aliases.pop(reference, None) is not None

    def alias_receiver(self, reference: Reference) -> Callable[[Any], None] | None:
        return self._aliases.get(reference)

    # -- the end of a process, the end of a connection ---------------------------------------

    def process_ended(self, process: Process, reason: Any) -> None:
        """Tell everyone linked to or monitoring ``process``, and drop what it held."""
        runtime = self._runtime
        links, process.links = process.links, set()
        for pid in links:
            if runtime.is_local(pid):
                runtime.later(self.link_exit, process.pid, pid, reason)
            else:
                self._tell(pid, wire.PayloadExit(process.pid, pid), reason)
        watchers, process.monitored_by = process.monitored_by, {}
        for reference, (watcher, target) in watchers.items():
            if runtime.is_local(watcher):
                runtime.later(self.down, reference, reason)
            else:
                self._tell(watcher, wire.PayloadMonitorPExit(target, watcher, reference), reason)
        for reference in list(process.monitors):
            self.demonitor(reference, process.pid)
        for reference in process.aliases:
            self._aliases.pop(reference, None)
        process.aliases.clear()
        process.unlinking.clear()

    def _tell(self, to: Pid, signal: ControlMessage, reason: Any) -> None:
        try:
            self._runtime.signal(to.node.name, signal, reason)
        except TermError as error:
            # A reason Erlang has no term for must not keep the end of a process from being told.
            self._runtime.signal(to.node.name, signal, (error_term(error), []))

    def connection_lost(self, node: str) -> None:
        """``noconnection`` for every link and monitor that crossed to ``node``."""
        for process in self._runtime.processes():
            for pid in [pid for pid in process.links if pid.node.name == node]:
                self.link_exit(pid, process.pid, NOCONNECTION)
            for pid in [pid for pid in process.unlinking if pid.node.name == node]:
                del process.unlinking[pid]
            for reference in [
                reference
                for reference, (watcher, _) in process.monitored_by.items()
                if watcher.node.name == node
            ]:
                del process.monitored_by[reference]
        crossing = [reference for reference, held in self._monitors.items() if held.node == node]
        for reference in crossing:
            self.down(reference, NOCONNECTION)
