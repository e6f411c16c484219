"""Handles system messages, ``{system, From, Request}``, which the module ``sys`` sends to a server.

OTP: ``sys(3)``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from quicdist.containment import settle
from quicdist.node.exit_reason import EXIT, answered_reason, error_term, failure
from quicdist.otp import debug_commands
from quicdist.otp.behaviour import shown_state
from quicdist.otp.errors import RemoteError
from quicdist.otp.gen_messages import From, reply
from quicdist.otp.server_lifecycle import ServerLifecycle, ServerPhase
from quicdist.term import Atom, Export, TermError, charlist

_OK = Atom("ok")
_ERROR = Atom("error")
_DEBUG = Atom("debug")
_UNKNOWN_SYSTEM_MSG = Atom("unknown_system_msg")
_CALLBACK_FAILED = Atom("callback_failed")
_CHANGE_CODE = Atom("change_code")
_REPLACE_STATE = Atom("replace_state")
_SYSTEM_GET_STATE, _SYSTEM_REPLACE_STATE = Atom("system_get_state"), Atom("system_replace_state")
_TERMINATE = Atom("terminate")
_STATUS, _MODULE, _HEADER, _DATA = Atom("status"), Atom("module"), Atom("header"), Atom("data")
_RUNNING, _SUSPENDED = Atom("running"), Atom("suspended")
#: Seconds that a node has to apply its fun of ``replace_state``, while the server waits. A node that did not
#: answer is not asked again for a while (:mod:`quicdist.otp.circuit_breaker`).
REPLACE_TIME = 5.0


def handle(process: ServerLifecycle, sender: From, request: Any) -> Awaitable[None] | None:
    """Handle a system message and reply to it."""
    if process.pid in process.runtime.kernel_processes and not _is_read_only(request):
        reply(process, sender, (_ERROR, (_UNKNOWN_SYSTEM_MSG, request)))
        return None
    match request:
        case Atom(name="get_state"):
            return _get_state(process, sender)
        case Atom(name="get_status"):
            return _get_status(process, sender)
        case Atom(name=name) if name in _COMMANDS:
            reply(process, sender, _COMMANDS[name](process))
        case (command, function) if command == _REPLACE_STATE:
            return _replace_state(process, sender, function)
        case (command, what) if command == _DEBUG:
            _answer(process, sender, debug_commands.command(process, sender[0].node.name, what))
        case (command, reason) if command == _TERMINATE:
            reply(process, sender, _OK)
            process.terminate(reason)
        case (command, module, version, extra) if (
            command == _CHANGE_CODE and process.phase is ServerPhase.SUSPENDED
        ):
            return _change_code(process, sender, module, version, extra)
        case _:
            reply(process, sender, (_ERROR, (_UNKNOWN_SYSTEM_MSG, request)))
    return None


def _is_read_only(request: Any) -> bool:
    """Whether a request does not change the server."""
    match request:
        case Atom(name="get_state" | "get_status"):
            return True
        case (command, what) if command == _DEBUG:
            return debug_commands.is_harmless(what)
    return False


def _suspend(process: ServerLifecycle) -> Any:
    process.suspend()
    return _OK


def _resume(process: ServerLifecycle) -> Any:
    process.resume()
    return _OK


async def _get_status(process: ServerLifecycle, sender: From) -> None:
    """``{status, Pid, {module, gen_server}, [PDict, SysState, Parent, Debug, Misc]}``, where
    ``Misc`` is that of ``gen_server:format_status/2``."""
    shown, error = await settle(shown_state(process.server))
    if error is not None:
        kind = type(process.server)
        shown = charlist(f"{kind.__module__}.{kind.__qualname__}.get_state crashed")
    state = _SUSPENDED if process.phase is ServerPhase.SUSPENDED else _RUNNING
    parent = process.parent or process.pid
    name: Any = Atom(process.name) if process.name else process.pid
    facts = [(charlist(label), value) for label, value in process.status_facts(state, parent)]
    misc = [
        (_HEADER, charlist(f"Status for {process.status_kind} {name}")),
        (_DATA, facts),
        process.status_state(shown),
    ]
    debug = [] if process.debug is None else process.debug.to_term()
    items = [process.dictionary, state, parent, debug, misc]
    _answer(process, sender, (_STATUS, process.pid, (_MODULE, process.server.behaviour), items))


_COMMANDS: dict[str, Callable[[ServerLifecycle], Any]] = {
    "suspend": _suspend,
    "resume": _resume,
}


async def _get_state(process: ServerLifecycle, sender: From) -> None:
    state, error = await settle(shown_state(process.server))
    if error is None:
        _give_state(process, sender, state)
    else:
        _answer(process, sender, _failed(process, _SYSTEM_GET_STATE, error))


def _give_state(process: ServerLifecycle, sender: From, state: Any) -> None:
    """Reply with a state. The reply waits until the form that the requesting node expects is known; the
    server does not wait, because that node may never answer."""
    form, node = process.node.sys.state_form, sender[0].node.name

    def give(wrapped: bool) -> None:
        _answer(process, sender, (_OK, state) if wrapped else state)

    wrapped = form.known(node)
    if wrapped is None:
        form.when_known(node, give)
    else:
        give(wrapped)


async def _replace_state(process: ServerLifecycle, sender: From, function: Any) -> None:
    """``{replace_state, Fun}``. A Python function of this node and an exported function run here; the code of
    any other fun is on the requesting node alone, where it is called."""
    server, asking = process.server, sender[0].node.name

    async def replace() -> Any:
        await server.replace_with(lambda state: _applied(process, asking, function, state))
        process.state_replaced()
        return await shown_state(server)

    state, error = await settle(replace())
    if error is None:
        _give_state(process, sender, state)
    else:
        _answer(process, sender, _failed(process, _SYSTEM_REPLACE_STATE, error))


async def _applied(process: ServerLifecycle, asking: str, function: Any, state: Any) -> Any:
    """The value of a fun of ``replace_state``."""
    if callable(function):
        new = function(state)
        return await new if isinstance(new, Awaitable) else new
    node, sys = process.node, process.node.sys
    if isinstance(function, Export) and sys.exports.find(
        function.module.name, function.function.name, function.arity
    ):
        asking = process.runtime.name
    elif asking not in node.nodes("connected", "this"):
        raise process.runtime.not_connected(asking)
    with sys.circuit_breaker.attempt(asking, REPLACE_TIME):
        arguments = [function, [state]]
        return await node.erpc.call(asking, "erlang", "apply", arguments, timeout=REPLACE_TIME)


async def _change_code(process: ServerLifecycle, sender: From, module: Any, version: Any, extra: Any) -> None:
    """``{change_code, Module, Vsn, Extra}``; the reply is ``{error, {'EXIT', Reason}}`` if it fails."""

    async def change() -> None:
        result = process.change_code(module, version, extra)
        if isinstance(result, Awaitable):
            result = await result
        process.code_changed(result)

    _, error = await settle(change())
    _answer(process, sender, _OK if error is None else (_ERROR, (EXIT, answered_reason(error))))


def _answer(process: ServerLifecycle, sender: From, answer: Any) -> None:
    """Reply to a system message. A state that cannot be encoded does not end the server."""
    try:
        reply(process, sender, answer)
    except TermError as error:
        reply(process, sender, (_ERROR, error_term(error)))


def _failed(process: ServerLifecycle, function: Atom, error: BaseException) -> Any:
    if isinstance(error, RemoteError):
        kind, reason = Atom(error.kind), error.reason
    else:
        kind, reason, *_ = failure(error)
    return (_ERROR, (_CALLBACK_FAILED, (process.server.behaviour, function), (kind, reason)))
