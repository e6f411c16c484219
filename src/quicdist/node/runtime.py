"""The runtime of a node, the counterpart of the BEAM emulator: processes, names and signals.

The services of a BEAM node (``net_kernel``, ``rpc`` and so on) are in :mod:`quicdist.otp`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any, Literal

import quicdist.protocol as wire
from quicdist.node.errors import NoSuchProcess, NotConnected
from quicdist.node.exit_reason import DOWN, error_term, exit_reason
from quicdist.node.interface import NodeInterface
from quicdist.node.monitors import Monitors
from quicdist.node.process import HandlerProcess, Process
from quicdist.node.process_links import ProcessLinks
from quicdist.node.process_relations import MonitorAlias
from quicdist.node.process_table import ProcessTable, Transmit, badarg
from quicdist.node.remote_spawn import RemoteSpawn
from quicdist.node.signals import Signals
from quicdist.node.spawn_options import SpawnRequestOptions
from quicdist.node.spawnables import Spawnables
from quicdist.node.spawning import Spawning
from quicdist.node.timers import Timers
from quicdist.protocol import ControlMessage, DistFlag
from quicdist.term import Atom, EncodeError, Pid, Reference
from quicdist.term.names import Name

#: Makes a control message without the call of the Python function that the class of a named tuple is.
_tuple: Any = tuple.__new__
_SendSender = wire.SendSender

#: Signals are sent in their newest form; for older peers the protocol layer replaces it.
_TO_ALIAS = int(wire.AltactFlag.ALIAS)
_TO_ALIAS_FIRST = int(wire.AltactFlag.ALIAS | wire.AltactFlag.PRIO)


class Runtime(ProcessTable):
    """The processes of one node, with links, monitors, aliases, spawning and signals.

    ``owner`` is the node object that processes see as ``process.node``; ``spawnables`` holds what
    other nodes may spawn here. For the rest see :class:`ProcessTable`.
    """

    def __init__(
        self,
        name: str,
        creation: int,
        *,
        owner: Any,
        transmit: Transmit,
        is_connected: Callable[[str], bool],
        offers: Callable[[str, DistFlag], bool] = lambda node, flag: True,
        not_connected: Callable[[str], NotConnected] = NotConnected,
        spawnables: Spawnables | None = None,
    ) -> None:
        super().__init__(
            name,
            creation,
            transmit=transmit,
            is_connected=is_connected,
            offers=offers,
            not_connected=not_connected,
        )
        self.owner: NodeInterface[Process] = owner
        self.links = ProcessLinks(self)
        self.monitors = Monitors(self, self.links)
        self.spawning = Spawning(self, self.links, self.monitors, spawnables)
        self.signals = Signals(self, self.links, self.monitors, self.spawning)
        self.timers = Timers(self)
        self._remote_spawn = RemoteSpawn(self, self.spawning)

    # -- messages and other signals --------------------------------------------------------

    def send(
        self, source: Pid, to: Any, message: Any, *, priority: bool = False, owner: Pid | None = None
    ) -> None:
        """Send a message from ``source``; see :meth:`Process.send`.

        ``owner`` is the process an alias belongs to, where that is known: then the message keeps
        its order with others to that process on every carrier.
        """
        if get_ident() != self._thread:
            raise self.out_of_reach()
        if isinstance(to, Pid):
            if to._node is not self._atom:
                self._transmit(to._node.name, _tuple(_SendSender, (source, to)), message, None)
                return
            process = self.by_pid.get(to)
            if process is not None:
                self.signal_queue.deliver(process, message)
            return
        if isinstance(to, Reference):
            if to._node is self._atom:
                self.signal_queue.submit(self.monitors.message_to_alias, to, message, priority)
            else:
                flags = _TO_ALIAS_FIRST if priority else _TO_ALIAS
                pair = None if owner is None else (source, owner)
                self._transmit(to._node.name, wire.AltactSigSend(flags, source, to), message, pair)
            return
        node, where = self.locate(to)
        if node != self.name and isinstance(where, Atom):
            self._transmit(node, wire.RegSend(source, wire.UNUSED, where), message, None)
            return
        target = self.resolve(where)
        if target is not None:
            self.signal_queue.deliver(target, message)
        elif isinstance(to, str | Atom):
            raise badarg(NoSuchProcess(f"no process is registered as {to} on {self.name}"))

    def act(self, node: str, control: ControlMessage, payload: Any) -> None:
        self.signals.act(node, control, payload)

    def not_encoded(self, control: ControlMessage, error: EncodeError) -> None:
        """A signal that waited for a connection contains a term that the peer cannot decode."""
        if isinstance(control, wire.SpawnRequest):
            self.spawning.not_supported(control)
        elif isinstance(control, wire.PayloadExit | wire.PayloadExit2):
            self.signal(control.to_pid.node.name, control, (error_term(error), []))

    def connection_lost(self, node: str) -> None:
        """A connection was lost, or could not be made: ``noconnection`` for all that crossed it."""
        if self.signal_queue.interrupted:  # what came by it before takes effect before
            self.signal_queue.submit(self._lose, node)
        else:
            self._lose(node)

    def _lose(self, node: str) -> None:
        self.spawning.connection_lost(node)
        for process in self.processes():
            if process.has_relations:
                self.monitors.watcher_lost(process, node)
                self.links.connection_lost(process, node)
        self.monitors.connection_lost(node)

    def tell_end(self, process: Process, reason: Any) -> None:
        self.links.process_ended(process, reason)
        self.monitors.process_ended(process, reason)
        self.timers.process_ended(process)

    # -- for processes: links, monitors, aliases -------------------------------------------

    def link(self, process: Process, to: Pid, *, priority: bool = False) -> None:
        """Link a process of this node with another; see :meth:`Process.link`."""
        self.links.link(process, to, priority=priority)

    def unlink(self, process: Process, to: Pid) -> None:
        """See :meth:`Process.unlink`."""
        self.links.unlink(process, to)

    def send_exit(self, source: Pid, to: Pid | Reference, reason: Any, *, priority: bool = False) -> None:
        """Send an exit signal; see :meth:`Process.exit`."""
        self.links.exit(source, to, reason, priority=priority)

    def monitor(
        self,
        process: Process,
        target: Any,
        *,
        alias: bool | MonitorAlias = False,
        tag: Any = DOWN,
        priority: bool = False,
    ) -> Reference:
        """See :meth:`Process.monitor`."""
        return self.monitors.monitor_for(process, target, alias=alias, tag=tag, priority=priority)

    def demonitor(self, reference: Reference, watcher: Pid) -> bool:
        """See :meth:`Process.demonitor`."""
        return self.monitors.demonitor(reference, watcher)

    def monitored(self, process: Process) -> list[Pid | tuple[Atom, Atom]]:
        """What a process monitors; see :meth:`Monitors.monitored`."""
        return self.monitors.monitored(process)

    def alias(
        self,
        process: Process,
        reference: Reference,
        kind: MonitorAlias | Literal["reply"],
        *,
        priority: bool = False,
    ) -> None:
        """See :meth:`Process.alias`."""
        self.monitors.alias_for(process, reference, kind, priority=priority)

    def unalias(self, reference: Reference) -> bool:
        """See :meth:`Process.unalias`."""
        return self.monitors.unalias(reference)

    def new_reference(self) -> Reference:
        """A reference unlike all others (``make_ref/0``)."""
        return self.identifiers.reference()

    # -- timers ----------------------------------------------------------------------------

    def start_timer(self, seconds: float, to: Any, message: Any, *, tagged: bool) -> Reference:
        """See :meth:`Process.send_after` and :meth:`Process.start_timer`."""
        if get_ident() != self._thread:
            raise self.out_of_reach()
        return self.timers.start(seconds, to, message, tagged=tagged)

    def cancel_timer(self, reference: Reference) -> float | None:
        """See :meth:`Process.cancel_timer`."""
        return self.timers.cancel(reference)

    def read_timer(self, reference: Reference) -> float | None:
        """See :meth:`Process.read_timer`."""
        return self.timers.read(reference)

    # -- spawning --------------------------------------------------------------------------

    def spawn(
        self,
        function: Callable[..., Any],
        *args: Any,
        name: Name | None = None,
        link_to: Process | None = None,
    ) -> Process:
        """Start a process: a coroutine function runs as its body, called with the process and
        ``args``; a plain function becomes its handler, called with the process and each message.

        Raises :class:`NameRegistered` when ``name`` is taken, and :class:`TypeError` if ``function`` does not
        take ``args``; then there is no process.
        """
        if inspect.iscoroutinefunction(function):
            process = self.add_process(name=name, link_to=link_to)
            process.body = function
            try:
                process.run(function(process, *args))
            except TypeError as error:
                self.terminate(process, exit_reason(error))
                raise
            return process
        if args:
            raise TypeError(
                f"{function!r} is not a coroutine function: it is called with messages, not {args!r}"
            )
        handler = HandlerProcess(self, self.identifiers.pid(), function)
        handler.body = function
        return self.add(handler, name=name, link_to=link_to)

    def add_process(self, *, name: Name | None = None, link_to: Process | None = None) -> Process:
        return self.add(Process(self, self.identifiers.pid()), name=name, link_to=link_to)

    async def spawn_on(
        self,
        process: Process,
        node: Name,
        mfa: tuple[Name, Name, Sequence[Any]],
        *,
        link: bool,
        reference: Reference | None = None,
    ) -> Pid:
        """See :meth:`Process.spawn_on`."""
        return await self._remote_spawn.spawn(process, node, mfa, link=link, reference=reference)

    def spawn_request(
        self,
        process: Process,
        node: Name,
        mfa: tuple[Name, Name, Sequence[Any]],
        options: SpawnRequestOptions,
    ) -> Reference:
        """See :meth:`Process.spawn_request`."""
        return self._remote_spawn.request(process, node, mfa, options)

    def abandon_spawn_request(self, reference: Reference, parent: Pid) -> bool:
        """See :meth:`Process.spawn_request_abandon`."""
        return self.spawning.abandon(reference, parent)
