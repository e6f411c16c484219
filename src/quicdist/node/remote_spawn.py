"""Spawning on another node, as a process of this one asks for it.

``erlang:spawn/4``, ``erlang:spawn_monitor/4``, ``erlang:spawn_request/5``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from quicdist.node.errors import SpawnError
from quicdist.node.exits import DOWN, NOCONNECTION
from quicdist.node.spawn_options import LINK, MONITOR
from quicdist.protocol.names import node_name
from quicdist.term import Atom, Pid, Reference
from quicdist.term.names import MFA, Name, mfa_of

if TYPE_CHECKING:
    from quicdist.node.process import Process
    from quicdist.node.relations import MonitorAlias
    from quicdist.node.runtime import Runtime

#: Which outcomes ``spawn_request`` sends a message for.
Reply = Literal["yes", "no", "error_only", "success_only"]
_REPLIES = ("yes", "no", "error_only", "success_only")

SPAWN_REPLY = Atom("spawn_reply")
_OK = Atom("ok")
_ERROR = Atom("error")


@dataclass(frozen=True, slots=True)
class Options:
    """What is wanted along with the process; see :meth:`Process.spawn_request`."""

    link: bool = False
    monitor: bool = False
    alias: bool | MonitorAlias = False
    tag: Any = DOWN
    reply: Reply = "yes"
    reply_tag: Any = SPAWN_REPLY
    more: tuple[Any, ...] = ()

    def for_the_node(self) -> list[Any]:
        """Those the other node has to know; the rest is settled here, as OTP does."""
        return [*([LINK] if self.link else []), *([MONITOR] if self.monitor else []), *self.more]


def request(
    runtime: Runtime, process: Process, what: tuple[Name, Name, Name, Sequence[Any]], options: Options
) -> Reference:
    """Ask and do not wait; the answer is a message to ``process``."""
    if options.reply not in _REPLIES:
        raise ValueError(f"reply is one of {', '.join(_REPLIES)}, not {options.reply!r}")
    if options.alias and not options.monitor:
        raise ValueError("the alias of a spawn request is that of its monitor, and there is none")
    node, mfa = node_name(what[0]), mfa_of(*what[1:])
    # The reply, and the end or an answer by the alias.
    expected = 2 if options.monitor else 1
    reference = process.new_reference(None if options.alias == "explicit_unalias" else expected)

    def replied(result: Pid | Atom) -> None:
        wanted = ("yes", "success_only" if isinstance(result, Pid) else "error_only")
        if options.reply in wanted:
            word = _OK if isinstance(result, Pid) else _ERROR
            runtime.hand_over(process, (options.reply_tag, reference, word, result))

    _start(runtime, process, node, mfa, options, reference, replied)
    return reference


async def spawn(
    runtime: Runtime,
    process: Process,
    node: Name,
    module: Name,
    function: Name,
    arguments: Sequence[Any],
    *,
    link: bool,
    reference: Reference | None = None,
) -> Pid:
    """Spawn and wait for the pid; ``reference`` is that of the monitor, if one is wanted."""
    to, mfa = node_name(node), mfa_of(module, function, arguments)
    answer: asyncio.Future[Pid] = asyncio.get_running_loop().create_future()
    options = Options(link, reference is not None)
    reference = reference or runtime.identifiers.reference()

    def replied(result: Pid | Atom) -> None:
        if answer.done():
            return
        if isinstance(result, Pid):
            answer.set_result(result)
        else:
            attempts = runtime.not_connected(to).attempts if result == NOCONNECTION else ()
            what = f"{mfa[0]}:{mfa[1]}/{len(mfa[2])}"
            answer.set_exception(SpawnError(to, what, result, attempts))

    _start(runtime, process, to, mfa, options, reference, replied)
    try:
        return await answer
    except asyncio.CancelledError:
        runtime.spawning.abandon(reference, process.pid)
        raise


def _start(
    runtime: Runtime,
    process: Process,
    node: str,
    mfa: MFA,
    options: Options,
    reference: Reference,
    replied: Any,
) -> None:
    child: list[Pid] = []

    def answered(result: Pid | Atom) -> None:
        if isinstance(result, Pid):
            child.append(result)
        else:
            relations.unalias(reference)
        replied(result)

    relations = runtime.relations
    if options.monitor:
        if options.alias:
            relations.alias_for(process, reference, "demonitor" if options.alias is True else options.alias)
        on_down = relations.down_message(process, reference, lambda: child[0] if child else None, options.tag)
        relations.await_spawned(reference, node, on_down, process)
    leader = process.group_leader or process.pid
    wanted = options.for_the_node()
    try:
        runtime.spawning.request(
            node, process.pid, leader, mfa[:2], mfa[2], wanted, answered, reference=reference
        )
    except BaseException:
        relations.forget(reference)
        relations.unalias(reference)
        raise
