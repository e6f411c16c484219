"""Limits for decoding untrusted input, and for encoding."""

from __future__ import annotations

from typing import Any, NoReturn

_set = object.__setattr__


class Limits:
    """Bounds on terms that are decoded and encoded; beyond one is a DecodeError or EncodeError. Immutable.

    max_depth: how deep lists, tuples, maps, records and funs may be nested. Whatever this is, at most 10,000
        tuples directly in one another are decoded: hashing more would overflow C's stack.
    max_size: bytes that a compressed term may grow to.
    cache_size: atoms, and as many pids, in a codec's decode cache.

    Counts and sizes inside a term need no limits of their own: each is compared with the bytes that are left
    before anything is built.
    """

    # No dataclass: that module takes a quarter of the time in which `quicdist.term` is imported.

    __slots__ = ("cache_size", "max_depth", "max_size")

    max_depth: int
    max_size: int
    cache_size: int

    def __init__(
        self, max_depth: int = 200_000, max_size: int = 128 * 1024 * 1024, cache_size: int = 4096
    ) -> None:
        _set(self, "max_depth", max_depth)
        _set(self, "max_size", max_size)
        _set(self, "cache_size", cache_size)

    def _values(self) -> tuple[int, int, int]:
        return self.max_depth, self.max_size, self.cache_size

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if type(other) is Limits else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        return "Limits(max_depth={}, max_size={}, cache_size={})".format(*self._values())

    def __reduce__(self) -> tuple[Any, ...]:
        return Limits, self._values()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Limits cannot be changed: {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Limits cannot be changed: {name}")
