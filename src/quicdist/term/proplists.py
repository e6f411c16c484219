"""Property lists and keyword lists: ``[debug, {port, 8080}]`` and Elixir's ``[port: 8080]``.

Source: OTP's module ``proplists``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from quicdist.term.atom import Atom
from quicdist.term.identity import exact_form, exactly_equal
from quicdist.term.maps import Map
from quicdist.term.names import Name, atom_of, named_term


def proplist_get(properties: Iterable[Any], key: Any, default: Any = None) -> Any:
    """The value of ``key`` in a property list, as ``proplists:get_value/3``: the first entry counts, and an
    atom by itself stands for ``{Atom, true}``.

    A str as ``key`` is the atom of that name. As in OTP, a first entry for the key that is a tuple of
    another size than two hides those behind it: the result is ``default``.
    """
    key = named_term(key)
    for entry in properties:
        if _is_atom(entry):
            if exactly_equal(entry, key):
                return True
        elif isinstance(entry, tuple) and entry and exactly_equal(entry[0], key):
            return entry[1] if len(entry) == 2 else default
    return default


def proplist_to_dict(properties: Iterable[Any]) -> dict[Any, Any] | Map:
    """A property list or keyword list as a map, as ``proplists:to_map/1`` (OTP 24): it has what
    :func:`proplist_get` finds for each key.

    A :class:`Map` where a ``dict`` cannot hold the keys. Keys stay as they are; :func:`str_keys` makes names
    of atoms.
    """
    first: dict[bytes, tuple[Any, ...]] = {}
    for entry in properties:
        if _is_atom(entry):
            entry = (entry, True)
        if isinstance(entry, tuple) and entry:
            first.setdefault(exact_form(entry[0]), entry)
    pairs = [entry for entry in first.values() if len(entry) == 2]
    try:
        made = dict(pairs)
    except TypeError:  # a list or a map as a key
        return Map(pairs)
    return made if len(made) == len(pairs) else Map(pairs)


def keyword_list(mapping: Mapping[Name, Any] | None = None, /, **fields: Any) -> list[tuple[Atom, Any]]:
    """A keyword list, ``[{port, 8080}]`` in Erlang and ``[port: 8080]`` in Elixir, in the order given: of a
    mapping with str (or Atom) keys, then of keyword arguments. Raises TypeError for another key."""
    pairs = [(atom_of(key, "a key"), value) for key, value in (mapping or {}).items()]
    return pairs + [(Atom(key), value) for key, value in fields.items()]


def _is_atom(term: Any) -> bool:
    return term is None or isinstance(term, Atom | bool)
