"""Readers of lists of identifiers or bitstrings that differ in few bytes.

Such elements have one size. So the bytes at the same place of each make a column, which is a slice: constant
bytes are compared, and old forms of identifiers are rewritten, a column at a time in place of an element at a
time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import repeat, starmap
from struct import Struct
from typing import Any, NamedTuple

from quicdist.term.etf.decode_cache import DecodeCache
from quicdist.term.etf.readers import ReadMany
from quicdist.term.etf.shapes import Identifier, Shape, Sized
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.tags import Tag
from quicdist.term.values import BitString

#: Elements that are read in one step: the first step of a call has few, as the next element may have another
#: shape.
_FIRST_STEP, _STEP = 128, 512
#: Elements that are larger gain nothing.
_MAX_SIZE = 1024
#: Slices that are made in one step, and formats for fewer that are kept.
_BLOCK, _MAX_ENDS = 64, 16

_new = object.__new__


class Form(NamedTuple):
    """The newest form of an identifier, in which it is kept."""

    kind: type
    #: Its tag.
    tag: int
    #: What comes before the name of the node, after the tag; None if it is what came there.
    start: bytes | None
    #: Where the bytes of its numbers come from, in those that came; -1 stands for a zero.
    numbers: Callable[[int], Sequence[int]]


def _same(size: int) -> Sequence[int]:
    return range(size)


def _with_small_creation(before: Sequence[int]) -> Callable[[int], Sequence[int]]:
    # The last byte is the creation.
    return lambda size: (*before, *range(size - 1), -1, -1, -1, size - 1)


#: By tag of an identifier.
FORMS = {
    Tag.NEW_PID_EXT: Form(Pid, Tag.NEW_PID_EXT, b"", _same),
    Tag.PID_EXT: Form(Pid, Tag.NEW_PID_EXT, b"", _with_small_creation(())),
    Tag.V4_PORT_EXT: Form(Port, Tag.V4_PORT_EXT, b"", _same),
    Tag.NEW_PORT_EXT: Form(Port, Tag.V4_PORT_EXT, b"", lambda size: (-1, -1, -1, -1, *range(size))),
    Tag.PORT_EXT: Form(Port, Tag.V4_PORT_EXT, b"", _with_small_creation((-1, -1, -1, -1))),
    Tag.NEWER_REFERENCE_EXT: Form(Reference, Tag.NEWER_REFERENCE_EXT, None, _same),
    Tag.NEW_REFERENCE_EXT: Form(
        Reference, Tag.NEWER_REFERENCE_EXT, None, lambda size: (-1, -1, -1, *range(size))
    ),
    Tag.REFERENCE_EXT: Form(
        Reference, Tag.NEWER_REFERENCE_EXT, b"\0\1", lambda size: (-1, -1, -1, size - 1, *range(size - 1))
    ),
}
#: Of these the decoder makes no identifiers of the node itself.
NEVER_OWN = (Tag.PID_EXT, Tag.REFERENCE_EXT)


def compile_columns(shape: Shape, known: DecodeCache) -> ReadMany | None:
    """The function that reads elements of this shape; None if they are not read so."""
    if isinstance(shape, Identifier) and shape.node is not None:
        return _identifiers(shape, shape.node, known)
    if isinstance(shape, Sized) and shape.tag == Tag.BIT_BINARY_EXT and shape.size and shape.size < _MAX_SIZE:
        return _bitstrings(shape.size, shape.bits)
    return None


def _identifiers(shape: Identifier, name: bytes, known: DecodeCache) -> ReadMany:
    tag, node = Tag(shape.start[0]), known.node(name, 0)[0]
    form = FORMS[tag]
    kind = form.kind
    came = shape.start + name
    kept = bytes((form.tag,)) + (shape.start[1:] if form.start is None else form.start) + node._etf
    size = len(came) + shape.size
    sources = form.numbers(shape.size)
    kept_size = len(kept) + len(sources)
    cut = _cutter(0, kept_size)
    template = kept + bytes(len(sources))
    same = came == kept and kept_size == size
    moves = [(len(kept) + to, len(came) + at) for to, at in enumerate(sources) if at >= 0]
    own = known.own if known.translates and kind is Reference and tag not in NEVER_OWN else None
    find_pid, new_pid = known.pids.get, known.new_pid
    from_cache = kind is Pid and tag not in NEVER_OWN

    def make(chunk: bytes, count: int, items: list[Any]) -> None:
        if not same:
            kept = bytearray(template * count)
            for to, at in moves:
                kept[to::kept_size] = chunk[at::size]
            chunk = bytes(kept)
        forms = cut(chunk, count)
        if from_cache:
            items += [find_pid(etf) or new_pid(etf, 0, etf)[0] for etf in forms]
            return
        made = [*starmap(_new, repeat((kind,), count))]
        for identifier, etf in zip(made, forms, strict=True):
            identifier._node = node
            identifier._etf = etf
        items += made if own is None else map(own, made)

    return _reader(size, list(enumerate(came)), make)


def _bitstrings(octets: int, bits: int) -> ReadMany:
    head = b"M%b%c" % (octets.to_bytes(4, "big"), bits)
    size = len(head) + octets
    cut = _cutter(len(head), octets)
    arguments = (BitString,)

    def make(chunk: bytes, count: int, items: list[Any]) -> None:
        made = [*starmap(_new, repeat(arguments, count))]
        for value, data in zip(made, cut(chunk, count), strict=True):
            value._data = data
            value._bits = bits
        items += made

    # The unused bits of the last byte are zeros.
    clean = bytes(byte for byte in range(256) if not byte & 0xFF >> bits)
    return _reader(size, list(enumerate(head)), make, size - 1, clean)


def _reader(
    size: int,
    constants: Sequence[tuple[int, int]],
    make: Callable[[bytes, int, list[Any]], None],
    last: int = 0,
    clean: bytes = b"",
) -> ReadMany:
    """Reads elements of ``size`` bytes with these constant bytes by offset; the byte at ``last`` is one of
    ``clean``, if there are any. ``make`` adds so many of them to the list."""
    columns = [(at, bytes((byte,))) for at, byte in constants]

    def read(data: bytes, i: int, count: int, room: int, items: list[Any]) -> int:
        step = _FIRST_STEP
        count = min(count, (len(data) - i) // size)
        while count:
            asked = here = min(step, count)
            chunk = data[i : i + here * size]
            for at, byte in columns:
                column = chunk[at::size]
                if column != byte * asked:
                    here = min(here, asked - len(column.lstrip(byte)))
            if clean and chunk[last::size].translate(None, clean):
                here = min(here, asked - len(chunk[last::size].lstrip(clean)))
            if not here:
                break
            make(chunk if here == asked else chunk[: here * size], here, items)
            i += here * size
            if here < asked:
                break
            count -= here
            step = _STEP
        return i

    return read


@lru_cache(maxsize=32)
def _cutter(start: int, size: int) -> Callable[[bytes, int], list[bytes]]:
    """Cuts elements apart: the ``size`` bytes after the first ``start`` ones of each."""
    one = f"{start}x{size}s"
    block = Struct(one * _BLOCK)
    #: By number: the format for the elements after the last block. Lists of one length come again.
    ends: dict[int, Struct] = {}

    def cut(chunk: bytes, count: int) -> list[bytes]:
        made: list[bytes] = []
        at = 0
        while count >= _BLOCK:
            made += block.unpack_from(chunk, at)
            at += block.size
            count -= _BLOCK
        if count:
            end = ends.get(count)
            if end is None:
                if len(ends) >= _MAX_ENDS:
                    ends.clear()
                end = ends[count] = Struct(one * count)
            made += end.unpack_from(chunk, at)
        return made

    return cut
