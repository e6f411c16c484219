"""The base of the value classes: set once, printed as Erlang prints, ordered within their type."""

from __future__ import annotations

from typing import Any, NoReturn


class Value:
    """An immutable value that Python has no type of its own for.

    ``str()`` prints it as Erlang does, ``repr()`` as Python source. ``<`` and its kin follow
    Erlang's term order, between values of one type.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed: {name}")

    def __str__(self) -> str:
        from quicdist.term.format import format_term

        return format_term(self)

    def _order(self, other: object) -> int | None:
        """-1, 0 or 1 against a value of the same type, None against any other."""
        if type(other) is not type(self):
            return None
        from quicdist.term.order import compare

        return compare(self, other)

    def __lt__(self, other: Any) -> bool:
        order = self._order(other)
        return NotImplemented if order is None else order < 0

    def __le__(self, other: Any) -> bool:
        order = self._order(other)
        return NotImplemented if order is None else order <= 0

    def __gt__(self, other: Any) -> bool:
        order = self._order(other)
        return NotImplemented if order is None else order > 0

    def __ge__(self, other: Any) -> bool:
        order = self._order(other)
        return NotImplemented if order is None else order >= 0
