"""Integers to the external term format, one at a time and whole lists of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from operator import countOf
from struct import Struct, pack
from struct import error as struct_error

from quicdist.term.digits import MAX_BITS
from quicdist.term.etf.unencodable import Unencodable
from quicdist.term.tags import Tag

_tagged_uint32 = Struct(">BI").pack
_tagged_int32 = Struct(">Bi").pack

#: SMALL_INTEGER_EXT of 0 to 255.
SMALL = [bytes((Tag.SMALL_INTEGER_EXT, n)) for n in range(256)]

_NIL = bytes((Tag.NIL_EXT,))
#: The most elements of a STRING_EXT.
_MAX_STRING = 0xFFFF
_FEW = 8
#: Up to so many integers, not all of more than 8 bits, are made one by one.
_SHORT = 256
_STRINGS = [bytes((Tag.STRING_EXT, 0, n)) for n in range(256)]
#: SMALL_BIG_EXT of eight bytes: tag, size, sign, digits.
_EIGHT_BYTES = Struct("<BBBQ").pack

_NOT_ZERO = bytes((0, *(1,) * 255))
_RUNS = re.compile(rb"\x00+|\x01+")


def big(value: int) -> bytes:
    """SMALL_BIG_EXT or LARGE_BIG_EXT: for integers of more than 32 bits. Raises Unencodable beyond
    Erlang's largest integer: a BEAM that meets one closes the connection."""
    negative = value < 0
    if 56 < value.bit_length() <= 64:
        return _EIGHT_BYTES(110, 8, negative, -value if negative else value)
    digits = abs(value).to_bytes((value.bit_length() + 7) >> 3, "little")
    if len(digits) < 256:
        return bytes((110, len(digits), negative)) + digits
    if 8 * len(digits) > MAX_BITS:
        raise Unencodable(f"an integer of {value.bit_length()} bits; OTP's limit is {MAX_BITS}")
    return b"%b%c%b" % (_tagged_uint32(Tag.LARGE_BIG_EXT, len(digits)), negative, digits)


def integer(value: int) -> bytes:
    """The shortest form of an integer."""
    if 0 <= value <= 255:
        return SMALL[value]
    if -0x80000000 <= value <= 0x7FFFFFFF:
        return _tagged_int32(Tag.INTEGER_EXT, value)
    return big(value)


def integer_list(terms: list[int]) -> bytes | None:
    """The external form of a list of nothing but integers, and None for any other list. The first element is
    an integer.

    STRING_EXT or LIST_EXT with the elements that OTP writes, but made by whole runs of them.
    """
    size = len(terms)
    first, last = terms[0], terms[-1]
    if type(last) is int and 0 <= first <= 255 and 0 <= last <= 255 and size <= _MAX_STRING:
        try:
            octets = bytes(terms)
        except (TypeError, ValueError):
            pass
        else:
            if countOf(map(type, terms), int) == size:  # not of bools, and whatever has an __index__
                return (_STRINGS[size] if size < 256 else b"k" + size.to_bytes(2)) + octets
    if size <= _FEW:
        for term in terms:
            if type(term) is not int:
                return None
        return _tagged_uint32(108, size) + b"".join(map(integer, terms)) + _NIL
    if set(map(type, terms)) != {int}:
        return None
    head = _tagged_uint32(Tag.LIST_EXT, size)
    small, tagged = SMALL, _tagged_int32
    try:
        if size <= _SHORT and not (first >> 8 and last >> 8 and terms[size >> 1] >> 8):
            body = b"".join([tagged(98, n) if n >> 8 else small[n] for n in terms])
            return b"%b%b%b" % (head, body, _NIL)
        packed = pack(f">{size}i", *terms)
    except struct_error:  # some have more than 32 bits
        return b"%b%b%b" % (head, b"".join(map(integer, terms)), _NIL)
    # One byte for each element: whether it needs more than its lowest.
    high = int.from_bytes(packed[0::4]) | int.from_bytes(packed[1::4]) | int.from_bytes(packed[2::4])
    if not high and size <= _MAX_STRING:
        return b"%c%b%b" % (Tag.STRING_EXT, size.to_bytes(2), packed[3::4])
    wide = high.to_bytes(size).translate(_NOT_ZERO)
    if 8 * (wide.count(b"\0\1") + wide.count(b"\1\0")) > size:  # no runs to speak of
        body = b"".join([tagged(98, n) if n >> 8 else small[n] for n in terms])
    else:
        body = b"".join(_by_runs(wide, packed))
    return b"%b%b%b" % (head, body, _NIL)


def _by_runs(wide: bytes, packed: bytes) -> Iterator[bytes]:
    """The elements in the packed 32-bit numbers, as runs of INTEGER_EXT and of SMALL_INTEGER_EXT."""
    for run in _RUNS.finditer(wide):
        start, end = run.span()
        if wide[start]:
            tagged = bytearray(b"b") * (5 * (end - start))
            for at in range(4):
                tagged[at + 1 :: 5] = packed[4 * start + at : 4 * end : 4]
        else:
            tagged = bytearray(b"a") * (2 * (end - start))
            tagged[1::2] = packed[4 * start + 3 : 4 * end : 4]
        yield bytes(tagged)
