"""Starts children of supervisors, of this node and of others.

A supervisor on a BEAM calls the ``{Module, Function, Arguments}`` of a child specification and expects
``{ok, Pid}``, with ``Pid`` linked to it. With ``{erpc, call, [Node, Module, Function, Arguments]}`` the
supervisor is the caller, so an exported function can start the child and link it to its caller.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from quicdist.containment import settle
from quicdist.node.errors import NameRegistered, NodeError
from quicdist.node.exit_reason import answered_reason
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp import server_start
from quicdist.otp.behaviour import Behaviour
from quicdist.otp.call_context import current_call
from quicdist.otp.server_names import GlobalOrVia, split_server_name
from quicdist.term import Atom, Pid
from quicdist.term.names import Name

_OK = Atom("ok")
_ERROR = Atom("error")
_IGNORE = Atom("ignore")
_ALREADY_STARTED = Atom("already_started")

#: Makes a child: a class or function that returns a server of any behaviour for each start; or a coroutine
#: function, the body of a process, called with the process and the arguments.
Factory = Callable[..., Any]


async def start_link(
    runtime: Runtime,
    factory: Factory,
    arguments: Iterable[Any],
    parent: Pid,
    name: Name | GlobalOrVia | None = None,
    group_leader: Pid | None = None,
) -> Process | None:
    """Start a child, linked to ``parent``, and wait for its ``init``; None where that returned
    ``IGNORE``. Raises what ``init`` raised. Crashes are reported to the node of ``group_leader`` too, by
    default this one."""
    if inspect.iscoroutinefunction(factory):
        own, looked_up = split_server_name(name)
        if looked_up is not None:
            raise NodeError(f"only a server can be registered as {name}, not a coroutine function")
        body = runtime.spawn(factory, *arguments, name=own)
        body.is_otp_process = True
        body.parent = parent
        body.group_leader = group_leader or body.group_leader
        runtime.link(body, parent)
        return body
    made = factory(*arguments)
    if not isinstance(made, Behaviour):
        kinds = "a GenServer, GenStatem, GenEvent or a coroutine function"
        raise NodeError(f"a child must be {kinds}, got {made!r}")
    process = server_start.start(runtime, made, name=name, link_to=parent, group_leader=group_leader)
    return process if await process.ready() else None


async def _holder(runtime: Runtime, name: Name | GlobalOrVia | None) -> Pid | None:
    own, looked_up = split_server_name(name)
    if looked_up is not None:
        pid: Pid | None = await runtime.owner._services.names.whereis(looked_up)
        return pid
    process = None if own is None else runtime.whereis(own)
    return None if process is None else process.pid


def start_link_export(
    runtime: Callable[[], Runtime], factory: Factory, name: Name | GlobalOrVia | None
) -> Callable[..., Any]:
    """The function to export for ``factory``: like ``start_link`` it returns ``{ok, Pid}``, ``ignore`` or
    ``{error, Reason}``."""

    split_server_name(name)

    async def start(*arguments: Any) -> Any:
        call = current_call()
        parent = call.caller
        if parent is None:
            raise NodeError("a child must be started by a call: a cast does not tell its parent")
        here = runtime()
        # The child gets the group leader of the call, as if the caller had spawned it.
        leader = call.process.group_leader
        process, error = await settle(start_link(here, factory, arguments, parent, name, leader))
        if isinstance(error, NameRegistered):
            known = await _holder(here, name)
            return (_ERROR, answered_reason(error) if known is None else (_ALREADY_STARTED, known))
        if error is not None:
            return (_ERROR, answered_reason(error))
        return _IGNORE if process is None else (_OK, process.pid)

    return functools.update_wrapper(start, factory) if not inspect.iscoroutinefunction(factory) else start
