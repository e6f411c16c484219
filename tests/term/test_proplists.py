"""Property lists and keyword lists, as OTP's module ``proplists`` reads them."""

from __future__ import annotations

from typing import Any

import pytest

from quicdist.term import (
    Atom,
    Map,
    binary_to_term,
    exactly_equal,
    keyword_list,
    proplist_get,
    proplist_to_dict,
    term_to_binary,
)
from tests.support.beam import Beam

A, B, C = Atom("a"), Atom("b"), Atom("c")
LISTS: list[list[Any]] = [
    [],
    [A],
    [(A, 1)],
    [(A, 1), A, (A, 2), B],
    [A, (A, 1)],
    [(A, 1, 2), (A, 3), (B,), (B, 4)],
    [(1, b"int"), (1.0, b"float"), (b"a", 1), (A, None), (None, 5)],
    [True, (False, 1), None],
    [(), 5, b"a", [A], ([1], 2), {A: 1}, (A, [A])],
]
KEYS: list[Any] = [A, B, C, 1, 1.0, b"a", True, False, None, [1]]


@pytest.mark.beam
@pytest.mark.parametrize("properties", LISTS, ids=repr)
def test_values_are_those_that_proplists_finds(beam: Beam, properties: list[Any]) -> None:
    values = "fun({Keys, List}) -> [proplists:get_value(Key, List, none) || Key <- Keys] end"
    source = f"term_to_binary(({values})(binary_to_term(Data)))"
    theirs = binary_to_term(beam.eval_bytes_now(source, term_to_binary((KEYS, properties))))
    ours = [proplist_get(properties, key, Atom("none")) for key in KEYS]
    assert exactly_equal(ours, theirs)


@pytest.mark.beam
@pytest.mark.parametrize("properties", LISTS, ids=repr)
def test_maps_are_those_that_proplists_makes(beam: Beam, properties: list[Any]) -> None:
    source = "term_to_binary(proplists:to_map(binary_to_term(Data)))"
    theirs = binary_to_term(beam.eval_bytes_now(source, term_to_binary(properties)))
    assert exactly_equal(proplist_to_dict(properties), theirs)


def test_a_str_as_key_is_the_atom_of_that_name() -> None:
    assert proplist_get([(b"a", 1), (A, 2)], "a") == 2
    assert proplist_get([B], "b") is True
    assert proplist_get([B], "a") is None


def test_keys_that_a_dict_cannot_hold_make_a_map() -> None:
    assert type(proplist_to_dict([(A, 1)])) is dict
    assert proplist_to_dict([(1, A), (1.0, B)]) == Map([(1, A), (1.0, B)])


def test_a_keyword_list_is_made_of_names_and_values_in_their_order() -> None:
    assert keyword_list(port=8080, host="h") == [(Atom("port"), 8080), (Atom("host"), "h")]
    assert keyword_list({"b": 1, A: 2}, c=3) == [(B, 1), (A, 2), (C, 3)]
    assert keyword_list() == []
    with pytest.raises(TypeError, match="a key is a str or an Atom, not int 1"):
        keyword_list({1: 2})  # type: ignore[dict-item]


@pytest.mark.beam
def test_a_beam_reads_a_keyword_list_made_here(beam: Beam) -> None:
    made = term_to_binary(keyword_list(port=8080, debug=True))
    source = (
        "[proplists:get_value(port, binary_to_term(Data)), proplists:get_bool(debug, binary_to_term(Data))]"
    )
    assert beam.eval_now(source, made) == "[8080,true]"
