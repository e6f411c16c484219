"""Converts subclasses of the encodable types, and similar types, to those types."""

from __future__ import annotations

from collections.abc import Mapping
from operator import index
from typing import Any


def cannot_encode(value: Any) -> str:
    """The text of the error for a value that is not a term."""
    kind = type(value)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"cannot encode {module}{kind.__qualname__} as an Erlang term"


def coerced(term: Any) -> Any:
    """``term`` converted to an encodable type, or NotImplemented if it has none.

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
