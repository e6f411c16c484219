"""Pids, ports and references.

Each holds its own external form, in the one form that this library writes (NEW_PID_EXT, V4_PORT_EXT,
NEWER_REFERENCE_EXT, erl_ext_dist): two are equal when these bytes are, one that is received and sent again is
not encoded anew, and its numbers are decoded when they are read.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Any, final

from quicdist.term.atom import Atom
from quicdist.term.base import QuicklyMade
from quicdist.term.errors import TermError
from quicdist.term.tags import Tag

_PID = Struct(">III")
_PORT = Struct(">QI")
_UINT16 = Struct(">H")
_UINT32 = Struct(">I")

#: A reference has at most five words since OTP 24 (V4_NC); aliases of a process use them all.
MAX_REFERENCE_WORDS = 5


class Identifier(QuicklyMade):
    """The base of pids, ports and references: a node and numbers."""

    __slots__ = ("_etf", "_node")

    _node: Atom
    _etf: bytes

    @property
    def node(self) -> Atom:
        """The node that it belongs to."""
        return self._node

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bool(self._etf == other._etf)

    def __hash__(self) -> int:
        return hash(self._etf)

    @property
    def creation(self) -> int:
        """The incarnation of the node that it belongs to (32 bits, 0 for any)."""
        raise NotImplementedError

    def _arguments(self) -> tuple[Any, ...]:
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._node, *self._arguments())

    def __repr__(self) -> str:
        rest = ", ".join(map(repr, self._arguments()))
        return f"{type(self).__name__}({self._node.name!r}, {rest})"


@final
class Pid(Identifier):
    """A process identifier; ``id``, ``serial`` and ``creation`` are 32-bit numbers.

    Printed ``<0.id.serial>``: the first number, by which a BEAM abbreviates the node, means
    nothing outside it.
    """

    __slots__ = ()
    __match_args__ = ("node", "id", "serial", "creation")

    def __init__(self, node: Atom | str, id: int, serial: int, creation: int) -> None:
        node = Atom(node)
        _word("id", id)
        _word("serial", serial)
        _word("creation", creation)
        self._node = node
        self._etf = b"%c%b%b" % (Tag.NEW_PID_EXT, node._etf, _PID.pack(id, serial, creation))

    @property
    def id(self) -> int:
        return _PID.unpack_from(self._etf, 1 + len(self._node._etf))[0]  # type: ignore[no-any-return]

    @property
    def serial(self) -> int:
        return _PID.unpack_from(self._etf, 1 + len(self._node._etf))[1]  # type: ignore[no-any-return]

    @property
    def creation(self) -> int:
        return _PID.unpack_from(self._etf, 1 + len(self._node._etf))[2]  # type: ignore[no-any-return]

    def _arguments(self) -> tuple[int, ...]:
        return _PID.unpack_from(self._etf, 1 + len(self._node._etf))

    def __str__(self) -> str:
        return f"<0.{self.id}.{self.serial}>"


@final
class Port(Identifier):
    """A port identifier; ``id`` is a 64-bit number, ``creation`` a 32-bit one."""

    __slots__ = ()
    __match_args__ = ("node", "id", "creation")

    def __init__(self, node: Atom | str, id: int, creation: int) -> None:
        node = Atom(node)
        _word("id", id, 64)
        _word("creation", creation)
        self._node = node
        self._etf = b"%c%b%b" % (Tag.V4_PORT_EXT, node._etf, _PORT.pack(id, creation))

    @property
    def id(self) -> int:
        return _PORT.unpack_from(self._etf, 1 + len(self._node._etf))[0]  # type: ignore[no-any-return]

    @property
    def creation(self) -> int:
        return _PORT.unpack_from(self._etf, 1 + len(self._node._etf))[1]  # type: ignore[no-any-return]

    def _arguments(self) -> tuple[int, ...]:
        return _PORT.unpack_from(self._etf, 1 + len(self._node._etf))

    def __str__(self) -> str:
        return f"#Port<0.{self.id}>"


@final
class Reference(Identifier):
    """A reference: one to five 32-bit words, ``ids``, in the order of the wire.

    Printed as Erlang does, last word first: ``#Ref<0.3.2.1>`` has the ids ``(1, 2, 3)``.
    """

    __slots__ = ()
    __match_args__ = ("node", "ids", "creation")

    def __init__(self, node: Atom | str, ids: Iterable[int], creation: int) -> None:
        node = Atom(node)
        words = tuple(ids)
        if not 1 <= len(words) <= MAX_REFERENCE_WORDS:
            raise TermError(f"a reference has 1 to {MAX_REFERENCE_WORDS} words, not {len(words)}")
        for word in words:
            _word("id", word)
        _word("creation", creation)
        numbers = b"".join(map(_UINT32.pack, (creation, *words)))
        self._node = node
        self._etf = b"%c%b%b%b" % (Tag.NEWER_REFERENCE_EXT, _UINT16.pack(len(words)), node._etf, numbers)

    def _words(self) -> tuple[int, ...]:
        etf = self._etf
        return Struct(f">{1 + etf[2]}I").unpack_from(etf, 3 + len(self._node._etf))

    @property
    def ids(self) -> tuple[int, ...]:
        return self._words()[1:]

    @property
    def creation(self) -> int:
        return self._words()[0]

    def _arguments(self) -> tuple[tuple[int, ...], int]:
        creation, *ids = self._words()
        return tuple(ids), creation

    def __str__(self) -> str:
        return f"#Ref<0.{'.'.join(map(str, reversed(self.ids)))}>"


def _word(what: str, value: int, bits: int = 32) -> None:
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise TermError(f"{what} is a number of {bits} bits, not {value!r}")
