"""The client side of ``sys``: read, suspend and end servers of any node.

OTP: ``sys(3)``. Works with ``gen_server``, ``gen_statem``, ``supervisor`` and all processes that handle
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
from quicdist.otp.circuit_breaker import CircuitBreaker
from quicdist.otp.deadline import Deadline, within
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.errors import exits_call
from quicdist.otp.gen import GenClient, described, milliseconds, ref_term
from quicdist.otp.gen_messages import SYSTEM
from quicdist.otp.name_resolver import NameResolver
from quicdist.otp.server_names import Global, Via
from quicdist.term import Atom

_OK, _ERROR = Atom("ok"), Atom("error")
_SYS, _GET_STATE = Atom("sys"), Atom("get_state")
_STDLIB, _VSN = Atom("stdlib"), Atom("vsn")
#: From stdlib 5.1 (OTP 26.1) on a state travels as ``{ok, State}``, before that bare.
_WRAPPING_STDLIB = (5, 1)
#: Seconds to wait for the version of a node.
_VERSION_TIME = 5.0
#: Nodes whose form is remembered.
_MAX_KNOWN = 1000


class StateForm:
    """The form in which ``sys`` of each node expects and sends a state. OTP has changed it: BEAMs of versions
    before and after the change cannot read each other's states."""

    def __init__(self, runtime: Runtime, connections: ConnectionTable, erpc: ErpcClient) -> None:
        self._runtime = runtime
        self._connections = connections
        self._erpc = erpc
        self._known: dict[tuple[str, int], bool] = {}
        self._asking: dict[str, asyncio.Task[bool]] = {}

    def known(self, node: str) -> bool | None:
        """Whether ``node`` uses ``{ok, State}``; None if not known yet."""
        link = self._connections.link(node)
        if node == self._runtime.name or link is None:
            return True
        return self._known.get((node, link.peer.creation))

    async def wrapped(self, node: str) -> bool:
        """The same; asks ``node`` if it is not known. True for a node that is not a BEAM."""
        known = self.known(node)
        return await asyncio.shield(self._asking_of(node)) if known is None else known

    def when_known(self, node: str, callback: Callable[[bool], None]) -> None:
        """Call ``callback`` later, when it is known whether ``node`` uses ``{ok, State}``."""
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
        wrapped = await self._wraps_states(node)
        if link is not None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[node, link.peer.creation] = wrapped
        return wrapped

    async def _wraps_states(self, node: str) -> bool:
        try:
            _, version = await self._erpc.call(
                node, "application", "get_key", [_STDLIB, _VSN], timeout=_VERSION_TIME
            )
            major, minor = bytes(version).decode("ascii").split(".")[:2]
            return (int(major), int(minor)) >= _WRAPPING_STDLIB
        except (QuicDistError, TypeError, ValueError):
            return True


class SysClient:
    """Sends system messages. ``timeout`` is in seconds; raises the errors of a call."""

    def __init__(self, gen: GenClient, runtime: Runtime, state_form: StateForm, names: NameResolver) -> None:
        self._gen = gen
        self._runtime = runtime
        self._names = names
        #: Also used by the servers of this node, when they answer ``sys`` of other nodes.
        self.state_form = state_form
        self.circuit_breaker = CircuitBreaker()

    async def get_state(self, to: Any, *, timeout: float | None = 5.0) -> Any:
        """The state of a server (``sys:get_state/2``). Raises :class:`NodeError` if the server cannot give
        it."""
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
                failed = NodeError(f"{described(name)} cannot give its state: {shown(answer[1])}")
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
        """Suspend a server: it handles system messages only (``sys:suspend/2``)."""
        await self._ask(to, Atom("suspend"), timeout)

    async def resume(self, to: Any, *, timeout: float | None = 5.0) -> None:
        """Resume a suspended server (``sys:resume/2``)."""
        await self._ask(to, Atom("resume"), timeout)

    async def terminate(self, to: Any, reason: Any = NORMAL, *, timeout: float | None = 5.0) -> None:
        """End a server with ``reason`` (``sys:terminate/3``)."""
        await self._ask(to, (Atom("terminate"), reason), timeout)

    async def _ask(self, to: Any, request: Any, timeout: float | None) -> Any:
        function = _function(to, request, timeout)
        return await self._gen.call(to, request, label=SYSTEM, timeout=timeout, function=function)


def _function(to: Any, request: Any, timeout: float | None) -> tuple[Any, ...]:
    """``{sys, Function, Arguments}``, for the exit reason of a failed call."""
    name, *more = request if isinstance(request, tuple) else (request,)
    return (_SYS, name, [ref_term(to), *more, milliseconds(timeout)])
