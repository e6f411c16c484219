"""Terms as plain Python, and atoms in text."""

from __future__ import annotations

import json
from typing import Any

import pytest

from quicdist import Atom, BitString, Export, ImproperList, Map, Pid, Record, TermError, to_python

PID = Pid("a@h", 9, 0, 1)


@pytest.mark.parametrize(
    ("term", "plain"),
    [
        (Atom("ok"), "ok"),
        (b"text", "text"),
        ("è".encode(), "è"),
        (b"\xff", b"\xff"),
        (True, True),
        (None, None),
        (2.5, 2.5),
        ([Atom("a"), (b"b", 1)], ["a", ("b", 1)]),
        ({Atom("name"): b"x", 1: [Atom("y")]}, {"name": "x", 1: ["y"]}),
        (Map([([Atom("a")], 1), ({Atom("b"): 1}, 2)]), {("a",): 1, (("b", 1),): 2}),
        (Record("m", "r", {"field": Atom("v")}), {"field": "v"}),
        (PID, str(PID)),
        (Export("lists", "map", 2), "fun lists:map/2"),
        (BitString(b"\x80", 1), "<<1:1>>"),
        (ImproperList([1], 2), "[1|2]"),
    ],
)
def test_a_term_becomes_plain_python(term: Any, plain: Any) -> None:
    came = to_python(term)
    assert came == plain
    assert type(came) is type(plain)


def test_the_term_itself_stays_as_it_is() -> None:
    term = [{Atom("a"): [Atom("b")]}]
    to_python(term)
    assert term == [{Atom("a"): [Atom("b")]}]


def test_keys_that_become_one_are_an_error() -> None:
    with pytest.raises(TermError, match="same key in Python"):
        to_python({Atom("a"): 1, b"a": 2})


def test_a_term_too_deep_for_python_is_an_error() -> None:
    term: Any = 1
    for _ in range(100_000):
        term = [term]
    with pytest.raises(TermError, match="deeper"):
        to_python(term)


def test_terms_turn_into_json() -> None:
    term = {Atom("status"): Atom("ok"), Atom("rows"): [(1, b"x"), (2, None)]}
    assert json.dumps(to_python(term)) == '{"status": "ok", "rows": [[1, "x"], [2, null]]}'
    assert json.dumps([Atom("ok"), b"x", PID], default=to_python) == f'["ok", "x", "{PID}"]'


def test_an_atom_formats_as_its_name() -> None:
    atom = Atom("two words")
    assert f"{atom}|{atom:>10}|{atom:.3}|{atom!s:12}|" == "two words| two words|two|two words   |"
    assert f"{Atom('ok'):*^6}" == "**ok**"
    with pytest.raises(ValueError, match="format"):
        f"{atom:d}"
