"""Spawning across nodes: SPAWN_REQUEST and SPAWN_REPLY, both ways.

ERTS, *Distribution Protocol*: SPAWN_REQUEST, SPAWN_REPLY; ``erlang:spawn_request/5``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import quicdist.protocol as wire
from quicdist.node.exits import NOCONNECTION
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.protocol import SpawnReplyFlag
from quicdist.term import Atom, Pid, Reference

log = logging.getLogger("quicdist.node")

#: Starts a spawned process's work: the process and its list of arguments. May end the process.
Starter = Callable[[Process, list[Any]], None]

_LINK = Atom("link")
_MONITOR = Atom("monitor")
_UNDEF = Atom("undef")
_BADOPT = Atom("badopt")
#: Options that tune a BEAM's scheduler and heap; ERTS takes them, and here they mean nothing.
_TUNING = frozenset(
    Atom(name)
    for name in ("priority", "fullsweep_after", "min_heap_size", "min_bin_vheap_size", "max_heap_size",
                 "message_queue_data", "async_dist", "reply", "reply_tag")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Options:
    link: bool
    monitor: bool


@dataclass(frozen=True, slots=True)
class _Pending:
    node: str
    on_reply: Callable[[Pid | Atom], None]


class Spawning:
    """Spawns functions registered here for other nodes, and functions of other nodes for us."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._functions: dict[tuple[str, str, int], Starter] = {}
        self._pending: dict[Reference, _Pending] = {}

    # -- functions of this node ------------------------------------------------------------

    def offer(self, module: str, function: str, arity: int, starter: Starter) -> None:
        """Let other nodes spawn ``module:function/arity``."""
        self._functions[module, function, arity] = starter

    def requested(self, request: Any, arguments: Any) -> None:
        """SPAWN_REQUEST came in."""
        runtime = self._runtime
        sender: Pid = request.from_pid
        options = _options(request.opt_list)
        module, function, arity = request.mfa
        if options is None or not isinstance(arguments, list) or len(arguments) != arity:
            runtime.signal(sender.node.name, wire.SpawnReply(request.req_id, sender, 0, _BADOPT))
            return
        process = runtime.add(Process(runtime, runtime.identifiers.pid()))
        process.group_leader = request.group_leader
        flags = SpawnReplyFlag(0)
        if options.link:
            process.links.add(sender)
            flags |= SpawnReplyFlag.LINK
        if options.monitor:
            process.monitored_by[request.req_id] = (sender, process.pid)
            flags |= SpawnReplyFlag.MONITOR
        runtime.signal(sender.node.name, wire.SpawnReply(request.req_id, sender, int(flags), process.pid))
        runtime.later(self._start, process, module, function, arguments)

    def _start(self, process: Process, module: Atom, function: Atom, arguments: list[Any]) -> None:
        starter = self._functions.get((module.name, function.name, len(arguments)))
        if starter is None:
            # As on a BEAM: the process is there, and its first call fails.
            self._runtime.terminate(process, (_UNDEF, [(module, function, arguments, [])]))
            return
        try:
            starter(process, arguments)
        except Exception as error:
            self._runtime.crashed(process, error)

    # -- functions of other nodes ----------------------------------------------------------

    def request(
        self,
        node: str,
        source: Pid,
        group_leader: Pid,
        mfa: tuple[str, str],
        arguments: list[Any],
        options: list[Any],
        on_reply: Callable[[Pid | Atom], None],
    ) -> Reference:
        """Ask ``node`` to spawn a function; ``on_reply`` gets the pid, or an atom saying why not
        (``noconnection`` where the node cannot be reached). The reference is that of the monitor
        too, where ``options`` ask for one."""
        reference = self._runtime.identifiers.reference()
        self._pending[reference] = _Pending(node, on_reply)
        module, function = mfa
        target = (Atom(module), Atom(function), len(arguments))
        try:
            self._runtime.signal(
                node, wire.SpawnRequest(reference, source, group_leader, target, options), arguments
            )
        except BaseException:
            del self._pending[reference]
            raise
        return reference

    def abandon(self, reference: Reference) -> bool:
        """Forget a request (``spawn_request_abandon/1``); whether it was unanswered."""
        return self._pending.pop(reference, None) is not None

    def replied(self, reply: Any) -> None:
        """SPAWN_REPLY came in."""
        parent = self._runtime.find(reply.to_pid)
        if reply.flags & SpawnReplyFlag.LINK and parent is not None and isinstance(reply.result, Pid):
            parent.links.add(reply.result)
        pending = self._pending.pop(reply.req_id, None)
        if pending is not None:
            pending.on_reply(reply.result)

    def connection_lost(self, node: str) -> None:
        """Requests to ``node`` that were not answered never will be."""
        for reference in [ref for ref, pending in self._pending.items() if pending.node == node]:
            self._pending.pop(reference).on_reply(NOCONNECTION)


def _options(options: Any) -> _Options | None:
    """The options of a request, None where one is unknown (``badopt``)."""
    if not isinstance(options, list):
        return None
    link = monitor = False
    for option in options:
        key = option[0] if isinstance(option, tuple) and option else option
        if key == _LINK:
            link = True
        elif key == _MONITOR:
            monitor = True
        elif key not in _TUNING:
            return None
    return _Options(link, monitor)
