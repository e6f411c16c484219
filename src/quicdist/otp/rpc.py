"""Calls between nodes: ``erpc``, and ``rex`` for peers without it. Both sides of both.

OTP: ``erpc(3)``, ``rpc(3)``; the protocol between two ``erpc`` is that of ``erpc:execute_call/4``,
spawned by SPAWN_REQUEST with a monitor, whose exit reason is the result.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

from quicdist.node.connections import ConnectionTable
from quicdist.node.errors import NotConnected, ProcessExit
from quicdist.node.exits import NOCONNECTION, NORMAL, error_term, stack_term
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.node.spawning import Spawning
from quicdist.otp.errors import RemoteError
from quicdist.otp.exports import Export, Exports
from quicdist.otp.gen import GEN_CALL, GEN_CAST, Caller, is_from, reply, within
from quicdist.protocol import DistFlag
from quicdist.term import Atom, Pid, TermError

log = logging.getLogger("quicdist.otp")

_RETURN = Atom("return")
_ERROR = Atom("error")
_EXIT = Atom("exit")
_UNDEF = Atom("undef")
_MONITOR = Atom("monitor")
_BADRPC = Atom("badrpc")
_EXIT_TAG = Atom("EXIT")
_CALLS = (Atom("call"), Atom("block_call"))
_CAST = Atom("cast")
_FEATURES_REQUEST = Atom("features_request")
_ERPC = Atom("erpc")

#: What a call came to: ``("return", value)``, or ``(kind, reason, stack)``.
Outcome = tuple[Any, ...]


class RpcServer:
    """Runs exported functions for other nodes."""

    def __init__(self, runtime: Runtime, spawning: Spawning, exports: Exports) -> None:
        self._runtime = runtime
        self._exports = exports
        spawning.offer("erpc", "execute_call", 4, self._execute_call_4)
        spawning.offer("erpc", "execute_call", 3, self._execute_call_3)
        spawning.offer("erpc", "execute_cast", 3, self._execute_cast)
        runtime.spawn(self._rex, name="rex")

    # -- erpc --------------------------------------------------------------------------------

    def _execute_call_4(self, process: Process, arguments: list[Any]) -> None:
        reference, *mfa = arguments
        self._apply(process, mfa, lambda outcome: self._end(process, (reference, *outcome)))

    def _execute_call_3(self, process: Process, arguments: list[Any]) -> None:
        def done(outcome: Outcome) -> None:
            self._end(process, outcome if outcome[0] == _RETURN else _exit_of(outcome))

        self._apply(process, arguments, done)

    def _execute_cast(self, process: Process, arguments: list[Any]) -> None:
        def done(outcome: Outcome) -> None:
            if outcome[0] != _RETURN:
                log.error("a cast of %s:%s failed: %r", arguments[0], arguments[1], outcome)
            self._end(process, NORMAL if outcome[0] == _RETURN else _exit_of(outcome))

        self._apply(process, arguments, done)

    def _end(self, process: Process, reason: Any) -> None:
        self._runtime.later(self._runtime.terminate, process, reason)

    # -- rex ---------------------------------------------------------------------------------

    def _rex(self, process: Process, message: Any) -> None:
        match message:
            case (label, sender, (kind, module, function, arguments, _)) if (
                label == GEN_CALL and kind in _CALLS and is_from(sender)
            ):
                self._apply(
                    process,
                    [module, function, arguments],
                    lambda outcome: _rex_reply(process, sender, outcome),
                )
            case (label, (kind, module, function, arguments, _)) if label == GEN_CAST and kind == _CAST:
                self._apply(process, [module, function, arguments], lambda _: None)
            case (Pid() as sender, request) if request == _FEATURES_REQUEST:
                process.send(sender, (Atom("features_reply"), Atom(self._runtime.name), [_ERPC]))
            case _:
                log.warning("rex was sent something it does not know: %r", message)

    # -- running a function ------------------------------------------------------------------

    def _apply(self, process: Process, mfa: list[Any], done: Callable[[Outcome], None]) -> None:
        """Call an export and pass on what came of it: at once, unless it has to be waited for."""
        module, function, arguments = mfa
        export = None
        if isinstance(module, Atom) and isinstance(function, Atom) and isinstance(arguments, list):
            export = self._exports.find(module.name, function.name, len(arguments))
        if export is None:
            done((_ERROR, _UNDEF, [(module, function, arguments, [])]))
            return
        try:
            result = self._started(export, arguments)
        except Exception as error:
            done(_outcome(error))
            return
        if not inspect.isawaitable(result):
            done((_RETURN, result))
            return
        task = asyncio.ensure_future(result)
        process.on_end(lambda: task.cancel())
        task.add_done_callback(lambda task: None if task.cancelled() else done(_task_outcome(task)))

    def _started(self, export: Export, arguments: list[Any]) -> Any:
        if not export.blocking:
            return export.function(*arguments)
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(export.executor, functools.partial(export.function, *arguments))


def _task_outcome(task: asyncio.Future[Any]) -> Outcome:
    error = task.exception()
    return (_RETURN, task.result()) if error is None else _outcome(error)


def _outcome(error: BaseException) -> Outcome:
    if isinstance(error, RemoteError) and error.kind in ("error", "exit", "throw"):
        return (Atom(error.kind), error.reason, *([error.stack or []] if error.kind == "error" else []))
    if isinstance(error, ProcessExit):
        return (_EXIT, error.reason)
    # The first frame is this module's own; the caller wants the function's.
    trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
    return (_ERROR, error_term(error), stack_term(trace))


def _exit_of(outcome: Outcome) -> Any:
    """The exit reason of a process in which this went uncaught."""
    kind, reason, *stack = outcome
    if kind == _ERROR:
        return (reason, stack[0])
    return reason if kind == _EXIT else ((Atom("nocatch"), reason), [])


def _rex_reply(process: Process, sender: Any, outcome: Outcome) -> None:
    value = outcome[1] if outcome[0] == _RETURN else (_BADRPC, (_EXIT_TAG, _exit_of(outcome)))
    try:
        reply(process, sender, value)
    except TermError as error:
        reply(process, sender, (_BADRPC, (_EXIT_TAG, error_term(error))))


class RpcClient:
    """Calls functions on other nodes."""

    def __init__(
        self,
        runtime: Runtime,
        spawning: Spawning,
        connections: ConnectionTable,
        caller: Caller,
        group_leader: Pid,
    ) -> None:
        self._runtime = runtime
        self._spawning = spawning
        self._connections = connections
        self._caller = caller
        self._group_leader = group_leader

    async def call(
        self, node: str, module: str, function: str, arguments: list[Any], *, timeout: float | None = None
    ) -> Any:
        """Apply a function on another node and return its value (``erpc:call/5``).

        ``timeout`` is in seconds, None waits for ever; it covers connecting too. Raises
        :class:`NotConnected`, :class:`CallTimeout` and :class:`RemoteError`.
        """
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        what = f"{module}:{function}/{len(arguments)} on {node}"
        connecting = asyncio.ensure_future(self._connections.connect(node))
        link = await within(timeout, connecting, lambda: what)
        left = None if deadline is None else max(deadline - loop.time(), 0.0)
        if link.peer.negotiated & DistFlag.SPAWN:
            return await self._erpc(node, module, function, arguments, left, what)
        return await self._rex(node, module, function, arguments, left, what)

    async def _erpc(
        self, node: str, module: str, function: str, arguments: list[Any], timeout: float | None, what: str
    ) -> Any:
        relations = self._runtime.relations
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        result = self._runtime.identifiers.reference()

        def replied(result: Pid | Atom) -> None:
            if isinstance(result, Pid):
                relations.spawned(reference, result)
            elif not answer.done():
                error: Exception = (
                    NotConnected(node) if result == NOCONNECTION else RemoteError("error", result)
                )
                answer.set_exception(error)

        def down(reason: Any) -> None:
            if not answer.done():
                answer.set_result(reason)

        source = self._caller.process.pid
        reference = self._spawning.request(
            node,
            source,
            self._group_leader,
            ("erpc", "execute_call"),
            [result, Atom(module), Atom(function), arguments],
            [_MONITOR],
            replied,
        )
        relations.await_spawned(reference, node, down)
        try:
            reason = await within(timeout, answer, lambda: what)
        finally:
            self._spawning.abandon(reference)
            relations.demonitor(reference, source)
        match reason:
            case (ref, kind, value) if ref == result and kind == _RETURN:
                return value
            case (ref, Atom(name=kind), value, *stack) if ref == result:
                raise RemoteError(kind, value, stack[0] if stack else None, where=what)
        if reason == NOCONNECTION:
            raise NotConnected(node)
        raise RemoteError("signal", reason, where=what)

    async def _rex(
        self, node: str, module: str, function: str, arguments: list[Any], timeout: float | None, what: str
    ) -> Any:
        request = (Atom("call"), Atom(module), Atom(function), arguments, self._group_leader)
        value = await self._caller.call(("rex", node), request, timeout=timeout)
        match value:
            case (tag, (exit_tag, (reason, list(stack)))) if tag == _BADRPC and exit_tag == _EXIT_TAG:
                raise RemoteError("error", reason, stack, where=what)
            case (tag, (exit_tag, reason)) if tag == _BADRPC and exit_tag == _EXIT_TAG:
                raise RemoteError("exit", reason, where=what)
        return value

    async def cast(self, node: str, module: str, function: str, arguments: list[Any]) -> None:
        """Apply a function on another node and forget about it (``erpc:cast/4``)."""
        self._spawning.request(
            node,
            self._caller.process.pid,
            self._group_leader,
            ("erpc", "execute_cast"),
            [Atom(module), Atom(function), arguments],
            [],
            lambda _: None,
        )
