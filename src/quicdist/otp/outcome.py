"""The outcome of a call of an exported function, as Erlang terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from quicdist.node.exit_reason import CLASS_EXIT, ERROR, Failure, failure
from quicdist.otp.errors import RemoteError
from quicdist.term import Atom

#: ``(return, Value)``, ``(exit, Reason)``, ``(throw, Reason)``, ``(error, Reason, StackTrace)`` or
#: ``(error, {erpc, Reason})``.
Outcome = tuple[Any, ...]

RETURN = Atom("return")
THROW = Atom("throw")
_NOCATCH = Atom("nocatch")

#: The call could not be started: the answer of a BEAM that has reached its limit of processes. Its reason
#: is ``{erpc, Reason}``, and it has no stack trace.
NOT_STARTED: Outcome = (ERROR, (Atom("erpc"), Atom("system_limit")))
#: The node does not do this at all: what ``erpc`` raises for a node that cannot answer it.
NOT_SUPPORTED: Outcome = (ERROR, (Atom("erpc"), Atom("notsup")))


def outcome_of(error: BaseException) -> Outcome:
    """The outcome of a function that raised ``error``."""
    if isinstance(error, RemoteError) and error.kind in ("error", "exit", "throw"):
        return (Atom(error.kind), error.reason, *([error.stack or []] if error.kind == "error" else []))
    return failure(error)


def exit_of(outcome: Outcome) -> Any:
    """The exit reason of a process that does not catch this outcome."""
    kind, reason, *stack = outcome
    if kind == ERROR:
        return (reason, stack[0]) if stack else reason[1]
    return reason if kind == CLASS_EXIT else ((_NOCATCH, reason), [])


def uncaught(outcome: Outcome) -> Failure:
    """The failure of a process that does not catch it: an uncaught throw is an error ``nocatch``."""
    kind, reason, *stack = outcome
    return (ERROR, (_NOCATCH, reason), []) if kind == THROW else (kind, reason, *stack)


def run(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    failed: Callable[[BaseException], object] = lambda error: None,
) -> Outcome:
    """Call a function outside the event loop's thread; never raises. Even a KeyboardInterrupt is an error
    of this call only: Python raises one for Ctrl-C in the main thread only. ``failed`` is called with the
    exception."""
    try:
        return (RETURN, function(*arguments))
    except BaseException as error:
        failed(error)
        return outcome_of(error)
