"""System messages: what the module ``sys`` asks of a server, ``{system, From, Request}``.

OTP: ``sys(3)``. A server here has no debug options: to turn tracing, logging or statistics on is
answered with what ``sys`` says of an option it does not know, ``unknown_debug``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from quicdist.containment import settle
from quicdist.node.exit_reason import EXIT, answered_reason, error_term, failure
from quicdist.otp.errors import RemoteError
from quicdist.otp.gen import From, reply
from quicdist.otp.service import Service
from quicdist.term import Atom, TermError, term_to_binary

if TYPE_CHECKING:
    from quicdist.otp.gen_server import GenServer
    from quicdist.otp.server_process import ServerProcess

_OK = Atom("ok")
_ERROR = Atom("error")
_DEBUG = Atom("debug")
_UNKNOWN_DEBUG = Atom("unknown_debug")
_UNKNOWN_SYSTEM_MSG = Atom("unknown_system_msg")
_CALLBACK_FAILED = Atom("callback_failed")
_GEN_SERVER = Atom("gen_server")
_CHANGE_CODE = Atom("change_code")
_REPLACE_STATE = Atom("replace_state")
_SYSTEM_GET_STATE, _SYSTEM_REPLACE_STATE = Atom("system_get_state"), Atom("system_replace_state")
_TERMINATE = Atom("terminate")
_STATUS, _MODULE, _HEADER, _DATA = Atom("status"), Atom("module"), Atom("header"), Atom("data")
_RUNNING, _SUSPENDED = Atom("running"), Atom("suspended")
#: Seconds that the node which asks for ``replace_state`` has to apply its fun: the server waits. A node that
#: has let it wait in vain is not asked again for a while (:mod:`quicdist.otp.silent_nodes`).
REPLACE_TIME = 5.0

_INITIAL_CALL, _ANCESTORS, _INIT = Atom("$initial_call"), Atom("$ancestors"), Atom("init")


def handle(process: ServerProcess, sender: From, request: Any) -> Awaitable[None] | None:
    """Do what a system message asks for, and answer it."""
    if isinstance(process.server, Service) and not _only_looks(request):
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
            reply(
                process,
                sender,
                next((answer for known, answer in _NOT_DEBUGGED if what == known), _UNKNOWN_DEBUG),
            )
        case (command, reason) if command == _TERMINATE:
            reply(process, sender, _OK)
            process.end(reason)
        case (command, _, version, extra) if command == _CHANGE_CODE and process.suspended:
            return _change_code(process, sender, version, extra)
        case _:
            reply(process, sender, (_ERROR, (_UNKNOWN_SYSTEM_MSG, request)))
    return None


def _only_looks(request: Any) -> bool:
    """Whether a request leaves a server as it is."""
    match request:
        case Atom(name="get_state" | "get_status"):
            return True
        case (command, _):
            return bool(command == _DEBUG)
    return False


def _suspend(process: ServerProcess) -> Any:
    process.suspended = True
    return _OK


def _resume(process: ServerProcess) -> Any:
    process.resume()
    return _OK


async def _get_status(process: ServerProcess, sender: From) -> None:
    """``{status, Pid, {module, gen_server}, [PDict, SysState, Parent, Debug, Misc]}``, with in
    ``Misc`` what ``gen_server:format_status/2`` shows."""
    shown, error = await settle(_state(process.server))
    if error is not None:
        kind = type(process.server)
        shown = _text(f"{kind.__module__}.{kind.__qualname__}.get_state crashed")
    state = _SUSPENDED if process.suspended else _RUNNING
    parent = process.parent or process.pid
    name: Any = Atom(process.name) if process.name else process.pid
    misc = [
        (_HEADER, _text(f"Status for generic server {name}")),
        (
            _DATA,
            [(_text("Status"), state), (_text("Parent"), parent), (_text("Logged events"), [])],
        ),
        (_DATA, [(_text("State"), shown)]),
    ]
    items = [dictionary(process), state, parent, [], misc]
    reply(process, sender, (_STATUS, process.pid, (_MODULE, _GEN_SERVER), items))


def initial_call(process: ServerProcess) -> tuple[Any, ...]:
    """``{Module, init, 1}``, the module being the server's class."""
    kind = type(process.server)
    return (Atom(f"{kind.__module__}.{kind.__qualname__}"[:255]), _INIT, 1)


def dictionary(process: ServerProcess) -> list[tuple[Any, Any]]:
    """What ``proc_lib`` puts into the dictionary of a process it starts."""
    ancestors = [process.parent] if process.parent is not None else []
    return [(_INITIAL_CALL, initial_call(process)), (_ANCESTORS, ancestors)]


def _text(text: str) -> list[int]:
    """An Erlang string."""
    return [ord(char) for char in text]


#: ``{debug, What}`` and what a server says that nobody debugs.
_NOT_DEBUGGED: list[tuple[Any, Any]] = [
    (Atom("no_debug"), _OK),
    ((Atom("trace"), False), _OK),
    ((Atom("log"), False), _OK),
    ((Atom("log"), Atom("print")), _OK),
    ((Atom("log"), Atom("get")), (_OK, [])),
    ((Atom("log_to_file"), False), _OK),
    ((Atom("statistics"), False), _OK),
    ((Atom("statistics"), Atom("get")), (_OK, Atom("no_statistics"))),
]

_COMMANDS: dict[str, Callable[[ServerProcess], Any]] = {
    "suspend": _suspend,
    "resume": _resume,
}


async def _state(server: GenServer) -> Any:
    """The state that is shown. Raises what ``get_state`` raises, and :class:`~quicdist.term.EncodeError`
    for one that Erlang has no term for."""
    state = server.get_state()
    if isinstance(state, Awaitable):
        state = await state
    term_to_binary(state)
    return state


async def _get_state(process: ServerProcess, sender: From) -> None:
    state, error = await settle(_state(process.server))
    if error is None:
        _give_state(process, sender, state)
    else:
        _answer(process, sender, _failed(_SYSTEM_GET_STATE, error))


def _give_state(process: ServerProcess, sender: From, state: Any) -> None:
    """Answer with a state. Until it is known in which form the node that asks takes it, the answer
    waits, and the server does not: that node may never tell."""
    form, node = process.node.sys.state_form, sender[0].node.name

    def give(wrapped: bool) -> None:
        _answer(process, sender, (_OK, state) if wrapped else state)

    wrapped = form.known(node)
    if wrapped is None:
        form.when_known(node, give)
    else:
        give(wrapped)


async def _replace_state(process: ServerProcess, sender: From, function: Any) -> None:
    """``{replace_state, Fun}``: only the node that asks can run its fun, so it is called there."""
    server, asking = process.server, sender[0].node.name

    async def replace() -> Any:
        if not process.node.connections.is_linked(asking):
            raise process.node.connections.not_connected(asking)
        arguments = [function, [await _state(server)]]
        with process.node.sys.silent_nodes.asked(asking, REPLACE_TIME):
            state = await process.node.erpc.call(asking, "erlang", "apply", arguments, timeout=REPLACE_TIME)
        replaced = server.replace_state(state)
        if isinstance(replaced, Awaitable):
            await replaced
        return await _state(server)

    state, error = await settle(replace())
    if error is None:
        _give_state(process, sender, state)
    else:
        _answer(process, sender, _failed(_SYSTEM_REPLACE_STATE, error))


async def _change_code(process: ServerProcess, sender: From, version: Any, extra: Any) -> None:
    """``{change_code, Module, Vsn, Extra}``, which is answered ``{error, {'EXIT', Reason}}`` if it fails."""

    async def change() -> None:
        result = process.server.code_change(version, extra)
        if isinstance(result, Awaitable):
            await result

    _, error = await settle(change())
    _answer(process, sender, _OK if error is None else (_ERROR, (EXIT, answered_reason(error))))


def _answer(process: ServerProcess, sender: From, answer: Any) -> None:
    """Answer a system message: who looks at a server does not end it, whatever it says of itself."""
    try:
        reply(process, sender, answer)
    except TermError as error:
        reply(process, sender, (_ERROR, error_term(error)))


def _failed(function: Atom, error: BaseException) -> Any:
    if isinstance(error, RemoteError):
        kind, reason = Atom(error.kind), error.reason
    else:
        kind, reason, *_ = failure(error)
    return (_ERROR, (_CALLBACK_FAILED, (_GEN_SERVER, function), (kind, reason)))
