"""Spawning across nodes: SPAWN_REQUEST and SPAWN_REPLY, both ways.

ERTS, *Distribution Protocol*: SPAWN_REQUEST, SPAWN_REPLY; ``erlang:spawn_request/5``,
``erlang:spawn_request_abandon/1``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import quicdist.protocol as wire
from quicdist.node.exit_reason import ERROR, NOCONNECTION, SHUTDOWN, UNDEF
from quicdist.node.monitors import Monitors
from quicdist.node.process import Process
from quicdist.node.process_links import ProcessLinks
from quicdist.node.process_table import ProcessTable
from quicdist.node.spawn_options import LINK, asks_for, read_options
from quicdist.node.spawnables import Resolver, Spawnables, Starter
from quicdist.protocol import DistFlag, SpawnReplyFlag
from quicdist.term import Atom, Pid, Reference
from quicdist.term.names import Name

#: Called with the pid of the new process, or with the reason for the failure, an atom.
OnReply = Callable[[Pid | Atom], None]

_BADOPT = Atom("badopt")
_NOTSUP = Atom("notsup")
_ABANDONED = Atom("abandoned")


@dataclass(slots=True)
class _Pending:
    """A request that has not been answered; ``on_reply`` is None once it was abandoned."""

    node: str
    parent: Pid
    process: Process | None
    link: bool
    on_reply: OnReply | None

    def waits_for_link(self, parent: Pid, node: str) -> bool:
        return self.link and self.parent == parent and self.node == node


class Spawning:
    """Spawns functions of this node for other nodes, and functions of other nodes for this one."""

    def __init__(
        self,
        processes: ProcessTable,
        links: ProcessLinks,
        monitors: Monitors,
        functions: Spawnables | None = None,
    ) -> None:
        self._processes = processes
        self._queue = processes.signal_queue
        self._links = links
        self.monitors = monitors
        links.on_unknown_link = self.exit_before_reply
        monitors.on_early_down = self.ended_before_reply
        #: The functions that other nodes may spawn here.
        self.functions = functions or Spawnables()
        self._pending: dict[Reference, _Pending] = {}
        #: Exit reasons of linked children that came before the reply that names them, by parent and child.
        self._early: dict[tuple[Pid, Pid], Any] = {}

    # -- functions of this node ------------------------------------------------------------

    def offer(self, module: str, function: str, arity: int, starter: Starter) -> None:
        """Let other nodes spawn ``module:function/arity``."""
        self.functions.offer(module, function, arity, starter)

    def ask(self, resolver: Resolver) -> None:
        """Ask ``resolver`` for functions that were not offered one by one."""
        self.functions.ask(resolver)

    def requested(self, request: Any, arguments: Any) -> None:
        """SPAWN_REQUEST came in. The process is created and the reply sent before its code runs, so the
        parent sees SPAWN_REPLY before any signal of the process."""
        processes = self._processes
        sender: Pid = request.from_pid
        options = read_options(request.opt_list)
        if options is None or not isinstance(arguments, list):
            processes.signal(sender.node.name, wire.SpawnReply(request.req_id, sender, 0, _BADOPT))
            return
        process = processes.add_process()
        process.group_leader = request.group_leader
        process.parent = sender
        module, function, _ = request.mfa
        process.body = (module, function, len(arguments))
        flags = SpawnReplyFlag(0)
        if options.link:
            process.relations.links[sender] = False
            flags |= SpawnReplyFlag.LINK
        if options.monitor:
            self.monitors.watched_by(process, sender, process.pid, request.req_id)
            flags |= SpawnReplyFlag.MONITOR
        processes.signal(sender.node.name, wire.SpawnReply(request.req_id, sender, int(flags), process.pid))
        self._queue.submit(self.start, process, (module, function, arguments))

    def start(self, process: Process, mfa: Sequence[Any]) -> None:
        """Let a process run ``(module, function, arguments)``; a function that may not be spawned ends it
        with ``undef``."""
        if not process.alive:
            return
        if self._processes.calls.refused:
            self._processes.terminate(process, SHUTDOWN)
            return
        module, function, arguments = mfa
        starter = None
        if isinstance(module, Atom) and isinstance(function, Atom):
            # As on a BEAM, by the number of arguments, not by the announced arity.
            starter = self.functions.find(module.name, function.name, len(arguments))
        if starter is None:
            # As on a BEAM, the process exists, and its first call fails.
            stack: list[Any] = [(module, function, arguments, [])]
            self._processes.report_crash(process, (ERROR, UNDEF, stack))
            self._processes.terminate(process, (UNDEF, stack))
            return
        try:
            starter(process, arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._processes.crashed(process, error)

    # -- functions of other nodes ----------------------------------------------------------

    def request(
        self,
        node: str,
        source: Pid,
        group_leader: Pid,
        mfa: tuple[Name, Name],
        arguments: list[Any],
        options: list[Any],
        on_reply: OnReply,
        *,
        reference: Reference | None = None,
        owned: bool = True,
    ) -> Reference:
        """Ask ``node`` to spawn a function; ``on_reply`` gets the pid, or the reason as an atom
        (``noconnection`` if the node cannot be reached, ``notsup`` if it cannot spawn).

        The reference is that of the monitor too, where ``options`` ask for one: see
        :meth:`Monitors.await_spawned`. If ``owned``, the request ends with the process ``source``.
        """
        processes = self._processes
        node = processes.internal(node)
        reference = reference or processes.identifiers.reference()
        self._pending[reference] = _Pending(
            node, source, processes.find(source) if owned else None, asks_for(options, LINK), on_reply
        )
        module, function = mfa
        target = (Atom(module), Atom(function), len(arguments))
        control = wire.SpawnRequest(reference, source, group_leader, target, options)
        if not processes.offers(node, DistFlag.SPAWN):
            self._queue.submit(self.not_supported, control)
            return reference
        try:
            sent = processes.signal(node, control, arguments)
        except BaseException:
            del self._pending[reference]
            raise
        if not sent:
            self._queue.submit(self._failed, reference, NOCONNECTION)
        return reference

    def abandon(self, reference: Reference, parent: Pid | None = None) -> bool:
        """Abandon a request (``spawn_request_abandon/1``); with ``parent`` only if it is a request of that
        process. Whether it was unanswered. If the process is spawned nevertheless, and with a link, it ends
        with ``abandoned``."""
        pending = self._pending.get(reference)
        if pending is None or pending.on_reply is None or parent not in (None, pending.parent):
            return False
        pending.on_reply = None
        self.monitors.forget(reference)
        return True

    def replied(self, node: str, reply: Any) -> None:
        """SPAWN_REPLY came in."""
        reference: Reference = reply.req_id
        pending = self._pending.get(reference)
        if pending is None or pending.node != node:
            return
        child: Pid | Atom = reply.result
        if not isinstance(child, Pid):
            self._failed(reference, child)
            return
        del self._pending[reference]
        parent = pending.process
        if pending.on_reply is None or (parent is not None and not parent.alive):
            self._disown(pending, reference, child, reply.flags)
            self._settled(pending)
            return
        if reply.flags & SpawnReplyFlag.LINK and parent is not None:
            parent.relations.links.setdefault(child, False)
        self.monitors.spawned(reference, child)
        pending.on_reply(child)
        key = (pending.parent, child)
        if key in self._early:
            self._links.exit_by_link(child, pending.parent, self._early.pop(key))
        self._settled(pending)

    def _disown(self, pending: _Pending, reference: Reference, child: Pid, flags: int) -> None:
        """Remove the link and monitor of a parent that has ended or has abandoned the request."""
        processes = self._processes
        if flags & SpawnReplyFlag.MONITOR:
            processes.signal(child.node.name, wire.DemonitorP(pending.parent, child, reference))
        if flags & SpawnReplyFlag.LINK:
            parent = pending.process
            reason = _ABANDONED if parent is None or parent.alive else parent.exit_reason
            processes.signal_reason(child, wire.PayloadExit(pending.parent, child), reason)

    def _failed(self, reference: Reference, reason: Atom) -> None:
        """A request has failed: there is no process, no link and no monitor."""
        pending = self._pending.pop(reference, None)
        if pending is None:
            return
        self._settled(pending)
        self.monitors.forget(reference)
        if pending.on_reply is not None and (pending.process is None or pending.process.alive):
            pending.on_reply(reason)

    def not_supported(self, request: Any) -> None:
        """The other node does not have the capability SPAWN."""
        self._failed(request.req_id, _NOTSUP)

    def connection_lost(self, node: str) -> None:
        """Fail the unanswered requests to ``node``."""
        for reference in [ref for ref, pending in self._pending.items() if pending.node == node]:
            self._queue.submit(self._failed, reference, NOCONNECTION)

    # -- a child that ends before its SPAWN_REPLY came ----------------------------------------
    # On parallel streams this can happen: quic_dist sends SPAWN_REPLY on the stream of the parent, signals
    # of the child on the stream of both.

    def ended_before_reply(self, reference: Reference, child: Pid) -> None:
        """The monitor of an unanswered request fired, which implies its reply."""
        pending = self._pending.get(reference)
        if pending is not None:
            flags = SpawnReplyFlag.MONITOR | (SpawnReplyFlag.LINK if pending.link else 0)
            self.replied(pending.node, wire.SpawnReply(reference, pending.parent, int(flags), child))

    def exit_before_reply(self, child: Pid, parent: Pid, reason: Any) -> None:
        """The exit signal of an unknown link came for ``parent``; perhaps before its SPAWN_REPLY."""
        node = child.node.name
        waiting = sum(pending.waits_for_link(parent, node) for pending in self._pending.values())
        # One child for each request: further exit signals are not kept.
        if waiting > sum(key[0] == parent and key[1].node.name == node for key in self._early):
            self._early[parent, child] = reason

    def _settled(self, settled: _Pending) -> None:
        """Forget early exit reasons that no request waits for any more."""
        parent, node = settled.parent, settled.node
        if self._early and not any(other.waits_for_link(parent, node) for other in self._pending.values()):
            for key in [key for key in self._early if key[0] == parent and key[1].node.name == node]:
                del self._early[key]
