"""Splits Erlang source text into tokens, like ``erl_scan``, as far as terms need it.

The rules are those of OTP 29, a superset of what OTP 25 to 28 read: sigils and triple-quoted strings (OTP 27,
EEP 64 and 66), based floats (OTP 28). In addition there are three forms that a BEAM prints and does not read:
pids, ports and references.

Source: Erlang Reference Manual, "Data Types" and "Character Set and Source File Encoding".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, NoReturn

from quicdist.term.atom import MAX_ATOM_CHARACTERS
from quicdist.term.digits import integer_from_digits
from quicdist.term.errors import ParseError
from quicdist.term.text.keywords import KEYWORDS


class Token(NamedTuple):
    """One token. ``kind`` is ``atom``, ``integer``, ``float``, ``char``, ``string``, ``sigil_string``,
    ``binary``, ``pid``, ``port``, ``reference``, ``variable``, ``dot`` (the full stop after a term),
    ``eof``, or the keyword or punctuation itself."""

    kind: str
    value: Any
    offset: int


def position(text: str, offset: int) -> tuple[int, int]:
    """Line and column of ``offset`` in ``text``, both from 1, a column for each character."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def refuse(text: str, offset: int, message: str) -> NoReturn:
    """Raise :class:`ParseError` with ``message`` for the token at ``offset`` of ``text``."""
    line, column = position(text, offset)
    raise ParseError(message, line=line, column=column)


# Erlang takes control characters and those of Latin-1's upper block for white space.
_SPACE = r"\x00-\x20\x80-\xa0"
_SPACE_IN_LINE = r"\x00-\x09\x0b-\x20\x80-\xa0"
_LOWER = r"a-zß-öø-ÿ"
_UPPER = r"A-Z_À-ÖØ-Þ"
_NAME = rf"0-9@{_LOWER}{_UPPER}"
_DIGITS = r"[0-9]++(?:_[0-9]++)*+"
_ALNUMS = r"[0-9A-Za-z]++(?:_[0-9A-Za-z]++)*+"

_NO_CHARACTER = re.compile("[\ud800-\udfff\ufffe\uffff]")
_SKIPPED = re.compile(rf"(?:[{_SPACE}]++|%[^\n]*+)*+")
_ONLY_SPACE = re.compile(rf"[{_SPACE}]*+")
_NAME_CHARACTER = re.compile(rf"[{_NAME}]")
_NAME_CHARACTERS = re.compile(rf"[{_NAME}]*+")

_QUOTED_ATOM = r"'(?:[^'\\]|\\.)*+'"
_NODE = rf"[{_NAME}]++|{_QUOTED_ATOM}"

# The order matters where one is the beginning of another.
_TOKEN = re.compile(
    "|".join(
        f"(?P<{kind}>{pattern})"
        for kind, pattern in {
            "atom": rf"[{_LOWER}][{_NAME}]*+",
            "variable": rf"[{_UPPER}][{_NAME}]*+",
            "based": rf"{_DIGITS}\#(?:{_ALNUMS}(?:\.{_ALNUMS}(?:\#[eE][+-]?(?:{_DIGITS})?)?)?)?",
            "float": rf"{_DIGITS}\.{_DIGITS}(?:[eE][+-]?{_DIGITS})?",
            "integer": _DIGITS,
            "triple_quoted": rf'(?:~[{_NAME}]*+)?"""++',
            "string": rf'(?:~[{_NAME}]*+)?"',
            "quoted_atom": "'",
            "char": r"\$",
            "sigil": rf"~[{_NAME}]*+",
            "dot": rf"\.(?=[{_SPACE}%]|\Z)",
            "reference": rf"\#Ref<(?P<reference_node>{_NODE})(?P<words>(?:\.[0-9]++){{1,5}})>",
            "port": rf"\#Port<(?P<port_node>{_NODE})\.(?P<port_id>[0-9]++)>",
            "pid": rf"<(?P<pid_node>{_NODE})\.(?P<pid_id>[0-9]++)\.(?P<serial>[0-9]++)>",
            "punctuation": r"=:=|=/=|\.\.\.|=<|=>|==|/=|\|\||:=|::|<<|<-|<=|>>|>=|->|--|\+\+|\?=|\.\."
            r"|[-+*/=<>!?@\\^`&#|:;,(){}\[\].]",
        }.items()
    ),
    re.DOTALL,
)

_ESCAPE = re.compile(
    r"\\(?:(?P<octal>[0-7]{1,3})|x\{(?P<hex>[0-9A-Fa-f]+)\}|x(?P<hex2>[0-9A-Fa-f]{2})"
    r"|\^(?P<control>[?@-_a-z])|(?P<char>[^x^])|)",
    re.DOTALL,
)
_NAMED_ESCAPES = dict(zip("nrtvbfesd", "\n\r\t\v\b\f\x1b \x7f", strict=True))

#: What ends a quoted text that begins with the key.
_CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">", "/": "/", "|": "|", "'": "'", '"': '"'}
_QUOTED = {
    closing: re.compile(
        rf"((?:[^\\\{closing}]++|\\x\{{[0-9A-Fa-f]++\}}|\\\^[?@-_a-z]|\\.)*+)\{closing}", re.DOTALL
    )
    for closing in _CLOSING.values()
}
#: The sigils there are, and the kind of token each makes.
_SIGILS = {"": "binary", "b": "binary", "B": "binary", "s": "sigil_string", "S": "sigil_string"}


def scan(text: str) -> Iterator[Token]:
    """The tokens of ``text``, lazily, an ``eof`` as the last one.

    Raises :class:`ParseError` where the text cannot be a token, and before all else at a character
    that no Erlang source may hold (a surrogate, U+FFFE, U+FFFF).
    """
    if bad := _NO_CHARACTER.search(text):
        refuse(text, bad.start(), f"U+{ord(bad[0]):04X} is not a character")
    at = 0
    while True:
        at = _SKIPPED.match(text, at).end()  # type: ignore[union-attr]  # it matches the empty text too
        if at == len(text):
            yield Token("eof", "", at)
            return
        match = _TOKEN.match(text, at)
        if match is None:
            refuse(text, at, f"illegal character {text[at]!r}")
        kind = match.lastgroup
        assert kind is not None
        token, at = _MAKERS[kind](text, match)
        yield token


# Each maker has the text and the match of its kind, and returns the token and the offset after it.


def _atom(text: str, match: re.Match[str]) -> tuple[Token, int]:
    name = match[0]
    if name in KEYWORDS:
        return Token(name, name, match.start()), match.end()
    return _atom_token(text, match.start(), name), match.end()


def _quoted_atom(text: str, match: re.Match[str]) -> tuple[Token, int]:
    start = match.start()
    name, end = _quoted(text, start, "'", "quoted atom")
    return _atom_token(text, start, name), end


def _atom_token(text: str, start: int, name: str) -> Token:
    if len(name) > MAX_ATOM_CHARACTERS:
        refuse(text, start, f"an atom of {len(name)} characters; at most {MAX_ATOM_CHARACTERS} are allowed")
    return Token("atom", name, start)


def _plain(text: str, match: re.Match[str]) -> tuple[Token, int]:
    return Token(match.lastgroup or "", match[0], match.start()), match.end()


def _punctuation(text: str, match: re.Match[str]) -> tuple[Token, int]:
    return Token(match[0], match[0], match.start()), match.end()


def _integer(text: str, match: re.Match[str]) -> tuple[Token, int]:
    _no_name_follows(text, match, "integer")
    return Token("integer", _whole(text, match.start(), match[0], 10), match.start()), match.end()


def _float(text: str, match: re.Match[str]) -> tuple[Token, int]:
    _no_name_follows(text, match, "float")
    value = float(match[0].replace("_", ""))
    if math.isinf(value):
        refuse(text, match.start(), f"illegal float: {_shortened(match[0])} is too large")
    return Token("float", value, match.start()), match.end()


def _based(text: str, match: re.Match[str]) -> tuple[Token, int]:
    """``Base#Digits``, and since OTP 28 ``Base#Digits.Digits#eExponent``."""
    start = match.start()
    base_digits, digits, *exponent = match[0].replace("_", "").split("#")
    base = int(base_digits) if len(base_digits) <= 2 else 0
    if not 2 <= base <= 36:
        refuse(text, start, f"illegal base {_shortened(base_digits)}: it must be 2 to 36")
    what = "float" if "." in digits else "integer"
    _no_name_follows(text, match, what)
    if what == "integer":
        return Token("integer", _whole(text, start, digits, base), start), match.end()
    power = exponent[0][1:] if exponent else "0"
    if not power[-1:].isdigit():
        refuse(text, start, f"illegal float: {_shortened(match[0])} has no exponent after #e")
    whole, _, fraction = digits.partition(".")
    fraction = fraction.rstrip("0") or "0"
    number = _whole(text, start, whole + fraction, base)
    try:
        # As erl_scan computes it, so that every bit is the same.
        if base == 10:
            value = float(f"{whole}.{fraction}e{power}")
        else:
            value = number * math.pow(base, int(power[:20]) - len(fraction))
    except OverflowError:
        value = math.inf
    if math.isinf(value):
        refuse(text, start, f"illegal float: {_shortened(match[0])} is too large")
    return Token("float", value, start), match.end()


def _no_name_follows(text: str, match: re.Match[str], what: str) -> None:
    if _NAME_CHARACTER.match(text, match.end()):
        rest = _NAME_CHARACTERS.match(text, match.end())
        refuse(text, match.start(), f"illegal {what}: {_shortened(match[0] + (rest[0] if rest else ''))}")


def _whole(text: str, start: int, digits: str, base: int) -> int:
    try:
        return integer_from_digits(digits.replace("_", ""), base)
    except ValueError:
        refuse(text, start, f"illegal integer: {_shortened(digits)!r} are not digits of base {base}")
    except OverflowError:
        refuse(
            text, start, f"illegal integer: {len(digits)} digits are more than Erlang's largest integer has"
        )


def _shortened(shown: str) -> str:
    return shown if len(shown) <= 40 else f"{shown[:40]}…"


def _char(text: str, match: re.Match[str]) -> tuple[Token, int]:
    start, at = match.span()
    if at == len(text):
        refuse(text, start, "expected a character after $, got the end of the text")
    if text[at] != "\\":
        return Token("char", ord(text[at]), start), at + 1
    escape = _ESCAPE.match(text, at)
    assert escape is not None
    return Token("char", ord(_escaped(text, at, escape)), start), escape.end()


def _escaped(text: str, at: int, escape: re.Match[str]) -> str:
    """The character of the escape sequence ``escape``, which is at ``at`` in ``text``."""
    kind, value = escape.lastgroup, escape[escape.lastindex] if escape.lastindex else ""
    match kind:
        case "char":
            return _NAMED_ESCAPES.get(value, value)
        case "octal":
            return chr(int(value, 8))
        case "control":
            return "\x7f" if value == "?" else chr(ord(value) & 31)
        case "hex" | "hex2":
            code = int(value, 16)
            if code <= 0x10FFFF and not _NO_CHARACTER.match(chr(code)):
                return chr(code)
    shown = text[at : max(escape.end(), at + 4)]
    refuse(text, at, f"illegal escape sequence {_shortened(shown)!r}")


def _unescaped(text: str, start: int, content: str) -> str:
    """``content``, which begins at ``start`` of ``text``, with its escape sequences replaced."""
    if "\\" not in content:
        return content
    return _ESCAPE.sub(lambda escape: _escaped(text, start + escape.start(), escape), content)


def _quoted(text: str, start: int, closing: str, what: str, *, verbatim: bool = False) -> tuple[str, int]:
    """The text between the delimiter at ``start`` and ``closing``, and the offset after it."""
    if verbatim:
        end = text.find(closing, start + 1)
        if end >= 0:
            return text[start + 1 : end], end + 1
    elif found := _QUOTED[closing].match(text, start + 1):
        return _unescaped(text, start + 1, found[1]), found.end()
    refuse(text, start, f"unterminated {what}: expected {closing} before the end of the text")


def _string(text: str, match: re.Match[str]) -> tuple[Token, int]:
    """``"..."``, and ``~b"..."`` and its like."""
    if match[0][0] == "~":
        return _sigil(text, match)
    start = match.start()
    value, end = _quoted(text, start, '"', "string")
    _no_string_follows(text, end)
    return Token("string", value, start), end


def _sigil(text: str, match: re.Match[str]) -> tuple[Token, int]:
    name = match[0].removeprefix("~").removesuffix('"')
    start = match.start()
    at = start + 1 + len(name)
    kind = _sigil_kind(text, start, name)
    closing = _CLOSING.get(text[at : at + 1])
    if closing is None:
        got = repr(text[at]) if at < len(text) else "the end of the text"
        refuse(text, at, f'expected the delimiter of a sigil, such as " or (, got {got}')
    value, end = _quoted(text, at, closing, f"sigil ~{name}", verbatim=name in ("B", "S"))
    return _sigil_token(text, start, kind, value, end), end


def _sigil_kind(text: str, start: int, name: str) -> str:
    if name not in _SIGILS:
        refuse(text, start, f"illegal sigil ~{_shortened(name)}: there are ~, ~b, ~B, ~s and ~S")
    return _SIGILS[name]


def _sigil_token(text: str, start: int, kind: str, value: str, end: int) -> Token:
    if _NAME_CHARACTER.match(text, end):
        refuse(text, end, "illegal sigil suffix: nothing may follow the closing delimiter")
    return Token(kind, value.encode() if kind == "binary" else value, start)


def _no_string_follows(text: str, end: int) -> None:
    if text.startswith('"', end):
        refuse(text, end, "adjacent strings with no white space between them")


def _triple_quoted(text: str, match: re.Match[str]) -> tuple[Token, int]:
    """Lines between two lines of three or more ``"``, less the indentation of the second (EEP 64)."""
    start = match.start()
    name, quotes = match[0].rstrip('"').removeprefix("~"), match[0].count('"')
    sigil = match[0][0] == "~"
    kind = _sigil_kind(text, start, name) if sigil else "string"
    end = re.compile(rf'\n([{_SPACE_IN_LINE}]*+)"{{{quotes}}}').search(text, match.end())
    if end is None:
        refuse(text, start, f'unterminated triple-quoted string: expected {quotes} " on a line of their own')
    escapes = name in ("b", "s")
    lines = []
    at = match.end()
    while at <= end.start():
        # The line feed belongs to its line: a backslash may precede it.
        after = text.index("\n", at) + 1
        line = _unescaped(text, at, text[at:after]) if escapes else text[at:after]
        if at > match.end():
            lines.append(_without_indentation(text, at, line, end[1]))
        elif not _ONLY_SPACE.fullmatch(line):
            refuse(text, at, "only white space may follow the start of a triple-quoted string")
        at = after
    value = "".join(lines).removesuffix("\n").removesuffix("\r")
    if sigil:
        return _sigil_token(text, start, kind, value, end.end()), end.end()
    _no_string_follows(text, end.end())
    return Token(kind, value, start), end.end()


def _without_indentation(text: str, at: int, line: str, indentation: str) -> str:
    if line.startswith(("\n", "\r\n")):
        return line  # an empty line needs no indentation
    if line.startswith(indentation):
        return line[len(indentation) :]
    refuse(text, at, "this line of a triple-quoted string is indented less than its end")


def _identifier(text: str, match: re.Match[str]) -> tuple[Token, int]:
    """``<0.1.2>``, ``#Port<0.1>``, ``#Ref<0.1.2.3>``: the value has the node (a number, or the node's
    name) and then the numbers, as they stand."""
    kind = match.lastgroup
    if kind == "pid":
        node, numbers = match["pid_node"], [match["pid_id"], match["serial"]]
    elif kind == "port":
        node, numbers = match["port_node"], [match["port_id"]]
    else:
        node, numbers = match["reference_node"], match["words"].split(".")[1:]
    start = match.start()
    name: str | int
    if node[0] == "'":
        name = _atom_token(text, start, _unescaped(text, match.start(), node[1:-1])).value
    else:
        name = _whole(text, start, node, 10) if node.isdigit() else node
    value = (name, *(_whole(text, start, number, 10) for number in numbers))
    return Token(kind or "", value, start), match.end()


_MAKERS: dict[str, Callable[[str, re.Match[str]], tuple[Token, int]]] = {
    "atom": _atom,
    "variable": _plain,
    "based": _based,
    "float": _float,
    "integer": _integer,
    "triple_quoted": _triple_quoted,
    "string": _string,
    "quoted_atom": _quoted_atom,
    "char": _char,
    "sigil": _sigil,
    "dot": _plain,
    "reference": _identifier,
    "port": _identifier,
    "pid": _identifier,
    "punctuation": _punctuation,
}
