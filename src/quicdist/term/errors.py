"""Errors of terms, with the place of the fault."""

from __future__ import annotations

from typing import Any

from quicdist.errors import QuicDistError


class TermError(QuicDistError, ValueError):
    """A value has no Erlang term, or bytes or text do not hold one."""


class EncodeError(TermError):
    """A Python value cannot be encoded as an Erlang term without changing it.

    ``path`` is its place in the term, written as Python code: ``term[1]['a'][3]``.
    """

    def __init__(self, message: str, *, path: str = "term") -> None:
        super().__init__(f"{message} (at {path})")
        self.path = path


class DecodeError(TermError):
    """Bytes are not a term in the external term format, or the term exceeds a limit.

    ``offset`` is the byte at which decoding stopped, counted from the start of the buffer (of the inflated
    term, if it was compressed); ``path`` is that place in the term.
    """

    #: The first elements of the term, if it is a tuple: those that were read whole.
    begun: tuple[Any, ...] = ()
    #: The term is nested deeper than the limits allow; the rest of it was not read.
    too_deep = False

    def __init__(self, message: str, *, offset: int, path: str = "term") -> None:
        super().__init__(f"{message} (at byte {offset}, {path})")
        self.offset = offset
        self.path = path


class ParseError(TermError):
    """Text that is not an Erlang term; ``line`` and ``column`` count from 1."""

    def __init__(self, message: str, *, line: int, column: int) -> None:
        super().__init__(f"{line}:{column}: {message}")
        self.line = line
        self.column = column
