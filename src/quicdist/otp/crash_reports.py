"""Crash reports as OTP makes them, on this node and on the node of the group leader.

A BEAM reports a process on the node of its group leader too. So does this node: the crash of a process
that a BEAM has spawned here appears in the shell it was spawned from.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from quicdist.carrier import Link
from quicdist.logs import Lines, RateLimit
from quicdist.node.exit_reason import ERROR
from quicdist.node.process import Process
from quicdist.node.reports import Crash, CrashLog, log, mfa_text, named, shown
from quicdist.node.runtime import Runtime
from quicdist.otp.logger import LOGGER_PROXY, PYTHON_TEXT
from quicdist.otp.report_terms import (
    EventTerm,
    crash_event,
    emulator_event,
    handler_event,
    progress_event,
    server_event,
    state_machine_event,
    supervisor_event,
    text_event,
)
from quicdist.otp.server_lifecycle import ServerPhase
from quicdist.otp.server_loop import ServerLoop
from quicdist.otp.state_machine_process import StateMachineProcess
from quicdist.term import Atom
from quicdist.term.shorten import shorten

if TYPE_CHECKING:
    from quicdist.otp.child_spec import Child

#: Crashes that are reported to one other node within ``PERIOD`` seconds.
MAX_FORWARDED: Final = 50
PERIOD: Final = 10.0


class CrashReports(CrashLog):
    """Reports each crash to Python's ``logging``, and to the node of the process's group leader if it is
    connected. ``link`` returns that connection."""

    def __init__(self, runtime: Runtime, link: Callable[[str], Link | None]) -> None:
        super().__init__(runtime.name, runtime.find)
        self._runtime = runtime
        self._link = link
        self._forwarded = RateLimit(MAX_FORWARDED, PERIOD)

    # -- processes ---------------------------------------------------------------------------------

    def crash(self, process: Process, *more: Any) -> Crash:
        crash = super().crash(process, *more)
        if isinstance(process, ServerLoop):
            crash.initial_call = process.initial_call
            crash.last_message, crash.client = shorten(process.last_message), process.client
            crash.state = process.state_at_failure
            crash.log = process.logged_events
            if isinstance(process, StateMachineProcess):
                crash.more |= process.report_facts()
            crash.initialised = process.phase is not ServerPhase.STARTING
        return crash

    def report(self, crash: Crash) -> None:
        text = cache(lambda: self.text(crash))
        if _is_forwarded(crash):
            crash.more["reported_to"] = self._forward(crash.process, lambda: _events(crash), text)
        self.write(crash, text)

    def facts(self, crash: Crash) -> tuple[str, str, list[tuple[str, str]]]:
        process = crash.process
        if not isinstance(process, ServerLoop):
            return super().facts(crash)
        facts = [("initial call", mfa_text(crash.initial_call))]
        if not crash.initialised:
            return "server", "was not started", facts
        facts += [("last message", shown(crash.last_message)), ("state", shown(crash.state))]
        if crash.log:
            facts.append(("log", shown(crash.log)))
        if crash.client is not None:
            facts.append(("client", shown(crash.client)))
        kind = "state machine" if isinstance(process, StateMachineProcess) else "server"
        return kind, "terminates", facts

    # -- supervisors -------------------------------------------------------------------------------

    def child_failed(self, process: Process, context: str, child: Child, reason: Any) -> None:
        """Report a supervisor's child that could not be started, or has ended; ``context`` is OTP's word,
        see :func:`~quicdist.otp.report_terms.supervisor_event`."""
        try:
            name = _supervisor_name(process)
            text = cache(lambda: self._child_text(process, child, f"{_CONTEXTS[context]}: {shown(reason)}"))
            to = self._forward(
                process, lambda: [supervisor_event(process, name, context, reason, child.to_term())], text
            )
            note = self._limit.admit((process.pid, context))
            if note is not None:
                more = {"context": context, "reason": reason, "reported_to": to}
                log.error("%s%s", text(), note, extra={**self._child_fields(process, child), **more})
        except Exception:
            log.exception("cannot report %r", process)

    def child_started(self, process: Process, child: Child) -> None:
        """Report a child that was started, if level INFO is enabled."""
        if not log.isEnabledFor(logging.INFO):
            return
        try:
            name = _supervisor_name(process)
            text = cache(lambda: self._child_text(process, child, f"started as {child.pid}"))
            to = self._forward(process, lambda: [progress_event(process, name, child.to_term())], text)
            note = self._limit.admit((process.pid, "progress"))
            if note is not None:
                more = {"reported_to": to}
                log.info("%s%s", text(), note, extra={**self._child_fields(process, child), **more})
        except Exception:
            log.exception("cannot report %r", process)

    def _child_text(self, process: Process, child: Child, what: str) -> str:
        who = f"supervisor {process.pid}{named(process)} of {self.node}"
        return f"{who}: child {shown(child.spec.term_id)} {what}"

    def _child_fields(self, process: Process, child: Child) -> dict[str, Any]:
        return {
            "node": self.node,
            "pid": process.pid,
            "registered_name": process.name,
            "child_id": child.spec.id,
            "child_pid": child.pid,
        }

    # -- event managers ----------------------------------------------------------------------------

    def handler_failed(
        self,
        process: Process,
        handler: Any,
        last_message: Any,
        state: Any,
        reason: Any,
        error: BaseException | None,
    ) -> None:
        """Report a handler that an event manager has removed because it failed; ``error`` is what it has
        raised, if it has."""
        try:
            text = cache(
                lambda: (
                    f"event manager {process.pid}{named(process)} of {self.node}: handler {shown(handler)} "
                    f"crashed: {shown(reason)}\n  last event: {shown(last_message)}\n  state: {shown(state)}"
                )
            )
            to = self._forward(
                process, lambda: [handler_event(process, handler, last_message, state, reason)], text
            )
            note = self._limit.admit((process.pid, "handler"))
            if note is not None:
                more = {"handler": shorten(handler), "reason": shorten(reason), "state": state}
                more |= {"last_message": shorten(last_message), "reported_to": to}
                fields = {"node": self.node, "pid": process.pid, "registered_name": process.name, **more}
                head, end, rest = text().partition("\n")
                log.error("%s", Lines(f"{head}{note}{end}{rest}"), exc_info=error, extra=fields)
        except Exception:
            log.exception("cannot report %r", process)

    # -- the node of the group leader --------------------------------------------------------------

    def _forward(
        self, process: Process, make_events: Callable[[], list[EventTerm]], text: Callable[[], str]
    ) -> str | None:
        """Send events to the node of the group leader, if it is another one; its name, or None where
        they were not sent. They never open a connection, nor fill its buffer.

        ``text`` has the whole report, for a node without OTP. Both are made only if they are sent.
        """
        leader = process.group_leader
        if leader is None or leader.node.name == self.node:
            return None
        node = leader.node.name
        link = self._link(node)
        if link is None or not link.writable:
            return None
        note = self._forwarded.admit(node)
        if note is None:
            return None
        events = make_events()
        for number, event in enumerate(events):
            event[-1][PYTHON_TEXT] = "" if number else text()
        if note:
            events.append(text_event(process, f"crash reports of {self.node}:{note}"))
        for event in events:
            self._runtime.send(process.pid, (Atom(LOGGER_PROXY), leader.node), event)
        return node


def _is_forwarded(crash: Crash) -> bool:
    """Whether it is sent to the node of the group leader: OTP logs errors of a process there, not exits."""
    return crash.process.is_otp_process or crash.failure[0] == ERROR


def _events(crash: Crash) -> list[EventTerm]:
    """The events that OTP would log."""
    process = crash.process
    if isinstance(process, StateMachineProcess) and crash.initialised:
        return [state_machine_event(crash), crash_event(crash)]
    if isinstance(process, ServerLoop) and crash.initialised:
        return [server_event(crash), crash_event(crash)]
    if process.is_otp_process:
        return [crash_event(crash)]
    return [emulator_event(crash)]


#: OTP's error contexts in words.
_CONTEXTS: Final = {
    "start_error": "could not be started",
    "child_terminated": "ended",
    "shutdown_error": "did not shut down in time and is killed",
    "shutdown": "was restarted too often, the supervisor ends",
}


def _supervisor_name(process: Process) -> Any:
    """``{local, Name}`` or ``{Pid, Module}``."""
    if process.name:
        return (Atom("local"), Atom(process.name))
    kind = type(process.server) if isinstance(process, ServerLoop) else type(process)
    return (process.pid, Atom(f"{kind.__module__}.{kind.__qualname__}"[:255]))
