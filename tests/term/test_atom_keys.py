"""Atoms as names: the namespace of atoms, and maps with atom keys."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from quicdist.term import Atom, TermError, atom_keys, atoms, elixir_struct, str_keys, term_to_binary
from tests.support.beam import Beam


def kind_of(term: Any) -> Any:
    match term:
        case (atoms.ok, value):
            return "ok", value
        case (Atom("error"), (Atom(reason), detail)):
            return "error", reason, detail
        case {atoms.name: name, atoms.__struct__: Atom(struct)}:
            return struct, name
        case {atoms.name: name}:
            return name
        case atoms.stop:
            return "stop"
    return None


def test_terms_are_matched_by_the_atoms_in_them() -> None:
    assert kind_of((Atom("ok"), 1)) == ("ok", 1)
    assert kind_of((Atom("error"), (Atom("badarg"), b"x"))) == ("error", "badarg", b"x")
    assert kind_of(atom_keys(name=b"Ada", age=36)) == b"Ada"
    assert kind_of(elixir_struct("MyApp.User", name=b"Ada")) == ("Elixir.MyApp.User", b"Ada")
    assert kind_of(Atom("stop")) == "stop"
    for other in (("ok", 1), (b"ok", 1), (Atom("ok"),), {"name": 1}, "stop", (Atom("error"), "text")):
        assert kind_of(other) is None


def test_every_name_is_the_atom_of_that_name() -> None:
    assert atoms.ok is Atom("ok")
    assert atoms.from_ is Atom("from")
    assert atoms.a_b is Atom("a_b")
    assert atoms.__struct__ is Atom("__struct__")


@pytest.mark.parametrize("name", ["true", "false"])
def test_the_atoms_that_are_bools_are_no_names(name: str) -> None:
    with pytest.raises(AttributeError, match=f"the atom {name} is {name.title()} in Python"):
        getattr(atoms, name)


def test_what_python_asks_of_any_object_is_no_atom() -> None:
    assert not hasattr(atoms, "__iter__")
    assert copy.copy(atoms).ok is Atom("ok")


def test_atom_keys_are_made_of_names_and_of_keyword_arguments() -> None:
    assert atom_keys({"a": 1, Atom("b"): {"c": 2}}, a=3) == {Atom("a"): 3, Atom("b"): {"c": 2}}
    assert atom_keys() == {}
    with pytest.raises(TypeError, match="a key is a str or an Atom, not int 1"):
        atom_keys({1: 2})  # type: ignore[dict-item]


def test_str_keys_are_made_of_atoms_and_of_text() -> None:
    term = {Atom("a"): 1, b"b": 2, "c": {Atom("d"): 3}, True: 4, None: 5}
    assert str_keys(term) == {"a": 1, "b": 2, "c": {Atom("d"): 3}, "true": 4, "undefined": 5}
    assert str_keys(atom_keys(host="h", port=1)) == {"host": "h", "port": 1}


@pytest.mark.parametrize("key", [1, b"\xff", (Atom("a"),)])
def test_other_keys_are_refused_as_str_keys(key: Any) -> None:
    with pytest.raises(TermError, match="is not an atom or UTF-8 text"):
        str_keys({key: 1})


def test_keys_that_become_the_same_str_are_refused() -> None:
    with pytest.raises(TermError, match="two keys of a map become the same str"):
        str_keys({Atom("a"): 1, b"a": 2})


@pytest.mark.beam
def test_a_beam_matches_maps_and_structs_made_here(beam: Beam) -> None:
    made = term_to_binary([atom_keys(name="Ada"), elixir_struct("MyApp.User", {"age": 36}, name="Ada")])
    match = "fun([#{name := N}, #{'__struct__' := S, name := N, age := A}]) -> {N, S, A} end"
    source = f"({match})(binary_to_term(Data))"
    assert beam.eval_now(source, made) == "{<<\"Ada\">>,'Elixir.MyApp.User',36}"
