"""Other values that Python has no type for: bitstrings, improper lists, native records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, final

from quicdist.term.atom import Atom
from quicdist.term.base import QuicklyMade, Value
from quicdist.term.errors import TermError

_set = object.__setattr__


@final
class BitString(QuicklyMade):
    """A bitstring whose length is not a whole number of bytes (BIT_BINARY_EXT); others are ``bytes``.

    ``bits``, 1 to 7, is how many bits of the last byte count: its high ones. The others are no
    part of the value and are set to zero.
    """

    __slots__ = ("_bits", "_data")
    __match_args__ = ("data", "bits")

    _data: bytes
    _bits: int

    def __init__(self, data: bytes | bytearray | memoryview, bits: int) -> None:
        data = bytes(data)
        if not data or type(bits) is not int or not 1 <= bits <= 7:
            raise TermError(f"a bitstring has at least a byte and 1 to 7 bits of its last, not {bits!r}")
        last = data[-1]
        if last & (0xFF >> bits):
            data = data[:-1] + bytes((last & (0xFF00 >> bits) & 0xFF,))
        self._data = data
        self._bits = bits

    @property
    def data(self) -> bytes:
        """Its bytes, the last one filled up with zeros."""
        return self._data

    @property
    def bits(self) -> int:
        """How many bits of the last byte count."""
        return self._bits

    @property
    def bit_size(self) -> int:
        """Its length in bits."""
        return 8 * len(self._data) - 8 + self._bits

    def __eq__(self, other: object) -> bool:
        if type(other) is not BitString:
            return NotImplemented
        return self._data == other._data and self._bits == other._bits

    def __hash__(self) -> int:
        return hash((BitString, self._data, self._bits))

    def __repr__(self) -> str:
        return f"BitString({self._data!r}, {self._bits})"

    def __reduce__(self) -> tuple[Any, ...]:
        return BitString, (self._data, self._bits)


@final
class ImproperList(QuicklyMade):
    """A list whose last tail is not a list, such as ``[alias|Ref]``: at least one element, and a tail.

    ``ImproperList([Atom("alias")], ref)``; ``elements`` is a tuple.
    """

    __slots__ = ("_elements", "_tail")
    __match_args__ = ("elements", "tail")

    _elements: tuple[Any, ...]
    _tail: Any

    def __init__(self, elements: Iterable[Any], tail: Any) -> None:
        elements = tuple(elements)
        if not elements:
            raise TermError("an improper list has at least one element before its tail")
        if isinstance(tail, (list, ImproperList)):
            raise TermError(f"the tail of an improper list cannot be a {type(tail).__name__}")
        self._elements = elements
        self._tail = tail

    @property
    def elements(self) -> tuple[Any, ...]:
        """The elements before the tail."""
        return self._elements

    @property
    def tail(self) -> Any:
        """What is in the place of the empty list at the end."""
        return self._tail

    def __eq__(self, other: object) -> bool:
        if type(other) is not ImproperList:
            return NotImplemented
        return self._elements == other._elements and bool(self._tail == other._tail)

    def __hash__(self) -> int:
        return hash((ImproperList, self._elements, self._tail))

    def __repr__(self) -> str:
        return f"ImproperList({list(self._elements)!r}, {self._tail!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return ImproperList, (self._elements, self._tail)


@final
class Record(Value):
    """A native record (OTP 29, tag 67): ``Record("geom", "vec", {"x": 1.0, "y": 2.5})``.

    ``fields`` is a read-only mapping from Atom to value, in the order of the record's definition;
    ``record["x"]`` is one of them. ``exported`` says whether other modules may take it apart.
    """

    __slots__ = ("exported", "fields", "module", "name")
    __match_args__ = ("module", "name", "fields")

    module: Atom
    name: Atom
    fields: Mapping[Atom, Any]
    exported: bool

    def __init__(
        self,
        module: Atom | str,
        name: Atom | str,
        fields: Mapping[Any, Any] | Iterable[tuple[Atom | str, Any]] = (),
        *,
        exported: bool = True,
    ) -> None:
        pairs = list(fields.items() if isinstance(fields, Mapping) else fields)
        named = {Atom(field): value for field, value in pairs}
        if len(named) != len(pairs):
            raise TermError("a record cannot have a field twice")
        _set(self, "module", Atom(module))
        _set(self, "name", Atom(name))
        _set(self, "fields", MappingProxyType(named))
        _set(self, "exported", bool(exported))

    def __getitem__(self, field: Atom | str) -> Any:
        return self.fields[Atom(field)]

    def __iter__(self) -> Iterator[Atom]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def _parts(self) -> tuple[Any, ...]:
        return self.module, self.name, tuple(self.fields.items()), self.exported

    def __eq__(self, other: object) -> bool:
        if type(other) is not Record:
            return NotImplemented
        return self._parts() == other._parts()

    def __hash__(self) -> int:
        return hash((Record, *self._parts()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{field.name!r}: {value!r}" for field, value in self.fields.items())
        exported = "" if self.exported else ", exported=False"
        return f"Record({self.module.name!r}, {self.name.name!r}, {{{fields}}}{exported})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _record, self._parts()


def _record(module: Atom, name: Atom, fields: tuple[tuple[Atom, Any], ...], exported: bool) -> Record:
    return Record(module, name, fields, exported=exported)


@final
class Local(Value):
    """A term in a form that only the node that wrote it can read (LOCAL_EXT), returned whole.

    ``data`` is what followed the tag. It is never part of another term.
    """

    __slots__ = ("data",)
    __match_args__ = ("data",)

    data: bytes

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        _set(self, "data", bytes(data))

    def __eq__(self, other: object) -> bool:
        if type(other) is not Local:
            return NotImplemented
        return self.data == other.data

    def __hash__(self) -> int:
        return hash((Local, self.data))

    def __str__(self) -> str:
        return f"#Local<{len(self.data)} bytes>"

    def __repr__(self) -> str:
        return f"Local({self.data!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Local, (self.data,)
