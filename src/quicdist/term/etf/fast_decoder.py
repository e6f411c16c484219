"""The fast path of the decoder.

The complete decoder (``decoder.py``) has an explicit stack and locates faults. The fast path recurses, which
is quicker, and handles the first levels of a term, and every tag but those of native records and of terms
that OTP does not send. Parts with other tags, or deeper ones, are decoded by the complete decoder. If
something is wrong (the data end too soon, two keys of a map are one key to a dict), the complete decoder
decodes the whole term again. So most checks are left out here: reading too far raises IndexError, or ends at
an offset after the data.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import repeat
from operator import length_hint
from struct import Struct
from struct import error as struct_error
from typing import TYPE_CHECKING, Any, Protocol

from quicdist.term.errors import TermError
from quicdist.term.etf.decoder import TIMES, Decoder
from quicdist.term.etf.fast_identifiers import Read, identifier_readers
from quicdist.term.etf.key_depth import NESTING, too_deep_to_hash
from quicdist.term.etf.malformed import Malformed, NeedsDecoder
from quicdist.term.etf.numeric_lists import RUN_TAGS, read_runs
from quicdist.term.etf.shape_table import ShapeTable, element_key, message_key
from quicdist.term.etf.uncommon_tags import read_uncommon
from quicdist.term.funs import MAX_FREE_VARIABLES, Fun
from quicdist.term.identifiers import Pid
from quicdist.term.limits import Limits
from quicdist.term.maps import Map, decoded_pair
from quicdist.term.tags import Tag
from quicdist.term.values import BitString, ImproperList

if TYPE_CHECKING:
    from quicdist.term.etf.shape_readers import ReadMany, ReadOne
    from quicdist.term.etf.shapes import Shape

_uint16 = Struct(">H").unpack_from
_uint32 = Struct(">I").unpack_from
_int32 = Struct(">i").unpack_from
_double = Struct(">d").unpack_from

_new = object.__new__
_set_fun_etf = Fun._etf.__set__  # type: ignore[attr-defined, misc]
_set_module = Fun.module.__set__  # type: ignore[attr-defined, misc]
_set_pid = Fun.pid.__set__  # type: ignore[misc]

#: What is left of a FLOAT_EXT without its digits: "%.20e" in 31 bytes, filled up with zeros.
_FLOAT_SIGNS = frozenset(
    b"%b.e%b%b" % (sign, exponent, bytes(zeros))
    for sign, most in ((b"", 5), (b"-", 4))
    for exponent in (b"+", b"-")
    for zeros in (most, most - 1)
)

#: Levels of a term that are read by recursion: far below Python's limit, and few enough that the interpreter
#: allocates no further memory for their frames.
_LEVELS = 36

_ONCE = TIMES[1]

#: Elements of a list from which on their shape is looked at, and the tags of such elements: of all that is
#: read faster so.
_ALIKE = 8
_ALIKE_TAGS = frozenset(
    (
        Tag.ATOM_EXT,
        Tag.SMALL_ATOM_EXT,
        Tag.ATOM_UTF8_EXT,
        Tag.BINARY_EXT,
        Tag.BIT_BINARY_EXT,
        Tag.SMALL_BIG_EXT,
        Tag.SMALL_TUPLE_EXT,
        Tag.LIST_EXT,
        Tag.MAP_EXT,
        Tag.NEW_PID_EXT,
        Tag.PID_EXT,
        Tag.NEW_PORT_EXT,
        Tag.V4_PORT_EXT,
        Tag.PORT_EXT,
        Tag.NEWER_REFERENCE_EXT,
        Tag.NEW_REFERENCE_EXT,
        Tag.REFERENCE_EXT,
        Tag.EXPORT_EXT,
    )
)
#: Messages, and elements of lists, with the same key before a shape is compiled for it.
_MESSAGES = 16
_ELEMENTS = 256
#: One in so many messages without a shape is counted, for that many. A program may have more kinds of
#: messages than there are shapes, and counting takes half as long as decoding a small one.
_COUNTED = 4
#: Levels that shapes may have.
_SHAPE_LEVELS = 10

#: A bytearray or memoryview of at most so many bytes is copied, because that is faster than decoding it in
#: place.
_COPIED = 4096


class Decode(Protocol):
    """Decodes the term at ``offset``; the term, and the offset after it. Raises DecodeError."""

    def __call__(self, data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Any, int]: ...


#: Raised for bytes that the complete decoder has to decode: it raises the right error. Any other
#: exception is a defect, which must show.
LEFT_TO_DECODER = (
    NeedsDecoder,
    Malformed,
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
    limits: Limits,
    view_from: int = sys.maxsize,
) -> Decode:
    """A function from ``(data, offset)`` to a term and the offset after it.

    ``decoder`` decodes what the fast path does not handle, and has the caches.
    """

    atoms = decoder.atoms
    levels = min(_LEVELS, limits.max_depth)

    # ``room`` is the number of further levels that the fast path may enter.

    identifiers = identifier_readers(decoder)
    read_atom, read_reference = identifiers[Tag.ATOM_EXT], identifiers[Tag.NEWER_REFERENCE_EXT]

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
                if length > 3:
                    first = data[i]
                    if first in RUN_TAGS:
                        i = read_runs(data, i, len(data), length, parts)
                        length -= len(parts)
                    if length >= _ALIKE and first in _ALIKE_TAGS and room > _SHAPE_LEVELS and not parts:
                        i = read_alike(data, i, length, room - 1, parts)
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
            elif tag == 100:  # ATOM_EXT
                end = i + 3 + data[i + 2] + (data[i + 1] << 8)
                try:
                    items.append(atoms[data[i:end]])
                except KeyError:
                    items.append(read_atom(data, i, room)[0])
                i = end
            elif tag == 106:  # NIL_EXT
                items.append([])
                i += 1
            elif tag == 107 and room:  # STRING_EXT
                i += 3
                end = i + _uint16(data, i - 2)[0]
                items.append([*data[i:end]])
                i = end
            elif tag == 70:  # NEW_FLOAT_EXT
                value = _double(data, i + 1)[0]
                if value - value:  # the difference is NaN for infinity and NaN
                    raise NeedsDecoder
                items.append(value)
                i += 9
            else:
                part, i = read[tag](data, i, room)
                items.append(part)
        return i

    def read_alike(data: bytes, i: int, count: int, room: int, parts: list[Any]) -> int:
        # Reads elements of a list that have one shape, apart from some; returns the offset after them.
        key = element_key(data, i)
        failed = 0
        while True:
            read_many = element_readers.get(key)
            if read_many:
                i = read_many(data, i, count - len(parts), room, parts.append)
                if len(parts) == count:
                    return i
            start = i
            i = read_terms(data, i, _ONCE, room, parts)
            if i > len(data):
                raise NeedsDecoder
            if read_many:
                missed_element(key, data, start)
            elif read_many is None:
                # No more than the data can hold: the list may be cut off.
                missed_element(key, data, start, min(count, (len(data) - start) // (i - start)))
            failed += 1
            if not element_readers.get(key) or 4 * failed > 16 + len(parts) or len(parts) == count:
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
        improper._elements = tuple(items)
        improper._tail = tail
        return improper, i

    def read_map(data: bytes, i: int, room: int) -> tuple[Any, int]:
        if not room:
            return rest(data, i, room)
        room -= 1
        count = _uint32(data, i + 1)[0]
        i += 5
        pairs: dict[Any, Any] = {}
        times = iter(TIMES[count]) if count < 256 else repeat(None, count)
        for _ in times:
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
            elif tag == 100:
                key, i = read_atom(data, i, room)
            else:
                key_items: list[Any] = []
                i = read_terms(data, i, _ONCE, room, key_items)
                key = key_items[0]
                kind = type(key)
                nests = kind in NESTING and (kind is not tuple or not NESTING.isdisjoint(map(type, key)))
                if nests and too_deep_to_hash((key,)):
                    raise NeedsDecoder
                try:
                    hash(key)
                except TypeError:
                    left = length_hint(times)
                    if len(pairs) != count - left - 1:  # two keys were one to the dict
                        raise NeedsDecoder from None
                    return read_unhashable(pairs, key, left, data, i, room)
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
            else:
                parts = []
                i = read_terms(data, i, _ONCE, room, parts)
                pairs[key] = parts[0]
        if len(pairs) != count:
            raise NeedsDecoder
        return pairs, i

    def read_unhashable(
        pairs: dict[Any, Any], key: Any, left: int, data: bytes, i: int, room: int
    ) -> tuple[Map, int]:
        # The rest of a map from the value of the first key that cannot be hashed.
        items = [key]
        i = read_terms(data, i, repeat(None, 1 + 2 * left), room, items)
        if len(items) == 2 and not pairs:
            return decoded_pair((items[0], items[1])), i
        parts = iter(items)
        return Map([*pairs.items(), *zip(parts, parts, strict=True)]), i

    def read_big(data: bytes, i: int, room: int) -> tuple[Any, int]:
        end = i + 3 + data[i + 1]
        value = int.from_bytes(data[i + 3 : end], "little")
        return -value if data[i + 2] else value, end

    def read_bits(data: bytes, i: int, room: int) -> tuple[Any, int]:
        end = i + 6 + _uint32(data, i + 1)[0]
        bits = data[i + 5]
        octets = data[i + 6 : end]
        if not 0 < bits < 8 or octets[-1] & 0xFF >> bits:
            return read_uncommon(decoder, data, i)
        value = _new(BitString)
        value._data = octets
        value._bits = bits
        return value, end

    def read_fun(data: bytes, i: int, room: int) -> tuple[Any, int]:
        if not room:
            return rest(data, i, room)
        end, free = i + 1 + _uint32(data, i + 1)[0], _uint32(data, i + 26)[0]
        if free > MAX_FREE_VARIABLES or end > len(data):
            raise NeedsDecoder
        parts: list[Any] = []
        j = read_terms(data, i + 30, TIMES[4], 0, parts)
        _, old_index, old_uniq, pid = parts
        if type(old_index) is not int or type(old_uniq) is not int or type(pid) is not Pid:
            raise NeedsDecoder
        fun = _new(Fun)
        _set_module(fun, decoder.node(data, i + 30)[0])
        _set_pid(fun, pid)
        if read_terms(data, j, TIMES[free], room - 1, parts) != end:
            raise NeedsDecoder
        _set_fun_etf(fun, data[i:end])
        return fun, end

    def read_float(data: bytes, i: int, room: int) -> tuple[Any, int]:
        # As OTP writes it, with digits around a point; others are left to the decoder.
        text = data[i + 1 : i + 32]
        point = 1 if text[0] != 45 else 2
        if (
            text.translate(None, b"0123456789") in _FLOAT_SIGNS
            and text[point] == 46
            and text[point + 1] != 101
        ):
            value = float(text.rstrip(b"\0"))
            if not value - value:
                return value, i + 32
        return read_uncommon(decoder, data, i)

    def read_large_tuple(data: bytes, i: int, room: int) -> tuple[Any, int]:
        if not room:
            return rest(data, i, room)
        count = _uint32(data, i + 1)[0]
        i += 5
        parts: list[Any] = []
        if count > 3 and data[i] in RUN_TAGS:
            i = read_runs(data, i, len(data), count, parts)
        i = read_terms(data, i, repeat(None, count - len(parts)), room - 1, parts)
        return tuple(parts), i

    def read_any(data: bytes, i: int, room: int) -> tuple[Any, int]:
        parts: list[Any] = []
        try:
            i = read_terms(data, i, _ONCE, room, parts)
        except LEFT_TO_DECODER:
            # Otherwise what contains it is read in another way, and each level would double the time.
            raise NeedsDecoder from None
        return parts[0], i

    read: list[Read] = [rest] * 256
    for tag, function in (
        *identifiers.items(),
        (Tag.MAP_EXT, read_map),
        (Tag.SMALL_BIG_EXT, read_big),
        (Tag.BIT_BINARY_EXT, read_bits),
        (Tag.NEW_FUN_EXT, read_fun),
        (Tag.LARGE_TUPLE_EXT, read_large_tuple),
        (Tag.FLOAT_EXT, read_float),
    ):
        read[tag] = function

    def compile_elements(shape: Shape) -> ReadMany:
        from quicdist.term.etf.shape_readers import compile_many

        return compile_many(shape, decoder, read_any, view_from)

    def compile_message(shape: Shape) -> ReadOne:
        from quicdist.term.etf.shape_readers import compile_one

        return compile_one(shape, decoder, read_any, view_from)

    shape_levels = min(_SHAPE_LEVELS, levels)
    elements = ShapeTable(
        decoder,
        read_any,
        compile_elements,
        levels=shape_levels,
        threshold=_ELEMENTS,
        most_any=0,
    )
    element_readers, missed_element = elements.readers, elements.missed
    messages = ShapeTable(
        decoder,
        read_any,
        compile_message,
        levels=shape_levels,
        threshold=_MESSAGES,
        most_any=0.4,
    )
    reader_of_message, missed_message = messages.readers.get, messages.missed
    missed = 0

    def decode(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[Any, int]:
        nonlocal missed
        if type(data) is not bytes:
            if len(data) > _COPIED or len(data) >= view_from:  # only of the caller's bytes there are views
                with memoryview(data) as view, view.cast("B") as octets:
                    return decoder.decode(octets, offset)
            data = bytes(data)
        if offset >= 0:
            try:
                tag = data[offset]
                if tag == 104 or tag == 116:
                    if tag == 104 and (first := data[offset + 2]) != 100:  # as message_key() has it
                        key = data[offset : offset + (4 + data[offset + 3] if first == 119 else 3)]
                    else:
                        key = message_key(data, offset)
                    read_message = reader_of_message(key)
                    if read_message:
                        found = read_message(data, offset, levels)
                        if found is not None:
                            return found
                    terms: list[Any] = []
                    end = read_terms(data, offset, _ONCE, levels, terms)
                    if end <= len(data):
                        if read_message is not False:
                            missed += 1
                            if not missed % _COUNTED:
                                missed_message(key, data, offset, _COUNTED)
                        return terms[0], end
                else:
                    terms = []
                    end = read_terms(data, offset, _ONCE, levels, terms)
                    if end <= len(data):
                        return terms[0], end
            except LEFT_TO_DECODER:
                pass
        return decoder.decode(data, offset)

    return decode
