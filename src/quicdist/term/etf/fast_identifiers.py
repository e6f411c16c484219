"""Readers of atoms, pids, references, ports and exports for the fast path of the decoder.

Node names are looked up by their external form. An identifier keeps its own external form, in which the name
of its node is always written in the same way, so that it is the same value in whatever form it came.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, TypeAlias

from quicdist.term.atom import Atom
from quicdist.term.etf.decode_cache import DecodeCache
from quicdist.term.etf.malformed import Malformed, bad_reference, named
from quicdist.term.funs import Export
from quicdist.term.identifiers import MAX_REFERENCE_WORDS, Port, Reference
from quicdist.term.tags import Tag

_uint16 = Struct(">H").unpack_from

_new = object.__new__
_set_node = Reference.node.__set__  # type: ignore[attr-defined, misc]
_set_etf = Reference._etf.__set__  # type: ignore[attr-defined, misc]
_set_port_node = Port.node.__set__  # type: ignore[attr-defined, misc]
_set_port_etf = Port._etf.__set__  # type: ignore[attr-defined, misc]
_set_module = Export.module.__set__  # type: ignore[attr-defined, misc]
_set_function = Export.function.__set__  # type: ignore[attr-defined, misc]
_set_arity = Export.arity.__set__  # type: ignore[attr-defined, misc]
_set_export_etf = Export._etf.__set__  # type: ignore[attr-defined, misc]

_SHORT_ATOMS = (Tag.SMALL_ATOM_UTF8_EXT, Tag.SMALL_ATOM_EXT)

#: Reads the term at an offset of ``data``; the term, and the offset after it. The last argument is the number
#: of further levels that may be entered.
Read: TypeAlias = Callable[[bytes, int, int], tuple[Any, int]]


def identifier_readers(known: DecodeCache) -> dict[int, Read]:
    """A reader by tag. They raise Malformed, IndexError or struct.error, or end after the data."""

    atoms, nodes, pids = known.atoms, known.nodes, known.pids

    def read_atom(data: bytes, i: int, room: int) -> tuple[Any, int]:
        end = i + 2 + data[i + 1] if data[i] in _SHORT_ATOMS else i + 3 + _uint16(data, i + 1)[0]
        etf = data[i:end]
        try:
            return atoms[etf], end
        except KeyError:
            return known.new_atom(data, i, etf)

    def read_node(data: bytes, i: int) -> tuple[Atom, int]:
        end = i + 2 + data[i + 1] if data[i] in _SHORT_ATOMS else i + 3 + _uint16(data, i + 1)[0]
        try:
            return nodes[data[i:end]], end
        except KeyError:
            return known.node(data, i)

    def read_pid(data: bytes, i: int, room: int) -> tuple[Any, int]:
        end = i + 15 + data[i + 2] if data[i + 1] in _SHORT_ATOMS else i + 16 + _uint16(data, i + 2)[0]
        etf = data[i:end]
        try:
            return pids[etf], end
        except KeyError:
            return known.new_pid(data, i, etf)

    def read_reference(data: bytes, i: int, room: int) -> tuple[Any, int]:
        words = data[i + 2]
        if data[i + 3] == 119:  # in place, as every call has a reference
            start = i + 5 + data[i + 4]
            try:
                node = nodes[data[i + 3 : start]]
            except KeyError:
                node, start = known.node(data, i + 3)
        else:
            node, start = read_node(data, i + 3)
        if data[i + 1] or not 0 < words <= MAX_REFERENCE_WORDS:
            raise Malformed(bad_reference(_uint16(data, i + 1)[0]))
        end = start + 4 + 4 * words
        reference = _new(Reference)
        _set_node(reference, node)
        _set_etf(reference, data[i : i + 3] + node._etf + data[start:end])
        return reference, end

    def read_own_reference(data: bytes, i: int, room: int) -> tuple[Any, int]:
        reference, end = read_reference(data, i, room)
        return known.own(reference), end

    def read_port(data: bytes, i: int, room: int) -> tuple[Any, int]:
        node, start = read_node(data, i + 1)
        end = start + 12
        port = _new(Port)
        _set_port_node(port, node)
        _set_port_etf(port, b"x%b%b" % (node._etf, data[start:end]))
        return port, end

    def read_new_port(data: bytes, i: int, room: int) -> tuple[Any, int]:
        node, start = read_node(data, i + 1)
        end = start + 8
        port = _new(Port)
        _set_port_node(port, node)
        _set_port_etf(port, b"x%b\0\0\0\0%b" % (node._etf, data[start:end]))
        return port, end

    def read_export(data: bytes, i: int, room: int) -> tuple[Any, int]:
        module, j = read_node(data, i + 1)
        function, j = read_node(data, j)
        if data[j] != Tag.SMALL_INTEGER_EXT:
            raise Malformed(f"expected the arity of an export, got {named(data[j])}")
        export = _new(Export)
        _set_module(export, module)
        _set_function(export, function)
        _set_arity(export, data[j + 1])
        _set_export_etf(export, b"q%b%b%b" % (module._etf, function._etf, data[j : j + 2]))
        return export, j + 2

    return {
        Tag.ATOM_EXT: read_atom,
        Tag.SMALL_ATOM_EXT: read_atom,
        Tag.ATOM_UTF8_EXT: read_atom,
        Tag.NEW_PID_EXT: read_pid,
        Tag.NEWER_REFERENCE_EXT: read_own_reference if known.translates else read_reference,
        Tag.V4_PORT_EXT: read_port,
        Tag.NEW_PORT_EXT: read_new_port,
        Tag.EXPORT_EXT: read_export,
    }
