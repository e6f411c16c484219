"""Calls as OTP's ``gen`` module makes them: request, monitor and alias in one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from quicdist.errors import QuicDistError
from quicdist.node.errors import NodeError, NoSuchProcess, ProcessEnded
from quicdist.node.exit_reason import NOCONNECTION, NOPROC
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.node.tracing import CallTracer, SafeSpan, TracedCall, client_span
from quicdist.otp.call_counters import CallCounters
from quicdist.otp.errors import CallingSelf, exits_call
from quicdist.otp.gen_messages import ALIAS, GEN_CALL
from quicdist.otp.kernel_supervisor import spawn_kernel_process
from quicdist.otp.request import Request
from quicdist.otp.server_names import Global, GlobalOrVia, Via
from quicdist.otp.trace_propagation import TracePropagation, reference_of, traced_tag
from quicdist.term import Atom, ImproperList, Pid, Reference

_GLOBAL, _VIA, _PYTHON = Atom("global"), Atom("via"), Atom("python")
_INFINITY = Atom("infinity")
_GEN_SERVER, _CALL, _SEND_REQUEST = Atom("gen_server"), Atom("call"), Atom("send_request")


def ref_term(to: Any) -> Any:
    """A destination as a term, ``gen_server:server_ref()``."""
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
    """A time-out in seconds as OTP's term: milliseconds or ``infinity``."""
    return _INFINITY if timeout is None else round(timeout * 1000)


def described(to: Any) -> str:
    """A destination, for an error message."""
    if isinstance(to, tuple) and len(to) == 2:
        return f"{to[0]} on {to[1]}"
    return str(to)


class GenClient:
    """Sends requests, by default from a process of the node, and matches the replies."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._open: dict[Reference, tuple[Request[Any], Pid]] = {}
        #: The requests, by their outcome.
        self.counters = CallCounters()
        #: Carries traces to other nodes, if calls are traced.
        self.propagation: TracePropagation | None = None
        #: Looks up a name; set when the name resolver exists.
        self.find: Callable[[GlobalOrVia, Callable[[Pid | None, Exception | None], None]], None]
        #: The process that sends the calls.
        self.process: Process

    def start(self) -> Process:
        """Start the process that sends the calls, also in place of one that has ended. Its open calls are
        still answered: their aliases belong to no process."""
        self.process = spawn_kernel_process(self._runtime, self._received)
        return self.process

    def _received(self, _: Process, message: Any) -> None:
        """``{Tag, Reply}``, sent to the alias, or to the pid by servers that do not use the alias
        (``net_kernel``). A reply that no request waits for is dropped."""
        if isinstance(message, tuple) and len(message) == 2 and isinstance(message[0], ImproperList):
            reference = message[0].tail
            if not isinstance(reference, Reference):
                reference = reference_of(message[0])
                if reference is None:
                    return
            waiting = self._open.get(reference)
            if waiting is not None:
                self._close(reference)
                waiting[0].succeed(message[1])

    def send_request(
        self, to: Any, request: Any, *, label: Atom = GEN_CALL, process: Process | None = None
    ) -> Request[Any]:
        """Send ``{Label, From, Request}`` to a process (``gen:send_request/3``).

        ``to`` is a pid, process, ``name``, ``(name, node)``, :class:`Global` or :class:`Via`.
        ``process`` sends the request (by default a process of the node's own); the server can monitor
        or link to it. Awaiting the request raises :class:`NoSuchProcess`, :class:`NotConnected`, or
        :class:`ProcessEnded` with the reason of a server that ended before it replied.
        """
        if isinstance(to, Global | Via):
            return self._send_to_name(to, request, label, process, None)
        runtime = self._runtime
        runtime.check_loop()
        if process is not None:
            process.must_live()
        pid = self.process.pid if process is None else process.pid
        reference = runtime.identifiers.reference()
        span = None if runtime.tracer is None or label != GEN_CALL else self._span(runtime.tracer, to)
        result: Request[Any] = Request(
            lambda: described(to), lambda: self._close(reference), counters=self.counters, span=span
        )

        def down(reason: Any) -> None:
            self._close(reference)
            error = self.down_error(to, reason)
            exits_call(error, (_GEN_SERVER, _SEND_REQUEST, [ref_term(to), request]))
            result.fail(error)

        self._open[reference] = result, pid
        runtime.monitors.alias(lambda message: self._received(self.process, message), reference)
        try:
            runtime.monitors.monitor(None, pid, to, down, reference=reference)
            tag = ImproperList([ALIAS], reference)
            if span is not None:
                tag = self._traced(span, to, tag)
            runtime.send(pid, _unnamed(runtime, to), (label, (pid, tag), request))
        except BaseException:
            self._close(reference)
            raise
        return result

    def _span(self, tracer: CallTracer, to: Any) -> SafeSpan | None:
        node, where = self._runtime.locate(to)
        name = where.name if isinstance(where, Atom) else ""
        return client_span(tracer, TracedCall("gen", self._runtime.name, node, name))

    def _traced(self, span: SafeSpan, to: Any, tag: ImproperList) -> ImproperList:
        """The tag of a call, with the headers of its span if the node takes them."""
        if self.propagation is None or not self.propagation.takes_headers(self._runtime.locate(to)[0]):
            return tag
        headers = span.headers()
        return traced_tag(headers, tag) if headers else tag

    async def _learn(self, to: Any) -> None:
        """Ask the node of a callee whether it takes headers, unless that is known."""
        if self.propagation is not None and not isinstance(to, Global | Via):
            node = self._runtime.locate(to)[0]
            if not self.propagation.is_known(node):
                await self.propagation.learn(node)

    def _send_to_name(
        self,
        to: GlobalOrVia,
        request: Any,
        label: Atom,
        process: Process | None,
        asking: asyncio.Task[Any] | None,
    ) -> Request[Any]:
        """``asking`` is the task that waits for the reply, if any."""
        self._runtime.check_loop()
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
        """Send a request and wait for the reply (``gen:call/4``); raises :class:`CallTimeout` after
        ``timeout`` seconds, None waits for ever.

        ``function`` is the ``{Module, Function, Arguments}`` in the exit reason of the call's errors, by
        default that of ``gen_server:call/3``.
        """
        try:
            asking = asyncio.current_task()
            if isinstance(to, Global | Via):
                pending = self._send_to_name(to, request, label, process, asking)
            else:
                self._not_itself(to, asking)
                if self.propagation is not None and label == GEN_CALL:
                    await self._learn(to)
                pending = self.send_request(to, request, label=label, process=process)
            return await pending.receive_response(timeout)
        except NodeError as error:
            if function is None:
                function = (_GEN_SERVER, _CALL, [ref_term(to), request, milliseconds(timeout)])
            exits_call(error, function)
            raise

    def _not_itself(self, to: Any, asking: asyncio.Task[Any] | None) -> None:
        """Raise :class:`CallingSelf` if the task that calls is the one that would reply."""
        node, where = self._runtime.locate(to)
        target = self._runtime.resolve(where) if node == self._runtime.name else None
        if target is not None and target.is_run_by(asking):
            raise CallingSelf(target)

    def down_error(self, to: Any, reason: Any) -> QuicDistError:
        """The error of a call to ``to``, which has ended with ``reason``."""
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
    """A local name as ``(name, node)``, so that the monitor reports a name that is not registered."""
    return (to, runtime.name) if isinstance(to, str | Atom) else to
