"""Writers of terms of one shape, as compiled Python functions.

Such a function checks the types of all parts of a term, and packs its tags, sizes, names and numbers, many at
a time. Its source is put together from the fixed texts below, numbers and names made here; names and other
values of a term are in it only as values of variables.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from struct import Struct
from struct import error as struct_error
from typing import Any, TypeAlias

from quicdist.term.atom import Atom
from quicdist.term.etf.encoder import BINARIES, LISTS, MAPS, NIL, TUPLES, OwnForm
from quicdist.term.etf.integers import SMALL, big, integer, integer_list
from quicdist.term.etf.value_shapes import (
    AnyTerm,
    Empty,
    Integers,
    Leaf,
    ListOf,
    MapOf,
    Number,
    PairOf,
    Same,
    Scalar,
    TupleOf,
    ValueShape,
    depth_of,
    leaves,
)
from quicdist.term.funs import Export, Fun
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.tags import VERSION
from quicdist.term.values import BitString, ImproperList

#: Appends the external form of a term with the key of the shape, if it has the shape: term, pieces, levels
#: that may be entered (at least one). False if it has another shape, and then nothing was appended.
WriteOne: TypeAlias = Callable[[Any, list[bytes], int], bool]
#: Returns the external form of such a term with the version byte, or None.
WriteWhole: TypeAlias = Callable[[Any], bytes | None]
#: Appends the external forms of terms: terms, pieces, levels that may be entered. Returns the last term that
#: did not have the shape, and how many did not.
WriteMany: TypeAlias = Callable[[Any, list[bytes], int], tuple[Any, int]]
#: Appends the external form of any term: term, pieces, levels that may be entered.
WriteAny: TypeAlias = Callable[[Any, list[bytes], int], None]

_ONE = """\
def write(v0, parts, room):
    try:
{body}
        return True
    except struct_error:
        {undo}
        return False
"""

_WHOLE = """\
def write(v0):
    parts = [version]
    try:
{body}
        return join(parts)
    except struct_error:
        return None
"""

_WHOLE_OF_PIECES = """\
def write(v0):
    try:
{body}
        return {pieces}
    except struct_error:
        return None
"""

_MANY = """\
def write(terms, parts, room):
    missed = 0
    other = None
    if room < {depth}:
        for v0 in terms: write_any(v0, parts, room)
        return other, missed
    append = parts.append
    left = iter(terms)
    while True:
        try:
            for v0 in left:
{body}
            else:
                return other, missed
        except struct_error:
            {undo}
        missed += 1
        other = v0
        write_any(v0, parts, room)
"""

_VERSION = bytes((VERSION,))
_TRUE, _FALSE = Atom("true")._etf, Atom("false")._etf


class Forms:
    """What an encoder writes for values, which depends on its options."""

    def __init__(self, none: Atom | None, own_form: OwnForm | None, write_any: WriteAny) -> None:
        self.none = none
        self.own_form = own_form
        self.write_any = write_any
        #: The external form by type of a value without parts. For a binary that is not small, and a float
        #: that is not finite, the functions raise struct.error.
        self.of_type: dict[type, Callable[[Any], bytes]] = {
            Atom: _form,
            int: integer,
            bool: {True: _TRUE, False: _FALSE}.__getitem__,
            float: _float,
            bytes: _binary,
            str: _text,
            **dict.fromkeys((Pid, Reference), own_form or _form),
            **dict.fromkeys((Port, Export, Fun), _form),
        }
        if none is not None:
            self.of_type[type(None)] = {None: none._etf}.__getitem__

    def same(self, value: Any) -> bytes:
        """The external form of an atom, True, False or None."""
        return self.of_type[type(value)](value)


_tagged_uint32 = Struct(">BI").pack
_form = attrgetter("_etf")
_double = Struct(">Bd").pack


def _float(value: float) -> bytes:
    if value - value:  # the difference is NaN for infinity and NaN
        raise struct_error
    return _double(70, value)


def _binary(value: bytes) -> bytes:
    if len(value) > 255:
        raise struct_error
    return BINARIES[len(value)] + value


def _text(value: str) -> bytes:
    return _binary(value.encode())


def _no_form(_: Any) -> bytes:
    raise struct_error


def compile_one(shape: ValueShape, forms: Forms) -> WriteOne:
    """The function that writes a term of this shape: a tuple of the same length, and with the same atom in
    front or a part of the same type; or a dict with the same names as keys."""
    source = _Source(shape, forms, "return False", "parts.append")
    depth = depth_of(shape)
    if depth > 1:
        source.refuse(f"room < {depth}")
    source.message(shape, "v0")
    return source.compiled(_ONE, 8)  # type: ignore[no-any-return]


def compile_whole(shape: ValueShape, forms: Forms, room: int) -> WriteWhole:
    """The function that returns the external form of such a term, for an encoder whose fast path has so many
    levels."""
    source = _Source(shape, forms, "return None", "parts.append")
    source.names["room"] = room
    source.message(shape, "v0", version=True)
    if source.writes:
        return source.compiled(_WHOLE, 8)  # type: ignore[no-any-return]
    pieces = source.all_pieces()
    whole = pieces[0] if len(pieces) == 1 else f"join(({', '.join(pieces)}))"
    return source.compiled(_WHOLE_OF_PIECES, 8, pieces=whole)  # type: ignore[no-any-return]


def compile_many(shape: ValueShape, forms: Forms) -> WriteMany:
    """The function that writes the elements of a list, most of which have this shape."""
    source = _Source(shape, forms, "break", "append")
    source.term(shape, "v0", 0)
    return source.compiled(_MANY, 16, depth=depth_of(shape))  # type: ignore[no-any-return]


class _Source:
    """The statements for a shape, and the values of the names in them."""

    def __init__(self, shape: ValueShape, forms: Forms, stop: str, append: str) -> None:
        self._forms = forms
        self._stop = stop
        self._append = append
        self._count = 0
        self.names: dict[str, Any] = {
            **_NAMES,
            "write_any": forms.write_any,
            "own_form": forms.own_form,
            "form_of": forms.of_type.get,
        }
        #: Statements that look at the term, and conditions for another shape that are not part of them yet.
        self._looks: list[str] = []
        self._other: list[str] = []
        #: Statements that append.
        self.writes: list[str] = []
        #: Expressions of the pieces that are appended together.
        self._pieces: list[str] = []
        # The piece of fixed size that is being put together.
        self._format: list[str] = []
        self._values: list[str] = []
        self._constant = b""
        self._floats: list[str] = []
        self._any = False
        #: Whether numbers are compared with their bounds. Where a part may be any term, a number beyond them
        #: must show before that part is written: the codec's ``default`` is called once for a value.
        self._bounded = leaves(shape)[1] > 0

    def compiled(self, skeleton: str, by: int, **texts: Any) -> Any:
        if self._floats:  # NaN if one of them is infinity or NaN
            self._look(f"total = {' + '.join(self._floats)}")
            self.refuse("total - total")
        self._end_looks()
        self._end_pieces()
        undo = "pass"
        if self._any and "{undo}" in skeleton:
            self._looks.insert(0, "before = len(parts)")
            undo = "del parts[before:]"
        body = "\n".join(" " * by + line for line in self._looks + self.writes)
        # Nothing of a term is in the source: numbers, and names of variables.
        exec(compile(skeleton.format(body=body, undo=undo, **texts), "<shape>", "exec"), self.names)
        return self.names["write"]

    def _name(self, value: Any) -> str:
        name = self._variable()
        self.names[name] = value
        return name

    def _variable(self) -> str:
        self._count += 1
        return f"v{self._count}"

    # -- what is looked at ------------------------------------------------------------------------

    def refuse(self, condition: str) -> None:
        """The term has another shape on this condition."""
        self._other.append(condition)

    def _end_looks(self) -> None:
        if self._other:
            self._looks.append(f"if {' or '.join(self._other)}: {self._stop}")
            self._other = []

    def _look(self, statement: str) -> None:
        self._end_looks()
        self._looks.append(statement)

    def _unpack(self, count: int, value: str) -> list[str]:
        variables = [self._variable() for _ in range(count)]
        if count:
            self._look(f"{', '.join(variables)}, = {value}")
        return variables

    # -- what is appended -------------------------------------------------------------------------

    def _field(self, code: str, value: str) -> None:
        """A value of a fixed size comes next."""
        self._end_constant()
        self._format.append(code)
        self._values.append(value)

    def _end_constant(self) -> None:
        if self._constant:
            self._format.append(f"{len(self._constant)}s")
            self._values.append(self._name(self._constant))
            self._constant = b""

    def _end_fixed(self) -> None:
        if not self._format:
            if self._constant:
                self._pieces.append(self._name(self._constant))
                self._constant = b""
            return
        self._end_constant()
        pack = self._name(Struct(">" + "".join(self._format)).pack)
        self._pieces.append(f"{pack}({', '.join(self._values)})")
        self._format, self._values = [], []

    def _piece(self, expression: str) -> None:
        self._end_fixed()
        self._pieces.append(expression)

    def all_pieces(self) -> list[str]:
        """The expressions of all pieces, none of which was appended."""
        self._end_fixed()
        pieces, self._pieces = self._pieces, []
        return pieces

    def _end_pieces(self) -> None:
        self._end_fixed()
        if len(self._pieces) == 1:
            self.writes.append(f"{self._append}({self._pieces[0]})")
        elif self._pieces:
            self.writes.append(f"parts += ({', '.join(self._pieces)})")
        self._pieces = []

    # -- the shapes -------------------------------------------------------------------------------

    def message(self, shape: ValueShape, v: str, *, version: bool = False) -> None:
        """The statements for a term in the variable ``v`` that has the key of this shape."""
        if version and not leaves(shape)[1]:
            self._constant += _VERSION
        match shape:
            case TupleOf(parts):
                self._constant += TUPLES[len(parts)]
                first, *others = self._unpack(len(parts), v)
                if isinstance(parts[0], Same) and type(parts[0].value) is Atom:
                    self._constant += self._forms.same(parts[0].value)
                    parts = parts[1:]
                else:
                    others = [first, *others]
                self._all(parts, others, 0)
            case MapOf(keys, parts):
                self._keys(keys, v)
                self._pairs(keys, parts, v, 0)
            case _:
                self.term(shape, v, 0)

    def term(self, shape: ValueShape, v: str, level: int) -> None:
        """The statements for the term in the variable ``v``, which is nested so many levels deep."""
        match shape:
            case Same(value):
                self.refuse(f"{v} is not {self._name(value)}")
                self._constant += self._forms.same(value)
            case Empty(kind):
                self.refuse(f"type({v}) is not {kind.__name__} or {v}")
                self._constant += TUPLES[0] if kind is tuple else NIL if kind is list else MAPS[0]
            case Number(code):
                self._number(code, v)
            case Leaf(kind, _):
                self.refuse(f"type({v}) is not {kind.__name__}")
                self._leaf(kind, v)
            case Scalar():
                form = self._variable()
                self._look(f"{form} = form_of(type({v}), no_form)({v})")
                self._piece(form)
            case Integers():
                form = self._variable()
                self.refuse(f"type({v}) is not list or not {v} or type({v}[0]) is not int")
                self._look(f"{form} = integer_list({v})")
                self.refuse(f"{form} is None")
                self._piece(form)
            case TupleOf(parts):
                size = len(parts)
                self.refuse(f"type({v}) is not tuple or len({v}) != {size}")
                self._constant += TUPLES[size]
                self._all(parts, self._unpack(size, v), level)
            case ListOf(parts, None):
                size = len(parts)
                self.refuse(f"type({v}) is not list or len({v}) != {size}")
                self._constant += LISTS[size]
                self._all(parts, self._unpack(size, v), level)
                self._constant += NIL
            case ListOf(parts, tail) if tail is not None:
                size = len(parts)
                self.refuse(f"type({v}) is not ImproperList or len({v}._elements) != {size}")
                self._constant += LISTS[size]
                variables = self._unpack(size, f"{v}._elements")
                last = self._variable()
                self._look(f"{last} = {v}._tail")
                self._all((*parts, tail), [*variables, last], level)
            case MapOf(keys, parts):
                self._map(keys, parts, v, level)
            case PairOf(key, part):
                self.refuse(f"type({v}) is not dict or len({v}) != 1")
                self._constant += MAPS[1]
                (key_variable,) = self._unpack(1, v)
                value_variable = self._variable()
                self._look(f"{value_variable}, = {v}.values()")
                self._all((key, part), [key_variable, value_variable], level)
            case AnyTerm():
                self._end_pieces()
                self.writes.append(f"write_any({v}, parts, room - {level})")
                self._any = True

    def _all(self, parts: tuple[ValueShape, ...], variables: list[str], level: int) -> None:
        for part, variable in zip(parts, variables, strict=True):
            self.term(part, variable, level + 1)

    def _map(self, keys: tuple[Any, ...], parts: tuple[ValueShape, ...], v: str, level: int) -> None:
        self.refuse(f"type({v}) is not dict or len({v}) != {len(keys)}")
        self._keys(keys, v)
        self._pairs(keys, parts, v, level)

    def _keys(self, keys: tuple[Any, ...], v: str) -> None:
        """Refuse a map of as many keys, but other ones. A key of another type may say that it is equal."""
        found = self._unpack(len(keys), v)
        for key, variable in zip(keys, found, strict=True):
            name = self._name(key)
            if type(key) is Atom:
                self.refuse(f"{variable} is not {name}")
            else:
                kind = type(key).__name__
                self.refuse(
                    f"{variable} is not {name} and (type({variable}) is not {kind} or {variable} != {name})"
                )

    def _pairs(self, keys: tuple[Any, ...], parts: tuple[ValueShape, ...], v: str, level: int) -> None:
        self._constant += MAPS[len(keys)]
        values = self._unpack(len(keys), f"{v}.values()")
        for key, part, variable in zip(keys, parts, values, strict=True):
            if type(key) is Atom:
                self._constant += key._etf
            else:
                text = key.encode() if type(key) is str else key
                self._constant += BINARIES[len(text)] if len(text) < 256 else _tagged_uint32(109, len(text))
                self._constant += text
            self.term(part, variable, level + 1)

    def _number(self, code: str, v: str) -> None:
        beyond = f" or not -0x80000000 <= {v} <= 0x7FFFFFFF" if self._bounded else ""
        if code == "d":
            self.refuse(f"type({v}) is not float")
            self._floats.append(v)
            self._constant += b"F"
        elif code == "i":
            self.refuse(f"type({v}) is not int or not {v} >> 8{beyond}")  # of more than 32 bits: struct.error
            self._constant += b"b"
        elif code == "B":
            beyond = f" or {v} >> 8" if self._bounded else ""
            self.refuse(f"type({v}) is not int{beyond}")  # of more than 8 bits: struct.error
            self._constant += b"a"
        else:
            self.refuse(f"type({v}) is not int{beyond}")
            self._piece(f"int32(98, {v}) if {v} >> 8 else SMALL[{v}]")
            return
        self._field(code, v)

    def _leaf(self, kind: type, v: str) -> None:
        if kind is int:
            self._piece(
                f"SMALL[{v}] if 0 <= {v} <= 255 else"
                f" int32(98, {v}) if -0x80000000 <= {v} <= 0x7FFFFFFF else big({v})"
            )
        elif kind is bool:
            self._piece(f"true if {v} else false")
        elif kind is BitString:
            data = self._variable()
            self._look(f"{data} = {v}._data")
            self._constant += b"M"
            self._field("I", f"len({data})")
            self._field("B", f"{v}._bits")
            self._piece(data)
        elif kind is bytes or kind is str:
            if kind is str:
                text = self._variable()
                self._look(f"{text} = {v}.encode()")
                v = text
            size = self._variable()
            self._look(f"{size} = len({v})")
            self._piece(f"BINARIES[{size}] if {size} < 256 else uint32(109, {size})")
            self._piece(v)
        elif self._forms.own_form is not None and kind in (Pid, Reference):
            self._piece(f"own_form({v})")
        else:
            self._piece(f"{v}._etf")


#: Names in the source that have the same value for all shapes.
_NAMES: dict[str, Any] = {
    "struct_error": struct_error,
    "version": _VERSION,
    "join": b"".join,
    "no_form": _no_form,
    "SMALL": SMALL,
    "BINARIES": BINARIES,
    "int32": Struct(">Bi").pack,
    "uint32": _tagged_uint32,
    "big": big,
    "integer_list": integer_list,
    "true": _TRUE,
    "false": _FALSE,
    "Atom": Atom,
    "Pid": Pid,
    "Reference": Reference,
    "Port": Port,
    "Export": Export,
    "Fun": Fun,
    "BitString": BitString,
    "ImproperList": ImproperList,
}
