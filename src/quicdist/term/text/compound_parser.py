"""Terms with parts, as they are read: tuples, lists, maps, native records, binaries, signed numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from quicdist.term.errors import TermError
from quicdist.term.identity import exact_form
from quicdist.term.maps import Map
from quicdist.term.text.bit_syntax import A_BYTE, BadSegment, BitBuilder, SegmentType
from quicdist.term.text.lexer import Token
from quicdist.term.text.token_stream import TokenStream
from quicdist.term.values import ImproperList, Record


class Frame(Protocol):
    """A term that has begun and whose parts are being read."""

    def begin(self, tokens: TokenStream) -> bool:
        """Read on to the first part; False if there is none."""

    def feed(self, tokens: TokenStream, part: Any, literal: str) -> bool:
        """Take a part and read on to the next one; False if there is none.

        ``literal`` is "number" or "string" if the part was written as one, else empty.
        """

    def value(self, tokens: TokenStream) -> tuple[Any, str]:
        """The complete term, and what literal it is."""


class _Tuple:
    def __init__(self, token: Token) -> None:
        self.parts: list[Any] = []

    def begin(self, tokens: TokenStream) -> bool:
        return not tokens.accept("}")

    def feed(self, tokens: TokenStream, part: Any, literal: str) -> bool:
        self.parts.append(part)
        if tokens.accept(","):
            return True
        tokens.expect("}", "',' or '}' in a tuple")
        return False

    def value(self, tokens: TokenStream) -> tuple[Any, str]:
        return tuple(self.parts), ""


class _List:
    def __init__(self, token: Token) -> None:
        self.parts: list[Any] = []
        self.at_tail = False
        self.tail: Any = []

    def begin(self, tokens: TokenStream) -> bool:
        return not tokens.accept("]")

    def feed(self, tokens: TokenStream, part: Any, literal: str) -> bool:
        if self.at_tail:
            self.tail = part
            tokens.expect("]", "']' after the tail of a list")
            return False
        self.parts.append(part)
        if tokens.accept(","):
            return True
        if tokens.accept("|"):
            self.at_tail = True
            return True
        tokens.expect("]", "',', '|' or ']' in a list")
        return False

    def value(self, tokens: TokenStream) -> tuple[Any, str]:
        if isinstance(self.tail, list):
            return self.parts + self.tail if self.tail else self.parts, ""
        if isinstance(self.tail, ImproperList):
            return ImproperList((*self.parts, *self.tail.elements), self.tail.tail), ""
        return ImproperList(self.parts, self.tail), ""


class _Hash:
    """A term that begins with ``#``: a map, or a native record as OTP 29 prints it (``#mod:name{x = 1}``)."""

    def __init__(self, token: Token) -> None:
        self.pairs: list[tuple[Any, Any]] = []
        self.module = self.name = self.key = None
        self.at_value = False

    def begin(self, tokens: TokenStream) -> bool:
        if tokens.token.kind != "{":
            if tokens.token.value == "Fun":
                tokens.refuse(tokens.token, "a local fun cannot be read: what a BEAM prints of it is not all")
            self.module = tokens.expect("atom", "'{' of a map, or a native record's module, after #").value
            tokens.expect(":", "a colon between a native record's module and name")
            self.name = tokens.expect("atom", "a native record's name").value
        tokens.expect("{", "'{'")
        return not tokens.accept("}") and self._next(tokens)

    def _next(self, tokens: TokenStream) -> bool:
        if self.module is not None:
            self.key = tokens.expect("atom", "a native record's field").value
            tokens.expect("=", "= after the field")
            self.at_value = True
        return True

    def feed(self, tokens: TokenStream, part: Any, literal: str) -> bool:
        if not self.at_value:
            self.key = part
            tokens.expect("=>", "=> after the key in a map")
            self.at_value = True
            return True
        self.pairs.append((self.key, part))
        self.at_value = False
        if tokens.accept(","):
            return self._next(tokens)
        tokens.expect("}", "',' or '}' in a map" if self.module is None else "',' or '}' in a record")
        return False

    def value(self, tokens: TokenStream) -> tuple[Any, str]:
        if self.module is None or self.name is None:
            return _map_of(self.pairs), ""
        try:
            return Record(self.module, self.name, self.pairs), ""
        except TermError as error:
            tokens.refuse(tokens.token, f"not a native record: {error}")


def _map_of(pairs: list[tuple[Any, Any]]) -> dict[Any, Any] | Map:
    """As ``maps:from_list/1``: the last of equal keys counts."""
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

    def begin(self, tokens: TokenStream) -> bool:
        self.segment = tokens.token
        return not tokens.accept(">>")

    def feed(self, tokens: TokenStream, part: Any, literal: str) -> bool:
        if self.at_size:
            if literal != "number" or type(part) is not int:
                tokens.refuse(self.segment, "a segment's size must be an integer that is not negative")
            self.size = part
            self.at_size = False
        else:
            self.part = (part, literal)
            if tokens.accept(":"):
                if tokens.token.kind in ("-", "+"):
                    tokens.unexpected(tokens.token, "a segment's size")
                self.at_size = True
                return True
        try:
            self._add(tokens)
        except BadSegment as error:
            tokens.refuse(self.segment, f"bad segment: {error}")
        if tokens.accept(","):
            self.segment = tokens.token
            return True
        tokens.expect(">>", "',' or '>>' in a binary")
        return False

    def _add(self, tokens: TokenStream) -> None:
        (part, literal), size, self.size = self.part, self.size, None
        names, unit = self._types(tokens)
        untyped = size is None and names is None
        segment = None if untyped else SegmentType.of(size, names or (), unit)
        if literal == "string":
            self.bits.add_string(part, segment)
        else:
            self.bits.add(part, segment or A_BYTE)

    def _types(self, tokens: TokenStream) -> tuple[list[str] | None, int | None]:
        """The names after the slash, None if there is no slash, and ``unit:N``."""
        if not tokens.accept("/"):
            return None, None
        names, unit = [], None
        while True:
            name = tokens.expect("atom", "a segment's type").value
            if tokens.token.kind != ":":
                names.append(name)
            elif name == "unit":
                tokens.take()
                another = tokens.expect("integer", "a unit").value
                if unit not in (None, another):
                    raise BadSegment(f"units both {unit} and {another}")
                unit = another
            else:
                tokens.unexpected(tokens.token, "'-', ',' or '>>'")
            if not tokens.accept("-"):
                return names, unit

    def value(self, tokens: TokenStream) -> tuple[Any, str]:
        return self.bits.value(), ""


class _Parentheses:
    def __init__(self, token: Token) -> None:
        self.inside: tuple[Any, str] = (None, "")

    def begin(self, tokens: TokenStream) -> bool:
        return True

    def feed(self, tokens: TokenStream, part: Any, literal: str) -> bool:
        self.inside = (part, literal)
        tokens.expect(")", "')'")
        return False

    def value(self, tokens: TokenStream) -> tuple[Any, str]:
        return self.inside


class _Sign:
    def __init__(self, token: Token) -> None:
        self.token = token
        self.number: Any = None

    def begin(self, tokens: TokenStream) -> bool:
        return True

    def feed(self, tokens: TokenStream, part: Any, literal: str) -> bool:
        if literal != "number":
            tokens.refuse(self.token, f"expected a number after '{self.token.kind}'")
        self.number = part
        return False

    def value(self, tokens: TokenStream) -> tuple[Any, str]:
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
