"""How Erlang prints a term without parts: atoms, numbers, strings, binaries, identifiers, funs.

Source: OTP stdlib, ``io_lib`` ("~w", "~p") and ``erlang:float_to_list/2`` with ``short``.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from quicdist.term.atom import Atom
from quicdist.term.coercion import cannot_encode, coerced
from quicdist.term.digits import digits_from_integer
from quicdist.term.errors import TermError
from quicdist.term.funs import Export, Fun
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.maps import Map
from quicdist.term.text.keywords import KEYWORDS
from quicdist.term.values import BitString, ImproperList, Local, Record

#: Words that are quoted as atoms. ``maybe`` and ``else`` have been reserved since OTP 27; quoting
#: them is right for older releases too.
RESERVED_WORDS = KEYWORDS | {"maybe", "else"}

_BARE_ATOM = re.compile(r"[a-zß-öø-ÿ][0-9@_a-zA-ZÀ-ÖØ-öø-ÿ]*")
_CONTROL = "\n\r\t\v\b\f\x1b"
_LATIN1 = re.compile(rf"[ -~\xa0-\xff{_CONTROL}]*")
_WIDE = re.compile(r"[^\x00-\xff]")


@functools.cache
def _unicode() -> re.Pattern[str]:
    """Compiled with its first use: that takes longer than to load the rest of this module."""
    return re.compile(rf"[ -~\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff{_CONTROL}]*")


_ESCAPES = {code: f"\\{code:03o}" for code in (*range(32), *range(127, 160))}
_ESCAPES |= {ord(char): f"\\{name}" for char, name in zip("\n\r\t\v\b\f\x1b\x7f", "nrtvbfed", strict=True)}
_ESCAPES[ord("\\")] = "\\\\"
_IN_ATOM = _ESCAPES | {ord("'"): "\\'"}
_IN_STRING = _ESCAPES | {ord('"'): '\\"'}


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes terms without parts, in one of Erlang's styles."""

    #: Print lists and binaries of printable characters as strings (~p), or as numbers (~w).
    strings: bool = True
    #: Characters beyond Latin-1 as they are (the ``t`` of ~tp), or escaped.
    unicode: bool = True
    #: The printable characters under ``unicode``; those of a BEAM are latin1 unless it runs with +pc unicode.
    printable_range: Literal["latin1", "unicode"] = "latin1"
    #: The atom that None stands for.
    none: str = "undefined"
    #: Print the node's name in identifiers, not 0.
    node_names: bool = False
    #: Print maps in the order of their keys (the ``k`` of ~kp), or as they are held.
    ordered: bool = False

    def leaf(self, term: Any) -> str | None:
        """``term`` as text, None if it has parts that are to be printed one by one.

        Raises TermError if it is no term.
        """
        write = _LEAVES.get(type(term))
        return write(self, term) if write is not None else self.leaf(known(term))

    def atom(self, name: str) -> str:
        """An atom of this name, quoted if it must be."""
        if _BARE_ATOM.fullmatch(name) and name not in RESERVED_WORDS:
            return name
        quoted = name.translate(_IN_ATOM)
        if not self.unicode:
            quoted = _WIDE.sub(lambda wide: f"\\x{{{ord(wide[0]):X}}}", quoted)
        return f"'{quoted}'"

    def binary(self, data: bytes) -> str:
        """``<<"abc">>``, ``<<"å"/utf8>>`` or ``<<1,2,3>>``."""
        if self.strings and data:
            text, encoding = self._printable_text(data)
            if text:
                return f'<<"{text.translate(_IN_STRING)}"{encoding}>>'
        return f"<<{','.join(map(str, data))}>>"

    def _printable_text(self, data: bytes) -> tuple[str, str]:
        """The characters of a binary that is printed as a string, and how it encodes them."""
        if self.unicode:
            printable = self._printable
            try:
                text = data.decode()
            except UnicodeDecodeError as error:
                if not printable.fullmatch(data[: error.start].decode()):
                    return "", ""
            else:
                encoding = "" if len(text) == len(data) else "/utf8"
                return (text, encoding) if printable.fullmatch(text) else ("", "")
        text = data.decode("latin-1")
        return (text, "") if _LATIN1.fullmatch(text) else ("", "")

    @property
    def _printable(self) -> re.Pattern[str]:
        return _unicode() if self.unicode and self.printable_range == "unicode" else _LATIN1

    def _list(self, term: list[Any]) -> str | None:
        if not term:
            return "[]"
        if not self.strings or not isinstance(term[0], int):
            return None
        try:
            text = "".join(map(chr, term))
        except (TypeError, ValueError, OverflowError):
            return None
        return f'"{text.translate(_IN_STRING)}"' if self._printable.fullmatch(text) else None

    def _bit_string(self, term: BitString) -> str:
        last = f"{term.data[-1] >> (8 - term.bits)}:{term.bits}"
        return f"<<{','.join((*map(str, term.data[:-1]), last))}>>"

    def _node(self, node: Atom) -> str:
        return self.atom(node.name) if self.node_names else "0"

    def _pid(self, term: Pid) -> str:
        return f"<{self._node(term.node)}.{term.id}.{term.serial}>"

    def _port(self, term: Port) -> str:
        return f"#Port<{self._node(term.node)}.{term.id}>"

    def _reference(self, term: Reference) -> str:
        return f"#Ref<{'.'.join((self._node(term.node), *map(str, reversed(term.ids))))}>"

    def _fun(self, term: Fun) -> str:
        return f"#Fun<{self._name_in_fun(term.module)}.{term.old_index}.{term.old_uniq}>"

    def _export(self, term: Export) -> str:
        return f"fun {self._name_in_fun(term.module)}:{self._name_in_fun(term.function)}/{term.arity}"

    def _name_in_fun(self, atom: Atom) -> str:
        # Funs are printed by the emulator, to which @ is a reason to quote. It does not quote reserved
        # words, nor decode what is beyond ASCII; there, what can be read again is better.
        text = self.atom(atom.name)
        return f"'{text}'" if "@" in text and text[0] != "'" else text


def known(term: Any) -> Any:
    """A value of a subclass of an encodable type, or of a similar type, as that type. Raises TermError for
    other values."""
    same = coerced(term)
    if same is NotImplemented:
        raise TermError(cannot_encode(term))
    return same


def float_text(value: float) -> str:
    """As ``erlang:float_to_list(F, [short])``: the fewest digits that give ``value`` again.

    Between -2⁵³ and 2⁵³ the shorter of 1000.0 and 1.0e3 (here the latter), beyond always with an exponent,
    because the digits are not exact there.
    """
    if not math.isfinite(value):
        raise TermError(f"Erlang has no float {value}")
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    mantissa, _, exponent_text = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    # The value is 0.DIGITS times ten to the power of `point`.
    point = len(digits) - len(fraction) + int(exponent_text or 0)
    digits = digits.rstrip("0") or "0"
    if digits == "0":
        return f"{sign}0.0"
    scientific = f"{digits[0]}.{digits[1:] or '0'}e{point - 1}"
    if abs(value) >= 2.0**53:
        return sign + scientific
    if point <= 0:
        decimal = f"0.{'0' * -point}{digits}"
    elif point >= len(digits):
        decimal = f"{digits}{'0' * (point - len(digits))}.0"
    else:
        decimal = f"{digits[:point]}.{digits[point:]}"
    return sign + (scientific if len(scientific) < len(decimal) else decimal)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise TermError(f"a str that is not valid Unicode: {error}") from None


_LEAVES: dict[type, Callable[[Writer, Any], str | None]] = {
    Atom: lambda writer, term: writer.atom(term.name),
    bool: lambda writer, term: "true" if term else "false",
    type(None): lambda writer, term: writer.atom(writer.none),
    int: lambda writer, term: digits_from_integer(term),
    float: lambda writer, term: float_text(term),
    bytes: Writer.binary,
    str: lambda writer, term: writer.binary(_utf8(term)),
    BitString: Writer._bit_string,
    Pid: Writer._pid,
    Port: Writer._port,
    Reference: Writer._reference,
    Fun: Writer._fun,
    Export: Writer._export,
    Local: lambda writer, term: str(term),
    list: Writer._list,
    tuple: lambda writer, term: None if term else "{}",
    dict: lambda writer, term: None if term else "#{}",
    Map: lambda writer, term: None if term else "#{}",
    ImproperList: lambda writer, term: None,
    Record: lambda writer, term: None,
}
