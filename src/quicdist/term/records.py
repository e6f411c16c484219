"""Erlang's records, which are tuples: ``#person{name = "Ada"}`` is ``{person, "Ada", undefined}``."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar

from quicdist.term.atom import Atom
from quicdist.term.errors import TermError

#: Reserved field names, besides those that begin and end with two underscores.
_OWN_NAMES = frozenset({"_asdict", "_defaults", "_fields", "_name", "_replace", "_required", "from_term"})


class TupleRecord(tuple[Any, ...]):
    """A record: the tuple that it is in Erlang, the name first, with its fields as attributes.

    Each record has a subclass of its own, made by :func:`read_records` or :meth:`define`. Its
    instances are made of positional or keyword arguments, as a named tuple; a field that is not given
    has the default of its definition. It is sent as it is, and equal to the tuple that comes back, of
    which :meth:`from_term` makes a record again.
    """

    __slots__ = ()

    _name: ClassVar[Atom]
    _fields: ClassVar[tuple[str, ...]] = ()
    #: The default of each field that has one which is a term.
    _defaults: ClassVar[Mapping[str, Any]] = {}
    #: The source of each default that is not a term, an expression: such a field has to be given.
    _required: ClassVar[Mapping[str, str]] = {}

    if TYPE_CHECKING:

        def __getattr__(self, field: str) -> Any: ...

    @staticmethod
    def define(
        name: str,
        fields: Sequence[str],
        defaults: Mapping[str, Any] | None = None,
        required: Mapping[str, str] | None = None,
    ) -> type[TupleRecord]:
        """The class of the record ``name``. A field without a default is None, ``undefined`` in Erlang, as
        in Erlang; ``required`` has the source text of the defaults that are not terms.

        Raises ValueError for a field that comes twice, or whose name this class needs itself.
        """
        if len(set(fields)) != len(fields):
            raise ValueError(f"record {name} has a field twice")
        for field in fields:
            if field in _OWN_NAMES or (field.startswith("__") and field.endswith("__")):
                raise ValueError(f"record {name} cannot have a field called {field}")
        members: dict[str, Any] = {
            field: property(itemgetter(at), doc=f"The field {field}.") for at, field in enumerate(fields, 1)
        }
        own = {
            "__slots__": (),
            "__doc__": f"The Erlang record ``#{name}{{{', '.join(fields)}}}``.",
            "__match_args__": tuple(fields),
            "_name": Atom(name),
            "_fields": tuple(fields),
            "_defaults": dict(defaults or {}),
            "_required": dict(required or {}),
        }
        return type(name, (TupleRecord,), members | own)

    def __new__(cls, /, *values: Any, **named: Any) -> TupleRecord:
        fields = cls._fields
        if len(values) > len(fields):
            raise TypeError(f"record {cls._name} has {len(fields)} fields, {len(values)} values were given")
        given = dict(zip(fields, values, strict=False))
        for field, value in named.items():
            if field in given:
                raise TypeError(f"record {cls._name} got the field {field} twice")
            if field not in fields:
                raise TypeError(f"record {cls._name} has no field {field}")
            given[field] = value
        return tuple.__new__(cls, (cls._name, *(cls._value(field, given) for field in fields)))

    @classmethod
    def _value(cls, field: str, given: Mapping[str, Any]) -> Any:
        if field in given:
            return given[field]
        if field in cls._required:
            source = cls._required[field]
            raise TypeError(f"record {cls._name} needs {field}: its default is an expression: {source}")
        return copy.deepcopy(cls._defaults.get(field))

    @classmethod
    def from_term(cls, term: Any) -> TupleRecord:
        """The record that a tuple from a BEAM is. Raises TermError for anything else, a record of the same
        name with another number of fields too."""
        if not cls._is(term):
            raise TermError(f"expected a record {cls._name} of {len(cls._fields)} fields, got {term!r:.200}")
        return tuple.__new__(cls, term)

    @classmethod
    def _is(cls, term: Any) -> bool:
        return isinstance(term, tuple) and len(term) == len(cls._fields) + 1 and term[0] == cls._name

    def _replace(self, **named: Any) -> TupleRecord:
        """A copy with other values for some fields."""
        return type(self)(**(self._asdict() | named))

    def _asdict(self) -> dict[str, Any]:
        """The values by the names of the fields."""
        return dict(zip(self._fields, self[1:], strict=True))

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self[1:]

    def __repr__(self) -> str:
        return f"{self._name}({', '.join(f'{field}={value!r}' for field, value in self._asdict().items())})"


class Records(Mapping[str, type[TupleRecord]]):
    """The records of a file, by name: ``records["person"]``, or ``records.person``."""

    def __init__(self, records: Mapping[str, type[TupleRecord]]) -> None:
        self._records = dict(records)

    def __getitem__(self, name: str) -> type[TupleRecord]:
        return self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __getattr__(self, name: str) -> type[TupleRecord]:
        try:
            return self.__dict__["_records"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(f"there is no record {name}") from None

    def __repr__(self) -> str:
        return f"<Records {', '.join(self)}>"

    def from_term(self, term: Any) -> Any:
        """``term`` with each tuple in it that is one of these records as that record: in lists, tuples and
        the values of maps, and in the fields of records. Everything else stays as it is.

        Raises TermError for a term nested deeper than Python recurses.
        """
        try:
            return self._restored(term)
        except RecursionError:
            raise TermError("the term is nested deeper than Python's recursion limit") from None

    def _restored(self, term: Any) -> Any:
        if isinstance(term, list):
            return [self._restored(part) for part in term]
        if isinstance(term, dict):
            return {key: self._restored(value) for key, value in term.items()}
        if not isinstance(term, tuple):
            return term
        parts = tuple(map(self._restored, term))
        if parts and isinstance(parts[0], Atom):
            kind = self._records.get(parts[0].name)
            if kind is not None and kind._is(parts):
                return kind.from_term(parts)
        return parts
