"""Patterns for selective receive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from quicdist.term import Atom, ImproperList, exactly_equal


class _Any:
    """Matches every term."""

    def __repr__(self) -> str:
        return "ANY"


ANY: Final = _Any()

Pattern = Any


def matcher(pattern: Pattern) -> Callable[[Any], bool]:
    """A function that says whether a term matches ``pattern``.

    A pattern is :data:`ANY`, a class (its instances match; ``bool`` is no ``int``), a function
    from a term to a truth value, a tuple or list of patterns of the same length, or a term that
    must be the same one as Erlang's ``=:=`` has it (``1`` is neither ``1.0`` nor ``true``).
    """
    if pattern is ANY:
        return lambda term: True
    if isinstance(pattern, type):
        if pattern is int:
            return lambda term: isinstance(term, int) and not isinstance(term, bool)
        return lambda term: isinstance(term, pattern)
    if isinstance(pattern, tuple | list):
        kind = tuple if isinstance(pattern, tuple) else list
        parts = [matcher(part) for part in pattern]
        return lambda term: (
            isinstance(term, kind)
            and len(term) == len(parts)
            and all(part(item) for part, item in zip(parts, term, strict=True))
        )
    if callable(pattern) and not isinstance(pattern, Atom | ImproperList):
        function: Callable[[Any], Any] = pattern
        return lambda term: bool(function(term))
    if isinstance(pattern, str) and not isinstance(pattern, Atom):
        pattern = pattern.encode()
    return lambda term: exactly_equal(term, pattern)
