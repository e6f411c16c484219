"""Calls and replies as OTP's ``gen`` module makes them: request, monitor and alias in one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from quicdist.node.errors import NoSuchProcess, NotConnected, ProcessExit
from quicdist.node.exits import NOCONNECTION, NOPROC
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp.errors import CallTimeout
from quicdist.term import Atom, ImproperList, Pid, Reference

GEN_CALL = Atom("$gen_call")
GEN_CAST = Atom("$gen_cast")
_ALIAS = Atom("alias")

#: Who asks: ``{Pid, Tag}``, to be handed back in the reply as it came.
From = tuple[Pid, Any]


def reply(process: Process, sender: From, value: Any) -> None:
    """Answer a call (``gen:reply/2``, ``gen_server:reply/2``); the process is the one that answers."""
    pid, tag = sender
    process.send(_reply_address(pid, tag), (tag, value))


def _reply_address(pid: Pid, tag: Any) -> Pid | Reference:
    # [alias|Alias], or [[alias|Alias]|_] where gen_statem or gen_event put more beside it.
    if isinstance(tag, list | ImproperList) and tag:
        head = tag[0] if isinstance(tag, list) else tag.elements[0]
        if isinstance(head, ImproperList):
            tag, head = head, head.elements[0]
        if isinstance(tag, ImproperList) and head == _ALIAS and isinstance(tag.tail, Reference):
            return tag.tail
    return pid


def is_from(term: Any) -> bool:
    """Whether a term from outside has the shape of a :data:`From`."""
    return isinstance(term, tuple) and len(term) == 2 and isinstance(term[0], Pid)


class Caller:
    """The process in whose name a node's coroutines call others."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._answers: dict[Reference, asyncio.Future[Any]] = {}
        self.process = runtime.spawn(self._received)

    def _received(self, _: Process, message: Any) -> None:
        """``{Tag, Reply}``, by way of the alias, or to the pid from those (``net_kernel``) that do
        not use it. What no call waits for any more is dropped."""
        if isinstance(message, tuple) and len(message) == 2 and isinstance(message[0], ImproperList):
            answer = self._answers.get(message[0].tail)
            if answer is not None and not answer.done():
                answer.set_result(message[1])

    async def call(
        self, to: Any, request: Any, *, label: Atom = GEN_CALL, timeout: float | None = 5.0
    ) -> Any:
        """Send ``{Label, From, Request}`` to a process and wait for its reply (``gen:call/4``).

        ``timeout`` is in seconds, None waits for ever. Raises :class:`CallTimeout`,
        :class:`NoSuchProcess`, :class:`NotConnected`, and :class:`ProcessExit` with the reason of
        a process that ended before it replied.
        """
        runtime = self._runtime
        relations = runtime.relations
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        reference = runtime.identifiers.reference()
        tag = ImproperList([_ALIAS], reference)

        def down(reason: Any) -> None:
            if not answer.done():
                answer.set_exception(_down_error(runtime, to, reason))

        pid = self.process.pid
        self._answers[reference] = answer
        relations.alias(lambda message: self._received(self.process, message), reference)
        try:
            relations.monitor(None, pid, to, down, reference=reference)
            runtime.send(pid, _unnamed(runtime, to), (label, (pid, tag), request))
            return await within(timeout, answer, lambda: described(to))
        finally:
            del self._answers[reference]
            relations.unalias(reference)
            relations.demonitor(reference, pid)
            with contextlib.suppress(asyncio.InvalidStateError):
                answer.cancel()


async def within(timeout: float | None, answer: asyncio.Future[Any], what: Any) -> Any:
    """Wait for an answer; :class:`CallTimeout` names ``what()``."""
    try:
        async with asyncio.timeout(timeout):
            return await answer
    except TimeoutError as error:
        if answer.done() and not answer.cancelled():
            raise
        raise CallTimeout(what(), timeout or 0.0) from error


def described(to: Any) -> str:
    """A destination, for an error message."""
    if isinstance(to, tuple) and len(to) == 2:
        return f"{to[0]} on {to[1]}"
    return str(to)


def _unnamed(runtime: Runtime, to: Any) -> Any:
    """A local name as ``(name, node)``: sending to one that is gone is the monitor's to tell."""
    return (to, runtime.name) if isinstance(to, str | Atom) else to


def _down_error(runtime: Runtime, to: Any, reason: Any) -> Exception:
    if reason == NOPROC:
        return NoSuchProcess(f"there is no process {described(to)}")
    if reason == NOCONNECTION:
        return NotConnected(runtime.locate(to)[0])
    return ProcessExit(reason)
