"""Starts servers of every behaviour.

OTP: ``gen_server:start/4``, ``start_link/4``, and the same of ``gen_statem`` and ``gen_event``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from quicdist.node.errors import NodeError
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp.behaviour import Behaviour
from quicdist.otp.debug_commands import output_of
from quicdist.otp.debug_options import start_options
from quicdist.otp.gen_server import GenServer
from quicdist.otp.server_loop import ServerLoop
from quicdist.otp.server_names import GlobalOrVia, split_server_name
from quicdist.otp.server_process import ServerProcess
from quicdist.term import Pid
from quicdist.term.names import Name


def start(
    runtime: Runtime,
    server: Behaviour,
    *,
    name: Name | GlobalOrVia | None = None,
    link_to: Process | Pid | None = None,
    group_leader: Pid | None = None,
    debug: Iterable[Any] = (),
) -> ServerLoop:
    """Start a server, linked to ``link_to``, its parent, unless that is None (``start_link``). It does not
    wait for a coroutine ``init``, nor for a name that is registered elsewhere; a server whose name is taken
    ends at once. ``debug`` are debug options, see
    :func:`~quicdist.otp.debug_options.start_options`."""
    own, looked_up = split_server_name(name)
    parent = link_to.pid if isinstance(link_to, Process) else link_to
    process = _process(runtime, server)
    options = start_options(process, debug, lambda: output_of(process), server.behaviour)
    runtime.add(process, name=own)
    process.debug = options or None
    process.parent = parent
    if group_leader is not None:
        process.group_leader = group_leader
    elif isinstance(link_to, Process):
        process.group_leader = link_to.group_leader
    if parent is not None:
        runtime.link(process, parent)
    process.begin(looked_up)
    return process


def _process(runtime: Runtime, server: Behaviour) -> ServerLoop:
    pid = runtime.identifiers.pid()
    if isinstance(server, GenServer):
        return ServerProcess(runtime, pid, server)
    # A node without such servers does not load them.
    from quicdist.otp.event_manager_process import EventManagerProcess
    from quicdist.otp.gen_event import GenEvent
    from quicdist.otp.gen_statem import GenStatem
    from quicdist.otp.state_machine_process import StateMachineProcess

    match server:
        case GenEvent():
            return EventManagerProcess(runtime, pid, server)
        case GenStatem():
            return StateMachineProcess(runtime, pid, server)
    raise NodeError(f"expected a GenServer, GenStatem or GenEvent, got {server!r}")
