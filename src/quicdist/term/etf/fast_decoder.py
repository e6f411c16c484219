"""The short way through the decoder, for the terms that messages are mostly made of.

The decoder proper (``decoder.py``) keeps its own stack, knows every tag and says what is wrong where.
This one calls itself, which is quicker, for the first levels of a term and its common tags, and leaves
all else to that one: rarer tags and deeper levels a part at a time, and anything that does not go
smoothly (bytes that end too soon, keys that a dict cannot tell apart) as a whole. So it checks nothing
that shows by itself in the end: reading too far is an IndexError, or leaves the offset behind the data.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from itertools import repeat
from math import isfinite
from struct import Struct
from struct import error as struct_error
from typing import Any, Protocol, TypeAlias

from quicdist.term.atom import Atom
from quicdist.term.errors import TermError
from quicdist.term.etf.decoder import TIMES, Decoder
from quicdist.term.etf.key_depth import too_deep_to_hash
from quicdist.term.etf.numeric_lists import RUN_TAGS, read_runs
from quicdist.term.identifiers import MAX_REFERENCE_WORDS, Pid, Reference
from quicdist.term.limits import Limits
from quicdist.term.tags import Tag
from quicdist.term.values import ImproperList

_uint16 = Struct(">H").unpack_from
_uint32 = Struct(">I").unpack_from
_int32 = Struct(">i").unpack_from
_double = Struct(">d").unpack_from

_new = object.__new__
_set_node = Reference.node.__set__  # type: ignore[attr-defined, misc]
_set_etf = Reference._etf.__set__  # type: ignore[attr-defined, misc]
_set_elements = ImproperList.elements.__set__  # type: ignore[attr-defined, misc]
_set_tail = ImproperList.tail.__set__  # type: ignore[misc]

#: Levels of a term that are read by calling ourselves: far from Python's limit, and few enough that
#: their frames fit in the memory that it has at hand for them.
_LEVELS = 36

_ONCE = TIMES[1]

#: Up to this size a bytearray or memoryview is copied sooner than decoded in place.
_COPIED = 4096

_Read: TypeAlias = Callable[[bytes, int, int], tuple[Any, int]]


class Decode(Protocol):
    """Decodes the term at ``offset``; the term, and the offset after it. Raises DecodeError."""

    def __call__(self, data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Any, int]: ...


class NotSmooth(Exception):
    """The decoder proper has to look at this."""


#: Raised for bytes that the complete decoder has to decode: it raises the right error. Any other
#: exception is a defect, which must show.
LEFT_TO_DECODER = (
    NotSmooth,
    TermError,
    LookupError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    struct_error,
)


def fast_decoder(
    careful: Decoder,
    atoms: dict[bytes, Any],
    nodes: dict[bytes, Atom],
    pids: dict[bytes, Pid],
    limits: Limits,
    view_from: int = sys.maxsize,
) -> Decode:
    """A function from ``(data, offset)`` to a term and the offset after it.

    What is not smooth is left to ``careful``; the three caches are that one's, and only that one adds to
    them.
    """

    levels = min(_LEVELS, limits.max_depth)

    # In all of these ``room`` is how many levels more may be entered here.

    def rest(data: bytes, i: int, room: int) -> tuple[Any, int]:
        return careful.decode(data, i, levels - room)

    def several(data: bytes, i: int, times: Iterable[None], room: int, items: list[Any]) -> int:
        # One term each of ``times``, into ``items``; the offset after them. The order of the tags is
        # that of how often they come, or how little else there is to them.
        for _ in times:
            tag = data[i]
            if tag == 119:  # SMALL_ATOM_UTF8_EXT
                end = i + 2 + data[i + 1]
                try:
                    items.append(atoms[data[i:end]])
                except KeyError:
                    items.append(rest(data, i, room)[0])
                i = end
            elif tag == 97:  # SMALL_INTEGER_EXT
                items.append(data[i + 1])
                i += 2
            elif tag == 104 and room:  # SMALL_TUPLE_EXT
                parts: list[Any] = []
                i = several(data, i + 2, TIMES[data[i + 1]], room - 1, parts)
                items.append(tuple(parts))
            elif tag == 109:  # BINARY_EXT
                length = _uint32(data, i + 1)[0]
                if length >= view_from:
                    raise NotSmooth
                i += 5
                end = i + length
                items.append(data[i:end])
                i = end
            elif tag == 108 and room:  # LIST_EXT
                length = _uint32(data, i + 1)[0]
                i += 5
                parts = []
                if length > 3 and data[i] in RUN_TAGS:
                    i = read_runs(data, i, len(data), length, parts)
                    length -= len(parts)
                i = several(data, i, TIMES[length] if length < 256 else repeat(None, length), room - 1, parts)
                if data[i] == 106:
                    items.append(parts)
                    i += 1
                else:
                    improper, i = with_tail(parts, data, i, room)
                    items.append(improper)
            elif tag == 98:  # INTEGER_EXT
                items.append(_int32(data, i + 1)[0])
                i += 5
            elif tag == 106:  # NIL_EXT
                items.append([])
                i += 1
            else:
                part, i = read[tag](data, i, room)
                items.append(part)
        return i

    def with_tail(items: list[Any], data: bytes, i: int, room: int) -> tuple[ImproperList, int]:
        tail: Any
        if data[i] == 90:
            tail, i = read_reference(data, i, room)
        else:
            parts: list[Any] = []
            i = several(data, i, _ONCE, room - 1, parts)
            tail = parts[0]
        if type(tail) is list or type(tail) is ImproperList or not items:
            raise NotSmooth
        improper = _new(ImproperList)
        _set_elements(improper, tuple(items))
        _set_tail(improper, tail)
        return improper, i

    def read_map(data: bytes, i: int, room: int) -> tuple[Any, int]:
        if not room:
            return rest(data, i, room)
        room -= 1
        count = _uint32(data, i + 1)[0]
        i += 5
        pairs = {}
        for _ in TIMES[count] if count < 256 else repeat(None, count):
            tag = data[i]
            if tag == 119:
                end = i + 2 + data[i + 1]
                try:
                    key = atoms[data[i:end]]
                except KeyError:
                    key = rest(data, i, room)[0]
                i = end
            elif tag == 109:
                i += 5
                end = i + _uint32(data, i - 4)[0]
                key = data[i:end]
                i = end
            elif tag == 97:
                key = data[i + 1]
                i += 2
            elif tag == 98:
                key = _int32(data, i + 1)[0]
                i += 5
            else:
                key, i = rest(data, i, room)
                if too_deep_to_hash((key,)):
                    raise NotSmooth
            tag = data[i]
            if tag == 119:
                end = i + 2 + data[i + 1]
                try:
                    pairs[key] = atoms[data[i:end]]
                except KeyError:
                    pairs[key] = rest(data, i, room)[0]
                i = end
            elif tag == 97:
                pairs[key] = data[i + 1]
                i += 2
            elif tag == 109:
                length = _uint32(data, i + 1)[0]
                if length >= view_from:
                    raise NotSmooth
                i += 5
                end = i + length
                pairs[key] = data[i:end]
                i = end
            elif tag == 104 and room:
                parts: list[Any] = []
                i = several(data, i + 2, TIMES[data[i + 1]], room - 1, parts)
                pairs[key] = tuple(parts)
            elif tag == 98:
                pairs[key] = _int32(data, i + 1)[0]
                i += 5
            elif tag == 108:
                parts = []
                i = several(data, i, _ONCE, room, parts)
                pairs[key] = parts[0]
            else:
                pairs[key], i = read[tag](data, i, room)
        if len(pairs) != count:
            raise NotSmooth
        return pairs, i

    def read_nil(data: bytes, i: int, room: int) -> tuple[Any, int]:
        return [], i + 1

    def read_string(data: bytes, i: int, room: int) -> tuple[Any, int]:
        if not room:
            return rest(data, i, room)
        end = i + 3 + _uint16(data, i + 1)[0]
        return [*data[i + 3 : end]], end

    def read_float(data: bytes, i: int, room: int) -> tuple[Any, int]:
        value = _double(data, i + 1)[0]
        if not isfinite(value):
            raise NotSmooth
        return value, i + 9

    def read_big(data: bytes, i: int, room: int) -> tuple[Any, int]:
        end = i + 3 + data[i + 1]
        value = int.from_bytes(data[i + 3 : end], "little")
        return -value if data[i + 2] else value, end

    def read_pid(data: bytes, i: int, room: int) -> tuple[Any, int]:
        end = i + 15 + data[i + 2]
        try:
            return pids[data[i:end]], end
        except KeyError:
            return rest(data, i, room)

    def read_reference(data: bytes, i: int, room: int) -> tuple[Any, int]:
        if data[i + 3] != Tag.SMALL_ATOM_UTF8_EXT:
            return rest(
                data, i, room
            )  # A reference keeps its bytes, and is the same in whatever form it came.
        end = i + 5 + data[i + 4]
        words = data[i + 2]
        try:
            node = nodes[data[i + 3 : end]]
        except KeyError:
            return rest(data, i, room)
        if data[i + 1] or not 0 < words <= MAX_REFERENCE_WORDS:
            raise NotSmooth
        end += 4 + 4 * words
        reference = _new(Reference)
        _set_node(reference, node)
        _set_etf(reference, data[i:end])
        return reference, end

    read: list[_Read] = [rest] * 256
    read[Tag.MAP_EXT] = read_map
    read[Tag.NIL_EXT] = read_nil
    read[Tag.STRING_EXT] = read_string
    read[Tag.NEW_FLOAT_EXT] = read_float
    read[Tag.SMALL_BIG_EXT] = read_big
    read[Tag.NEW_PID_EXT] = read_pid
    read[Tag.NEWER_REFERENCE_EXT] = read_reference

    def decode(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Any, int]:
        if type(data) is not bytes:
            if len(data) > _COPIED:
                with memoryview(data) as view, view.cast("B") as octets:
                    return careful.decode(octets, offset)
            data = bytes(data)
        if offset >= 0:
            terms: list[Any] = []
            try:
                end = several(data, offset, _ONCE, levels, terms)
                if end <= len(data):
                    return terms[0], end
            except LEFT_TO_DECODER:
                pass
        return careful.decode(data, offset)

    return decode
