"""Decodes terms whose tags are uncommon, or that OTP no longer sends."""

from __future__ import annotations

import re
from math import isfinite
from struct import Struct
from typing import Any

from quicdist.term.etf.decode_cache import DecodeCache
from quicdist.term.etf.malformed import Malformed, bad_reference, named, too_few
from quicdist.term.funs import Export
from quicdist.term.identifiers import MAX_REFERENCE_WORDS, Pid, Port, Reference
from quicdist.term.tags import Tag
from quicdist.term.values import BitString

_uint16 = Struct(">H").unpack_from
_bits_head = Struct(">IB").unpack_from
_pid = Struct(">III").unpack_from
_old_pid = Struct(">IIB").unpack_from
_new_port = Struct(">II").unpack_from
_old_port = Struct(">IB").unpack_from
_v4_port = Struct(">QI").unpack_from

#: FLOAT_EXT: "%.20e" in 31 bytes, filled up with zeros.
_FLOAT_TEXT = re.compile(rb"[ ]*[+-]?[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?\0*")


def read_uncommon(known: DecodeCache, data: Any, i: int) -> tuple[Any, int]:
    """The term at ``i`` and the offset after it. Raises Malformed, also for an unknown tag."""
    tag = data[i]
    if tag in (Tag.ATOM_EXT, Tag.SMALL_ATOM_EXT, Tag.ATOM_UTF8_EXT, Tag.SMALL_ATOM_UTF8_EXT):
        head = 2 if tag == Tag.SMALL_ATOM_EXT else 3
        length = data[i + 1] if head == 2 else _uint16(data, i + 1)[0]
        etf = bytes(data[i : i + head + length])
        try:
            return known.atoms[etf], i + head + length
        except KeyError:
            return known.new_atom(data, i, etf)
    if tag == Tag.BIT_BINARY_EXT:
        length, bits = _bits_head(data, i + 1)
        end = i + 6 + length
        if end > len(data):
            raise Malformed(too_few("bitstring", length, len(data) - i - 6))
        if bits == 8 or length == bits == 0:
            return bytes(data[i + 6 : end]), end
        return BitString(data[i + 6 : end], bits), end
    if tag == Tag.EXPORT_EXT:
        module, j = known.node(data, i + 1)
        function, j = known.node(data, j)
        if data[j] != Tag.SMALL_INTEGER_EXT:
            raise Malformed(f"expected the arity of an export, got {named(data[j])}")
        return Export(module, function, data[j + 1]), j + 2
    if tag == Tag.NEW_PID_EXT:
        node, j = known.node(data, i + 1)
        id, serial, creation = _pid(data, j)
        return known.own(Pid(node, id, serial, creation)), j + 12
    if tag == Tag.PID_EXT:
        node, j = known.node(data, i + 1)
        id, serial, creation = _old_pid(data, j)
        return Pid(node, id, serial, creation), j + 9
    if tag == Tag.V4_PORT_EXT:
        node, j = known.node(data, i + 1)
        id, creation = _v4_port(data, j)
        return Port(node, id, creation), j + 12
    if tag == Tag.NEW_PORT_EXT:
        node, j = known.node(data, i + 1)
        id, creation = _new_port(data, j)
        return Port(node, id, creation), j + 8
    if tag == Tag.PORT_EXT:
        node, j = known.node(data, i + 1)
        id, creation = _old_port(data, j)
        return Port(node, id, creation), j + 5
    if tag == Tag.REFERENCE_EXT:
        node, j = known.node(data, i + 1)
        id, creation = _old_port(data, j)
        return Reference(node, (id,), creation), j + 5
    if tag == Tag.NEW_REFERENCE_EXT or tag == Tag.NEWER_REFERENCE_EXT:
        count = _uint16(data, i + 1)[0]
        if not 0 < count <= MAX_REFERENCE_WORDS:
            raise Malformed(bad_reference(count))
        node, j = known.node(data, i + 3)
        wide = tag == Tag.NEWER_REFERENCE_EXT
        creation, *ids = Struct(f">{'I' if wide else 'B'}{count}I").unpack_from(data, j)
        return known.own(Reference(node, ids, creation)), j + (4 if wide else 1) + 4 * count
    if tag == Tag.FLOAT_EXT:
        text = bytes(data[i + 1 : i + 32])
        if len(text) < 31:
            raise IndexError
        if not _FLOAT_TEXT.fullmatch(text):
            raise Malformed(f"not a float: {text!r}")
        value = float(text.rstrip(b"\0"))
        if not isfinite(value):
            raise Malformed(f"a float that is not finite: {text!r}")
        return value, i + 32
    if tag == Tag.LOCAL_EXT:
        raise Malformed("LOCAL_EXT inside another term: its end is unknown")
    if tag == Tag.COMPRESSED:
        raise Malformed("a compressed term that does not follow the version byte")
    if tag == Tag.ATOM_CACHE_REF:
        raise Malformed("ATOM_CACHE_REF, but there is no atom cache")
    if tag == Tag.FUN_EXT:
        raise Malformed("FUN_EXT is not supported: no OTP since R8 sends it")
    raise Malformed(f"unknown tag {tag}")
