"""Keys of maps that nest too deep for Python's own hash and ``==``, which recurse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from quicdist.term.values import ImproperList, Record

#: Below this depth a key may be hashed and compared by Python, which recurses; deeper, only by ours.
HASHABLE_DEPTH = 100


def too_deep_to_hash(keys: Sequence[Any]) -> bool:
    """Whether a key nests deeper than may be left to Python's own, recursive, hash and ``==``."""
    level = [key for key in keys if type(key) in _NESTING]
    for _ in range(HASHABLE_DEPTH):
        if not level:
            return False
        parts = chain.from_iterable(map(_parts, level))
        level = [part for part in parts if type(part) in _NESTING]
    return bool(level)


_NESTING = frozenset((tuple, ImproperList, Record))


def _parts(term: Any) -> Iterator[Any]:
    if type(term) is tuple:
        return iter(term)
    if type(term) is ImproperList:
        return chain(term.elements, (term.tail,))
    return iter(term.fields.values())
