"""Exit reasons, and the reason and stack trace that a Python exception becomes in Erlang."""

from __future__ import annotations

import asyncio
import itertools
import traceback
from types import FrameType, TracebackType
from typing import Any

from quicdist.containment import describe
from quicdist.node.errors import NodeError, ProcessEnded, ProcessExit
from quicdist.term import Atom, TermError, charlist, term_to_binary

NORMAL = Atom("normal")
KILL = Atom("kill")
KILLED = Atom("killed")
NOPROC = Atom("noproc")
NOCONNECTION = Atom("noconnection")
SHUTDOWN = Atom("shutdown")
ERROR = Atom("error")
EXIT = Atom("EXIT")
DOWN = Atom("DOWN")
PROCESS = Atom("process")
UNDEF = Atom("undef")
CANCELLED = Atom("cancelled")

CLASS_EXIT = Atom("exit")
_PYTHON_ERROR = Atom("python_error")
_FILE = Atom("file")
_LINE = Atom("line")
#: The modules of the base classes of the program's servers.
_BASE_CLASSES = {f"quicdist.otp.{name}" for name in ("behaviour", "gen_server", "gen_statem", "gen_event")}
#: Frames that are kept, the innermost ones (ERTS: ``backtrace_depth``).
_DEPTH = 16


def is_shutdown(reason: Any) -> bool:
    """Whether an exit reason is an orderly one: ``normal``, ``shutdown`` or ``{shutdown, _}``."""
    if isinstance(reason, tuple) and len(reason) == 2:
        return reason[0] is SHUTDOWN
    return reason is NORMAL or reason is SHUTDOWN


#: How code of the program has failed: ``(exit, Reason)``, or ``(error, Reason, StackTrace)``.
Failure = tuple[Any, ...]


def named(error: BaseException) -> str:
    """The text of an exception; with its class, if that is not of this package."""
    text = describe(error)
    if type(error).__module__.startswith("quicdist."):
        return text
    return f"{type(error).__qualname__}: {text}" if text else type(error).__qualname__


def error_term(error: BaseException) -> tuple[Any, ...]:
    """``{python_error, <<"ValueError">>, <<"its text">>}``."""
    return (_PYTHON_ERROR, type(error).__qualname__, describe(error))


def stack_term(trace: TracebackType | None) -> list[Any]:
    """A traceback in the shape of Erlang's stack traces, innermost call first:
    ``[{Module, Function, Arity, [{file, File}, {line, Line}]}]``.

    The arity is that of the Python function's positional parameters. The frames of quicdist that
    called the program's code are left out.
    """
    frames: list[Any] = []
    for frame, line in itertools.dropwhile(lambda step: is_own_frame(step[0]), traceback.walk_tb(trace)):
        frames.append(frame_term(frame, line))
    return frames[::-1][:_DEPTH]


def frame_term(frame: FrameType, line: int) -> tuple[Any, ...]:
    """One call of a stack trace: ``{Module, Function, Arity, [{file, File}, {line, Line}]}``."""
    code = frame.f_code
    where = [(_FILE, charlist(code.co_filename)), (_LINE, line)]
    return (_atom(_module(frame)), _atom(code.co_qualname), code.co_argcount, where)


def _atom(name: str) -> Atom:
    return Atom(name.encode("utf-8", "replace").decode()[:255])


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def is_own_frame(frame: FrameType) -> bool:
    """Whether it is a frame of quicdist, but not of a base class of the program's classes."""
    module = _module(frame)
    return module.startswith("quicdist.") and module not in _BASE_CLASSES


def only(error: BaseException) -> BaseException:
    """The exception in a group of one, such as a ``TaskGroup`` makes; any other exception unchanged."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def failure(error: BaseException) -> Failure:
    """The Erlang class of the exception ``error``, its reason, and for the class ``error`` its stack."""
    one = only(error)
    if isinstance(one, ProcessExit):
        return (CLASS_EXIT, one.reason)
    if isinstance(one, asyncio.CancelledError):
        return (CLASS_EXIT, CANCELLED)
    if isinstance(one, NodeError) and one.exit_reason is not None:
        match one.exit_reason:
            case (reason, list(stack)) if not isinstance(one, ProcessEnded):
                return (ERROR, reason, stack)  # OTP's function raises an error
            case reason:
                return (CLASS_EXIT, reason)
    stack = stack_term(error.__traceback__)
    if not stack and error.__cause__ is not None:  # such as a coroutine that raised StopIteration
        stack = stack_term(error.__cause__.__traceback__)
    return (ERROR, error_term(error), stack)


def exit_reason(error: BaseException) -> Any:
    """The reason with which a process exits when ``error`` ends it: the one it carries
    (:class:`ProcessExit`, :attr:`NodeError.exit_reason`), else ``{Error, StackTrace}``, which an
    Erlang shell prints readably."""
    _, reason, *stack = failure(error)
    return (reason, stack[0]) if stack else reason


def answered_reason(error: BaseException) -> Any:
    """:func:`exit_reason`, for an answer: a reason that cannot be encoded is replaced by that of the
    encode error."""
    reason = exit_reason(error)
    try:
        term_to_binary(reason)
    except TermError as failed:
        return (error_term(failed), [])
    return reason
