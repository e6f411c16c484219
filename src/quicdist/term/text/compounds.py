"""Compound terms and their parts, in the order in which Erlang prints them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from quicdist.term.atom import Atom
from quicdist.term.maps import Map
from quicdist.term.order import map_key
from quicdist.term.text.writer import Writer, known
from quicdist.term.values import ImproperList, Record

#: Up to so many keys a BEAM holds in order, more in a hash trie (erts, MAP_SMALL_MAP_LIMIT).
_FLATMAP_KEYS = 32


class Compound(NamedTuple):
    """A term with parts."""

    #: tuple, list (an improper one too), map or record.
    kind: str
    #: Printed before the first part, and after the last one.
    opening: str
    closing: str
    #: The text printed before each part, and the part (keys of maps are parts too).
    parts: Iterator[tuple[str, Any]]


def take_apart(term: Any, writer: Writer) -> Compound:
    """The parts of a compound ``term``, one for which ``writer.leaf`` returns None."""
    kind = _KINDS.get(type(term))
    if kind is None:
        term = known(term)
        kind = _KINDS[type(term)]
    return kind(term, writer)


def _tuple(term: tuple[Any, ...], writer: Writer) -> Compound:
    return Compound("tuple", "{", "}", _with_commas(term))


def _list(term: list[Any], writer: Writer) -> Compound:
    return Compound("list", "[", "]", _with_commas(term))


def _improper_list(term: ImproperList, writer: Writer) -> Compound:
    return Compound("list", "[", "]", chain(_with_commas(term.elements), (("|", term.tail),)))


def _map(term: dict[Any, Any] | Map, writer: Writer) -> Compound:
    pairs: Iterable[tuple[Any, Any]] = term.items()
    if writer.ordered:
        none = Atom(writer.none)
        pairs = sorted(pairs, key=lambda pair: map_key(pair[0], none))
    elif len(term) > _FLATMAP_KEYS:
        # A BEAM sends a large map from the last to the first of the keys as it prints them.
        pairs = reversed(tuple(pairs))
    return Compound("map", "#{", "}", _pairs(pairs))


def _pairs(pairs: Iterable[tuple[Any, Any]]) -> Iterator[tuple[str, Any]]:
    comma = ""
    for key, value in pairs:
        yield comma, key
        yield " => ", value
        comma = ","


def _record(term: Record, writer: Writer) -> Compound:
    opening = f"#{writer.atom(term.module.name)}:{writer.atom(term.name.name)}{{"
    fields = ((f"{writer.atom(field.name)} = ", value) for field, value in term.fields.items())
    with_commas = ((f"{comma}{field}", value) for comma, (field, value) in _with_commas(fields))
    return Compound("record", opening, "}", with_commas)


def _with_commas(parts: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    comma = ""
    for part in parts:
        yield comma, part
        comma = ","


_KINDS: dict[type, Callable[[Any, Writer], Compound]] = {
    tuple: _tuple,
    list: _list,
    ImproperList: _improper_list,
    dict: _map,
    Map: _map,
    Record: _record,
}
