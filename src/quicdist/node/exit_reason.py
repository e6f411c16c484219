"""How a Python exception looks to Erlang: an exit reason with a stack trace."""

from __future__ import annotations

import asyncio
import itertools
import traceback
from types import FrameType, TracebackType
from typing import Any

from quicdist.containment import describe
from quicdist.node.errors import NodeError, ProcessEnded, ProcessExit
from quicdist.term import Atom, TermError, term_to_binary

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
#: Frames kept, the innermost ones, as ERTS keeps ``backtrace_depth`` of them.
_DEPTH = 16


def is_shutdown(reason: Any) -> bool:
    """Whether an exit reason is an orderly one: ``normal``, ``shutdown`` or ``{shutdown, _}``."""
    if isinstance(reason, tuple) and len(reason) == 2:
        return reason[0] is SHUTDOWN
    return reason is NORMAL or reason is SHUTDOWN


#: What code of the program came to: ``(exit, Reason)``, or ``(error, Reason, StackTrace)``.
Failure = tuple[Any, ...]


def named(error: BaseException) -> str:
    """The text of an exception, after its class where that is none of this package's."""
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
    for frame, line in itertools.dropwhile(lambda step: _calls(step[0]), traceback.walk_tb(trace)):
        code, module = frame.f_code, _module(frame)
        where = [(_FILE, [ord(char) for char in code.co_filename]), (_LINE, line)]
        frames.append((_atom(module), _atom(code.co_qualname), code.co_argcount, where))
    return frames[::-1][:_DEPTH]


def _atom(name: str) -> Atom:
    return Atom(name.encode("utf-8", "replace").decode()[:255])


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def _calls(frame: FrameType) -> bool:
    """Whether it is a frame of quicdist, other than of a class that a program's is made from."""
    module = _module(frame)
    return module.startswith("quicdist.") and module != "quicdist.otp.gen_server"


def only(error: BaseException) -> BaseException:
    """The exception in a group of one, such as a ``TaskGroup`` makes of what one of its tasks raised;
    any other exception as it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def failure(error: BaseException) -> Failure:
    """The class of exception that ``error`` is to Erlang, its reason, and for an ``error`` its stack."""
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
    """The reason a process exits with when ``error`` ends it: the one it carries
    (:class:`ProcessExit`, :attr:`NodeError.exit_reason`), else ``{Error, StackTrace}``, which an
    Erlang shell prints readably."""
    _, reason, *stack = failure(error)
    return (reason, stack[0]) if stack else reason


def answered_reason(error: BaseException) -> Any:
    """:func:`exit_reason`, for an answer: a reason that Erlang has no term for is that of the error
    which says so."""
    reason = exit_reason(error)
    try:
        term_to_binary(reason)
    except TermError as failed:
        return (error_term(failed), [])
    return reason
