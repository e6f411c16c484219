"""Shapes of values: what terms that are sent again and again have in common.

As ``shapes.py`` for the decoder, but of Python values: the shape of a term says the type and the number of
the parts of it, and which names are always the same. It is taken from an example, and widened by further
examples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from quicdist.term.atom import Atom
from quicdist.term.etf.map_names import MAX_NAME, are_names, are_short
from quicdist.term.funs import Export, Fun
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.values import BitString, ImproperList

#: Parts of a term that are looked at, and how deep; what is beyond is ``Any``.
MAX_PARTS = 128
_MAX_DEPTH = 8
#: The longest list, and the largest map, of which each element is looked at.
_MAX_ELEMENTS = 8
_MAX_PAIRS = 16


@dataclass(frozen=True, slots=True)
class Same:
    """The same atom, True, False or None always."""

    value: Any


@dataclass(frozen=True, slots=True)
class Empty:
    """An empty tuple, list or dict."""

    kind: type


@dataclass(frozen=True, slots=True)
class Number:
    """An integer of 8 bits ("B"), of 32 bits ("i") or of either size ("n"), or a float ("d")."""

    code: str


@dataclass(frozen=True, slots=True)
class Leaf:
    """Any value of this type, which has no parts."""

    kind: type


@dataclass(frozen=True, slots=True)
class Integers:
    """A list of integers of any length but 0."""


@dataclass(frozen=True, slots=True)
class TupleOf:
    parts: tuple[ValueShape, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of these elements, at least one of which is no integer; or an ImproperList, which has a tail."""

    parts: tuple[ValueShape, ...]
    tail: ValueShape | None


@dataclass(frozen=True, slots=True)
class MapOf:
    """A dict with these keys, which are names, in this order."""

    keys: tuple[Any, ...]
    parts: tuple[ValueShape, ...]


@dataclass(frozen=True, slots=True)
class PairOf:
    """A dict of one pair."""

    key: ValueShape
    part: ValueShape


@dataclass(frozen=True, slots=True)
class AnyTerm:
    """Any term at all."""


ValueShape = (
    Same | Empty | Number | Leaf | Integers | TupleOf | ListOf | MapOf | PairOf | AnyTerm
)  # fmt: skip

ANY = AnyTerm()

_LEAVES = frozenset((bytes, str, Pid, Reference, Port, Export, Fun, BitString))
_EMPTY = frozenset((tuple, list, dict))


class _Parser:
    def __init__(self, none: bool, maps: bool) -> None:
        self._none = none
        self._maps = maps
        self._left = MAX_PARTS

    def parse(self, term: Any, depth: int = 0) -> ValueShape:
        self._left -= 1
        kind = type(term)
        if self._left < 0:
            return ANY
        if kind is Atom:
            return Same(term) if len(term._etf) <= MAX_NAME else Leaf(Atom)
        if kind is bool or (term is None and self._none):
            return Same(term)
        if kind is int:
            return Number("B" if 0 <= term <= 255 else "i") if -1 << 31 <= term < 1 << 31 else Leaf(int)
        if kind is float:
            return Number("d")
        if kind in _LEAVES:
            return Leaf(kind)
        if kind in _EMPTY and not term:
            return Empty(kind)
        if depth < _MAX_DEPTH:
            if kind is tuple and len(term) <= MAX_PARTS:
                return TupleOf(self._all(term, depth))
            if kind is list:
                if set(map(type, term)) == {int}:
                    return Integers()
                if len(term) <= _MAX_ELEMENTS:
                    return proper(self._all(term, depth))
            if kind is ImproperList and len(term.elements) <= _MAX_ELEMENTS:
                return ListOf(self._all(term.elements, depth), self.parse(term.tail, depth + 1))
            if kind is dict and self._maps and len(term) <= _MAX_PAIRS:
                if are_names(term) and are_short(term):
                    return MapOf(tuple(term), self._all(term.values(), depth))
                if len(term) == 1:
                    return PairOf(*self._all(next(iter(term.items())), depth))
        return ANY

    def _all(self, terms: Any, depth: int) -> tuple[ValueShape, ...]:
        return tuple(self.parse(term, depth + 1) for term in tuple(terms))


def value_shape(term: Any, *, none: bool, maps: bool) -> ValueShape:
    """The shape of a term. ``none``: whether there is an atom for ``None``; ``maps``: whether maps are looked
    into."""
    return _Parser(none, maps).parse(term)


def proper(parts: tuple[ValueShape, ...]) -> ValueShape:
    """The shape of a proper list of these elements."""
    return ANY if all(map(_may_be_integer, parts)) else ListOf(parts, None)


def _may_be_integer(shape: ValueShape) -> bool:
    return shape == ANY or shape == Leaf(int) or (isinstance(shape, Number) and shape.code != "d")


def widened(one: ValueShape, other: ValueShape) -> ValueShape:
    """The narrowest shape that both have."""
    if one == other:
        return one
    match one, other:
        case TupleOf(), TupleOf() if len(one.parts) == len(other.parts):
            return TupleOf(_all_widened(one.parts, other.parts))
        case ListOf(), ListOf() if len(one.parts) == len(other.parts):
            parts = _all_widened(one.parts, other.parts)
            if one.tail is not None and other.tail is not None:
                return ListOf(parts, widened(one.tail, other.tail))
            return proper(parts) if one.tail is other.tail else ANY
        case MapOf(), MapOf() if one.keys == other.keys:
            return MapOf(one.keys, _all_widened(one.parts, other.parts))
        case PairOf() | MapOf(), PairOf() | MapOf():
            pairs = _pair(one), _pair(other)
            if pairs[0] and pairs[1]:
                return PairOf(*_all_widened(*pairs))
            return ANY
        case Number(), Number() if "d" not in (one.code, other.code):
            return Number("n")
    kinds = _kind(one), _kind(other)
    return Leaf(kinds[0]) if kinds[0] is not None and kinds[0] is kinds[1] else ANY


def _all_widened(some: tuple[ValueShape, ...], others: tuple[ValueShape, ...]) -> tuple[ValueShape, ...]:
    return tuple(map(widened, some, others))


def _pair(shape: PairOf | MapOf) -> tuple[ValueShape, ...]:
    """The shapes of key and value of a map of one pair, nothing for larger maps."""
    if isinstance(shape, PairOf):
        return shape.key, shape.part
    if len(shape.keys) > 1:
        return ()
    key = shape.keys[0]
    return (Same(key) if type(key) is Atom else Leaf(type(key))), shape.parts[0]


def _kind(shape: ValueShape) -> type | None:
    """The type of the values of a shape without parts, if :class:`Leaf` has it."""
    match shape:
        case Leaf(kind):
            return kind
        case Number(code):
            return None if code == "d" else int
        case Same(value):
            return None if value is None else type(value)
    return None


def depth_of(shape: ValueShape) -> int:
    """Levels that are entered to write a term of this shape, ``Any`` apart."""
    match shape:
        case TupleOf(parts) | MapOf(_, parts):
            return 1 + max(map(depth_of, parts), default=0)
        case ListOf(parts, tail):
            return 1 + max(map(depth_of, parts if tail is None else (*parts, tail)), default=0)
        case PairOf(key, part):
            return 1 + max(depth_of(key), depth_of(part))
        case Empty() | Integers():
            return 1
    return 0


def leaves(shape: ValueShape) -> tuple[int, int]:
    """How many parts without parts it has, and how many of them are any term."""
    match shape:
        case TupleOf(parts):
            pass
        case ListOf(parts, tail):
            parts = parts if tail is None else (*parts, tail)
        case MapOf(_, parts):
            pass
        case PairOf(key, part):
            parts = key, part
        case _:
            return 1, int(shape == ANY)
    counts = list(map(leaves, parts))
    return sum(count for count, _ in counts), sum(unknown for _, unknown in counts)
