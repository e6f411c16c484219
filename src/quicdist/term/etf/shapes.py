"""Shapes: what terms that come again and again have in common.

A node receives the same messages many times, with other values: the shape of a message says which of its
bytes are always the same (tags, sizes, names) and where values are. It is taken from an example, and widened
by further examples: ``{ok, 5}`` and ``{error, 700}`` have the shape ``{an atom, an integer}``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct

from quicdist.term.tags import Tag

_uint16 = Struct(">H").unpack_from
_uint32 = Struct(">I").unpack_from

#: Parts of a term that are looked at, and how deep; what is beyond is ``Any``.
MAX_PARTS = 128
_MAX_DEPTH = 8
#: The longest list, and the largest map, of which each element is looked at.
_MAX_ELEMENTS = 8
_MAX_PAIRS = 16
#: The longest external form that is part of a shape: of an atom, a node's name, a binary key. So shapes,
#: which are kept, are small.
_MAX_CONSTANT = 128

#: By tag of a term of a fixed size: the bytes after the tag.
FIXED = {Tag.SMALL_INTEGER_EXT: 1, Tag.INTEGER_EXT: 4, Tag.NEW_FLOAT_EXT: 8, Tag.FLOAT_EXT: 31}
#: Tags of integers of a fixed size.
_INTEGERS = (Tag.SMALL_INTEGER_EXT, Tag.INTEGER_EXT, 0)
#: By tag of an identifier: the bytes after the name of its node; for references, of creation only.
_NUMBERS = {
    Tag.NEW_PID_EXT: 12,
    Tag.V4_PORT_EXT: 12,
    Tag.NEW_PORT_EXT: 8,
    Tag.PID_EXT: 9,
    Tag.PORT_EXT: 5,
    Tag.REFERENCE_EXT: 5,
}
_CREATION = {Tag.NEWER_REFERENCE_EXT: 4, Tag.NEW_REFERENCE_EXT: 1}
#: By tag of an atom: the bytes before its name.
ATOM_HEADS = {
    Tag.SMALL_ATOM_UTF8_EXT: 2,
    Tag.SMALL_ATOM_EXT: 2,
    Tag.ATOM_UTF8_EXT: 3,
    Tag.ATOM_EXT: 3,
}
_EMPTY = {Tag.NIL_EXT: b"j", Tag.SMALL_TUPLE_EXT: b"h\0", Tag.MAP_EXT: b"t\0\0\0\0"}


@dataclass(frozen=True, slots=True)
class Constant:
    """The same atom, empty term, or binary key of a map, always."""

    raw: bytes


@dataclass(frozen=True, slots=True)
class AnyAtom:
    """An atom whose external form has this tag."""

    tag: int


@dataclass(frozen=True, slots=True)
class Number:
    """An integer or float of a fixed size, by its tag; of either size if the tag is 0."""

    tag: int


@dataclass(frozen=True, slots=True)
class Sized:
    """A binary, charlist (STRING_EXT), bitstring or integer (SMALL_BIG_EXT) by its size in bytes; None stands
    for any size. ``bits`` are those of a bitstring's last byte."""

    tag: int
    size: int | None
    bits: int = 0


@dataclass(frozen=True, slots=True)
class Identifier:
    """A pid, port or reference, which has ``size`` bytes of numbers after the name of its node. ``start`` is
    its external form before that name, ``node`` the name's, None for any name with the tag ``atom``."""

    start: bytes
    atom: int
    node: bytes | None
    size: int


@dataclass(frozen=True, slots=True)
class ExportOf:
    """An export whose module and function have this tag."""

    tag: int


@dataclass(frozen=True, slots=True)
class TupleOf:
    parts: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of these elements; ``tail`` is None for a proper list."""

    parts: tuple[Shape, ...]
    tail: Shape | None


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map whose keys have these shapes, in this order."""

    keys: tuple[Shape, ...]
    parts: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class AnyTerm:
    """Any term at all."""


Shape = (
    Constant | AnyAtom | Number | Sized | Identifier | ExportOf | TupleOf | ListOf | MapOf | AnyTerm
)  # fmt: skip

ANY = AnyTerm()

#: Types of a tail for which a list is improper for certain.
_TAILS = (Constant, AnyAtom, Number, Identifier)
#: Types of a key that Python can hash for certain.
_KEYS = (Constant, AnyAtom, Number, Identifier)


class _Parser:
    """Takes the shape of a term from bytes that have been decoded already, so they are well-formed."""

    def __init__(self, data: bytes, end_of: Callable[[bytes, int], int]) -> None:
        self._data = data
        self._end_of = end_of
        self._left = MAX_PARTS

    def parse(self, i: int, depth: int = 0) -> tuple[Shape, int]:
        data, tag = self._data, self._data[i]
        self._left -= 1
        if self._left >= 0:
            if tag in FIXED:
                return Number(tag), i + 1 + FIXED[Tag(tag)]
            if tag in ATOM_HEADS:
                end = self._atom_end(i)
                return Constant(data[i:end]) if end - i <= _MAX_CONSTANT else AnyAtom(tag), end
            if tag in _EMPTY and data.startswith(_EMPTY[Tag(tag)], i):
                raw = _EMPTY[Tag(tag)]
                return Constant(raw), i + len(raw)
            if tag == Tag.BINARY_EXT:
                size = _uint32(data, i + 1)[0]
                return Sized(tag, size), i + 5 + size
            if tag == Tag.STRING_EXT:
                size = _uint16(data, i + 1)[0]
                return Sized(tag, None), i + 3 + size
            if tag == Tag.SMALL_BIG_EXT:
                return Sized(tag, data[i + 1]), i + 3 + data[i + 1]
            if tag == Tag.BIT_BINARY_EXT and 0 < data[i + 5] < 8:
                size = _uint32(data, i + 1)[0]
                return Sized(tag, size, data[i + 5]), i + 6 + size
            if tag in _NUMBERS:
                return self._identifier(i, 1, _NUMBERS[Tag(tag)])
            if tag in _CREATION:
                return self._identifier(i, 3, _CREATION[Tag(tag)] + 4 * data[i + 2])
            if tag == Tag.EXPORT_EXT:
                end = self._atom_end(i + 1)
                if data[end] == data[i + 1]:
                    return ExportOf(data[end]), self._atom_end(end) + 2
            if depth < _MAX_DEPTH:
                if tag == Tag.SMALL_TUPLE_EXT and data[i + 1] <= MAX_PARTS:
                    parts, end = self._sequence(i + 2, data[i + 1], depth)
                    return TupleOf(parts), end
                if tag == Tag.LIST_EXT and _uint32(data, i + 1)[0] <= _MAX_ELEMENTS:
                    return self._list(i, depth)
                if tag == Tag.MAP_EXT and _uint32(data, i + 1)[0] <= _MAX_PAIRS:
                    found = self._map(i, depth)
                    if found is not None:
                        return found
        return ANY, self._end_of(data, i)

    def _atom_end(self, i: int) -> int:
        if ATOM_HEADS[Tag(self._data[i])] == 2:
            return i + 2 + self._data[i + 1]
        return int(i + 3 + _uint16(self._data, i + 1)[0])

    def _identifier(self, i: int, before: int, size: int) -> tuple[Shape, int]:
        data, at = self._data, i + before
        end = self._atom_end(at)
        node = data[at:end] if end - at <= _MAX_CONSTANT else None
        return Identifier(data[i:at], data[at], node, size), end + size

    def _sequence(self, i: int, count: int, depth: int) -> tuple[tuple[Shape, ...], int]:
        parts = []
        for _ in range(count):
            part, i = self.parse(i, depth + 1)
            parts.append(part)
        return tuple(parts), i

    def _list(self, i: int, depth: int) -> tuple[Shape, int]:
        parts, end = self._sequence(i + 5, _uint32(self._data, i + 1)[0], depth)
        if self._data[end] == Tag.NIL_EXT:
            return ListOf(parts, None), end + 1
        tail, end = self.parse(end, depth + 1)
        if not parts or not isinstance(tail, _TAILS):
            return ANY, self._end_of(self._data, i)
        return ListOf(parts, tail), end

    def _map(self, i: int, depth: int) -> tuple[Shape, int] | None:
        data = self._data
        keys, parts = [], []
        at = i + 5
        for _ in range(_uint32(data, i + 1)[0]):
            key, end = self.parse(at, depth + 1)
            if data[at] == Tag.BINARY_EXT and end - at <= _MAX_CONSTANT:
                key = Constant(data[at:end])
            if not _hashable(key):
                return None
            keys.append(key)
            part, at = self.parse(end, depth + 1)
            parts.append(part)
        return MapOf(tuple(keys), tuple(parts)), at


def _hashable(key: Shape) -> bool:
    if isinstance(key, TupleOf):
        return all(map(_hashable, key.parts))
    return isinstance(key, _KEYS) and key not in (Constant(b"j"), Constant(_EMPTY[Tag.MAP_EXT]))


def shape_of(data: bytes, i: int, end_of: Callable[[bytes, int], int]) -> Shape:
    """The shape of the well-formed term at ``i``; ``end_of`` gives the offset after any term."""
    return _Parser(data, end_of).parse(i)[0]


def widened(one: Shape, other: Shape) -> Shape:
    """The narrowest shape that both have."""
    if one == other:
        return one
    match one, other:
        case TupleOf(), TupleOf() if len(one.parts) == len(other.parts):
            return TupleOf(_all_widened(one.parts, other.parts))
        case ListOf(), ListOf() if len(one.parts) == len(other.parts):
            if one.tail is None or other.tail is None:
                if one.tail is other.tail:
                    return ListOf(_all_widened(one.parts, other.parts), None)
                return ANY
            tail = widened(one.tail, other.tail)
            return ListOf(_all_widened(one.parts, other.parts), tail) if isinstance(tail, _TAILS) else ANY
        case MapOf(), MapOf() if len(one.keys) == len(other.keys):
            keys = _all_widened(one.keys, other.keys)
            return MapOf(keys, _all_widened(one.parts, other.parts)) if all(map(_hashable, keys)) else ANY
        case Identifier(), Identifier() if one.start == other.start and one.atom == other.atom:
            return Identifier(one.start, one.atom, None, one.size)
        case Sized(), Sized() if (one.tag, one.bits) == (other.tag, other.bits):
            return Sized(one.tag, None, one.bits)
        case Number(), Number() if one.tag in _INTEGERS and other.tag in _INTEGERS:
            return Number(0)
    tags = atom_tag(one), atom_tag(other)
    if tags[0] and tags[0] == tags[1]:
        return AnyAtom(tags[0])
    return ANY


def _all_widened(some: tuple[Shape, ...], others: tuple[Shape, ...]) -> tuple[Shape, ...]:
    return tuple(map(widened, some, others))


def atom_tag(shape: Shape) -> int:
    """The tag of an atom's shape, 0 for any other shape."""
    if isinstance(shape, AnyAtom):
        return shape.tag
    if isinstance(shape, Constant) and shape.raw[0] in ATOM_HEADS:
        return shape.raw[0]
    return 0


def depth_of(shape: Shape) -> int:
    """Levels that the fast path enters for a term of this shape, ``Any`` apart."""
    match shape:
        case TupleOf():
            return 1 + max(map(depth_of, shape.parts), default=0)
        case MapOf():
            return 1 + max(map(depth_of, shape.keys + shape.parts), default=0)
        case ListOf():
            tail = () if shape.tail is None else (shape.tail,)
            return 1 + max(map(depth_of, shape.parts + tail), default=0)
        case Sized(tag=Tag.STRING_EXT):
            return 1
        case Constant() if shape.raw[0] not in ATOM_HEADS:
            return 1
    return 0


def leaves(shape: Shape) -> tuple[int, int]:
    """How many parts without parts it has, and how many of them are any term."""
    parts: tuple[Shape, ...]
    match shape:
        case TupleOf(parts):
            pass
        case ListOf(parts, tail):
            parts = parts if tail is None else (*parts, tail)
        case MapOf(keys, values):
            parts = keys + values
        case _:
            return 1, int(shape == ANY)
    counts = list(map(leaves, parts))
    return sum(count for count, _ in counts), sum(unknown for _, unknown in counts)
