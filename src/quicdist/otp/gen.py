"""Calls and replies as OTP's ``gen`` module makes them: request, monitor and alias in one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from quicdist.errors import QuicDistError
from quicdist.node.errors import NodeError, NoSuchProcess, ProcessEnded
from quicdist.node.exit_reason import NOCONNECTION, NOPROC
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp.errors import CallingSelf, exits_call
from quicdist.otp.request import Request
from quicdist.otp.server_names import Global, LookedUp, Via
from quicdist.otp.service_process import spawn_service
from quicdist.term import Atom, ImproperList, Pid, Reference

GEN_CALL = Atom("$gen_call")
GEN_CAST = Atom("$gen_cast")
#: The label of the messages that the module ``sys`` sends.
SYSTEM = Atom("system")
_ALIAS = Atom("alias")
_GLOBAL, _VIA, _PYTHON = Atom("global"), Atom("via"), Atom("python")
_INFINITY = Atom("infinity")
_GEN_SERVER, _CALL, _SEND_REQUEST = Atom("gen_server"), Atom("call"), Atom("send_request")

#: Who asks: ``{Pid, Tag}``, to be handed back in the reply as it came.
From = tuple[Pid, Any]


def reply(process: Process, sender: From, value: Any) -> None:
    """Answer a call (``gen:reply/2``, ``gen_server:reply/2``); the process is the one that answers."""
    if not process.alive:
        return
    pid, tag = sender
    # In order with the signals to the process behind the alias: a server that replies and ends must
    # not be heard of in the other order, on whatever streams the two travel.
    process.node.runtime.send(process.pid, _reply_address(pid, tag), (tag, value), owner=pid)


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


def ref_term(to: Any) -> Any:
    """A destination as ``gen_server`` names it, ``server_ref()``."""
    match to:
        case Process():
            return to.pid
        case str():
            return Atom(to)
        case (name, node):
            return (ref_term(name), ref_term(node))
        case Global():
            return (_GLOBAL, ref_term(to.name))
        case Via():
            return (_VIA, Atom(to.module) if isinstance(to.module, str) else _PYTHON, ref_term(to.name))
    return to


def milliseconds(timeout: float | None) -> Any:
    """A time-out in seconds as OTP's functions take it."""
    return _INFINITY if timeout is None else round(timeout * 1000)


def described(to: Any) -> str:
    """A destination, for an error message."""
    if isinstance(to, tuple) and len(to) == 2:
        return f"{to[0]} on {to[1]}"
    return str(to)


class Caller:
    """Asks other processes, in the name of a process of its own or of one that is given."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._open: dict[Reference, tuple[Request[Any], Pid]] = {}
        #: Looks up a name; set by who makes what it takes.
        self.find: Callable[[LookedUp, Callable[[Pid | None, Exception | None], None]], None]
        #: In whose name it asks.
        self.process: Process

    def start(self) -> Process:
        """Start the process in whose name it asks, in place of one that has ended. What that asked is
        still answered: by aliases, which belong to no process."""
        self.process = spawn_service(self._runtime, self._received)
        return self.process

    def _received(self, _: Process, message: Any) -> None:
        """``{Tag, Reply}``, by way of the alias, or to the pid from those (``net_kernel``) that do
        not use it. What no request waits for any more is dropped."""
        if isinstance(message, tuple) and len(message) == 2 and isinstance(message[0], ImproperList):
            waiting = self._open.get(message[0].tail)
            if waiting is not None:
                self._close(message[0].tail)
                waiting[0].succeed(message[1])

    def send_request(
        self, to: Any, request: Any, *, label: Atom = GEN_CALL, process: Process | None = None
    ) -> Request[Any]:
        """Send ``{Label, From, Request}`` to a process (``gen:send_request/3``).

        ``to`` is a pid, process, ``name``, ``(name, node)``, :class:`Global` or :class:`Via`.
        ``process`` asks, and can be monitored or linked by the one asked, in place of a process of
        the node's own. The answer raises :class:`NoSuchProcess`, :class:`NotConnected`, or
        :class:`ProcessEnded` with the reason of a process that ended before it replied.
        """
        if isinstance(to, Global | Via):
            return self._send_to_name(to, request, label, process, None)
        runtime = self._runtime
        if process is not None:
            process.must_live()
        pid = self.process.pid if process is None else process.pid
        reference = runtime.identifiers.reference()
        result: Request[Any] = Request(lambda: described(to), lambda: self._close(reference))

        def down(reason: Any) -> None:
            self._close(reference)
            error = self.down_error(to, reason)
            exits_call(error, (_GEN_SERVER, _SEND_REQUEST, [ref_term(to), request]))
            result.fail(error)

        self._open[reference] = result, pid
        runtime.monitors.alias(lambda message: self._received(self.process, message), reference)
        try:
            runtime.monitors.monitor(None, pid, to, down, reference=reference)
            tag = ImproperList([_ALIAS], reference)
            runtime.send(pid, _unnamed(runtime, to), (label, (pid, tag), request))
        except BaseException:
            self._close(reference)
            raise
        return result

    def _send_to_name(
        self,
        to: LookedUp,
        request: Any,
        label: Atom,
        process: Process | None,
        asking: asyncio.Task[Any] | None,
    ) -> Request[Any]:
        """``asking`` is the task that waits for the answer, if one does."""
        sent: list[Request[Any]] = []
        result: Request[Any] = Request(lambda: described(to), lambda: sent[0].abandon() if sent else None)

        def answered(value: Any, error: Exception | None) -> None:
            if error is None:
                result.succeed(value)
            else:
                result.fail(error)

        def found(pid: Pid | None, error: Exception | None) -> None:
            if result.done():
                return
            if error is not None:
                result.fail(error)
                return
            try:
                self._not_itself(pid, asking)
                sent.append(self.send_request(pid, request, label=label, process=process))
            except Exception as failed:
                result.fail(failed)
            else:
                sent[0].when_done(answered)

        self.find(to, found)
        return result

    async def call(
        self,
        to: Any,
        request: Any,
        *,
        label: Atom = GEN_CALL,
        timeout: float | None = 5.0,
        process: Process | None = None,
        function: tuple[Any, ...] | None = None,
    ) -> Any:
        """Ask and wait for the answer (``gen:call/4``); :class:`CallTimeout` after ``timeout``
        seconds, None waits for ever.

        ``function`` is the ``{Module, Function, Arguments}`` that a process exits with which lets
        an error of this call out, by default that of ``gen_server:call/3``.
        """
        try:
            asking = asyncio.current_task()
            if isinstance(to, Global | Via):
                pending = self._send_to_name(to, request, label, process, asking)
            else:
                self._not_itself(to, asking)
                pending = self.send_request(to, request, label=label, process=process)
            return await pending.receive_response(timeout)
        except NodeError as error:
            if function is None:
                function = (_GEN_SERVER, _CALL, [ref_term(to), request, milliseconds(timeout)])
            exits_call(error, function)
            raise

    def _not_itself(self, to: Any, asking: asyncio.Task[Any] | None) -> None:
        """Raise :class:`CallingSelf` where the task that asks is the one that would answer."""
        node, where = self._runtime.locate(to)
        target = self._runtime.resolve(where) if node == self._runtime.name else None
        if target is not None and target.is_run_by(asking):
            raise CallingSelf(target)

    def down_error(self, to: Any, reason: Any) -> QuicDistError:
        """What to raise to who asked ``to``, which has ended with ``reason``."""
        if reason == NOPROC:
            return NoSuchProcess(f"there is no process {described(to)}")
        if reason == NOCONNECTION:
            return self._runtime.not_connected(self._runtime.locate(to)[0])
        return ProcessEnded(described(to), reason)

    def _close(self, reference: Reference) -> None:
        waiting = self._open.pop(reference, None)
        if waiting is not None:
            self._runtime.monitors.unalias(reference)
            self._runtime.monitors.demonitor(reference, waiting[1])


def _unnamed(runtime: Runtime, to: Any) -> Any:
    """A local name as ``(name, node)``: sending to one that is gone is the monitor's to tell."""
    return (to, runtime.name) if isinstance(to, str | Atom) else to
