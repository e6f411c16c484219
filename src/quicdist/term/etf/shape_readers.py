"""Readers of terms of one shape, as compiled Python functions.

Such a function compares the bytes that are always the same, and unpacks the values between them, many at a
time. Its source is put together from the fixed texts below, numbers and names made here; bytes that came from
a peer are in it only as values of variables.
"""

from __future__ import annotations

import sys
from itertools import repeat
from struct import Struct
from struct import error as struct_error
from typing import Any

from quicdist.term.etf.column_readers import compile_columns
from quicdist.term.etf.decode_cache import DecodeCache
from quicdist.term.etf.float_texts import DIGITS, ENDS, compile_texts
from quicdist.term.etf.malformed import LEFT_TO_DECODER
from quicdist.term.etf.number_readers import compile_numbers
from quicdist.term.etf.readers import NOT_READ, ReadAny, ReadMany, ReadOne, ReadWhole
from quicdist.term.etf.shapes import (
    ATOM_HEADS,
    AnyAtom,
    AnyTerm,
    Constant,
    ExportOf,
    Identifier,
    ListOf,
    MapOf,
    Number,
    Shape,
    Sized,
    TupleOf,
    atom_tag,
)
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.tags import Tag
from quicdist.term.values import BitString, ImproperList

_ONE = """\
def read(data, i, room):
    try:
{body}
        return {term}, i
    except (KeyError, IndexError, struct_error):
        return not_read
"""

_WHOLE = """\
def read(data):
    try:
        i = 0
{body}
        if i == len(data):
            return {term}
    except left_to_decoder:
        pass
    return not_read
"""

#: For messages of a fixed size.
_WHOLE_FIXED = """\
def read(data):
    try:
        {variables}unpack(data)
        {check}
{body}
        return {term}
    except left_to_decoder:
        return not_read
"""

_MANY = """\
def read(data, i, count, room, items):
    append = items.append
    start = i
    try:
        for _ in repeat(None, count):
{body}
            append({term})
            start = i
    except (KeyError, IndexError, struct_error):
        pass
    return start
"""

#: For atoms. The tag is not compared: the whole form is looked up.
_MANY_ATOMS = """\
def read(data, i, count, room, items):
    append = items.append
    try:
        for _ in repeat(None, count):
            j = i + {size}
            append(atoms[data[i:j]])
            i = j
    except (KeyError, IndexError):
        pass
    return i
"""
#: By tag of an atom: the size of its form. Names in Latin-1 have up to 255 bytes.
_ATOM_SIZES = {
    Tag.ATOM_EXT: "3 + data[i + 2]",
    Tag.ATOM_UTF8_EXT: "3 + data[i + 2] + (data[i + 1] << 8)",
    Tag.SMALL_ATOM_EXT: "2 + data[i + 1]",
    Tag.SMALL_ATOM_UTF8_EXT: "2 + data[i + 1]",
}

_MANY_BINARIES = """\
def read(data, i, count, room, items):
    append = items.append
    end = i
    try:
        for _ in repeat(None, count):
            tag, size = head(data, end)
            if {condition}:
                break
            i = end + 5
            end = i + size
            append(data[i:end])
    except struct_error:
        pass
    return end
"""

#: For terms of a fixed size.
_MANY_FIXED = """\
def read(data, i, count, room, items):
    append = items.append
    size = {size} * min(count, (len(data) - i) // {size})
    # A view if it is much: this is called again after each element of another shape, with the rest.
    terms = data[i : i + size] if size < 4096 else memoryview(data)[i : i + size]
    for {variables}, in iter_unpack(terms):
{body}
        append({term})
        i += {size}
    return i
"""

#: The expression for an empty term by its external form.
_EMPTY = {b"j": "[]", b"h\0": "()", b"t\0\0\0\0": "{}"}

#: The largest message whose constants are compared in one step.
_MAX_MASK = 256
#: In units of 10 ns: what it takes to compare a constant of several bytes, which is an object of its own (one
#: of a single byte takes one unit); and a mask, which takes another one for each so many bytes.
_COMPARE, _MASK, _MASKED = 4, 4, 12

#: By tag of a sized term: the format and the size of its size.
_SIZES = {
    Tag.BINARY_EXT: ("I", 4),
    Tag.BIT_BINARY_EXT: ("I", 4),
    Tag.STRING_EXT: ("H", 2),
    Tag.SMALL_BIG_EXT: ("B", 1),
}
#: By tag of a number of a fixed size: its format and size.
_FORMATS = {
    Tag.SMALL_INTEGER_EXT: ("B", 1),
    Tag.INTEGER_EXT: ("i", 4),
    Tag.NEW_FLOAT_EXT: ("d", 8),
    Tag.FLOAT_EXT: ("31s", 31),
}


def compile_one(shape: Shape, known: DecodeCache, read_any: ReadAny, view_from: int) -> ReadOne:
    """The function that reads a term of this shape, whose key, as ``message_key()`` has it, has been
    compared."""
    if isinstance(shape, TupleOf):
        if _all_texts(shape):
            return compile_texts(len(shape.parts))  # type: ignore[no-any-return]
        numbers = compile_numbers(shape.parts)
        if numbers is not None:
            return numbers  # type: ignore[no-any-return]
    compared = 0
    match shape:
        case TupleOf(parts) if parts:
            compared = 2 + _key_size(parts[0])
        case MapOf(keys, _) if keys:
            compared = 5 + _key_size(keys[0])
    writer = _Writer(known, read_any, view_from, "return not_read", compared)
    term = writer.term(shape, 0)
    writer.flush()
    if writer.may_exceed:
        writer.lines.append("if i > len(data): return not_read")
    return _compiled(_ONE, writer, body=_indented(8, writer.lines + writer.after), term=term)  # type: ignore[no-any-return]


def _key_size(first: Shape) -> int:
    """The number of bytes of the key that are of the first part."""
    match first:
        case Constant(raw) if raw[0] in (Tag.SMALL_ATOM_UTF8_EXT, Tag.ATOM_EXT):
            return len(raw)
        case AnyTerm():
            return 0
    return 1


def _all_texts(shape: TupleOf) -> bool:
    return shape.parts != () and all(part == Number(Tag.FLOAT_EXT) for part in shape.parts)


def compile_whole(
    shape: Shape, known: DecodeCache, read_any: ReadAny, view_from: int, levels: int
) -> ReadWhole:
    """The function that reads a message of this shape, which is all of the data, after its version byte; its
    first four bytes have been compared. It returns NOT_READ for any other."""
    if isinstance(shape, TupleOf):
        if _all_texts(shape):
            return compile_texts(len(shape.parts), whole=True)  # type: ignore[no-any-return]
        numbers = compile_numbers(shape.parts, whole=True)
        if numbers is not None:
            return numbers  # type: ignore[no-any-return]
    if _is_fixed(shape):
        return _compile_fixed(shape, known, read_any, view_from)
    writer = _Writer(known, read_any, view_from, "return not_read", 4)
    writer.names.update(left_to_decoder=LEFT_TO_DECODER, room=levels)
    writer.constant(b"\x83")
    term = writer.term(shape, 0)
    writer.flush()
    return _compiled(_WHOLE, writer, body=_indented(8, writer.lines + writer.after), term=term)  # type: ignore[no-any-return]


def _compile_fixed(shape: Shape, known: DecodeCache, read_any: ReadAny, view_from: int) -> ReadWhole:
    """The same for messages that have one size. All of their constant bytes are compared in one step, if
    there are several, as parts of one large integer."""
    for masks in True, False:
        writer = _Writer(known, read_any, view_from, "return not_read", 4, masks=masks)
        writer.names["left_to_decoder"] = LEFT_TO_DECODER
        writer.constant(b"\x83")
        term = writer.term(shape, 0)
        unpack, variables, checks, _ = writer.fixed_part()
        size = len(writer.mask)
        if not masks or (size <= _MAX_MASK and writer.compares > _MASK + size // _MASKED):
            break
    check = ""
    if masks:
        check = "if from_bytes(data) & mask != constant: return not_read"
        writer.names.update(mask=int.from_bytes(writer.mask), constant=int.from_bytes(writer.masked))
    writer.names["unpack"] = unpack.unpack
    body = _indented(8, checks + writer.after)
    unpacked = f"{', '.join(variables)}, = " if variables else ""
    return _compiled(  # type: ignore[no-any-return]
        _WHOLE_FIXED, writer, body=body, term=term, variables=unpacked, check=check
    )


def _is_fixed(shape: Shape) -> bool:
    """Whether all terms of this shape have one size."""
    match shape:
        case TupleOf(parts):
            return all(map(_is_fixed, parts))
        case ListOf(parts, tail):
            return all(map(_is_fixed, parts)) and (tail is None or _is_fixed(tail))
        case MapOf(keys, parts):
            return all(map(_is_fixed, keys + parts))
        case Number(tag):
            return tag != 0
        case Sized(_, size):
            return size is not None
        case Identifier():
            return shape.node is not None
    return isinstance(shape, Constant)


def compile_many(shape: Shape, known: DecodeCache, read_any: ReadAny, view_from: int) -> ReadMany:
    """The function that reads terms of this shape one after another."""
    columns = compile_columns(shape, known)
    if columns is not None:
        return columns
    writer = _Writer(known, read_any, view_from, "break")
    atom = atom_tag(shape)
    if atom:
        return _compiled(_MANY_ATOMS, writer, size=_ATOM_SIZES[Tag(atom)])  # type: ignore[no-any-return]
    if shape == Sized(Tag.BINARY_EXT, None):
        writer.names.update(head=Struct(">BI").unpack_from, view_from=view_from)
        condition = "tag != 109" + (" or size >= view_from" if view_from < sys.maxsize else "")
        return _compiled(_MANY_BINARIES, writer, condition=condition)  # type: ignore[no-any-return]
    term = writer.term(shape, 0)
    if not writer.lines:
        unpack, variables, checks, size = writer.fixed_part()
        writer.names["iter_unpack"] = unpack.iter_unpack
        body = _indented(8, checks + writer.after)
        return _compiled(  # type: ignore[no-any-return]
            _MANY_FIXED, writer, body=body, term=term, size=size, variables=", ".join(variables)
        )
    writer.flush()
    return _compiled(_MANY, writer, body=_indented(12, writer.lines + writer.after), term=term)  # type: ignore[no-any-return]


def _indented(by: int, lines: list[str]) -> str:
    return "\n".join(" " * by + line for line in lines)


def _compiled(skeleton: str, writer: _Writer, **texts: Any) -> Any:
    # Nothing of a peer's is in the source: numbers, and names of variables.
    exec(compile(skeleton.format(**texts), "<shape>", "exec"), writer.names)
    return writer.names["read"]


class _Writer:
    """The statements for a shape, and the values of the names in them."""

    def __init__(
        self,
        known: DecodeCache,
        read_any: ReadAny,
        view_from: int,
        stop: str,
        compared: int = 0,
        *,
        masks: bool = False,
    ) -> None:
        #: The statement for a term of another shape.
        self.stop = stop
        self.lines: list[str] = []
        #: What makes values, once all bytes have been compared.
        self.after: list[str] = []
        self.names: dict[str, Any] = {
            "struct_error": struct_error,
            "not_read": NOT_READ,
            "digits": DIGITS,
            "ends": ENDS,
            "repeat": repeat,
            "nodes": known.nodes,
            "node_of": known.node,
            "new": object.__new__,
            "int32": Struct(">i").unpack_from,
            "from_bytes": int.from_bytes,
            "atoms": known.atoms,
            "pids": known.pids,
            "exports": known.exports,
            "new_pid": known.new_pid,
            "own": known.own,
            "read_any": read_any,
            **_NAMES,
        }
        #: Whether the offset may be after the end of the data, as a slice does not raise.
        self.may_exceed = False
        self._known = known
        self._view_from = view_from
        self._count = 0
        # The part of fixed size that is being put together: constant bytes, and formats with variables.
        self._format: list[str] = []
        self._variables: list[str] = []
        self._constant = b""
        self._checks: list[str] = []
        self._floats: list[str] = []
        self._size = 0
        self._compared = compared
        #: Where constant bytes are compared by a mask and not one after another: the mask, these bytes with
        #: zeros between them, and the comparisons that saves.
        self.mask, self.masked, self.compares = bytearray(), bytearray(), 0
        self._masks = masks

    def name(self, value: Any) -> str:
        """A new variable, with this value."""
        name = self.variable()
        self.names[name] = value
        return name

    def variable(self) -> str:
        self._count += 1
        return f"v{self._count}"

    def constant(self, raw: bytes) -> None:
        """Bytes that are always the same come next."""
        self._constant += raw

    def field(self, code: str, size: int) -> str:
        """A value of a fixed size comes next; its variable."""
        self._end_constant()
        variable = self.variable()
        self._format.append(code)
        self._variables.append(variable)
        self._size += size
        if self._masks:
            self.mask += bytes(size)
            self.masked += bytes(size)
        return variable

    def _end_constant(self) -> None:
        if self._compared and self._constant:
            known = min(self._compared, len(self._constant))
            self._constant = self._constant[known:]
            self._format.append(f"{known}x")
            self._size += known
            self._compared = 0
            if self._masks:
                self.mask += bytes(known)
                self.masked += bytes(known)
        if self._constant and self._masks:
            self._format.append(f"{len(self._constant)}x")
            self.mask += b"\xff" * len(self._constant)
            self.masked += self._constant
            self._size += len(self._constant)
            self.compares += 1 if len(self._constant) == 1 else _COMPARE
            self._constant = b""
        if self._constant:
            variable = self.variable()
            size = len(self._constant)
            self._format.append("B" if size == 1 else f"{size}s")
            self._variables.append(variable)
            expected = str(self._constant[0]) if size == 1 else self.name(self._constant)
            self._checks.append(f"{variable} != {expected}")
            self._size += len(self._constant)
            self._constant = b""

    def flush(self) -> None:
        """Unpack what has a fixed size, and compare its constant bytes."""
        unpack, variables, checks, size = self.fixed_part()
        if size:
            name = self.name(unpack.unpack_from)
            self.lines.append(f"{', '.join(variables)}{', = ' if variables else ''}{name}(data, i)")
            self.lines += checks
            self.lines.append(f"i += {size}")
            self.may_exceed = False

    def fixed_part(self) -> tuple[Struct, list[str], list[str], int]:
        """How the last part of fixed size is unpacked, into which variables, how these are checked, and the
        size."""
        self._end_constant()
        unpack = Struct(">" + "".join(self._format))
        if self._floats:  # a sum that is finite has finite terms only; 0 times any other is NaN
            self._checks.append(f"({' + '.join(self._floats)}) * 0.0")
            self._floats = []
        checks = [f"if {' or '.join(self._checks)}: {self.stop}"] if self._checks else []
        part = unpack, self._variables, checks, self._size
        self._format, self._variables, self._checks, self._size = [], [], [], 0
        return part

    def check(self, condition: str) -> None:
        self._checks.append(condition)

    def cut(self, size: str, before: int = 0) -> str:
        """``size`` bytes come next, and of the bytes before so many belong to the slice; its variable."""
        variable = self.variable()
        self.lines.append(f"j = i + {size}")
        self.lines.append(f"{variable} = data[i - {before}:j]" if before else f"{variable} = data[i:j]")
        self.lines.append("i = j")
        self.may_exceed = True
        return variable

    # -- the shapes ----------------------------------------------------------------------------

    def term(self, shape: Shape, level: int) -> str:
        """Write what reads a term; the expression for it. ``level`` is the number of levels around it."""
        match shape:
            case Constant(raw):
                self.constant(raw)
                if raw in _EMPTY:
                    return _EMPTY[raw]
                value = raw[5:] if raw[0] == Tag.BINARY_EXT else self._known.new_atom(raw, 0, raw)[0]
                return self.name(value)
            case Number():
                return self._number(shape)
            case Sized():
                return self._sized(shape)
            case AnyAtom(tag):
                return self._atom(tag)
            case Identifier():
                return self._identifier(shape)
            case ExportOf(tag):
                return self._export(tag)
            case TupleOf(parts):
                self.constant(b"h%c" % len(parts))
                return f"({', '.join([self.term(part, level + 1) for part in parts])},)"
            case ListOf(parts, tail):
                self.constant(b"l" + len(parts).to_bytes(4))
                elements = ", ".join([self.term(part, level + 1) for part in parts])
                if tail is None:
                    self.constant(b"j")
                    return f"[{elements}]"
                made, last = self.variable(), self.term(tail, level + 1)
                self.after.append(f"{made} = new(ImproperList)")
                self.after.append(f"{made}._elements = ({elements},)")
                self.after.append(f"{made}._tail = {last}")
                return made
            case MapOf(keys, parts):
                self.constant(b"t" + len(keys).to_bytes(4))
                pairs = []
                for key, part in zip(keys, parts, strict=True):
                    key_term = self.term(key, level + 1)
                    pairs.append(f"{key_term}: {self.term(part, level + 1)}")
                made = self.variable()
                self.after.append(f"{made} = {{{', '.join(pairs)}}}")
                if len(keys) > 1:  # Python may take two keys for one
                    self.after.append(f"if len({made}) != {len(keys)}: {self.stop}")
                return made
            case AnyTerm():
                self.flush()
                value = self.variable()
                self.lines.append(f"{value}, i = read_any(data, i, room - {level})")
                self.may_exceed = True
                return value

    def _number(self, shape: Number) -> str:
        if shape.tag == 0:
            self.flush()
            value = self.variable()
            self.lines += (
                "t = data[i]",
                "if t == 97:",
                f"    {value} = data[i + 1]; i += 2",
                "elif t == 98:",
                f"    {value} = int32(data, i + 1)[0]; i += 5",
                f"else: {self.stop}",
            )
            return value
        self.constant(bytes((shape.tag,)))
        value = self.field(*_FORMATS[Tag(shape.tag)])
        if shape.tag == Tag.NEW_FLOAT_EXT:
            self._floats.append(value)
        elif shape.tag == Tag.FLOAT_EXT:
            return f"float({value}[:ends[{value}.translate(digits)]])"
        return value

    def _sized(self, shape: Sized) -> str:
        tag, size = shape.tag, shape.size
        self.constant(bytes((tag,)))
        sign = ""
        if size is None:
            count = self.field(*_SIZES[Tag(tag)])
            if tag == Tag.BINARY_EXT and self._view_from < sys.maxsize:
                self.check(f"{count} >= {self._view_from}")
        elif tag == Tag.SMALL_BIG_EXT:
            self.constant(bytes((size,)))
        else:
            self.constant(size.to_bytes(4))
        if tag == Tag.BIT_BINARY_EXT:
            self.constant(bytes((shape.bits,)))
        elif tag == Tag.SMALL_BIG_EXT:
            sign = self.field("B", 1)
        if size is None:
            self.flush()
            octets = self.cut(count)
        else:
            octets = self.field(f"{size}s", size)
        if tag == Tag.STRING_EXT:
            return f"[*{octets}]"
        if tag == Tag.SMALL_BIG_EXT:
            value = f"from_bytes({octets}, 'little')"
            return f"(-{value} if {sign} else {value})"
        if tag == Tag.BIT_BINARY_EXT:
            unused = f"{octets}[-1] & {0xFF >> shape.bits}"
            if size is None:
                self.lines.append(f"if {unused}: {self.stop}")
            elif self._masks and size:
                self.mask[-1] = 0xFF >> shape.bits
                self.compares += 1
            else:
                self.check(unused)
            made = self.variable()
            self.after.append(f"{made} = new(BitString)")
            self.after.append(f"{made}._data = {octets}")
            self.after.append(f"{made}._bits = {shape.bits}")
            return made
        return octets

    def _name(self, tag: int, before: bytes = b"") -> str:
        """An atom with this tag comes next, and ``before`` before it; the variable of its external form."""
        head = ATOM_HEADS[Tag(tag)]
        self.constant(before + bytes((tag,)))
        size = self.field("B" if head == 2 else "H", head - 1)
        self.flush()
        return self.cut(size, head)

    def _atom(self, tag: int) -> str:
        raw = self._name(tag)
        value = self.variable()
        self.lines.append(f"{value} = atoms[{raw}]")
        return value

    def _export(self, tag: int) -> str:
        head = ATOM_HEADS[Tag(tag)]
        self.constant(bytes((Tag.EXPORT_EXT, tag)))
        module = self.field("B" if head == 2 else "H", head - 1)
        self.flush()
        function = "data[j + 1]" if head == 2 else "data[j + 2] + (data[j + 1] << 8)"
        value = self.variable()
        self.lines += (
            f"j = i + {module}",
            f"if data[j] != {tag}: {self.stop}",
            f"j += {head + 2} + {function}",
            f"{value} = exports[data[i - {head + 1}:j]]",
            "i = j",
        )
        return value

    def _identifier(self, shape: Identifier) -> str:
        tag, size = shape.start[0], shape.size
        value = self.variable()
        # What the identifier keeps is its newest form: ``start`` and the node's name, and the numbers.
        kind, start, zeros = _NEWEST_FORMS[Tag(tag)]
        if start is None:
            start = b"Z" + shape.start[1:] if kind == "Reference" else shape.start
        if shape.node is None:
            raw = self._name(shape.atom, shape.start)
            node = self.variable()
            self.lines.append(f"{node} = nodes.get({raw}) or node_of({raw}, 0)[0]")
            head = f"{self.name(start)} + {node}._etf"
        else:
            atom = self._known.node(shape.node, 0)[0]
            node = self.name(atom)
            whole = shape.start + shape.node
            if whole == start + atom._etf and tag in _NEWEST:  # its bytes are kept as they are
                form = self.field(f"{len(whole) + size}s", len(whole) + size)
                if self._masks:
                    end = len(self.mask) - size
                    self.mask[end - len(whole) : end] = b"\xff" * len(whole)
                    self.masked[end - len(whole) : end] = whole
                    self.compares += _COMPARE
                else:
                    self.check(f"not {form}.startswith({self.name(whole)})")
                self._set_identifier(value, kind, node, form, own=True)
                return value
            self.constant(whole)
            if tag in _PACKED:  # its numbers are not next to each other in the newest form
                numbers, creation = self.field(f"{size - 1}s", size - 1), self.field("1s", 1)
                before, between, turned = _PACKED[Tag(tag)]
                kept = start + atom._etf
                parts = f"3x1s{size - 1}s" if turned else f"{before}x{size - 1}s{between}x1s"
                pack = self.name(Struct(f"{len(kept)}s{parts}").pack)
                values = f"{creation}, {numbers}" if turned else f"{numbers}, {creation}"
                form = f"{pack}({self.name(kept)}, {values})"
                self._set_identifier(value, kind, node, form, own=tag not in _NEVER_OWN)
                return value
            head = self.name(start + atom._etf + bytes(_ZEROS[zeros]))
            zeros = ""
        numbers = self._numbers(Tag(tag), size)
        self._set_identifier(value, kind, node, f"{head} + {zeros}{numbers}", own=tag not in _NEVER_OWN)
        return value

    def _set_identifier(self, value: str, kind: str, node: str, form: str, *, own: bool) -> None:
        if kind == "Pid" and own:
            self.after.append(f"raw = {form}")
            self.after.append(f"{value} = pids.get(raw) or new_pid(raw, 0, raw)[0]")
            return
        self.after.append(f"{value} = new({kind})")
        self.after.append(f"{value}._node = {node}")
        self.after.append(f"{value}._etf = {form}")
        if own and kind == "Reference" and self._known.translates:
            self.after.append(f"{value} = own({value})")

    def _numbers(self, tag: Tag, size: int) -> str:
        """The numbers of an identifier come next; the expression for them as its newest form has them."""
        if tag in (Tag.PORT_EXT, Tag.REFERENCE_EXT, Tag.PID_EXT):  # the creation has a byte, and is the last
            numbers, creation = self.field(f"{size - 1}s", size - 1), self.field("1s", 1)
            if tag == Tag.REFERENCE_EXT:
                return f"{creation} + {numbers}"
            return f"{numbers} + zero3 + {creation}"
        return self.field(f"{size}s", size)


#: By tag of an identifier: its class, the start of its newest form (if it is not the start of this one), and
#: what comes before its numbers there.
_NEWEST_FORMS: dict[Tag, tuple[str, bytes | None, str]] = {
    Tag.NEW_PID_EXT: ("Pid", None, ""),
    Tag.PID_EXT: ("Pid", b"X", ""),
    Tag.V4_PORT_EXT: ("Port", None, ""),
    Tag.NEW_PORT_EXT: ("Port", b"x", "zero4 + "),
    Tag.PORT_EXT: ("Port", b"x", "zero4 + "),
    Tag.NEWER_REFERENCE_EXT: ("Reference", None, ""),
    Tag.NEW_REFERENCE_EXT: ("Reference", None, "zero3 + "),
    Tag.REFERENCE_EXT: ("Reference", b"Z\0\1", "zero3 + "),
}
_ZEROS = {"": 0, "zero3 + ": 3, "zero4 + ": 4}
#: By tag of an identifier whose creation has one byte, and is the last: the zeros before and after the other
#: numbers in its newest form, and whether the creation comes first there.
_PACKED = {Tag.PID_EXT: (0, 3, False), Tag.PORT_EXT: (4, 3, False), Tag.REFERENCE_EXT: (0, 0, True)}
_NEWEST = (Tag.NEW_PID_EXT, Tag.V4_PORT_EXT, Tag.NEWER_REFERENCE_EXT)
#: Of these the decoder makes no identifiers of the node itself.
_NEVER_OWN = (Tag.PID_EXT, Tag.REFERENCE_EXT)

#: Names in the source that have the same value for all shapes.
_NAMES: dict[str, Any] = {
    "zero3": bytes(3),
    "zero4": bytes(4),
    "Pid": Pid,
    "Reference": Reference,
    "Port": Port,
    "BitString": BitString,
    "ImproperList": ImproperList,
}
