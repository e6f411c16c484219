"""Terms with parts, as they are read: tuples, lists, maps, native records, binaries, signed numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from quicdist.term.bit_syntax import A_BYTE, BadSegment, BitBuilder, SegmentType
from quicdist.term.errors import TermError
from quicdist.term.exact import exact_form
from quicdist.term.maps import Map
from quicdist.term.scan import Token
from quicdist.term.values import ImproperList, Record

if TYPE_CHECKING:
    from quicdist.term.parse import Parser


class Frame(Protocol):
    """A term that has begun and whose parts are being read."""

    def begin(self, parser: Parser) -> bool:
        """Read on to the first part; False if there is none."""

    def feed(self, parser: Parser, part: Any, literal: str) -> bool:
        """Take a part and read on to the next one; False if there is none.

        ``literal`` is "number" or "string" if the part was written as one, else empty.
        """

    def value(self, parser: Parser) -> tuple[Any, str]:
        """The complete term, and what literal it is."""


class _Tuple:
    def __init__(self, token: Token) -> None:
        self.parts: list[Any] = []

    def begin(self, parser: Parser) -> bool:
        return not parser.accept("}")

    def feed(self, parser: Parser, part: Any, literal: str) -> bool:
        self.parts.append(part)
        if parser.accept(","):
            return True
        parser.expect("}", "',' or '}' in a tuple")
        return False

    def value(self, parser: Parser) -> tuple[Any, str]:
        return tuple(self.parts), ""


class _List:
    def __init__(self, token: Token) -> None:
        self.parts: list[Any] = []
        self.at_tail = False
        self.tail: Any = []

    def begin(self, parser: Parser) -> bool:
        return not parser.accept("]")

    def feed(self, parser: Parser, part: Any, literal: str) -> bool:
        if self.at_tail:
            self.tail = part
            parser.expect("]", "']' after the tail of a list")
            return False
        self.parts.append(part)
        if parser.accept(","):
            return True
        if parser.accept("|"):
            self.at_tail = True
            return True
        parser.expect("]", "',', '|' or ']' in a list")
        return False

    def value(self, parser: Parser) -> tuple[Any, str]:
        if isinstance(self.tail, list):
            return self.parts + self.tail if self.tail else self.parts, ""
        if isinstance(self.tail, ImproperList):
            return ImproperList((*self.parts, *self.tail.elements), self.tail.tail), ""
        return ImproperList(self.parts, self.tail), ""


class _Hash:
    """What begins with ``#``: a map, or a native record as OTP 29 prints it (``#mod:name{x = 1}``)."""

    def __init__(self, token: Token) -> None:
        self.pairs: list[tuple[Any, Any]] = []
        self.module = self.name = self.key = None
        self.at_value = False

    def begin(self, parser: Parser) -> bool:
        if parser.token.kind != "{":
            if parser.token.value == "Fun":
                parser.refuse(parser.token, "a local fun cannot be read: what a BEAM prints of it is not all")
            self.module = parser.expect("atom", "'{' of a map, or a native record's module, after #").value
            parser.expect(":", "a colon between a native record's module and name")
            self.name = parser.expect("atom", "a native record's name").value
        parser.expect("{", "'{'")
        return not parser.accept("}") and self._next(parser)

    def _next(self, parser: Parser) -> bool:
        if self.module is not None:
            self.key = parser.expect("atom", "a native record's field").value
            parser.expect("=", "= after the field")
            self.at_value = True
        return True

    def feed(self, parser: Parser, part: Any, literal: str) -> bool:
        if not self.at_value:
            self.key = part
            parser.expect("=>", "=> after the key in a map")
            self.at_value = True
            return True
        self.pairs.append((self.key, part))
        self.at_value = False
        if parser.accept(","):
            return self._next(parser)
        parser.expect("}", "',' or '}' in a map" if self.module is None else "',' or '}' in a record")
        return False

    def value(self, parser: Parser) -> tuple[Any, str]:
        if self.module is None or self.name is None:
            return _map_of(self.pairs), ""
        try:
            return Record(self.module, self.name, self.pairs), ""
        except TermError as error:
            parser.refuse(parser.token, f"no native record: {error}")


def _map_of(pairs: list[tuple[Any, Any]]) -> dict[Any, Any] | Map:
    """As ``maps:from_list/1``: of keys that are the same term the last one holds."""
    try:
        plain = dict(pairs)
        if len(plain) == len(pairs):
            return plain
    except (TypeError, RecursionError):
        pass
    distinct = {exact_form(key): (key, value) for key, value in pairs}.values()
    try:
        plain = dict(distinct)
        if len(plain) == len(distinct):
            return plain
    except (TypeError, RecursionError):
        pass
    return Map(distinct)


class _Binary:
    def __init__(self, token: Token) -> None:
        self.bits = BitBuilder()
        self.part: tuple[Any, str] = (None, "")
        self.size: int | None = None
        self.at_size = False

    def begin(self, parser: Parser) -> bool:
        self.segment = parser.token
        return not parser.accept(">>")

    def feed(self, parser: Parser, part: Any, literal: str) -> bool:
        if self.at_size:
            if literal != "number" or type(part) is not int:
                parser.refuse(self.segment, "a segment's size must be an integer that is not negative")
            self.size = part
            self.at_size = False
        else:
            self.part = (part, literal)
            if parser.accept(":"):
                if parser.token.kind in ("-", "+"):
                    parser.unexpected(parser.token, "a segment's size")
                self.at_size = True
                return True
        try:
            self._add(parser)
        except BadSegment as error:
            parser.refuse(self.segment, f"bad segment: {error}")
        if parser.accept(","):
            self.segment = parser.token
            return True
        parser.expect(">>", "',' or '>>' in a binary")
        return False

    def _add(self, parser: Parser) -> None:
        (part, literal), size, self.size = self.part, self.size, None
        names, unit = self._types(parser)
        untyped = size is None and names is None
        segment = None if untyped else SegmentType.of(size, names or (), unit)
        if literal == "string":
            self.bits.add_string(part, segment)
        else:
            self.bits.add(part, segment or A_BYTE)

    def _types(self, parser: Parser) -> tuple[list[str] | None, int | None]:
        """The names after the slash, None if there is no slash, and ``unit:N``."""
        if not parser.accept("/"):
            return None, None
        names, unit = [], None
        while True:
            name = parser.expect("atom", "a segment's type").value
            if parser.token.kind != ":":
                names.append(name)
            elif name == "unit":
                parser.take()
                another = parser.expect("integer", "a unit").value
                if unit not in (None, another):
                    raise BadSegment(f"units both {unit} and {another}")
                unit = another
            else:
                parser.unexpected(parser.token, "'-', ',' or '>>'")
            if not parser.accept("-"):
                return names, unit

    def value(self, parser: Parser) -> tuple[Any, str]:
        return self.bits.value(), ""


class _Parentheses:
    def __init__(self, token: Token) -> None:
        self.inside: tuple[Any, str] = (None, "")

    def begin(self, parser: Parser) -> bool:
        return True

    def feed(self, parser: Parser, part: Any, literal: str) -> bool:
        self.inside = (part, literal)
        parser.expect(")", "')'")
        return False

    def value(self, parser: Parser) -> tuple[Any, str]:
        return self.inside


class _Sign:
    def __init__(self, token: Token) -> None:
        self.token = token
        self.number: Any = None

    def begin(self, parser: Parser) -> bool:
        return True

    def feed(self, parser: Parser, part: Any, literal: str) -> bool:
        if literal != "number":
            parser.refuse(self.token, f"expected a number after '{self.token.kind}'")
        self.number = part
        return False

    def value(self, parser: Parser) -> tuple[Any, str]:
        return (-self.number if self.token.kind == "-" else self.number), ""


#: What the token of the key begins.
FRAMES: dict[str, Callable[[Token], Frame]] = {
    "{": _Tuple,
    "[": _List,
    "#": _Hash,
    "<<": _Binary,
    "(": _Parentheses,
    "-": _Sign,
    "+": _Sign,
}
