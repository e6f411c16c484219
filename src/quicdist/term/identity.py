"""Which terms are the same, as Erlang's ``=:=`` has it, which ``==`` in Python does not.

``1``, ``1.0`` and ``True`` are equal in Python, and so are tuples of them. An exact form is a short
``bytes`` that is the same for two terms if and only if Erlang takes them for the same term: small
ones spelled out, others as a digest (BLAKE2b, 24 bytes) of the forms of their parts, so that a form
costs time in the size of a term and never its depth in stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import chain
from struct import Struct
from typing import Any

from quicdist.term.atom import Atom
from quicdist.term.base import Value
from quicdist.term.coercion import cannot_encode, coerced
from quicdist.term.errors import EncodeError
from quicdist.term.funs import Export, Fun
from quicdist.term.identifiers import Pid, Port, Reference
from quicdist.term.values import BitString, ImproperList, Local, Record

_FLOAT = Struct(">d").pack
_SPELLED_OUT = 32
_TRUE, _FALSE = Atom("true"), Atom("false")


class Formed(Value):
    """A map that holds its exact form, in which ``None`` is not an atom (``Map``)."""

    __slots__ = ("_form", "_pairs")

    _pairs: tuple[tuple[Any, Any], ...]
    _form: bytes


def exactly_equal(one: Any, other: Any) -> bool:
    """Whether two terms are the same to Erlang, ``One =:= Other`` (as OTP 27 has it: 0.0 is not -0.0)."""
    return exact_form(one) == exact_form(other)


def exact_form(term: Any, none: Atom | None = None, memo: dict[int, bytes] | None = None) -> bytes:
    """The exact form of ``term``; ``none`` is the atom for ``None``, if that matters.

    ``memo`` keeps the forms of maps in maps' keys between calls, as long as these terms live. Raises
    EncodeError if something in it is no term.
    """
    memo = {} if memo is None else memo
    form = _leaf(term, none, memo)
    return _walk(term, none, memo) if form is None else form


def pairs_form(keys: Sequence[bytes], pairs: tuple[tuple[Any, Any], ...]) -> bytes:
    """The exact form of the map of these pairs, of whose keys these are the forms."""
    forms = chain.from_iterable(zip(keys, [exact_form(value) for _, value in pairs], strict=True))
    return _close("{", list(forms))


def _walk(term: Any, none: Atom | None, memo: dict[int, bytes]) -> bytes:
    stack: list[tuple[str, Iterator[Any], list[bytes], Any]] = []
    kind, parts = "", iter((term,))
    forms: list[bytes] = []
    while True:
        for part in parts:
            form = _leaf(part, none, memo)
            if form is None:
                stack.append((kind, parts, forms, part))
                (kind, parts), forms = _open(part), []
                break
            forms.append(form)
        else:
            if not stack:
                return forms[0]
            form = _close(kind, forms)
            kind, parts, forms, closed = stack.pop()
            if isinstance(closed, Formed):
                memo[id(closed)] = form
            forms.append(form)


def _leaf(term: Any, none: Atom | None, memo: dict[int, bytes]) -> bytes | None:
    """The form of a term without parts; None for a compound term."""
    kind = type(term)
    if kind is Atom or kind is Pid or kind is Reference or kind is Port or kind is Fun or kind is Export:
        return _seal(term._etf)
    if kind is int:
        return _seal(b"i" + term.to_bytes((term.bit_length() >> 3) + 1, "big", signed=True))
    if kind is bytes:
        return _seal(b"b" + term)
    if kind is str:
        return _seal(b"b" + utf8(term))
    if kind is bool:
        return _seal((_TRUE if term else _FALSE)._etf)
    if term is None:
        return _seal(b"N" if none is None else none._etf)
    if kind is float:
        return _seal(b"f" + _FLOAT(term))
    if isinstance(term, Formed):
        return term._form if none is None else memo.get(id(term))
    if kind is BitString:
        return _seal(b"t%c%b" % (term.bits, term.data))
    if kind is Local:
        return _seal(b"y" + term.data)
    if kind in _CONTAINERS:
        return None
    same = coerced(term)
    if same is NotImplemented:
        raise EncodeError(cannot_encode(term))
    return _leaf(same, none, memo)


_CONTAINERS = frozenset((tuple, list, dict, ImproperList, Record))


def _open(term: Any) -> tuple[str, Iterator[Any]]:
    if isinstance(term, Formed):
        return "{", chain.from_iterable(term._pairs)
    if not isinstance(term, Value) and type(term) not in _CONTAINERS:
        term = coerced(term)
    if type(term) is tuple:
        return "(", iter(term)
    if type(term) is list:
        return "[", iter(term)
    if type(term) is dict:
        return "{", chain.from_iterable(term.items())
    if type(term) is ImproperList:
        return "|", chain(term.elements, (term.tail,))
    head = (term.exported, term.module, term.name)
    return "r", chain(head, chain.from_iterable(term.fields.items()))


def _close(kind: str, forms: list[bytes]) -> bytes:
    if kind == "{":
        return _seal(b"{" + b"".join(sorted(map(bytes.__add__, forms[::2], forms[1::2]))))
    return _seal(kind.encode() + b"".join(forms))


def _seal(form: bytes) -> bytes:
    """Make a form that delimits itself, so that forms can be joined."""
    if len(form) <= _SPELLED_OUT:
        return b"%c%b" % (len(form), form)
    return b"\xff" + blake2b(form, digest_size=24).digest()


def utf8(text: str) -> bytes:
    """The bytes of a str, which is sent as a UTF-8 binary. Raises EncodeError for a lone surrogate."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"a str that is not valid Unicode: {error.reason}") from None
