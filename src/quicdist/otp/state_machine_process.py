"""The process of a :class:`GenStatem`: gives events to the engine, and calls what the engine asks for.

OTP: ``gen_statem(3)``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from quicdist.containment import dispose
from quicdist.node.exit_reason import exit_reason
from quicdist.node.process_lifecycle import ProcessState
from quicdist.node.runtime import Runtime
from quicdist.otp.errors import function_clause
from quicdist.otp.function_clause import NO_CLAUSE
from quicdist.otp.gen_messages import GEN_CALL, GEN_CAST, From
from quicdist.otp.gen_messages import reply as gen_reply
from quicdist.otp.gen_server import IGNORE, NoReply, Stop
from quicdist.otp.gen_statem import Event, GenStatem, NextState
from quicdist.otp.server_lifecycle import BAD_RETURN_VALUE
from quicdist.otp.server_loop import ServerLoop
from quicdist.otp.state_engine import StateEngine, bad_return
from quicdist.term import Atom, Pid, Reference
from quicdist.term.shorten import shorten

_TIMEOUT = Atom("timeout")
_ENTER, _TERMINATE = Atom("enter"), Atom("terminate")
_BAD_RETURN_FROM_INIT = Atom("bad_return_from_init")
#: Events handled without a break. A machine that inserts events for ever must not stop the event loop.
MAX_EVENTS: Final = 1000


class StateMachineProcess(ServerLoop):
    """Runs a :class:`GenStatem`: one callback at a time."""

    __slots__ = ("engine",)

    server: GenStatem
    status_kind = "state machine"

    def __init__(self, runtime: Runtime, pid: Pid, server: GenStatem) -> None:
        super().__init__(runtime, pid, server)
        self.engine = StateEngine(
            state_enter=server.state_enter,
            reply=self._send_reply,
            start_timer=lambda seconds, kind: runtime.start_timer(seconds, self, kind, tagged=True),
            cancel_timer=lambda reference: runtime.cancel_timer(reference) is not None,
        )

    def _send_reply(self, sender: From, value: Any) -> None:
        gen_reply(self, sender, value)

    # -- starting ----------------------------------------------------------------------------------

    def bad_return(self, result: Any) -> Any:
        if result is IGNORE or isinstance(result, NextState | Stop):
            return None
        return (_BAD_RETURN_FROM_INIT, repr(result))

    def entered(self, result: Any) -> None:
        self._observe()
        self.engine.begin(result.state, result.actions)
        self._run()

    # -- debug options -----------------------------------------------------------------------------

    def _observe(self) -> None:
        self.engine.observe = None if self.debug is None else self._debug_event

    def _debug_event(self, kind: Atom, *event: Any) -> None:
        if self.debug is not None:
            if kind == _ENTER:
                event = (self.initial_call[0], *event[1:])
            self.debug.event(kind, *event)

    # -- events ------------------------------------------------------------------------------------

    def handle_message(self, kind: Atom | None, sender: Any, request: Any, message: Any) -> None:
        engine = self.engine
        self._observe()
        if kind is GEN_CALL:
            engine.received(Event("call", request, sender))
        elif kind is GEN_CAST:
            engine.received(Event("cast", request))
        elif not self._is_timer(message) or not engine.timed_out(message[1]):
            engine.received(Event("info", message))
        self._run()

    def _is_timer(self, message: Any) -> bool:
        return (
            isinstance(message, tuple)
            and len(message) == 3
            and message[0] is _TIMEOUT
            and isinstance(message[1], Reference)
        )

    def _run(self) -> None:
        """Handle events until something has to be awaited, or there are none."""
        engine, server = self.engine, self.server
        for _ in range(MAX_EVENTS):
            server._state = engine.state
            event = engine.due
            if event is None:
                return
            result = self._call(event)
            if isinstance(result, Awaitable) and self.state is ProcessState.RUNNING:
                self.await_code(result, self._returned)
                return
            if not self._handled(result):
                return
        self.await_code(asyncio.sleep(0), lambda _: self._run())

    def _call(self, event: Event) -> Any:
        server = self.server
        state = self.engine.state
        name = server.state_functions.get(state) if isinstance(state, Atom) else None
        if name is None:
            name = "handle_event"
        return self.call_back(name, getattr(server, name), event)

    def _returned(self, result: Any) -> None:
        if self._handled(result):
            self._run()

    def _handled(self, result: Any) -> bool:
        """Do what a callback has returned; whether the machine goes on."""
        engine = self.engine
        event = engine.due
        assert event is not None
        if self.state is not ProcessState.RUNNING:  # ended by the callback itself
            dispose(result)
            return False
        if result is NO_CLAUSE:
            name = self.server.state_functions.get(engine.state, "handle_event")
            raise function_clause(self.server, name, event.type_term(), event.content)
        if not isinstance(result, Stop):
            engine.returned(result)
            return True
        if not isinstance(result.reply, NoReply):
            engine.answer(result)
        if self.debug is not None:
            self.debug.event(_TERMINATE, result.reason, engine.state)
        self.terminate(result.reason)
        return False

    def fail(self, error: BaseException) -> None:
        self.engine.failed()
        self.server._state = self.engine.state
        if self.debug is not None:
            self.debug.event(_TERMINATE, exit_reason(error), self.engine.state)
        super().fail(error)

    # -- reports -----------------------------------------------------------------------------------

    @property
    def last_message(self) -> Any:
        event = self.engine.queue[0]
        return event.content if event.type == "call" else event.to_term()

    @property
    def client(self) -> Pid | None:
        event = self.engine.queue[0]
        return event.sender[0] if event.type == "call" and event.sender is not None else None

    @property
    def callback_mode(self) -> Atom:
        """``state_functions`` or ``handle_event_function``."""
        return Atom("state_functions" if self.server.state_functions else "handle_event_function")

    def timeouts_term(self) -> tuple[int, list[Any]]:
        """The number of active time-outs, and their events."""
        timeouts = [event.to_term() for event in self.engine.active_timeouts]
        return (len(timeouts), timeouts)

    def postponed_terms(self) -> list[Any]:
        """The postponed events, the newest first."""
        return [event.to_term() for event in reversed(self.engine.postponed)]

    def report_facts(self) -> dict[str, Any]:
        """What a crash report has of a state machine only; the terms are cut to a bounded size."""
        return {
            "queue": shorten([event.to_term() for event in self.engine.queue]),
            "postponed": shorten(self.postponed_terms()),
            "timeouts": shorten(self.timeouts_term()),
            "callback_mode": self.callback_mode,
            "state_enter": self.server.state_enter,
        }

    # -- sys ---------------------------------------------------------------------------------------

    def status_facts(self, status: Atom, parent: Pid) -> list[tuple[str, Any]]:
        return [
            ("Status", status),
            ("Parent", parent),
            ("Modules", [self.initial_call[0]]),
            ("Time-outs", self.timeouts_term()),
            ("Logged Events", self.logged_events),
            ("Postponed", self.postponed_terms()),
        ]

    def code_changed(self, result: Any) -> None:
        if isinstance(result, NextState):
            self.engine.state = self.server._state = result.state
        elif result is not None:
            raise bad_return(BAD_RETURN_VALUE, result)

    def state_replaced(self) -> None:
        self.engine.state = self.server._state
