"""The base of the value classes: set once, printed as Erlang prints, ordered within their type."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn


class _Operations:
    """Functions that values need, of modules that import the values themselves."""

    #: :func:`quicdist.term.format_term`.
    format_term: Callable[[Any], str]
    #: :func:`quicdist.term.compare`.
    compare: Callable[[Any, Any], int]
    #: The term at an offset of bytes, each atom as an Atom, and the offset after it.
    decode: Callable[[bytes, int], tuple[Any, int]]


#: Set by ``quicdist.term``, which is imported before any of its modules.
operations = _Operations()


class Value:
    """An immutable value of a type that Python lacks.

    ``str()`` prints it as Erlang does, ``repr()`` as Python source. Values of one
    type are ordered as in Erlang.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} cannot be changed: {name}")

    def __str__(self) -> str:
        return operations.format_term(self)

    def _order(self, other: object) -> int | None:
        """-1, 0 or 1 against a value of the same type, None against any other."""
        if type(other) is not type(self):
            return None
        return operations.compare(self, other)

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


class QuicklyMade(Value):
    """The base of values that messages are full of, so the decoder makes them in the cheapest way.

    Their slots are private, and are set like any attribute, which takes a tenth of the time of a call of
    ``object.__setattr__``. They are read by properties, so that nothing public can be changed.
    """

    __slots__ = ()

    if not TYPE_CHECKING:  # what the class has by these, for mypy
        __setattr__ = object.__setattr__
        __delattr__ = object.__delattr__
