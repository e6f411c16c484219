"""Erlang's bit syntax: the segments of ``<<1, 2:4, "abc"/utf16-little>>`` to a binary or a bitstring.

Source: Erlang Reference Manual, "Bit Syntax Expressions"; what may be combined with what is as in
``erl_bits``, what a segment becomes as in ``eval_bits`` (both OTP stdlib).
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from quicdist.term.values import BitString

#: A handful of characters can ask for any number of bits; no more than this are made.
MAX_BYTES = 64 * 1024 * 1024

_ALIASES = {"bytes": ("binary", 8), "bits": ("binary", 1), "bitstring": ("binary", 1)}
_TYPES = {"integer", "float", "binary", "utf8", "utf16", "utf32"}
_SIGNS = {"signed", "unsigned"}
_ENDIANS = {"big", "little", "native"}
_UTF_ENCODINGS = {
    "utf8": dict.fromkeys(_ENDIANS, "utf-8"),
    "utf16": {"big": "utf-16-be", "little": "utf-16-le"},
    "utf32": {"big": "utf-32-be", "little": "utf-32-le"},
}
_FLOATS = {16: "e", 32: "f", 64: "d"}


class BadSegment(Exception):
    """An invalid segment; the text says why."""


@dataclass(frozen=True, slots=True)
class SegmentType:
    """Size and type of a segment, with OTP's defaults filled in."""

    type: str = "integer"
    size: int | None = None
    unit: int = 1
    little: bool = False

    @classmethod
    def of(cls, size: int | None, names: Iterable[str], unit: int | None = None) -> SegmentType:
        """From a literal size (None if there is none), the names after the slash and ``unit:N``.

        Raises BadSegment if they do not go together.
        """
        chosen: dict[str, str] = {}
        units = set() if unit is None else {unit}
        for name in names:
            if name in _ALIASES:
                name, of_alias = _ALIASES[name]
                units.add(of_alias)
            for what, allowed in (("type", _TYPES), ("sign", _SIGNS), ("endianness", _ENDIANS)):
                if name in allowed:
                    if chosen.setdefault(what, name) != name:
                        raise BadSegment(f"a segment of {what} both {chosen[what]} and {name}")
                    break
            else:
                raise BadSegment(f"there is no segment type {name}")
        if len(units) > 1:
            raise BadSegment(f"a segment of units {sorted(units)}")
        if any(not 1 <= unit <= 256 for unit in units):
            raise BadSegment(f"a unit is 1 to 256, not {units.pop()}")
        return cls._completed(chosen, size, units.pop() if units else None)

    @classmethod
    def _completed(cls, chosen: dict[str, str], size: int | None, unit: int | None) -> SegmentType:
        kind = chosen.get("type", "integer")
        endianness = chosen.get("endianness", "big")
        little = (sys.byteorder if endianness == "native" else endianness) == "little"
        if kind.startswith("utf"):
            if size is not None or unit is not None:
                raise BadSegment(f"a segment of type {kind} has no size and no unit")
            return cls(kind, little=little)
        if kind == "binary":
            return cls(kind, size, 8 if unit is None else unit, little)
        if size is None:
            if unit is not None:
                raise BadSegment(f"a segment of type {kind} has no unit without a size")
            size = 8 if kind == "integer" else 64
        return cls(kind, size, 1 if unit is None else unit, little)


#: A segment without size and type.
A_BYTE = SegmentType(size=8)


class BitBuilder:
    """Joins segments."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._bits = 0  # the bits that do not fill a byte yet, and how many they are
        self._size = 0

    def add_string(self, characters: list[int], segment: SegmentType | None) -> None:
        """A string literal: each character a segment of its own, one byte each if untyped."""
        if segment is None:
            self.add_bits(bytes(character & 0xFF for character in characters), 0, 0)
            return
        if not characters:
            BitBuilder().add(0, segment)  # as in OTP, the type of an empty string is checked too
        for character in characters:
            self.add(character, segment)

    def add(self, value: Any, segment: SegmentType) -> None:
        """One segment; raises BadSegment if ``value`` cannot be one of that type and size."""
        match segment.type:
            case "integer":
                self._add_integer(self._check(value, segment), segment)
            case "float":
                self._add_float(self._check(value, segment), segment)
            case "binary":
                self._add_binary(value, segment)
            case utf:
                code = self._check(value, segment)
                endianness = "little" if segment.little else "big"
                self.add_bits(chr(code).encode(_UTF_ENCODINGS[utf][endianness]), 0, 0)

    def _check(self, value: Any, segment: SegmentType) -> Any:
        number = type(value) is int or (segment.type == "float" and type(value) is float)
        if not number:
            raise BadSegment(f"a segment of type {segment.type} needs a number, not {type(value).__name__}")
        if segment.type.startswith("utf"):
            if not 0 <= value <= 0x10FFFF or 0xD800 <= value <= 0xDFFF:
                raise BadSegment(f"{value} is no Unicode character")
        elif segment.type == "float" and self._bits_of(segment) not in _FLOATS:
            raise BadSegment(f"a float has 16, 32 or 64 bits, not {self._bits_of(segment)}")
        return value

    def _bits_of(self, segment: SegmentType) -> int:
        bits = (segment.size or 0) * segment.unit
        if bits > 8 * MAX_BYTES:
            raise BadSegment(f"a segment of {bits} bits; at most {8 * MAX_BYTES} are made of text")
        return bits

    def _add_integer(self, value: int, segment: SegmentType) -> None:
        bits = self._bits_of(segment)
        value &= (1 << bits) - 1
        whole, rest = divmod(bits, 8)
        if segment.little:
            # The least significant bytes first; the bits that are left are the most significant.
            low = value & ((1 << 8 * whole) - 1)
            self.add_bits(low.to_bytes(whole, "little"), value >> 8 * whole, rest)
        else:
            self.add_bits((value >> rest).to_bytes(whole, "big"), value & ((1 << rest) - 1), rest)

    def _add_float(self, value: float, segment: SegmentType) -> None:
        code = ("<" if segment.little else ">") + _FLOATS[self._bits_of(segment)]
        try:
            number = float(value)
        except OverflowError:
            raise BadSegment("the integer is too large for a float") from None
        try:
            packed = struct.pack(code, number)
        except OverflowError:
            # Too large for a float of this size: OTP makes it infinite.
            packed = struct.pack(code, math.copysign(math.inf, number))
        self.add_bits(packed, 0, 0)

    def _add_binary(self, value: Any, segment: SegmentType) -> None:
        if isinstance(value, BitString):
            data, size = value.data, value.bit_size
        elif type(value) is bytes:
            data, size = value, 8 * len(value)
        else:
            raise BadSegment(f"a segment of type binary needs a binary, not {type(value).__name__}")
        if segment.size is None:
            if size % segment.unit:
                raise BadSegment(f"{size} bits are no whole number of units of {segment.unit}")
        else:
            wanted = self._bits_of(segment)
            if wanted > size:
                raise BadSegment(f"{wanted} bits of a binary that has {size}")
            size = wanted
        whole, rest = divmod(size, 8)
        self.add_bits(data[:whole], data[whole] >> (8 - rest) if rest else 0, rest)

    def add_bits(self, data: bytes, bits: int, size: int) -> None:
        """``data``, then the low ``size`` bits (0 to 7) of ``bits``."""
        if len(self._bytes) + len(data) > MAX_BYTES:
            raise BadSegment(f"a binary of more than {MAX_BYTES} bytes")
        if self._size and data:
            shifted = (self._bits << 8 * len(data)) | int.from_bytes(data, "big")
            total = self._size + 8 * len(data)
            self._bytes += (shifted >> self._size).to_bytes(total // 8, "big")
            self._bits = shifted & ((1 << self._size) - 1)
        else:
            self._bytes += data
        self._bits = (self._bits << size) | bits
        self._size += size
        if self._size >= 8:
            self._size -= 8
            self._bytes.append(self._bits >> self._size)
            self._bits &= (1 << self._size) - 1

    def value(self) -> bytes | BitString:
        """The result: ``bytes``, or a BitString if the last byte is not full."""
        if not self._size:
            return bytes(self._bytes)
        return BitString(bytes(self._bytes) + bytes((self._bits << (8 - self._size),)), self._size)
