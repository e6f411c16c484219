"""How a Python exception looks to Erlang: an exit reason with a stack trace."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Any

from quicdist.node.errors import ProcessExit
from quicdist.term import Atom

NORMAL = Atom("normal")
KILL = Atom("kill")
KILLED = Atom("killed")
NOPROC = Atom("noproc")
NOCONNECTION = Atom("noconnection")
SHUTDOWN = Atom("shutdown")
EXIT = Atom("EXIT")
DOWN = Atom("DOWN")
PROCESS = Atom("process")
UNDEF = Atom("undef")
CANCELLED = Atom("cancelled")

_PYTHON_ERROR = Atom("python_error")
_FILE = Atom("file")
_LINE = Atom("line")
#: Frames kept, the innermost ones, as ERTS keeps ``backtrace_depth`` of them.
_DEPTH = 16
#: Characters kept of an exception's text: it crosses the wire with every link and monitor.
_TEXT = 4096


def error_term(error: BaseException) -> tuple[Any, ...]:
    """``{python_error, <<"ValueError">>, <<"its text">>}``."""
    text = str(error).encode("utf-8", "replace")[:_TEXT].decode("utf-8", "ignore")
    return (_PYTHON_ERROR, type(error).__qualname__, text)


def stack_term(trace: TracebackType | None) -> list[Any]:
    """A traceback in the shape of Erlang's stack traces, innermost call first:
    ``[{Module, Function, Arity, [{file, File}, {line, Line}]}]``.

    The arity is that of the Python function's positional parameters.
    """
    frames = []
    for frame, line in traceback.walk_tb(trace):
        code = frame.f_code
        module = str(frame.f_globals.get("__name__", "?"))
        where = [(_FILE, [ord(char) for char in code.co_filename]), (_LINE, line)]
        frames.append((Atom(module[:255]), Atom(code.co_qualname[:255]), code.co_argcount, where))
    return frames[::-1][:_DEPTH]


def exit_reason(error: BaseException) -> Any:
    """The reason a process exits with when ``error`` ends it: the reason it carries where it is a
    :class:`ProcessExit`, else ``{Error, StackTrace}``, which an Erlang shell prints readably."""
    if isinstance(error, ProcessExit):
        return error.reason
    return (error_term(error), stack_term(error.__traceback__))
