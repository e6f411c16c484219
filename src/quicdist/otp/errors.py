"""Errors of calls to other processes and nodes, and the exit reasons that OTP has for them."""

from __future__ import annotations

from typing import Any

from quicdist.node.errors import NodeError, NoSuchProcess, NotConnected, ProcessEnded
from quicdist.node.reports import shown
from quicdist.term import Atom, charlist

_NOPROC, _NODEDOWN, _TIMEOUT = Atom("noproc"), Atom("nodedown"), Atom("timeout")
_ERPC, _NOCONNECTION, _CALL = Atom("erpc"), Atom("noconnection"), Atom("call")
_BADRPC = Atom("badrpc")
_NOCATCH, _FUNCTION_CLAUSE = Atom("nocatch"), Atom("function_clause")
_FILE, _LINE = Atom("file"), Atom("line")


class CallTimeout(NodeError, TimeoutError):
    """No answer came within the time-out."""

    def __init__(self, what: str, timeout: float) -> None:
        super().__init__(f"{what} did not answer within {timeout:g} s")


class CallingSelf(NodeError):
    """A process called itself, which would wait for ever (``calling_self``)."""

    def __init__(self, process: Any) -> None:
        super().__init__(f"{process!r} calls itself, which would wait for ever")


class RemoteError(NodeError):
    """A function called on another node did not return.

    ``kind`` is Erlang's class of exception (``"error"``, ``"exit"`` or ``"throw"``), or ``"signal"``
    if an exit signal ended the process that ran it; ``reason`` is the term raised; ``stack`` is the
    stack trace, if there is one (a list of ``(module, function, arity or arguments, location)``). An
    exported function that raises a RemoteError passes all three to its caller.
    """

    def __init__(self, kind: str, reason: Any, stack: list[Any] | None = None, *, where: str = "") -> None:
        self.kind = kind
        self.reason = reason
        self.stack = stack
        super().__init__(f"{where + ': ' if where else ''}{kind}: {shown(reason)}")
        if kind == "error":
            self.exit_reason = (reason, stack or [])
        else:
            self.exit_reason = ((_NOCATCH, reason), stack or []) if kind == "throw" else reason


def function_clause(server: object, callback: str, argument: Any, *more: Any) -> NodeError:
    """The error for a callback of a server that has no case for its first argument."""
    kind = type(server)
    name = f"{kind.__module__}.{kind.__qualname__}"
    what = shown((argument, *more) if more else argument)
    error = NodeError(f"{name}.{callback} has no case for {what} (function_clause)")
    code = getattr(getattr(kind, callback), "__code__", None)
    where = []
    if code is not None:
        where = [(_FILE, charlist(code.co_filename)), (_LINE, code.co_firstlineno)]
    call = (Atom(name[:255]), Atom(callback), [argument, *more], where)
    error.exit_reason = (_FUNCTION_CLAUSE, [call])
    return error


def cause(error: Exception) -> Any:
    """OTP's reason for a call that failed; None if it has none."""
    match error:
        case ProcessEnded():
            return error.reason
        case NoSuchProcess():
            return _NOPROC
        case NotConnected():
            return (_NODEDOWN, Atom(error.node))
        case CallTimeout():
            return _TIMEOUT
        case CallingSelf():
            return Atom("calling_self")
    return None


def exits_call(error: Exception, call: tuple[Any, ...]) -> None:
    """Set the exit reason of ``error`` to that of OTP's ``call``, which is ``{Module, Function,
    Arguments}``: ``{Reason, {Module, Function, Arguments}}``."""
    reason = cause(error)
    if reason is not None and isinstance(error, NodeError):
        error.exit_reason = (reason, call)


def exits_bare(error: NodeError) -> None:
    """Set the exit reason for functions that exit with the bare reason, as ``gen_server:stop`` does for
    a server that does not exist, or does not end in time."""
    if isinstance(error, NoSuchProcess | CallTimeout):
        error.exit_reason = cause(error)


def fails_rpc(error: NodeError) -> None:
    """Set the exit reason for ``rpc``, which returns ``{badrpc, nodedown}`` or ``{badrpc, timeout}``."""
    if isinstance(error, NotConnected | CallTimeout):
        error.exit_reason = (_BADRPC, _TIMEOUT if isinstance(error, CallTimeout) else _NODEDOWN)


def fails_erpc(error: Exception) -> None:
    """Set the exit reason for ``erpc:call``, which raises ``{erpc, Reason}`` as an error."""
    word = _NOCONNECTION if isinstance(error, NotConnected) else _TIMEOUT
    if isinstance(error, NotConnected | CallTimeout):
        error.exit_reason = ((_ERPC, word), [(_ERPC, _CALL, 5, [])])
