"""Erlang's order of terms (Erlang Reference Manual, "Term Comparisons").

``number < atom < reference < fun < port < pid < tuple < map < nil < list < bitstring``, with OTP 29's
native records between tuples and maps. Where the manual is silent (what makes one pid less than
another) it is as OTP does it, from 25 to 29. Nothing here recurses into a term.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from math import copysign
from typing import Any

from quicdist.term.atom import Atom
from quicdist.term.coercion import cannot_encode, coerced
from quicdist.term.errors import EncodeError
from quicdist.term.funs import Export, Fun
from quicdist.term.identifiers import MAX_REFERENCE_WORDS, Pid, Port, Reference
from quicdist.term.identity import utf8
from quicdist.term.maps import Map
from quicdist.term.values import BitString, ImproperList, Record

_NUMBER, _ATOM, _REFERENCE, _FUN, _PORT, _PID, _TUPLE, _RECORD, _MAP, _NIL, _LIST, _BITSTRING = range(12)

_UNDEFINED = "undefined"


def sort_key(term: Any, *, none: Atom | str = _UNDEFINED) -> Any:
    """A key that puts terms in Erlang's order, for ``sorted(terms, key=sort_key)`` and the like.

    As in ``lists:sort``, numbers go by their value, whether int or float, exactly: ``1`` and ``1.0`` keep
    their order. ``none`` is the atom that ``None`` stands for. Raises EncodeError for values that are not
    terms.
    """
    return _key(term, False, none if isinstance(none, str) else none.name)


def map_key(term: Any, none: Atom | None = None) -> Any:
    """As ``sort_key``, but as the keys of a map are ordered: every int before every float."""
    return _key(term, True, _UNDEFINED if none is None else none.name)


def compare(one: Any, other: Any) -> int:
    """-1, 0 or 1: whether ``one`` is less than, equal (``==`` in Erlang) to or greater than ``other``."""
    return _compare(one, other, False, _UNDEFINED)


def _key(term: Any, exact: bool, none: str) -> tuple[Any, ...]:
    key, compound = _flat(term, exact, none)
    return (*key, _Compound(compound, exact, none)) if compound is not None else key


class _Compound:
    """A term with parts, compared only with others of its kind and size."""

    __slots__ = ("exact", "none", "term")

    def __init__(self, term: Any, exact: bool, none: str) -> None:
        self.term = term
        self.exact = exact
        self.none = none

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, _Compound)
        return _compare(self.term, other.term, self.exact, self.none) == 0

    def __lt__(self, other: _Compound) -> bool:
        return _compare(self.term, other.term, self.exact, self.none) < 0

    __hash__ = None  # type: ignore[assignment]


def _compare(one: Any, other: Any, exact: bool, none: str) -> int:
    stack: list[Iterator[tuple[Any, Any, bool]]] = [iter(((one, other, exact),))]
    while stack:
        for a, b, exactly in stack[-1]:
            key_a, compound_a = _flat(a, exactly, none)
            key_b, compound_b = _flat(b, exactly, none)
            if key_a != key_b:
                return -1 if key_a < key_b else 1
            if compound_a is not None and compound_a is not compound_b:
                stack.append(_pairs(compound_a, compound_b, exactly, none))
                break
        else:
            stack.pop()
    return 0


def _flat(term: Any, exact: bool, none: str) -> tuple[tuple[Any, ...], Any]:
    """The part of a term that is compared first, and the term itself if more has to be compared."""
    kind = type(term)
    if kind is int:
        return (_NUMBER, 0, term) if exact else (_NUMBER, term), None
    if kind is float:
        # As a key 0.0 is not -0.0 (OTP 27), and less is the one with the sign.
        return (_NUMBER, 1, term, copysign(1.0, term)) if exact else (_NUMBER, term), None
    if kind is Atom:
        return (_ATOM, term.name), None
    if kind is bool:
        return (_ATOM, "true" if term else "false"), None
    if term is None:
        return (_ATOM, none), None
    if kind is bytes:
        return (_BITSTRING, term, 8), None
    if kind is str:
        return (_BITSTRING, utf8(term), 8), None
    if kind is tuple:
        return (_TUPLE, len(term)), term or None
    if kind is list:
        return ((_LIST,), term) if term else ((_NIL,), None)
    if kind is dict or kind is Map:
        return (_MAP, len(term)), term or None
    if kind is Pid:
        id, serial, creation = term._arguments()
        return (_PID, serial, id, term.node.name, creation), None
    if kind is Reference:
        ids, creation = term._arguments()
        words = (*reversed(ids),)
        padding = (0,) * (MAX_REFERENCE_WORDS - len(words))
        return (_REFERENCE, term.node.name, creation, *padding, *words), None
    if kind is Port:
        id, creation = term._arguments()
        return (_PORT, term.node.name, creation, id), None
    if kind is Export:
        return (_FUN, 1, term.module.name, term.function.name, term.arity), None
    if kind is Fun:
        return (_FUN, 0, term.module.name, term.old_index, term.old_uniq, term.num_free), term
    if kind is ImproperList:
        return (_LIST,), term
    if kind is BitString:
        return (_BITSTRING, term.data, term.bits), None
    if kind is Record:
        return (_RECORD, term.module.name, term.name.name, term.exported, len(term)), term
    same = coerced(term)
    if same is NotImplemented:
        raise EncodeError(cannot_encode(term))
    return _flat(same, exact, none)


def _pairs(a: Any, b: Any, exact: bool, none: str) -> Iterator[tuple[Any, Any, bool]]:
    """The pairs of parts to compare, in order, of two terms of one kind and size."""
    if type(a) is tuple:
        return _side_by_side(a, b, exact)
    if isinstance(a, (dict, Map)):
        keys_a = sorted(a, key=lambda key: _key(key, True, none))
        keys_b = sorted(b, key=lambda key: _key(key, True, none))
        values_a, values_b = (a[key] for key in keys_a), (b[key] for key in keys_b)
        return chain(_side_by_side(keys_a, keys_b, True), _side_by_side(values_a, values_b, exact))
    if type(a) is Record:
        return chain(
            _side_by_side(a.fields, b.fields, exact),
            _side_by_side(a.fields.values(), b.fields.values(), exact),
        )
    if type(a) is Fun:
        return _side_by_side(a.free_variables, b.free_variables, exact)
    elements_a, elements_b = _elements(a), _elements(b)
    common = min(len(elements_a), len(elements_b))
    rest = (_rest(a, common), _rest(b, common), exact)
    return chain(_side_by_side(elements_a[:common], elements_b[:common], exact), (rest,))


def _side_by_side(a: Iterable[Any], b: Iterable[Any], exact: bool) -> Iterator[tuple[Any, Any, bool]]:
    return ((one, other, exact) for one, other in zip(a, b, strict=True))


def _elements(term: Any) -> Any:
    return term.elements if type(term) is ImproperList else term


def _rest(term: Any, start: int) -> Any:
    """The list after its first ``start`` elements: the tail if there are no more."""
    if type(term) is list:
        return term[start:]
    elements = term.elements[start:]
    return ImproperList(elements, term.tail) if elements else term.tail
