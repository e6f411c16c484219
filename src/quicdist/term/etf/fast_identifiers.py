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
from quicdist.term.identifiers import MAX_REFERENCE_WORDS, Pid, Port, Reference
from quicdist.term.tags import Tag

_uint16 = Struct(">H").unpack_from

_new = object.__new__

#: Reads the term at an offset of ``data``; the term, and the offset after it. The last argument is the number
#: of further levels that may be entered.
Read: TypeAlias = Callable[[bytes, int, int], tuple[Any, int]]


def identifier_readers(known: DecodeCache) -> dict[int, Read]:
    """A reader by tag. They raise Malformed, IndexError or struct.error, or end after the data.

    The tag 119, SMALL_ATOM_UTF8_EXT, is the form in which an identifier keeps the name of its node: if it
    came so, and is not of an old form, its bytes are kept as they are.
    """

    atoms, nodes, pids, exports = known.atoms, known.nodes, known.pids, known.exports

    def read_atom(data: bytes, i: int, room: int) -> tuple[Any, int]:
        end = i + 3 + _uint16(data, i + 1)[0]
        etf = data[i:end]
        try:
            return atoms[etf], end
        except KeyError:
            return known.new_atom(data, i, etf)

    def read_small_atom(data: bytes, i: int, room: int) -> tuple[Any, int]:
        end = i + 2 + data[i + 1]
        etf = data[i:end]
        try:
            return atoms[etf], end
        except KeyError:
            return known.new_atom(data, i, etf)

    def node_end(data: bytes, i: int) -> int:
        tag = data[i]
        if tag == 100 or tag == 118:  # ATOM_EXT, ATOM_UTF8_EXT
            return i + 3 + data[i + 2] + (data[i + 1] << 8)
        return i + 2 + data[i + 1]

    def read_node(data: bytes, i: int) -> tuple[Atom, int]:
        end = node_end(data, i)
        try:
            return nodes[data[i:end]], end
        except KeyError:
            return known.node(data, i)

    def read_pid(data: bytes, i: int, room: int) -> tuple[Any, int]:
        end = i + 15 + data[i + 2] if data[i + 1] == 119 else node_end(data, i + 1) + 12
        etf = data[i:end]
        try:
            return pids[etf], end
        except KeyError:
            return known.new_pid(data, i, etf)

    def read_old_pid(data: bytes, i: int, room: int) -> tuple[Any, int]:
        node, start = read_node(data, i + 1)
        end = start + 9
        pid = _new(Pid)
        pid._node = node
        pid._etf = b"X" + node._etf + data[start : end - 1] + b"\0\0\0" + data[end - 1 : end]
        return pid, end

    def read_reference(data: bytes, i: int, room: int) -> tuple[Any, int]:
        words = data[i + 2]
        if data[i + 1] or not 0 < words <= MAX_REFERENCE_WORDS:
            raise Malformed(bad_reference(_uint16(data, i + 1)[0]))
        reference = _new(Reference)
        if data[i + 3] == 119:
            start = i + 5 + data[i + 4]
            try:
                node = nodes[data[i + 3 : start]]
            except KeyError:
                node = known.node(data, i + 3)[0]
            end = start + 4 + 4 * words
            reference._etf = data[i:end]
        else:
            node, start = read_node(data, i + 3)
            end = start + 4 + 4 * words
            reference._etf = data[i : i + 3] + node._etf + data[start:end]
        reference._node = node
        return reference, end

    def read_own_reference(data: bytes, i: int, room: int) -> tuple[Any, int]:
        reference, end = read_reference(data, i, room)
        return known.own(reference), end

    def read_new_reference(data: bytes, i: int, room: int) -> tuple[Any, int]:
        words = data[i + 2]
        if data[i + 1] or not 0 < words <= MAX_REFERENCE_WORDS:
            raise Malformed(bad_reference(_uint16(data, i + 1)[0]))
        node, start = read_node(data, i + 3)
        end = start + 1 + 4 * words
        reference = _new(Reference)
        reference._node = node
        reference._etf = b"Z" + data[i + 1 : i + 3] + node._etf + b"\0\0\0" + data[start:end]
        return known.own(reference), end

    def read_old_reference(data: bytes, i: int, room: int) -> tuple[Any, int]:
        node, start = read_node(data, i + 1)
        end = start + 5
        reference = _new(Reference)
        reference._node = node
        numbers = b"\0\0\0" + data[end - 1 : end] + data[start : end - 1]
        reference._etf = b"Z\0\1" + node._etf + numbers
        return reference, end

    def read_port(data: bytes, i: int, room: int) -> tuple[Any, int]:
        port = _new(Port)
        if data[i + 1] == 119:
            start = i + 3 + data[i + 2]
            try:
                node = nodes[data[i + 1 : start]]
            except KeyError:
                node = known.node(data, i + 1)[0]
            end = start + 12
            port._etf = data[i:end]
        else:
            node, start = read_node(data, i + 1)
            end = start + 12
            port._etf = b"x" + node._etf + data[start:end]
        port._node = node
        return port, end

    def read_new_port(data: bytes, i: int, room: int) -> tuple[Any, int]:
        node, start = read_node(data, i + 1)
        end = start + 8
        port = _new(Port)
        port._node = node
        port._etf = b"x" + node._etf + b"\0\0\0\0" + data[start:end]
        return port, end

    def read_old_port(data: bytes, i: int, room: int) -> tuple[Any, int]:
        node, start = read_node(data, i + 1)
        end = start + 5
        port = _new(Port)
        port._node = node
        numbers = data[start : end - 1] + b"\0\0\0" + data[end - 1 : end]
        port._etf = b"x" + node._etf + b"\0\0\0\0" + numbers
        return port, end

    def read_export(data: bytes, i: int, room: int) -> tuple[Any, int]:
        end = node_end(data, node_end(data, i + 1)) + 2
        etf = data[i:end]
        try:
            return exports[etf], end
        except KeyError:
            module, j = read_node(data, i + 1)
            function, j = read_node(data, j)
            if data[j] != 97:
                raise Malformed(f"expected the arity of an export, got {named(data[j])}") from None
            return known.new_export(etf, module, function, data[j + 1]), end

    return {
        Tag.ATOM_EXT: read_atom,
        Tag.SMALL_ATOM_EXT: read_small_atom,
        Tag.ATOM_UTF8_EXT: read_atom,
        Tag.NEW_PID_EXT: read_pid,
        Tag.PID_EXT: read_old_pid,
        Tag.NEWER_REFERENCE_EXT: read_own_reference if known.translates else read_reference,
        Tag.NEW_REFERENCE_EXT: read_new_reference,
        Tag.REFERENCE_EXT: read_old_reference,
        Tag.V4_PORT_EXT: read_port,
        Tag.NEW_PORT_EXT: read_new_port,
        Tag.PORT_EXT: read_old_port,
        Tag.EXPORT_EXT: read_export,
    }
