"""Monitors and aliases, which may share a reference.

Erlang Reference Manual, *Processes*: Monitors, Process Aliases; ``erlang:monitor/3``,
``erlang:alias/1``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import quicdist.protocol as wire
from quicdist.node.exit_reason import DOWN, NOCONNECTION, NOPROC, PROCESS
from quicdist.node.process import Process
from quicdist.node.process_links import ProcessLinks
from quicdist.node.process_relations import MONITOR_ALIASES, MonitorAlias
from quicdist.node.process_table import ProcessTable
from quicdist.term import Atom, Pid, Reference


@dataclass(slots=True)
class Monitor:
    """A monitor of a process of this node: the target, its node, and the callback."""

    #: None for a process that is being spawned.
    target: Pid | Atom | None
    node: str
    owner: Process | None
    on_down: Callable[[Any], None]


@dataclass(slots=True)
class Alias:
    """An alias: the process that gets the messages, or else the function ``receiver``."""

    owner: Process | None
    receiver: Callable[[Any], None] | None = None
    #: Removed with the first message that comes by it (``reply``, ``reply_demonitor``).
    once: bool = False
    #: Removed with the monitor of the same reference (``demonitor``, ``reply_demonitor``).
    with_monitor: bool = False
    #: Lets priority messages in (OTP 28).
    priority: bool = False


class Monitors:
    """The monitors and aliases of a node's processes."""

    def __init__(self, processes: ProcessTable, links: ProcessLinks) -> None:
        self._processes = processes
        self._queue = processes.signal_queue
        self._links = links
        #: Called with the reference and the child where the monitor of a SPAWN_REQUEST fires before its
        #: SPAWN_REPLY has come.
        self.on_early_down: Callable[[Reference, Pid], None] = lambda reference, child: None
        self._monitors: dict[Reference, Monitor] = {}
        self._aliases: dict[Reference, Alias] = {}
        #: The monitored processes of this node, by the references of their monitors.
        self._watched: dict[Reference, Process] = {}

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
        processes = self._processes
        node, where = processes.locate(target)
        reference = reference or processes.identifiers.reference()
        self._hold(reference, Monitor(where, node, owner, on_down))
        if not processes.signal(node, wire.MonitorP(watcher, where, reference)):
            self._queue.submit(self.down, reference, NOCONNECTION)
        return reference

    def monitor_for(
        self,
        process: Process,
        target: Any,
        *,
        alias: bool | MonitorAlias = False,
        tag: Any = DOWN,
        priority: bool = False,
    ) -> Reference:
        """Monitor ``target``: ``{Tag, Reference, process, Target, Reason}`` comes as a message."""
        processes = self._processes
        node, where = processes.locate(target)
        monitored = (where, Atom(node)) if isinstance(where, Atom) else where
        reference = process.new_reference(None if alias == "explicit_unalias" else 1)
        if processes.resolve(where) is process and node == processes.name:
            return reference  # as on a BEAM, a process does not monitor itself
        if alias:
            self.alias_for(process, reference, "demonitor" if alias is True else alias, priority=priority)
        on_down = self.down_message(process, reference, lambda: monitored, tag, priority=priority)
        return self.monitor(process, process.pid, target, on_down, reference=reference)

    def down_message(
        self,
        process: Process,
        reference: Reference,
        monitored: Callable[[], Any],
        tag: Any = DOWN,
        *,
        priority: bool = False,
    ) -> Callable[[Any], None]:
        """A function that delivers the message that a monitor has fired."""

        def on_down(reason: Any) -> None:
            message = (tag, reference, PROCESS, monitored(), reason)
            self._queue.hand_over(process, message, priority)

        return on_down

    def monitored(self, process: Process) -> list[Pid | tuple[Atom, Atom]]:
        """What a process monitors, oldest first: pids, and ``(name, node)``."""
        held = (self._monitors[reference] for reference in process.monitors)
        return [
            (monitor.target, Atom(monitor.node)) if isinstance(monitor.target, Atom) else monitor.target
            for monitor in held
            if monitor.target is not None
        ]

    def _hold(self, reference: Reference, monitor: Monitor) -> None:
        self._monitors[reference] = monitor
        if monitor.owner is not None:
            monitor.owner.relations.monitors[reference] = None

    def await_spawned(
        self,
        reference: Reference,
        node: str,
        on_down: Callable[[Any], None],
        owner: Process | None = None,
    ) -> None:
        """Hold the monitor that a SPAWN_REQUEST sets up under its own reference. It is held from
        the start, because the end of the new process may overtake its SPAWN_REPLY (see :class:`Spawning`)."""
        self._hold(reference, Monitor(None, node, owner, on_down))

    def spawned(self, reference: Reference, pid: Pid) -> None:
        """The pid of the monitored process is known now."""
        monitor = self._monitors.get(reference)
        if monitor is not None:
            monitor.target = pid

    def demonitor(self, reference: Reference, watcher: Pid) -> bool:
        """Remove a monitor held here; whether there was one."""
        monitor = self.forget(reference)
        if monitor is None:
            return False
        processes = self._processes
        # A monitor whose process is not known yet is removed when SPAWN_REPLY names the process.
        if monitor.target is not None and processes.is_connected(monitor.node):
            processes.signal(monitor.node, wire.DemonitorP(watcher, monitor.target, reference))
        return True

    def down(
        self,
        reference: Reference,
        reason: Any,
        node: str | None = None,
        source: Pid | Atom | None = None,
    ) -> None:
        """A monitor has fired; ``node`` is where MONITOR_P_EXIT came from, ``source`` what ended."""
        monitor = self._monitors.get(reference)
        if monitor is None or node not in (None, monitor.node):
            return
        if monitor.target is None and isinstance(source, Pid):
            self.on_early_down(reference, source)
        self.forget(reference)
        monitor.on_down(reason)

    def forget(self, reference: Reference) -> Monitor | None:
        """Forget a monitor, and the alias that is removed with it."""
        monitor = self._monitors.pop(reference, None)
        if monitor is None:
            return None
        alias = self._aliases.get(reference)
        if monitor.owner is not None:
            monitor.owner.relations.monitors.pop(reference, None)
            if alias is None:
                monitor.owner.reference_ended(reference)
        if alias is not None and alias.with_monitor:
            self.unalias(reference)
        return monitor

    # -- monitors of processes of other nodes ----------------------------------------------

    def monitor_requested(self, watcher: Pid, target: Pid | Atom, reference: Reference) -> None:
        """MONITOR_P came in."""
        process = self._processes.resolve(target)
        if process is None:
            control = wire.PayloadMonitorPExit(target, watcher, reference)
            self._processes.signal(watcher.node.name, control, NOPROC)
        else:
            self.watched_by(process, watcher, target, reference)

    def watched_by(self, process: Process, watcher: Pid, target: Pid | Atom, reference: Reference) -> None:
        """Register ``watcher`` as a monitor of ``process``."""
        process.relations.monitored_by[reference] = (watcher, target)
        self._watched[reference] = process

    def demonitor_requested(self, reference: Reference) -> None:
        """DEMONITOR_P came in. It may contain a name that another process has by now, so only the reference
        counts."""
        process = self._watched.pop(reference, None)
        if process is not None:
            process.relations.monitored_by.pop(reference, None)

    def fail(self, reference: Reference, reason: Any) -> None:
        """Fire the monitor ``reference`` with ``reason`` although the process lives, because its request will
        not be answered."""
        process = self._watched.pop(reference, None)
        if process is not None:
            watcher, target = process.relations.monitored_by.pop(reference)
            control = wire.PayloadMonitorPExit(target, watcher, reference)
            self._processes.signal(watcher.node.name, control, reason, (process.pid, watcher))

    # -- aliases ---------------------------------------------------------------------------

    def alias(self, receiver: Callable[[Any], None], reference: Reference | None = None) -> Reference:
        """Make a reference that messages can be sent to; ``receiver`` is called with each."""
        reference = reference or self._processes.identifiers.reference()
        self._aliases[reference] = Alias(None, receiver)
        return reference

    def alias_for(
        self,
        process: Process,
        reference: Reference,
        kind: MonitorAlias | Literal["reply"],
        *,
        priority: bool = False,
    ) -> None:
        """Make ``reference`` an alias of ``process``."""
        if kind != "reply" and kind not in MONITOR_ALIASES:
            raise ValueError(f"an alias is one of reply, {', '.join(MONITOR_ALIASES)}, not {kind!r}")
        self._aliases[reference] = Alias(
            process,
            once=kind.startswith("reply"),
            with_monitor=kind.endswith("demonitor"),
            priority=priority,
        )
        process.relations.aliases[reference] = None

    def unalias(self, reference: Reference) -> bool:
        """Deactivate an alias; whether it was one."""
        alias = self._aliases.pop(reference, None)
        if alias is None:
            return False
        if alias.owner is not None:
            alias.owner.relations.aliases.pop(reference, None)
            alias.owner.reference_ended(reference)
        return True

    def message_to_alias(self, reference: Reference, message: Any, priority: bool = False) -> None:
        """A message came by an alias; it is dropped unless the alias is active."""
        alias = self._aliases.get(reference)
        if alias is None:
            return
        if alias.once:
            self.unalias(reference)
            if alias.with_monitor and alias.owner is not None:
                self.demonitor(reference, alias.owner.pid)
        if alias.receiver is not None:
            alias.receiver(message)
        elif alias.owner is not None:
            self._queue.hand_over(alias.owner, message, priority and alias.priority)

    def exit_to_alias(self, source: Pid, reference: Reference, reason: Any, priority: bool = False) -> None:
        """An exit signal came by an alias."""
        alias = self._aliases.get(reference)
        if alias is None or alias.owner is None:
            return
        if alias.once:
            self.unalias(reference)
        self._links.exit_received(source, alias.owner.pid, reason, priority and alias.priority)

    # -- the end of a process, the end of a connection ---------------------------------------

    def process_ended(self, process: Process, reason: Any) -> None:
        """Fire the monitors of ``process``, and remove its own monitors and aliases."""
        relations = process.relations
        watchers, relations.monitored_by = relations.monitored_by, {}
        for reference, (watcher, target) in watchers.items():
            self._watched.pop(reference, None)
            # It is the last signal of this process: it keeps its order with the others.
            self._processes.signal_reason(
                watcher, wire.PayloadMonitorPExit(target, watcher, reference), reason, (process.pid, watcher)
            )
        for reference in list(relations.monitors):
            self.demonitor(reference, process.pid)
        for reference in list(relations.aliases):
            self.unalias(reference)

    def watcher_lost(self, process: Process, node: str) -> None:
        """The connection to ``node`` is lost: remove the monitors of its processes on ``process``."""
        monitored_by = process.relations.monitored_by
        for reference in [ref for ref, (watcher, _) in monitored_by.items() if watcher.node.name == node]:
            del monitored_by[reference]
            self._watched.pop(reference, None)

    def connection_lost(self, node: str) -> None:
        """``noconnection`` for every monitor that crossed to ``node``."""
        for reference in [reference for reference, held in self._monitors.items() if held.node == node]:
            self._queue.submit(self.down, reference, NOCONNECTION)
