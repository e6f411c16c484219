"""Stack traces of functions that failed on another node, as an Erlang shell prints them."""

from __future__ import annotations

from typing import Any

from quicdist import Atom, format_term
from quicdist.term import TermError

#: Lines printed, the innermost calls first.
_MAX_LINES = 10
#: Characters of one argument.
_MAX_ARGUMENT = 60

_FILE = Atom("file")
_LINE = Atom("line")


def stack_lines(stack: Any) -> list[str]:
    """``in lists:reverse(foo) (lists.erl, line 147)`` for each call of a stack trace.

    It came from outside: what does not look like a call is left out.
    """
    lines = []
    for entry in stack if isinstance(stack, list) else ():
        match entry:
            case (Atom() as module, Atom() as function, int() | list() as arguments, list(location)):
                called = f"{format_term(module)}:{format_term(function)}{_arguments(arguments)}"
                lines.append(f"in {called}{_where(location)}")
    more = len(lines) - _MAX_LINES
    return lines[:_MAX_LINES] + ([f"and {more} more"] if more > 0 else [])


def _arguments(arguments: int | list[Any]) -> str:
    if isinstance(arguments, int):
        return f"/{arguments}"
    return "(" + ", ".join(map(_argument, arguments)) + ")"


def _argument(term: Any) -> str:
    try:
        text = format_term(term)
    except TermError:
        return "..."
    return text if len(text) <= _MAX_ARGUMENT else text[: _MAX_ARGUMENT - 3] + "..."


def _where(location: list[Any]) -> str:
    known = dict(item for item in location if isinstance(item, tuple) and len(item) == 2)
    file, line = known.get(_FILE), known.get(_LINE)
    if not isinstance(file, list) or not all(isinstance(char, int) for char in file):
        return ""
    name = "".join(chr(char) for char in file if 0x20 <= char < 0xD800)
    return f" ({name}, line {line})" if isinstance(line, int) else f" ({name})"
