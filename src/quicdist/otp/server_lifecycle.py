"""The life of a server's process: ``init``, ``terminate``, and the phases in between.

OTP: ``gen_server(3)``, ``sys(3)``.
"""

from __future__ import annotations

import asyncio
import enum
from abc import abstractmethod
from collections.abc import Awaitable
from functools import partial
from typing import Any

from quicdist.containment import contained, dispose
from quicdist.logs import get_logger
from quicdist.node.errors import NameRegistered, ProcessEnded, ProcessExit
from quicdist.node.exit_reason import CLASS_EXIT, NORMAL, exit_reason, is_shutdown
from quicdist.node.process import Process
from quicdist.node.process_lifecycle import ProcessState
from quicdist.node.reports import ancestors
from quicdist.node.runtime import Runtime
from quicdist.otp.behaviour import Behaviour, reported_state
from quicdist.otp.debug_options import OUT, DebugOptions
from quicdist.otp.gen_messages import From
from quicdist.otp.gen_messages import reply as gen_reply
from quicdist.otp.gen_server import IGNORE, NO_REPLY, NoReply, Reply, Stop
from quicdist.otp.server_names import GlobalOrVia
from quicdist.term import Atom, Pid, charlist

log = get_logger("quicdist.otp")

BAD_RETURN_VALUE = Atom("bad_return_value")
_INIT, _INITIAL_CALL, _ANCESTORS = Atom("init"), Atom("$initial_call"), Atom("$ancestors")
#: In place of what ``init`` returns, while it has not returned.
_NOT_RETURNED = object()


class ServerPhase(enum.Enum):
    """The phases of a server; :data:`TRANSITIONS` has the phases that may follow each.

    It is not :class:`~quicdist.node.process.ProcessState`: a killed process has ended at once, and its
    server still has ``terminate`` to run.
    """

    #: ``init`` runs. Messages wait.
    STARTING = enum.auto()
    #: ``init`` has returned. Messages wait until the signals before are handled.
    INITIALISED = enum.auto()
    RUNNING = enum.auto()
    #: ``sys:suspend``: only system messages and the exit of the parent are handled.
    SUSPENDED = enum.auto()
    #: ``terminate`` runs.
    TERMINATING = enum.auto()
    ENDED = enum.auto()

    def can_become(self, phase: ServerPhase) -> bool:
        return phase in TRANSITIONS[self]


TRANSITIONS = {
    ServerPhase.STARTING: {ServerPhase.INITIALISED, ServerPhase.ENDED},
    ServerPhase.INITIALISED: {ServerPhase.RUNNING, ServerPhase.TERMINATING},
    ServerPhase.RUNNING: {ServerPhase.SUSPENDED, ServerPhase.TERMINATING},
    ServerPhase.SUSPENDED: {ServerPhase.RUNNING, ServerPhase.TERMINATING},
    ServerPhase.TERMINATING: {ServerPhase.ENDED},
    ServerPhase.ENDED: set(),
}


class ServerLifecycle(Process):
    """Starts and ends a server of any :class:`~quicdist.otp.behaviour.Behaviour`. ``parent`` started it and
    is linked to it.

    An exit signal that is not trapped cancels the coroutine that runs, and then ``terminate`` is called, as
    OTP does for a server that traps exits. After ``kill``, ``terminate`` is called too, when links and
    monitors have fired: the server has to release its resources.
    """

    __slots__ = ("_ready", "debug", "ignored", "phase", "server", "state_at_failure")

    runtime: Runtime
    server: Behaviour

    ends_while_connected = True

    def __init__(self, runtime: Runtime, pid: Pid, server: Behaviour) -> None:
        super().__init__(runtime, pid)
        self.server = server
        self.phase = ServerPhase.STARTING
        #: Whether ``init`` returned ``IGNORE``.
        self.ignored = False
        #: What ``get_state`` gave when the server failed, before ``terminate`` was called.
        self.state_at_failure: Any = None
        #: The debug options that are on.
        self.debug: DebugOptions | None = None
        #: Of an ``init`` that is a coroutine: done with None when the server is initialised, else with
        #: the error.
        self._ready: asyncio.Future[Exception | None] | None = None
        self.is_otp_process = True
        server.process = self

    def become(self, phase: ServerPhase) -> None:
        """Go to another phase."""
        if not self.phase.can_become(phase):
            raise RuntimeError(f"{self!r} cannot go from {self.phase.name} to {phase.name}")
        self.phase = phase

    @property
    def logged_events(self) -> list[Any]:
        """The events that the debug option ``log`` has kept, oldest first."""
        return [] if self.debug is None else self.debug.events

    @property
    def is_supervisor(self) -> bool:
        return self.server.supervises

    # -- what proc_lib knows of it -----------------------------------------------------------------

    @property
    def initial_call(self) -> tuple[Any, ...]:
        """``{Module, init, 1}``; the module is the server's class."""
        kind = type(self.server)
        return (Atom(f"{kind.__module__}.{kind.__qualname__}"[:255]), _INIT, 1)

    @property
    def dictionary(self) -> list[tuple[Any, Any]]:
        """The process dictionary, with what ``proc_lib`` puts there."""
        return [(_INITIAL_CALL, self.initial_call), (_ANCESTORS, ancestors(self, self.runtime.find))]

    # -- starting ----------------------------------------------------------------------------------

    def begin(self, name: GlobalOrVia | None = None) -> None:
        """Register ``name``, if it is not None, and run ``init``; messages that come meanwhile wait.

        Raises what a plain ``init`` raises, :class:`ProcessEnded` where that is no ``Exception``, after
        the process has ended with it. What a coroutine ``init`` raises is raised by :meth:`ready`.
        """
        try:
            result = self.server.init() if name is None else self._init_named(name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise self._init_failed(error) from error
        if isinstance(result, Awaitable) and self.state is ProcessState.RUNNING:
            self._ready = asyncio.get_running_loop().create_future()
            self.run_code(result, partial(self.runtime.submit, self._init_awaited))
        elif (failed := self._init_returned(result)) is not None:
            raise failed

    async def _init_named(self, name: GlobalOrVia) -> Any:
        names = self.node._services.names
        await names.register(name, self.pid)
        result: Any = _NOT_RETURNED
        try:
            result = self.server.init()
            if isinstance(result, Awaitable):
                result = await result
        finally:
            if result is IGNORE or result is _NOT_RETURNED or isinstance(result, Stop):
                await names.unregister(name)
        return result

    async def ready(self) -> bool:
        """Wait for ``init``; False if it returned ``IGNORE``. Raises what ``init`` raised, as
        :meth:`begin` does."""
        if self._ready is not None and (error := await asyncio.shield(self._ready)) is not None:
            raise error
        return not self.ignored

    def _init_awaited(self, result: Any, error: BaseException | None) -> None:
        if self.state is ProcessState.EXITING:
            self.runtime.terminate(self, self.exit_reason)
        elif self.alive:
            if error is None:
                self._init_returned(result)
            else:
                self._init_failed(error)

    def _init_returned(self, result: Any) -> Exception | None:
        """Continue with what ``init`` returned; the error for the starter, if the server has ended."""
        if not self.alive:  # ended by init itself
            dispose(result)
            return ProcessEnded(repr(self), self.exit_reason)
        if isinstance(result, Stop):
            return self._init_failed(ProcessExit(result.reason))
        if (bad := self.bad_return(result)) is not None:
            return self._init_failed(ProcessExit(bad))
        self.ignored = result is IGNORE
        self._tell_starter(None)
        if self.ignored:
            self.runtime.terminate(self, NORMAL)
        else:
            self.become(ServerPhase.INITIALISED)
            self.runtime.submit(self.enter_loop, result)
        return None

    def bad_return(self, result: Any) -> Any:
        """The exit reason if ``init`` may not return ``result``, else None."""
        return (BAD_RETURN_VALUE, repr(result)) if isinstance(result, Reply) else None

    def _init_failed(self, error: BaseException) -> Exception:
        """End with what ``init`` raised; the error for the starter."""
        failed = error if isinstance(error, Exception) else ProcessEnded(repr(self), exit_reason(error))
        self._tell_starter(failed)
        if isinstance(error, NameRegistered):
            log.error("%r was not started: %s", self, error)
            self.runtime.terminate(self, NORMAL)
        else:
            self.runtime.crashed(self, error)
        return failed

    def _tell_starter(self, failed: Exception | None) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(failed)

    @abstractmethod
    def enter_loop(self, result: Any) -> None:
        """Handle messages from now on, after what ``init`` returned asks for."""

    # -- sys ---------------------------------------------------------------------------------------

    #: What ``sys:get_status`` calls it.
    status_kind = "generic server"

    def status_facts(self, status: Atom, parent: Pid) -> list[tuple[str, Any]]:
        """What ``sys:get_status`` shows before the state."""
        return [("Status", status), ("Parent", parent), ("Logged events", self.logged_events)]

    def status_state(self, shown: Any) -> tuple[Any, Any]:
        """The state, as ``sys:get_status`` shows it."""
        return (Atom("data"), [(charlist("State"), shown)])

    def suspend(self) -> None:
        """Handle system messages only (``sys:suspend/1``)."""
        if self.phase is not ServerPhase.SUSPENDED:
            self.become(ServerPhase.SUSPENDED)

    def resume(self) -> None:
        """Handle all messages again (``sys:resume/1``)."""
        if self.phase is ServerPhase.SUSPENDED:
            self.become(ServerPhase.RUNNING)

    def state_replaced(self) -> None:
        """``replace_state`` of the server has been called."""

    def change_code(self, module: Any, version: Any, extra: Any) -> Any:
        """Call ``code_change`` for ``sys:change_code``."""
        return self.server.code_change(version, extra)

    def code_changed(self, result: Any) -> None:
        """``code_change`` has returned ``result``."""

    # -- ending ------------------------------------------------------------------------------------

    def exit_begins(self, reason: Any) -> None:
        self.state = ProcessState.EXITING
        self.exit_reason = reason
        if self.task is not None:
            self.task.cancel()  # code_cancelled() continues from there
        elif self.phase is ServerPhase.STARTING:
            self.runtime.terminate(self, reason)
        else:
            self.terminate(reason, by_signal=True)

    def code_cancelled(self) -> None:
        """The coroutine that ran when the process was ended has come to its end."""
        if self.state is ProcessState.EXITING:
            self.terminate(self.exit_reason, by_signal=True)
        else:
            self._terminate_killed()

    def fail(self, error: BaseException) -> None:
        """End with what a callback raised."""
        self.terminate(exit_reason(error), error=error)

    def terminate(
        self,
        reason: Any,
        sender: From | None = None,
        answer: Any = NO_REPLY,
        error: BaseException | None = None,
        *,
        by_signal: bool = False,
    ) -> None:
        """Call ``terminate``, answer the call of ``sender``, and end with ``reason``. ``error`` is what
        the server has failed with."""
        if not self.phase.can_become(ServerPhase.TERMINATING):
            return
        self.become(ServerPhase.TERMINATING)
        # Further exit signals are ignored, except ``kill``.
        self.state = ProcessState.EXITING
        self.exit_reason = reason
        if error is not None or not (by_signal or is_shutdown(reason)):
            self.state_at_failure = reported_state(self.server)

        def terminated(_: Any, failed: BaseException | None) -> None:
            if failed is None:
                self._terminated(reason, sender, answer, error, by_signal)
            else:
                self._terminated(exit_reason(failed), sender, answer, failed, False)

        try:
            result = self.server.terminate(reason)
        except KeyboardInterrupt:
            raise
        except BaseException as failed:
            terminated(None, failed)
            return
        if isinstance(result, Awaitable) and self.alive:
            self.run_code(result, terminated)
        else:
            terminated(None, None)

    def _terminated(
        self, reason: Any, sender: From | None, answer: Any, error: BaseException | None, by_signal: bool
    ) -> None:
        if not self.alive:
            return
        if sender is not None and not isinstance(answer, NoReply):
            try:
                gen_reply(self, sender, answer)
                if self.debug is not None:
                    self.debug.event_with_state(self.server, OUT, answer, sender)
            except KeyboardInterrupt:
                raise
            except BaseException as failed:  # such as a reply that cannot be encoded
                reason, error = exit_reason(failed), failed
        if error is not None:
            self.runtime.crashed(self, error)
            return
        if not by_signal:
            self.runtime.report_crash(self, (CLASS_EXIT, reason))
        self.runtime.terminate(self, reason)

    def ended(self) -> None:
        super().ended()
        if self.debug is not None:
            self.debug.clear()
            self.debug = None
        if self.phase.can_become(ServerPhase.ENDED):
            self.become(ServerPhase.ENDED)
        elif self.task is None:
            self._terminate_killed()
        self._tell_starter(ProcessEnded(repr(self), self.exit_reason))

    def _terminate_killed(self) -> None:
        """Call ``terminate`` of a server whose process has ended: it was killed, or ended itself."""
        if not self.phase.can_become(ServerPhase.TERMINATING):
            return
        self.become(ServerPhase.TERMINATING)
        result = contained(log, f"terminate of {self!r}", self.server.terminate, self.exit_reason)
        if isinstance(result, Awaitable):
            self.run_code(result, self._killed_terminated)
        else:
            self.become(ServerPhase.ENDED)

    def _killed_terminated(self, _: Any, error: BaseException | None) -> None:
        self.become(ServerPhase.ENDED)
        if error is not None and not isinstance(error, asyncio.CancelledError):
            log.error("terminate of %r failed", self, exc_info=error)
