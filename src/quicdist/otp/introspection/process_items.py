"""The items of ``erlang:process_info/1,2``.

OTP: ``erlang(3)``, ``process_info/2``. What a Python process does not have is empty or 0, in the form of a
BEAM.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from quicdist.node.exit_reason import PROCESS
from quicdist.node.process import Process
from quicdist.node.process_lifecycle import ProcessState
from quicdist.node.reports import initial_call
from quicdist.otp.introspection.behaviours import loop_of
from quicdist.otp.introspection.frames import stack_of
from quicdist.otp.introspection.memory import process_memory
from quicdist.otp.introspection.refusals import UNDEFINED, badarg
from quicdist.otp.server_loop import ServerLoop
from quicdist.term import Atom, TermError, term_to_binary
from quicdist.term.shorten import shorten

NAME = Atom("registered_name")
_RUNNING, _WAITING, _EXITING = Atom("running"), Atom("waiting"), Atom("exiting")
_NORMAL = Atom("normal")


def what_it_runs(process: Process) -> tuple[Any, ...]:
    """``{Module, Function, Arity}`` of what a process was spawned to run; of a server its class."""
    return process.initial_call if isinstance(process, ServerLoop) else initial_call(process)


def current_function(process: Process) -> tuple[Any, ...]:
    """Where its coroutine waits. Without one it waits for a message: a server in ``gen_server:loop/7``, as on
    a BEAM."""
    return _current_location(process)[:3]


def _current_location(process: Process) -> tuple[Any, ...]:
    stack = stack_of(process)
    if stack:
        return stack[0]
    waits_in = loop_of(process.server.behaviour) if isinstance(process, ServerLoop) else what_it_runs(process)
    return (*waits_in, [])


def _status(process: Process) -> Atom:
    if process.state is ProcessState.EXITING:
        return _EXITING
    return _RUNNING if process.is_run_by(asyncio.current_task()) else _WAITING


def _messages(process: Process) -> list[Any]:
    """The messages. One without an Erlang term, which a process of this node may have sent, is shown as
    text."""
    messages = process.messages
    if _is_term(messages):
        return messages
    return [message if _is_term(message) else shorten(message) for message in messages]


def _is_term(value: Any) -> bool:
    try:
        term_to_binary(value)
    except TermError:
        return False
    return True


def _dictionary(process: Process) -> list[Any]:
    return process.dictionary if isinstance(process, ServerLoop) else []


def _no_garbage(_: Process) -> list[Any]:
    names = ("min_bin_vheap_size", "min_heap_size", "fullsweep_after", "minor_gcs")
    return [(Atom(name), 0) for name in names]


_ITEMS: dict[Atom, Callable[[Process], Any]] = {
    Atom(name): item
    for name, item in {
        "async_dist": lambda _: False,
        "backtrace": lambda _: b"",
        "binary": lambda _: [],
        "catchlevel": lambda _: 0,
        "current_function": current_function,
        "current_location": _current_location,
        "current_stacktrace": stack_of,
        "dictionary": _dictionary,
        "error_handler": lambda _: Atom("error_handler"),
        "garbage_collection": _no_garbage,
        "garbage_collection_info": _no_garbage,
        "group_leader": lambda process: process.group_leader or process.pid,
        "heap_size": lambda _: 0,
        "initial_call": what_it_runs,
        "label": lambda _: UNDEFINED,
        "last_calls": lambda _: False,
        "links": lambda process: process.links,
        "magic_ref": lambda _: [],
        "max_heap_size": lambda _: {Atom("size"): 0, Atom("kill"): True, Atom("error_logger"): True},
        "memory": process_memory,
        "message_queue_data": lambda _: Atom("on_heap"),
        "message_queue_len": lambda process: process.message_queue_len,
        "messages": _messages,
        "min_bin_vheap_size": lambda _: 0,
        "min_heap_size": lambda _: 0,
        "monitored_by": lambda process: [watcher for watcher, _ in process.monitored_by.values()],
        "monitors": lambda process: [(PROCESS, target) for target in process.runtime.monitored(process)],
        "parent": lambda process: process.parent or UNDEFINED,
        "priority": lambda _: _NORMAL,
        "reductions": lambda _: 0,
        "registered_name": lambda process: Atom(process.name) if process.name else [],
        "sequential_trace_token": lambda _: [],
        "stack_size": lambda _: 0,
        "status": _status,
        "suspending": lambda _: [],
        "total_heap_size": lambda _: 0,
        "trace": lambda _: 0,
        "trap_exit": lambda process: process.trap_exit,
    }.items()
}
#: The items of ``process_info/1``, after ``registered_name`` if there is one.
_DEFAULT = [
    Atom(name)
    for name in (
        *("current_function", "initial_call", "status", "message_queue_len", "links", "dictionary"),
        *("trap_exit", "error_handler", "priority", "group_leader", "total_heap_size", "heap_size"),
        *("stack_size", "reductions", "garbage_collection", "suspending"),
    )
]


def default_items(process: Process) -> list[tuple[Atom, Any]]:
    """The answer of ``process_info/1``."""
    names = [NAME, *_DEFAULT] if process.name else _DEFAULT
    return [(name, _ITEMS[name](process)) for name in names]


def item(process: Process, name: Any) -> Any:
    """The value of one item. Raises ``badarg`` for an unknown one."""
    match name:
        case Atom() if name in _ITEMS:
            return _ITEMS[name](process)
        case (Atom(name="dictionary"), key):
            return next((value for known, value in _dictionary(process) if known == key), UNDEFINED)
    raise badarg()
