"""Subclasses and stand-ins of the types that are terms, as those types themselves."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import Any


def coerced(term: Any) -> Any:
    """``term`` as the type that it is a kind of, or NotImplemented if it is no kind of term.

    An IntEnum is its int, a StrEnum its str, a named tuple a tuple, an OrderedDict (or any other
    Mapping) a dict, a bytearray or memoryview bytes, and what has ``__index__`` (``numpy.int64``) an
    int. bool comes before int: Python's bool is one.
    """
    if isinstance(term, int):
        return int.__index__(term)
    if isinstance(term, float):
        return float.__float__(term)
    if isinstance(term, str):
        return str.__str__(term)
    if isinstance(term, bytes):
        return bytes(memoryview(term))  # bytes(term) would call what the subclass overrides
    if isinstance(term, (bytearray, memoryview)):
        return bytes(term)
    if isinstance(term, tuple):
        return tuple(tuple.__iter__(term))
    if isinstance(term, list):
        return list(list.__iter__(term))
    if isinstance(term, Mapping):
        return dict(term.items())
    if hasattr(type(term), "__index__"):
        try:
            return index(term)
        except TypeError:  # numpy.bool_ and arrays have the method, and say so
            return NotImplemented
    return NotImplemented
