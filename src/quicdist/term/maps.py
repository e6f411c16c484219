"""A map for keys that a ``dict`` cannot hold, or would confuse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, final

from quicdist.term.errors import EncodeError, TermError
from quicdist.term.identity import Formed, exact_form, pairs_form

_set = object.__setattr__


@final
class Map(Formed, Mapping[Any, Any]):
    """An Erlang map that a ``dict`` cannot hold: a read-only mapping whose keys are compared as in Erlang.

    A key may be any term, a list or a map too, and ``1``, ``1.0`` and ``True`` are three keys, as
    are ``0.0`` and ``-0.0``. Equal (also to a ``dict``) when keys and values are the same terms,
    exactly; hashable, so it can be a key itself.

    ``Map(pairs)`` or ``Map(mapping)``; raises TermError if a key comes twice, EncodeError for a
    value that is not a term. Its keys and values must not be changed afterwards.
    """

    __slots__ = ("_index",)

    _index: dict[bytes, int]

    def __init__(self, pairs: Mapping[Any, Any] | Iterable[tuple[Any, Any]] = ()) -> None:
        held = tuple((key, value) for key, value in (pairs.items() if isinstance(pairs, Mapping) else pairs))
        _set(self, "_pairs", held)
        self._compute()

    def _compute(self) -> None:
        forms = [exact_form(key) for key, _ in self._pairs]
        index = dict(zip(forms, range(len(forms)), strict=True))
        if len(index) != len(forms):
            raise TermError("a map cannot have a key twice")
        _set(self, "_index", index)
        _set(self, "_form", pairs_form(forms, self._pairs))

    def __getattr__(self, name: str) -> Any:
        # Of a map that was decoded, with one pair, these are not computed before they are needed.
        if name in ("_index", "_form"):
            self._compute()
            return object.__getattribute__(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __getitem__(self, key: Any) -> Any:
        at = self._at(key)
        if at is None:
            raise KeyError(key)
        return self._pairs[at][1]

    def __contains__(self, key: object) -> bool:
        return self._at(key) is not None

    def _at(self, key: Any) -> int | None:
        try:
            return self._index.get(exact_form(key))
        except EncodeError:  # not a term, so not a key
            return None

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __eq__(self, other: object) -> bool:
        if type(other) is Map:
            return self._form == other._form
        if isinstance(other, dict):
            try:
                return self._form == exact_form(other)
            except EncodeError:
                return False
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._form)

    def __repr__(self) -> str:
        return f"Map({list(self._pairs)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Map, (self._pairs,)


def decoded_pair(pair: tuple[Any, Any]) -> Map:
    """The Map of one pair of decoded terms."""
    made = object.__new__(Map)
    _set(made, "_pairs", (pair,))
    return made
