"""What the call of an exported function came to, in Erlang's terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from quicdist.node.exit_reason import Failure, failure
from quicdist.otp.errors import RemoteError
from quicdist.term import Atom

#: ``(return, Value)``, ``(exit, Reason)``, ``(throw, Reason)``, ``(error, Reason, StackTrace)`` or
#: ``(error, {erpc, Reason})``.
Outcome = tuple[Any, ...]

RETURN = Atom("return")
ERROR = Atom("error")
EXIT = Atom("exit")
THROW = Atom("throw")
_NOCATCH = Atom("nocatch")

#: There is no room for the call. A call that ``erpc`` could not make has no stack, and the reason
#: ``{erpc, Reason}``: that is how a BEAM that has as many processes as it may answers.
SYSTEM_LIMIT: Outcome = (ERROR, (Atom("erpc"), Atom("system_limit")))


def outcome_of(error: BaseException) -> Outcome:
    """What an exception is to Erlang."""
    if isinstance(error, RemoteError) and error.kind in ("error", "exit", "throw"):
        return (Atom(error.kind), error.reason, *([error.stack or []] if error.kind == "error" else []))
    return failure(error)


def exit_of(outcome: Outcome) -> Any:
    """The exit reason of a process in which this went uncaught."""
    kind, reason, *stack = outcome
    if kind == ERROR:
        return (reason, stack[0]) if stack else reason[1]
    return reason if kind == EXIT else ((_NOCATCH, reason), [])


def uncaught(outcome: Outcome) -> Failure:
    """What it is to a process in which it goes uncaught: a value that is thrown is an error there."""
    kind, reason, *stack = outcome
    return (ERROR, (_NOCATCH, reason), []) if kind == THROW else (kind, reason, *stack)


def run(
    function: Callable[..., Any],
    arguments: Sequence[Any],
    failed: Callable[[BaseException], object] = lambda error: None,
) -> Outcome:
    """Call a function outside the event loop's thread. Raises nothing, whatever it does: here even a
    KeyboardInterrupt is an error of this call alone, for Python raises one for Ctrl-C in the main
    thread only. ``failed`` is told of what it raised."""
    try:
        return (RETURN, function(*arguments))
    except BaseException as error:
        failed(error)
        return outcome_of(error)
