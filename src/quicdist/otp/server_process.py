"""The process of a :class:`GenServer`: its loop, without a task while nothing waits."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from quicdist.containment import contained, dispose
from quicdist.logs import get_logger
from quicdist.node.errors import NameRegistered, ProcessEnded, ProcessExit
from quicdist.node.exit_reason import CLASS_EXIT, NORMAL, exit_reason, is_shutdown
from quicdist.node.process import Process, ProcessState
from quicdist.node.runtime import Runtime
from quicdist.otp import system
from quicdist.otp.clauses import NO_CLAUSE, with_clauses
from quicdist.otp.errors import FunctionClause
from quicdist.otp.gen import GEN_CALL, GEN_CAST, SYSTEM, From, is_from
from quicdist.otp.gen import reply as gen_reply
from quicdist.otp.gen_server import (
    IGNORE,
    NO_REPLY,
    TIMEOUT,
    Continue,
    GenServer,
    NoReply,
    Reply,
    Stop,
    Then,
    reported_state,
)
from quicdist.otp.server_names import LookedUp, own_and_looked_up
from quicdist.term import Atom, Pid
from quicdist.term.names import Name

log = get_logger("quicdist.otp")

_EXIT = Atom("EXIT")
_CONTINUE = Atom("continue")
_FAILED = object()
_BAD_RETURN_VALUE = Atom("bad_return_value")


class Phase(enum.Enum):
    """Where a server is between its start and its end."""

    STARTING = enum.auto()
    SERVING = enum.auto()
    #: ``terminate`` has been called, or is not to be.
    OVER = enum.auto()


class ServerProcess(Process):
    """Runs a :class:`GenServer`. ``parent`` is who started and linked it.

    One callback runs at a time. Until ``init`` is over, and while a coroutine of the server is
    awaited, its messages wait in the mailbox, where it can receive them itself. An exit signal that
    is not trapped cancels that coroutine and then has ``terminate`` called, as OTP does for a server
    that traps exits. After ``kill`` it is called too, when everybody has been told of the end: what
    the server holds open has to be closed.
    """

    __slots__ = (
        "_busy",
        "_clauses",
        "_held",
        "_last",
        "_ready",
        "_timer",
        "ignored",
        "phase",
        "server",
        "state_at_failure",
        "suspended",
    )

    ends_while_connected = True
    _runtime: Runtime

    def __init__(self, runtime: Runtime, pid: Pid, server: GenServer) -> None:
        super().__init__(runtime, pid)
        self.server = server
        #: Whether ``sys:suspend`` holds it.
        self.suspended = False
        #: Whether ``init`` asked to be ignored.
        self.ignored = False
        #: Until it takes its first message: what comes before waits.
        self._busy = True
        #: The callbacks that can tell of a missing case, by name.
        self._clauses = with_clauses(type(server))
        self._held: deque[Any] = deque()
        #: The message that was handled last.
        self._last: Any = None
        #: What ``get_state`` gave when the server failed, before ``terminate`` was called.
        self.state_at_failure: Any = None
        self._timer: asyncio.TimerHandle | None = None
        self.phase = Phase.STARTING
        #: Where ``init`` waits for something: done when it is, with what it has raised.
        self._ready: asyncio.Future[Exception | None] | None = None
        self.is_otp_process = True
        server.process = self

    @property
    def is_supervisor(self) -> bool:
        return self.server.supervises

    # -- starting --------------------------------------------------------------------------------

    def begin(self, name: LookedUp | None = None) -> None:
        """Register ``name``, if one is given, and run ``init``; messages that come meanwhile wait.
        Raises what a plain ``init`` raises, :class:`ProcessEnded` where that is no ``Exception``,
        after the process has ended with it."""
        try:
            result = self.server.init() if name is None else self._init_named(name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._not_started(error) from error
        if isinstance(result, Awaitable) and self.state is ProcessState.RUNNING:
            self._ready = asyncio.get_running_loop().create_future()
            self.run_code(result, partial(self._runtime.submit, self._init_awaited))
        elif (failed := self._initialised(result)) is not None:
            raise failed

    async def _init_named(self, name: LookedUp) -> Any:
        names = self.node.services.names
        await names.register(name, self.pid)
        result: Any = _FAILED
        try:
            result = self.server.init()
            if isinstance(result, Awaitable):
                result = await result
        finally:
            if result is IGNORE or result is _FAILED or isinstance(result, Stop):
                await names.unregister(name)
        return result

    async def ready(self) -> bool:
        """Wait for ``init``: False if it asked to be ignored. Raises what ``init`` raised, as
        :meth:`begin` does."""
        if self._ready is not None and (error := await asyncio.shield(self._ready)) is not None:
            raise error
        return not self.ignored

    def _init_awaited(self, result: Any, error: BaseException | None) -> None:
        if self.state is ProcessState.EXITING:
            self._runtime.terminate(self, self.exit_reason)
        elif self.alive:
            if error is None:
                self._initialised(result)
            else:
                self._not_started(error)

    def _tell_starter(self, failed: Exception | None) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(failed)

    def _initialised(self, result: Any) -> Exception | None:
        """Go on from what ``init`` returned; what to raise to who starts the server, if it is over."""
        if not self.alive:  # ended by init itself
            dispose(result)
            return ProcessEnded(repr(self), self.exit_reason)
        if isinstance(result, Stop):
            return self._not_started(ProcessExit(result.reason))
        if isinstance(result, Reply):
            return self._not_started(ProcessExit((_BAD_RETURN_VALUE, repr(result))))
        self.ignored = result is IGNORE
        self._tell_starter(None)
        if self.ignored:
            self._runtime.terminate(self, NORMAL)
        else:
            self.phase = Phase.SERVING
            self._runtime.submit(self._serve, result)
        return None

    def _not_started(self, error: BaseException) -> Exception:
        """End with what ``init`` raised; what to raise for it to who starts the server."""
        failed = error if isinstance(error, Exception) else ProcessEnded(repr(self), exit_reason(error))
        self._tell_starter(failed)
        if isinstance(error, NameRegistered):
            log.error("%r was not started: %s", self, error)
            self._runtime.terminate(self, NORMAL)
        else:
            self._runtime.crashed(self, error)
        return failed

    def _serve(self, result: Any) -> None:
        """Take messages from now on, after what ``init`` asked for."""
        self._busy = False
        self._go_on(None, None, None, result, None)

    # -- messages ----------------------------------------------------------------------------------

    def handle(self, message: Any) -> None:
        if self._busy or self.task is not None:
            self.mailbox.put(message)
            if self.server.supervises and _sorted(message)[:2] == (_EXIT, self.parent):
                self._call_off_starts(message[2])
            return
        if self._take(message):
            self._next()

    def handle_priority(self, message: Any) -> None:
        if self._busy or self.task is not None:
            self.mailbox.put(message, priority=True)
        else:
            self.handle(message)

    def _call_off_starts(self, reason: Any) -> None:
        """The parent of this supervisor ends it while it waits for a child to start: nobody needs the
        child any more, and its ``init`` may take for ever."""
        for process in self._runtime.processes():
            if process.parent != self.pid or not isinstance(process, ServerProcess):
                continue
            if process.phase is Phase.STARTING:
                if process.is_supervisor:
                    self._runtime.links.exit_received(self.pid, process.pid, reason)
                else:
                    self._runtime.exit(process, reason)

    def _next(self) -> None:
        """Go on with what came while a coroutine was awaited."""
        while super().message_queue_len and self.task is None and self.state is ProcessState.RUNNING:
            self._take(self.mailbox.take())

    def _take(self, message: Any) -> bool:
        """Act on a message; whether others may wait now that it has been."""
        kind, sender, request = _sorted(message)
        try:
            if kind is SYSTEM:
                self._carry_on(system.handle(self, sender, request), None)
                return True
            if self.suspended and not (kind is _EXIT and sender == self.parent):
                self._held.append(message)
                return False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._last = message
            if kind is GEN_CALL:
                result = self._call("handle_call", self.server.handle_call, request, sender)
                self._carry_on(result, sender, "handle_call", request)
            elif kind is GEN_CAST:
                result = self._call("handle_cast", self.server.handle_cast, request)
                self._carry_on(result, None, "handle_cast", request)
            elif kind is _EXIT and sender == self.parent:
                self.end(request)
            else:
                result = self._call("handle_info", self.server.handle_info, message)
                self._carry_on(result, None, "handle_info", message)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._failed(error)
        return False

    def _call(self, name: str, callback: Callable[..., Any], *args: Any) -> Any:
        """Call a callback so that it can tell of a missing case."""
        known = self._clauses.get(name)
        if known is not None and getattr(callback, "__func__", None) is known[0]:
            return known[1](self.server, *args)
        return callback(*args)

    @property
    def last_message(self) -> Any:
        """The message that was handled last; of a call, what was asked."""
        kind, _, request = _sorted(self._last)
        return request if kind is GEN_CALL else self._last

    @property
    def client(self) -> Pid | None:
        """Who asked, where that was a call."""
        kind, sender, _ = _sorted(self._last)
        return sender[0] if kind is GEN_CALL else None

    @property
    def message_queue_len(self) -> int:
        return len(self._held) + super().message_queue_len

    @property
    def messages(self) -> list[Any]:
        return [*self._held, *super().messages]

    def resume(self) -> None:
        """Take up the messages that came while it was suspended."""
        self.suspended = False
        held, self._held = self._held, deque()
        self.mailbox.put_first(held)

    # -- what callbacks return -----------------------------------------------------------------------

    def _carry_on(
        self,
        result: Any,
        sender: From | None,
        callback: str | None = None,
        argument: Any = None,
    ) -> None:
        """Do what the result of ``callback``, called with ``argument``, asks for, until there is
        something to wait for. ``sender`` is who gets a reply."""
        while True:
            if self.state is not ProcessState.RUNNING:  # ended by the callback itself
                dispose(result)
                return
            if isinstance(result, Awaitable):
                awaited = partial(self._runtime.submit, self._go_on, sender, callback, argument)
                self.run_code(result, awaited)
                return
            if result is NO_CLAUSE and callback is not None:
                if callback != "handle_info":
                    raise FunctionClause(self.server, callback, argument)
                result = GenServer.handle_info(self.server, argument)
            then: Then = None
            if isinstance(result, Reply | NoReply | Stop):
                if isinstance(result, Stop):
                    self.end(result.reason, sender, result.reply)
                    return
                then = result.then
                if isinstance(result, Reply):
                    if sender is None:
                        raise ProcessExit((_BAD_RETURN_VALUE, repr(result)))
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

    def _go_on(
        self,
        sender: From | None,
        callback: str | None,
        argument: Any,
        value: Any,
        error: BaseException | None,
    ) -> None:
        """What was awaited has come to its end."""
        if self.state is ProcessState.EXITING:
            self._finish(self.exit_reason, None, NO_REPLY, None, by_signal=True)
        elif self.state is ProcessState.ENDED:
            self._clean_up()
        elif error is not None:
            self._failed(error)
        else:
            try:
                self._carry_on(value, sender, callback, argument)
            except KeyboardInterrupt:
                raise
            except BaseException as failed:
                self._failed(failed)
            self._next()

    def _time_out(self) -> None:
        self._timer = None
        self._runtime.deliver(self, TIMEOUT)

    # -- the end -----------------------------------------------------------------------------------

    def exit_begins(self, reason: Any) -> None:
        self.state = ProcessState.EXITING
        self.exit_reason = reason
        if self.task is not None:
            self.task.cancel()  # and go on from there
        elif self.phase is Phase.SERVING:
            self._finish(reason, None, NO_REPLY, None, by_signal=True)
        else:
            self._runtime.terminate(self, reason)

    def end(self, reason: Any, sender: From | None = None, answer: Any = NO_REPLY) -> None:
        """Call ``terminate``, answer the last call and end with ``reason``."""
        self._finish(reason, sender, answer, None)

    def _failed(self, error: BaseException) -> None:
        self._finish(exit_reason(error), None, NO_REPLY, error)

    def _finish(
        self,
        reason: Any,
        sender: From | None,
        answer: Any,
        error: BaseException | None,
        *,
        by_signal: bool = False,
    ) -> None:
        if self.phase is not Phase.SERVING:
            return
        self.phase = Phase.OVER
        # From here on only ``kill`` is more than what ends it already.
        self.state = ProcessState.EXITING
        self.exit_reason = reason
        if error is not None or not (by_signal or is_shutdown(reason)):
            self.state_at_failure = reported_state(self.server)

        def over(_: Any, failed: BaseException | None) -> None:
            if failed is None:
                self._over(reason, sender, answer, error, by_signal)
            else:
                self._over(exit_reason(failed), sender, answer, failed, False)

        try:
            result = self.server.terminate(reason)
        except KeyboardInterrupt:
            raise
        except BaseException as failed:
            over(None, failed)
            return
        if isinstance(result, Awaitable) and self.alive:
            self.run_code(result, over)
        else:
            over(None, None)

    def _over(
        self, reason: Any, sender: From | None, answer: Any, error: BaseException | None, by_signal: bool
    ) -> None:
        if not self.alive:
            return
        if sender is not None and not isinstance(answer, NoReply):
            try:
                gen_reply(self, sender, answer)
            except KeyboardInterrupt:
                raise
            except BaseException as failed:  # such as a reply that Erlang has no term for
                reason, error = exit_reason(failed), failed
        if error is not None:
            self._runtime.crashed(self, error)
            return
        if not by_signal:
            self._runtime.reporter.process_crashed(self, (CLASS_EXIT, reason), None)
        self._runtime.terminate(self, reason)

    def ended(self) -> None:
        super().ended()
        if self.task is None:
            self._clean_up()
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._tell_starter(ProcessEnded(repr(self), self.exit_reason))

    def _clean_up(self) -> None:
        """Call ``terminate`` for a server that has ended: it was killed, or ended itself at once."""
        if self.phase is not Phase.SERVING:
            return
        self.phase = Phase.OVER
        result = contained(log, f"terminate of {self!r}", self.server.terminate, self.exit_reason)
        if isinstance(result, Awaitable):
            self.run_code(result, self._cleaned_up)

    def _cleaned_up(self, _: Any, error: BaseException | None) -> None:
        if error is not None and not isinstance(error, asyncio.CancelledError):
            log.error("terminate of %r failed", self, exc_info=error)


def _sorted(message: Any) -> tuple[Atom | None, Any, Any]:
    """The kind of a message, who sent it and what it asks for; None for one that is no call, cast,
    system message or exit signal."""
    if isinstance(message, tuple):
        if len(message) == 3:
            label, sender, request = message
            for kind in (GEN_CALL, SYSTEM):
                if label == kind and is_from(sender):
                    return kind, sender, request
            if label == _EXIT and isinstance(sender, Pid):
                return _EXIT, sender, request
        elif len(message) == 2 and message[0] == GEN_CAST:
            return GEN_CAST, None, message[1]
    return None, None, None


def start(
    runtime: Runtime,
    server: GenServer,
    *,
    name: Name | LookedUp | None = None,
    link_to: Process | Pid | None = None,
    group_leader: Pid | None = None,
) -> ServerProcess:
    """Start a server as a process of its own (``gen_server:start/4``), linked to the process that
    counts as its parent where one is given (``start_link/4``). ``init`` may be under way yet, and
    so may be the registration of a name that others keep: where that is taken, it ends at once."""
    own, looked_up = own_and_looked_up(name)
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
