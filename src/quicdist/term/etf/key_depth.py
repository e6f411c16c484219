"""How deep the keys of a map nest: Python's own hash and ``==`` recurse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from quicdist.term.values import ImproperList, Record

#: Up to this depth Python hashes and compares a key; deeper keys are compared by their external form.
HASHABLE_DEPTH = 100


def too_deep_to_hash(keys: Sequence[Any]) -> bool:
    """Whether a key nests deeper than :data:`HASHABLE_DEPTH`."""
    level = [key for key in keys if type(key) in NESTING]
    for _ in range(HASHABLE_DEPTH):
        if not level:
            return False
        parts = chain.from_iterable(map(_parts, level))
        level = [part for part in parts if type(part) in NESTING]
    return bool(level)


NESTING = frozenset((tuple, ImproperList, Record))


def _parts(term: Any) -> Iterator[Any]:
    if type(term) is tuple:
        return iter(term)
    if type(term) is ImproperList:
        return chain(term.elements, (term.tail,))
    return iter(term.fields.values())
