"""The process of a :class:`GenServer`: hands messages to callbacks and does what they return.

OTP: ``gen_server(3)``. It has no task while nothing is awaited.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from quicdist.containment import dispose
from quicdist.node.errors import ProcessExit
from quicdist.node.exit_reason import EXIT
from quicdist.node.process import Process
from quicdist.node.process_lifecycle import ProcessState
from quicdist.node.runtime import Runtime
from quicdist.node.tracing import RETURNED, CallTracer, SafeSpan, TracedCall, server_span
from quicdist.otp import system_messages
from quicdist.otp.errors import function_clause
from quicdist.otp.function_clause import NO_CLAUSE, with_clauses
from quicdist.otp.gen_messages import GEN_CALL, GEN_CAST, SYSTEM, From, classify
from quicdist.otp.gen_messages import reply as gen_reply
from quicdist.otp.gen_server import TIMEOUT, Continue, GenServer, NoReply, Reply, Stop, Then
from quicdist.otp.server_lifecycle import BAD_RETURN_VALUE, ServerLifecycle, ServerPhase
from quicdist.otp.server_names import GlobalOrVia, split_server_name
from quicdist.otp.trace_propagation import of_tag
from quicdist.term import Atom, Pid
from quicdist.term.names import Name

_CONTINUE = Atom("continue")
_STARTING, _INITIALISED = ServerPhase.STARTING, ServerPhase.INITIALISED
_RUNNING, _SUSPENDED = ServerPhase.RUNNING, ServerPhase.SUSPENDED


class ServerProcess(ServerLifecycle):
    """Runs a :class:`GenServer`: one callback at a time.

    Until ``init`` has returned, and while a coroutine of the server is awaited, messages wait in the
    mailbox, where that coroutine can receive them.
    """

    __slots__ = ("_clauses", "_held", "_last", "_timer")

    def __init__(self, runtime: Runtime, pid: Pid, server: GenServer) -> None:
        super().__init__(runtime, pid, server)
        #: The callbacks that detect a missing case, by name.
        self._clauses = with_clauses(type(server))
        #: Messages that came while the server was suspended.
        self._held: deque[Any] = deque()
        #: The message that was handled last.
        self._last: Any = None
        self._timer: asyncio.TimerHandle | None = None

    def enter_loop(self, result: Any) -> None:
        if self.phase is _INITIALISED:
            self.become(_RUNNING)
            self._code_ended(None, None, None, result, None)

    # -- messages ----------------------------------------------------------------------------------

    def handle(self, message: Any) -> None:
        if self.task is None and (self.phase is _RUNNING or self.phase is _SUSPENDED):
            if self._take(message):
                self._next()
            return
        self.mailbox.put(message)
        if self.server.supervises and classify(message)[:2] == (EXIT, self.parent):
            self._end_starting_children(message[2])

    def handle_priority(self, message: Any) -> None:
        if self.task is not None or self.phase is _STARTING or self.phase is _INITIALISED:
            self.mailbox.put(message, priority=True)
        else:
            self.handle(message)

    def _end_starting_children(self, reason: Any) -> None:
        """The parent ends this supervisor while it waits for a child to start: end that child, whose
        ``init`` may take for ever."""
        for process in self.runtime.processes():
            if process.parent != self.pid or not isinstance(process, ServerProcess):
                continue
            if process.phase is _STARTING:
                if process.is_supervisor:
                    self.runtime.links.exit_received(self.pid, process.pid, reason)
                else:
                    self.runtime.exit(process, reason)

    def _next(self) -> None:
        """Handle the messages that came while a coroutine was awaited."""
        while super().message_queue_len and self.task is None and self.state is ProcessState.RUNNING:
            self._take(self.mailbox.take())

    def _take(self, message: Any) -> bool:
        """Handle a message; whether messages may wait in the mailbox now."""
        kind, sender, request = classify(message)
        try:
            if kind is SYSTEM:
                self._carry_on(system_messages.handle(self, sender, request), None)
                return True
            if self.phase is _SUSPENDED and not (kind is EXIT and sender == self.parent):
                self._held.append(message)
                return False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._last = message
            if kind is GEN_CALL:
                if self.runtime.tracer is None:
                    result = self._call("handle_call", self.server.handle_call, request, sender)
                else:
                    result = self._traced_call(self.runtime.tracer, request, sender)
                self._carry_on(result, sender, "handle_call", request)
            elif kind is GEN_CAST:
                result = self._call("handle_cast", self.server.handle_cast, request)
                self._carry_on(result, None, "handle_cast", request)
            elif kind is EXIT and sender == self.parent:
                self.terminate(request)
            else:
                result = self._call("handle_info", self.server.handle_info, message)
                self._carry_on(result, None, "handle_info", message)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.fail(error)
        return False

    def _call(self, name: str, callback: Callable[..., Any], *args: Any) -> Any:
        """Call a callback, in the version that detects a missing case if there is one."""
        known = self._clauses.get(name)
        if known is not None and getattr(callback, "__func__", None) is known[0]:
            return known[1](self.server, *args)
        return callback(*args)

    def _traced_call(self, tracer: CallTracer, request: Any, sender: From) -> Any:
        """:meth:`_call` of ``handle_call`` in a span, which ends when the callback has returned."""
        call = TracedCall("gen", self.runtime.name, sender[0].node.name, self.name or "")
        span = server_span(tracer, call, of_tag(sender[1]))
        if span is None:
            return self._call("handle_call", self.server.handle_call, request, sender)
        try:
            with span.active():
                result = self._call("handle_call", self.server.handle_call, request, sender)
        except BaseException as error:
            span.end(type(error).__name__)
            raise
        if isinstance(result, Awaitable):
            return _in_span(result, span)
        span.end(RETURNED)
        return result

    @property
    def last_message(self) -> Any:
        """The message that was handled last; of a call, its request."""
        kind, _, request = classify(self._last)
        return request if kind is GEN_CALL else self._last

    @property
    def client(self) -> Pid | None:
        """The client of the last message, if that was a call."""
        kind, sender, _ = classify(self._last)
        return sender[0] if kind is GEN_CALL else None

    @property
    def message_queue_len(self) -> int:
        return len(self._held) + super().message_queue_len

    @property
    def messages(self) -> list[Any]:
        return [*self._held, *super().messages]

    def resume(self) -> None:
        super().resume()
        held, self._held = self._held, deque()
        self.mailbox.put_first(held)

    # -- what callbacks return ---------------------------------------------------------------------

    def _carry_on(
        self,
        result: Any,
        sender: From | None,
        callback: str | None = None,
        argument: Any = None,
    ) -> None:
        """Do what ``callback``, called with ``argument``, has returned, until something has to be
        awaited. ``sender`` is the client that gets the reply."""
        while True:
            if self.state is not ProcessState.RUNNING:  # ended by the callback itself
                dispose(result)
                return
            if isinstance(result, Awaitable):
                awaited = partial(self.runtime.submit, self._code_ended, sender, callback, argument)
                self.run_code(result, awaited)
                return
            if result is NO_CLAUSE and callback is not None:
                if callback != "handle_info":
                    raise function_clause(self.server, callback, argument)
                result = GenServer.handle_info(self.server, argument)
            then: Then = None
            if isinstance(result, Reply | NoReply | Stop):
                if isinstance(result, Stop):
                    self.terminate(result.reason, sender, result.reply)
                    return
                then = result.then
                if isinstance(result, Reply):
                    if sender is None:
                        raise ProcessExit((BAD_RETURN_VALUE, repr(result)))
                    gen_reply(self, sender, result.value)
            elif sender is not None:
                gen_reply(self, sender, result)
            if isinstance(then, Continue):
                callback, argument, sender = "handle_continue", then.argument, None
                self._last = (_CONTINUE, argument)
                result = self._call(callback, self.server.handle_continue, argument)
                continue
            if then is not None and not isinstance(then, Atom):
                self._timer = asyncio.get_running_loop().call_later(then, self._time_out)
            return

    def _code_ended(
        self,
        sender: From | None,
        callback: str | None,
        argument: Any,
        value: Any,
        error: BaseException | None,
    ) -> None:
        """The coroutine of a callback has ended."""
        if self.state is not ProcessState.RUNNING:
            self.code_cancelled()
        elif error is not None:
            self.fail(error)
        else:
            try:
                self._carry_on(value, sender, callback, argument)
            except KeyboardInterrupt:
                raise
            except BaseException as failed:
                self.fail(failed)
            self._next()

    def _time_out(self) -> None:
        self._timer = None
        self.runtime.deliver(self, TIMEOUT)

    def ended(self) -> None:
        super().ended()
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def _in_span(result: Awaitable[Any], span: SafeSpan) -> Any:
    """Await the coroutine of a callback in its span."""
    try:
        with span.active():
            value = await result
    except BaseException as error:
        span.end(type(error).__name__)
        raise
    finally:
        dispose(result)
    span.end(RETURNED)
    return value


def start(
    runtime: Runtime,
    server: GenServer,
    *,
    name: Name | GlobalOrVia | None = None,
    link_to: Process | Pid | None = None,
    group_leader: Pid | None = None,
) -> ServerProcess:
    """Start a server (``gen_server:start/4``), linked to ``link_to``, its parent, unless that is None
    (``start_link/4``). It does not wait for a coroutine ``init``, nor for a name that is registered
    elsewhere; a server whose name is taken ends at once."""
    own, looked_up = split_server_name(name)
    parent = link_to.pid if isinstance(link_to, Process) else link_to
    process = ServerProcess(runtime, runtime.identifiers.pid(), server)
    runtime.add(process, name=own)
    process.parent = parent
    if group_leader is not None:
        process.group_leader = group_leader
    elif isinstance(link_to, Process):
        process.group_leader = link_to.group_leader
    if parent is not None:
        runtime.link(process, parent)
    process.begin(looked_up)
    return process
