"""The fast path of the decoder, for the common terms of messages.

The complete decoder (``decoder.py``) has an explicit stack, handles every tag and locates faults. The fast
path recurses, which is quicker, and handles the first levels of a term and the common tags only. Parts with
other tags, or deeper ones, are decoded by the complete decoder. If something is wrong (the data end too soon,
two keys of a map are one key to a dict), the complete decoder decodes the whole term again. So most checks
are left out here: reading too far raises IndexError, or ends at an offset after the data.
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

#: Levels of a term that are read by recursion: far below Python's limit, and few enough that the interpreter
#: allocates no further memory for their frames.
_LEVELS = 36

_ONCE = TIMES[1]

#: A bytearray or memoryview of at most so many bytes is copied, because that is faster than decoding it in
#: place.
_COPIED = 4096

_Read: TypeAlias = Callable[[bytes, int, int], tuple[Any, int]]


class Decode(Protocol):
    """Decodes the term at ``offset``; the term, and the offset after it. Raises DecodeError."""

    def __call__(self, data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Any, int]: ...


class NeedsDecoder(Exception):
    """The complete decoder has to decode the whole term."""


#: Raised for bytes that the complete decoder has to decode: it raises the right error. Any other
#: exception is a defect, which must show.
LEFT_TO_DECODER = (
    NeedsDecoder,
    TermError,
    LookupError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    struct_error,
)


def fast_decoder(
    decoder: Decoder,
    atoms: dict[bytes, Any],
    nodes: dict[bytes, Atom],
    pids: dict[bytes, Pid],
    limits: Limits,
    view_from: int = sys.maxsize,
) -> Decode:
    """A function from ``(data, offset)`` to a term and the offset after it.

    ``decoder`` decodes what the fast path does not handle. The three caches belong to it; only it adds
    entries.
    """

    levels = min(_LEVELS, limits.max_depth)

    # ``room`` is the number of further levels that the fast path may enter.

    def rest(data: bytes, i: int, room: int) -> tuple[Any, int]:
        return decoder.decode(data, i, levels - room)

    def read_terms(data: bytes, i: int, times: Iterable[None], room: int, items: list[Any]) -> int:
        # Reads a term for each of ``times`` into ``items``; returns the offset after them. Frequent and
        # simple tags are tested first.
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
                i = read_terms(data, i + 2, TIMES[data[i + 1]], room - 1, parts)
                items.append(tuple(parts))
            elif tag == 109:  # BINARY_EXT
                length = _uint32(data, i + 1)[0]
                if length >= view_from:
                    raise NeedsDecoder
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
                i = read_terms(
                    data, i, TIMES[length] if length < 256 else repeat(None, length), room - 1, parts
                )
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
            i = read_terms(data, i, _ONCE, room - 1, parts)
            tail = parts[0]
        if type(tail) is list or type(tail) is ImproperList or not items:
            raise NeedsDecoder
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
                    raise NeedsDecoder
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
                    raise NeedsDecoder
                i += 5
                end = i + length
                pairs[key] = data[i:end]
                i = end
            elif tag == 104 and room:
                parts: list[Any] = []
                i = read_terms(data, i + 2, TIMES[data[i + 1]], room - 1, parts)
                pairs[key] = tuple(parts)
            elif tag == 98:
                pairs[key] = _int32(data, i + 1)[0]
                i += 5
            elif tag == 108:
                parts = []
                i = read_terms(data, i, _ONCE, room, parts)
                pairs[key] = parts[0]
            else:
                pairs[key], i = read[tag](data, i, room)
        if len(pairs) != count:
            raise NeedsDecoder
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
            raise NeedsDecoder
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
            raise NeedsDecoder
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
                    return decoder.decode(octets, offset)
            data = bytes(data)
        if offset >= 0:
            terms: list[Any] = []
            try:
                end = read_terms(data, offset, _ONCE, levels, terms)
                if end <= len(data):
                    return terms[0], end
            except LEFT_TO_DECODER:
                pass
        return decoder.decode(data, offset)

    return decode
