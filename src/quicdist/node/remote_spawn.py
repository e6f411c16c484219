"""Spawning on another node, requested by a process of this one.

``erlang:spawn/4``, ``erlang:spawn_monitor/4``, ``erlang:spawn_request/5``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from quicdist.node.errors import SpawnError
from quicdist.node.exit_reason import NOCONNECTION
from quicdist.node.process import Process
from quicdist.node.process_table import ProcessTable
from quicdist.node.spawn_options import REPLY_ON, SpawnRequestOptions
from quicdist.node.spawning import Spawning
from quicdist.protocol.names import node_name
from quicdist.term import Atom, Pid, Reference
from quicdist.term.names import MFA, Name, mfa_of

_OK = Atom("ok")
_ERROR = Atom("error")


class RemoteSpawn:
    """Asks other nodes to spawn functions, for processes of this one."""

    def __init__(self, processes: ProcessTable, spawning: Spawning) -> None:
        self._processes = processes
        self._spawning = spawning

    def request(
        self,
        process: Process,
        node: Name,
        mfa: tuple[Name, Name, Sequence[Any]],
        options: SpawnRequestOptions,
    ) -> Reference:
        """Ask and do not wait; the answer is a message to ``process``."""
        if options.reply not in REPLY_ON:
            raise ValueError(f"reply is one of {', '.join(REPLY_ON)}, not {options.reply!r}")
        if options.alias and not options.monitor:
            raise ValueError("the alias of a spawn request is that of its monitor: monitor=True is missing")
        to, checked = self._processes.internal(node_name(node)), mfa_of(*mfa)
        # The reply, and the end or an answer by the alias.
        expected = 2 if options.monitor else 1
        reference = process.new_reference(None if options.alias == "explicit_unalias" else expected)

        def replied(result: Pid | Atom) -> None:
            wanted = ("yes", "success_only" if isinstance(result, Pid) else "error_only")
            if options.reply in wanted:
                word = _OK if isinstance(result, Pid) else _ERROR
                message = (options.reply_tag, reference, word, result)
                self._processes.signal_queue.hand_over(process, message)

        self._start(process, to, checked, options, reference, replied)
        return reference

    async def spawn(
        self,
        process: Process,
        node: Name,
        mfa: tuple[Name, Name, Sequence[Any]],
        *,
        link: bool,
        reference: Reference | None = None,
    ) -> Pid:
        """Spawn and wait for the pid; ``reference`` is that of the monitor, if one is wanted."""
        to, checked = self._processes.internal(node_name(node)), mfa_of(*mfa)
        answer: asyncio.Future[Pid] = asyncio.get_running_loop().create_future()
        options = SpawnRequestOptions(link, reference is not None)
        reference = reference or self._processes.identifiers.reference()

        def replied(result: Pid | Atom) -> None:
            if answer.done():
                return
            if isinstance(result, Pid):
                answer.set_result(result)
            else:
                attempts = self._processes.not_connected(to).attempts if result == NOCONNECTION else ()
                what = f"{checked[0]}:{checked[1]}/{len(checked[2])}"
                answer.set_exception(SpawnError(to, what, result, attempts))

        self._start(process, to, checked, options, reference, replied)
        try:
            return await answer
        except asyncio.CancelledError:
            self._spawning.abandon(reference, process.pid)
            raise

    def _start(
        self,
        process: Process,
        node: str,
        mfa: MFA,
        options: SpawnRequestOptions,
        reference: Reference,
        replied: Callable[[Pid | Atom], None],
    ) -> None:
        child: list[Pid] = []
        monitors = self._spawning.monitors

        def answered(result: Pid | Atom) -> None:
            if isinstance(result, Pid):
                child.append(result)
            else:
                monitors.unalias(reference)
            replied(result)

        if options.monitor:
            if options.alias:
                kind = "demonitor" if options.alias is True else options.alias
                monitors.alias_for(process, reference, kind)
            on_down = monitors.down_message(
                process, reference, lambda: child[0] if child else None, options.tag
            )
            monitors.await_spawned(reference, node, on_down, process)
        leader = process.group_leader or process.pid
        try:
            self._spawning.request(
                node, process.pid, leader, mfa[:2], mfa[2], options.to_send(), answered, reference=reference
            )
        except BaseException:
            monitors.forget(reference)
            monitors.unalias(reference)
            raise
