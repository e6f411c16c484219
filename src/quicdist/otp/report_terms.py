"""Log events in the form of OTP's own reports, so that a BEAM's formatter prints them.

A log event for another node is ``{log, Level, Report, Metadata}`` or ``{log, Level, Format, Arguments,
Metadata}``, sent to its process ``logger_proxy``. The reports and metadata were recorded between two BEAMs
of OTP 25, 27 and 29: those of ERTS for a crashed process, ``proc_lib`` (*CRASH REPORT*), ``gen_server``
(*Generic server terminating*), ``gen_statem`` (*State machine terminating*) and ``supervisor`` (*SUPERVISOR
REPORT*).
"""

from __future__ import annotations

import time
from typing import Any, Final

from quicdist.node.process import Process
from quicdist.node.reports import Crash
from quicdist.term import Atom, Export, Pid, charlist
from quicdist.term.shorten import shorten

LOG: Final = Atom("log")
ERROR, WARNING, INFO = Atom("error"), Atom("warning"), Atom("info")

#: A log event; its last element is the metadata, a dict.
EventTerm = tuple[Any, ...]

_OTP, _SASL = Atom("otp"), Atom("sasl")
_LABEL, _REPORT = Atom("label"), Atom("report")
_REPORT_CB, _ERROR_LOGGER, _TAG, _TYPE = (
    Atom("report_cb"),
    Atom("error_logger"),
    Atom("tag"),
    Atom("type"),
)
_GEN_SERVER, _GEN_STATEM, _GEN_EVENT = Atom("gen_server"), Atom("gen_statem"), Atom("gen_event")
_PROC_LIB, _SUPERVISOR = Atom("proc_lib"), Atom("supervisor")
_NAME, _REASON, _STATE, _LAST_MESSAGE = Atom("name"), Atom("reason"), Atom("state"), Atom("last_message")
_CLIENT_INFO, _PROCESS_LABEL = Atom("client_info"), Atom("process_label")
_UNDEFINED, _REMOTE, _DEAD = Atom("undefined"), Atom("remote"), Atom("dead")
_PID = Atom("pid")


_EMULATOR_FORMAT: Final = charlist("Error in process ~p on node ~p with exit value:~n~p~n")


def metadata(process: Process, **more: Any) -> dict[Any, Any]:
    """The metadata of an event that ``process`` logs now."""
    return {
        _PID: process.pid,
        Atom("gl"): process.group_leader or process.pid,
        Atom("time"): time.time_ns() // 1000,
        **{Atom(name): value for name, value in more.items()},
    }


def _otp_metadata(process: Process, title: str, kind: str, tag: str, report_cb: Export) -> dict[Any, Any]:
    """The metadata of a report of ``proc_lib`` or ``supervisor``."""
    error_logger: dict[Any, Any] = {_TAG: Atom(tag), _TYPE: Atom(kind)}
    if report_cb.module == _SUPERVISOR:
        error_logger[_REPORT_CB] = Export(_SUPERVISOR, "format_log", 1)
    return metadata(
        process,
        domain=[_OTP, _SASL],
        report_cb=report_cb,
        logger_formatter={Atom("title"): charlist(title)},
        error_logger=error_logger,
    )


def emulator_event(crash: Crash) -> EventTerm:
    """ERTS: ``Error in process ~p on node ~p with exit value``."""
    process = crash.process
    more = {Atom("emulator"): True, _TAG: ERROR}
    arguments = [process.pid, Atom(crash.node), shorten(crash.reason)]
    return (LOG, ERROR, _EMULATOR_FORMAT, arguments, metadata(process, error_logger=more))


def server_event(crash: Crash) -> EventTerm:
    """``gen_server``: ``Generic server ~tp terminating``."""
    process = crash.process
    report = {
        _LABEL: (_GEN_SERVER, Atom("terminate")),
        _NAME: Atom(process.name) if process.name else process.pid,
        _LAST_MESSAGE: crash.last_message,
        _STATE: crash.state,
        Atom("log"): crash.log,
        _REASON: shorten(crash.reason),
        _CLIENT_INFO: _UNDEFINED if crash.client is None else _client(process, crash.client),
        _PROCESS_LABEL: _UNDEFINED,
    }
    return (LOG, ERROR, report, _behaviour_metadata(process, _GEN_SERVER))


def state_machine_event(crash: Crash) -> EventTerm:
    """``gen_statem``: ``State machine ~tp terminating``. ``crash.more`` has what only a state machine has."""
    process, more = crash.process, crash.more
    kind, reason, *_ = crash.failure
    report = {
        _LABEL: (_GEN_STATEM, Atom("terminate")),
        _NAME: Atom(process.name) if process.name else process.pid,
        Atom("queue"): more["queue"],
        Atom("postponed"): more["postponed"],
        Atom("modules"): [crash.initial_call[0]],
        Atom("callback_mode"): more["callback_mode"],
        Atom("state_enter"): more["state_enter"],
        _STATE: crash.state,
        Atom("timeouts"): more["timeouts"],
        Atom("log"): [],
        _REASON: (kind, shorten(reason), shorten(crash.stack)),
        _CLIENT_INFO: _UNDEFINED if crash.client is None else _client(process, crash.client),
        _PROCESS_LABEL: _UNDEFINED,
    }
    return (LOG, ERROR, report, _behaviour_metadata(process, _GEN_STATEM))


def handler_event(process: Process, handler: Any, last_message: Any, state: Any, reason: Any) -> EventTerm:
    """``gen_event``: ``** gen_event handler ~tp crashed.``"""
    report = {
        _LABEL: (_GEN_EVENT, Atom("terminate")),
        Atom("handler"): shorten(handler),
        _NAME: Atom(process.name) if process.name else process.pid,
        _LAST_MESSAGE: shorten(last_message),
        _STATE: state,
        _REASON: shorten(reason),
        _PROCESS_LABEL: _UNDEFINED,
    }
    return (LOG, ERROR, report, _behaviour_metadata(process, _GEN_EVENT))


def _behaviour_metadata(process: Process, behaviour: Atom) -> dict[Any, Any]:
    return metadata(
        process,
        domain=[_OTP],
        report_cb=Export(behaviour, "format_log", 2),
        error_logger={_TAG: ERROR, _REPORT_CB: Export(behaviour, "format_log", 1)},
    )


def _client(process: Process, client: Pid) -> tuple[Any, Any]:
    """``{Pid, remote}``, or ``{Pid, {Pid, StackTrace}}`` with an empty stack trace."""
    return (client, (client, []) if client.node == process.pid.node else _REMOTE)


def crash_event(crash: Crash) -> EventTerm:
    """``proc_lib``: *CRASH REPORT*."""
    process = crash.process
    kind, reason, *_ = crash.failure
    module, function, arity = crash.initial_call
    items: list[Any] = [
        (Atom("initial_call"), (module, function, [Atom(f"Argument__{n + 1}") for n in range(arity)])),
        (_PID, process.pid),
        (Atom("registered_name"), Atom(process.name) if process.name else []),
        (Atom("error_info"), (kind, shorten(reason), shorten(crash.stack))),
        (Atom("ancestors"), list(crash.ancestors)),
        (Atom("message_queue_len"), process.message_queue_len),
        (Atom("messages"), shorten(process.messages)),
        (Atom("links"), shorten(process.links)),
        (Atom("dictionary"), []),
        (Atom("trap_exit"), process.trap_exit),
        (Atom("status"), Atom("running")),
    ]
    report = {_LABEL: (_PROC_LIB, Atom("crash")), _REPORT: [items, []]}
    report_cb = Export(_PROC_LIB, "report_cb", 2)
    return (
        LOG,
        ERROR,
        report,
        _otp_metadata(process, "CRASH REPORT", "crash_report", "error_report", report_cb),
    )


def supervisor_event(
    process: Process, name: Any, context: str, reason: Any, offender: list[Any]
) -> EventTerm:
    """``supervisor``: *SUPERVISOR REPORT*. ``context`` is ``start_error``, ``child_terminated``,
    ``shutdown_error`` or ``shutdown``."""
    report = {
        _LABEL: (_SUPERVISOR, Atom(context)),
        _REPORT: [
            (_SUPERVISOR, name),
            (Atom("errorContext"), Atom(context)),
            (_REASON, shorten(reason)),
            (Atom("offender"), offender),
        ],
    }
    report_cb = Export(_SUPERVISOR, "format_log", 2)
    more = _otp_metadata(process, "SUPERVISOR REPORT", "supervisor_report", "error_report", report_cb)
    return (LOG, ERROR, report, more)


def progress_event(process: Process, name: Any, started: list[Any]) -> EventTerm:
    """``supervisor``: *PROGRESS REPORT*, of a child that was started."""
    report = {
        _LABEL: (_SUPERVISOR, Atom("progress")),
        _REPORT: [(_SUPERVISOR, name), (Atom("started"), started)],
    }
    report_cb = Export(_SUPERVISOR, "format_log", 2)
    return (
        LOG,
        INFO,
        report,
        _otp_metadata(process, "PROGRESS REPORT", "progress", "info_report", report_cb),
    )


def text_event(process: Process, text: str) -> EventTerm:
    """A warning with a text."""
    return (LOG, WARNING, text, metadata(process))
