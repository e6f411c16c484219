"""Maps whose keys are names: of these a codec keeps what it learned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from quicdist.term.atom import Atom

#: The longest name that is kept.
MAX_NAME = 128


def are_names(keys: Iterable[Any]) -> bool:
    """Whether all keys are atoms, ``str`` or ``bytes``, and different keys in Erlang."""
    kinds = set(map(type, keys)) - {Atom}
    return kinds == set() or kinds == {str} or kinds == {bytes}  # "a" and b"a" are the same key in Erlang


def are_short(keys: Iterable[Any]) -> bool:
    """Whether names are short enough to be kept."""
    return all(len(key._etf if type(key) is Atom else key) <= MAX_NAME for key in keys)
