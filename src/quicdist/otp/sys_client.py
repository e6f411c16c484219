"""``sys`` toward other processes: look into a server of any node, hold it, end it.

OTP: ``sys(3)``. Works with ``gen_server``, ``gen_statem``, ``supervisor`` and all others that know
system messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from quicdist.errors import QuicDistError
from quicdist.node.connections import ConnectionTable
from quicdist.node.errors import NodeError
from quicdist.node.exit_reason import NORMAL
from quicdist.node.reports import shown
from quicdist.node.runtime import Runtime
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.errors import exits_call
from quicdist.otp.gen import SYSTEM, Caller, described, milliseconds, ref_term
from quicdist.otp.names import Names
from quicdist.otp.request import Deadline, within
from quicdist.otp.server_names import Global, Via
from quicdist.otp.silent_nodes import SilentNodes
from quicdist.term import Atom

_OK, _ERROR = Atom("ok"), Atom("error")
_SYS, _GET_STATE = Atom("sys"), Atom("get_state")
_STDLIB, _VSN = Atom("stdlib"), Atom("vsn")
#: From stdlib 5.1 (OTP 26.1) on a state travels as ``{ok, State}``, before that bare.
_WRAPPING_STDLIB = (5, 1)
#: Seconds to wait for a node to tell its version.
_PATIENCE = 5.0
#: Nodes remembered.
_MAX_KNOWN = 1000


class StateForm:
    """In which form a node's ``sys`` expects and sends a state: OTP changed it, and two BEAMs on
    different sides of the change cannot ask each other."""

    def __init__(self, runtime: Runtime, connections: ConnectionTable, erpc: ErpcClient) -> None:
        self._runtime = runtime
        self._connections = connections
        self._erpc = erpc
        self._known: dict[tuple[str, int], bool] = {}
        self._asking: dict[str, asyncio.Task[bool]] = {}

    def known(self, node: str) -> bool | None:
        """Whether it is ``{ok, State}`` for this node; None while that is not known."""
        link = self._connections.link(node)
        if node == self._runtime.name or link is None:
            return True
        return self._known.get((node, link.peer.creation))

    async def wrapped(self, node: str) -> bool:
        """The same, asked of the node where need be. What is no BEAM does as the newest ones."""
        known = self.known(node)
        return await asyncio.shield(self._asking_of(node)) if known is None else known

    def when_known(self, node: str, callback: Callable[[bool], None]) -> None:
        """Call ``callback`` with it later."""
        self._asking_of(node).add_done_callback(
            lambda task: None if task.cancelled() else callback(task.result())
        )

    def _asking_of(self, node: str) -> asyncio.Task[bool]:
        task = self._asking.get(node)
        if task is None:
            task = self._asking[node] = asyncio.ensure_future(self._ask(node))
            task.add_done_callback(lambda _: self._asking.pop(node))
        return task

    async def _ask(self, node: str) -> bool:
        link = self._connections.link(node)
        wrapped = await self._version_of(node)
        if link is not None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[node, link.peer.creation] = wrapped
        return wrapped

    async def _version_of(self, node: str) -> bool:
        try:
            _, version = await self._erpc.call(
                node, "application", "get_key", [_STDLIB, _VSN], timeout=_PATIENCE
            )
            major, minor = bytes(version).decode("ascii").split(".")[:2]
            return (int(major), int(minor)) >= _WRAPPING_STDLIB
        except (QuicDistError, TypeError, ValueError):
            return True


class SysClient:
    """Sends system messages. ``timeout`` is in seconds; the errors are those of a call."""

    def __init__(self, caller: Caller, runtime: Runtime, state_form: StateForm, names: Names) -> None:
        self._caller = caller
        self._runtime = runtime
        self._names = names
        #: Known also to the servers of this node, which answer ``sys`` of others.
        self.state_form = state_form
        self.silent_nodes = SilentNodes()

    async def get_state(self, to: Any, *, timeout: float | None = 5.0) -> Any:
        """The state of a server (``sys:get_state/2``). Raises :class:`NodeError` where the server
        could not say."""
        name = to
        deadline = Deadline(timeout)
        if isinstance(to, Global | Via):
            try:
                to = await self._names.where(to, timeout)
            except NodeError as error:
                exits_call(error, _function(name, _GET_STATE, timeout))
                raise
        answer = await self._ask(to, _GET_STATE, deadline.left())
        if isinstance(answer, tuple) and len(answer) == 2:
            if answer[0] == _ERROR:
                failed = NodeError(f"{described(name)} did not give its state: {shown(answer[1])}")
                failed.exit_reason = (answer[1], [])
                raise failed
            if answer[0] == _OK:
                async with within(deadline.left(), described(name)):
                    wrapped = await self.state_form.wrapped(self._runtime.locate(to)[0])
                return answer[1] if wrapped else answer
        return answer

    async def get_status(self, to: Any, *, timeout: float | None = 5.0) -> Any:
        """``{status, Pid, {module, Module}, Items}`` (``sys:get_status/2``)."""
        return await self._ask(to, Atom("get_status"), timeout)

    async def suspend(self, to: Any, *, timeout: float | None = 5.0) -> None:
        """Let a server take system messages only (``sys:suspend/2``)."""
        await self._ask(to, Atom("suspend"), timeout)

    async def resume(self, to: Any, *, timeout: float | None = 5.0) -> None:
        """Let a suspended server go on (``sys:resume/2``)."""
        await self._ask(to, Atom("resume"), timeout)

    async def terminate(self, to: Any, reason: Any = NORMAL, *, timeout: float | None = 5.0) -> None:
        """Tell a server to end with ``reason`` (``sys:terminate/3``)."""
        await self._ask(to, (Atom("terminate"), reason), timeout)

    async def _ask(self, to: Any, request: Any, timeout: float | None) -> Any:
        function = _function(to, request, timeout)
        return await self._caller.call(to, request, label=SYSTEM, timeout=timeout, function=function)


def _function(to: Any, request: Any, timeout: float | None) -> tuple[Any, ...]:
    """``{sys, Function, Arguments}``, as ``sys`` says what it was that failed."""
    name, *more = request if isinstance(request, tuple) else (request,)
    return (_SYS, name, [ref_term(to), *more, milliseconds(timeout)])
