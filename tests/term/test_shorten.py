"""Terms cut to a size."""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import Any, NamedTuple

import pytest

from quicdist.term import Atom, ImproperList, Map, Pid, format_term, term_to_binary
from quicdist.term.shorten import TEXT, shorten

PID = Pid("a@h", 1, 0, 1)
CUT = Atom("...")


class Colour(enum.IntEnum):
    RED = 1


class Point(NamedTuple):
    x: int
    y: int


class Thing:
    def __repr__(self) -> str:
        return "Thing()"


class Silent:
    def __repr__(self) -> str:
        raise SystemExit


class Broken(OrderedDict[str, int]):
    def __iter__(self) -> Any:
        raise ValueError


@pytest.mark.parametrize(
    "term",
    [
        1,
        -(2**64),
        1.5,
        True,
        None,
        Atom("a"),
        PID,
        "text",
        b"bytes",
        [],
        [1, [2]],
        (),
        (1, "a"),
        {"a": {1: 2}},
    ],
)
def test_a_small_term_is_not_changed(term: Any) -> None:
    assert shorten(term) == term


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x" * 5000, "x" * TEXT + "..."),
        (b"x" * 5000, b"x" * TEXT + b"..."),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
        ("\ud800", "\\ud800"),
        (float("nan"), "nan"),
        (2**5000, "an integer of 5001 bits"),
        (Colour.RED, 1),
        ({1, 2}, "{1, 2}"),
        (Thing(), "Thing()"),
        (Silent(), "<Silent whose __repr__ raised SystemExit>"),
        (Broken(), "<Broken that raised ValueError>"),
        ([Thing(), object], ["Thing()", "<class 'object'>"]),
        (Point(1, 2), (1, 2)),
        (ImproperList([1], PID), ImproperList([1], PID)),
        (Map({(1,): 2}), {(1,): 2}),
        (Map([([1], 2)]), {"[1]": 2}),
    ],
)
def test_what_is_large_or_no_term_is_cut_or_told(value: Any, expected: Any) -> None:
    assert shorten(value) == expected


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


class Endless(list[int]):
    def __iter__(self) -> Any:
        while True:
            yield 1


@pytest.mark.parametrize(
    "value",
    [
        list(range(10**6)),
        tuple(range(10**6)),
        {n: n for n in range(10**5)},
        ["x" * 10**4] * 10**4,
        [[1] * 100] * 1000,
        nested(10**4),
        Endless(),
        Map({n: n for n in range(10**3)}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_result_has_a_bounded_size_and_shows_that_it_was_cut(value: Any) -> None:
    short = shorten(value, 100)
    assert len(term_to_binary(short)) < 5000
    assert "'...'" in format_term(short)


def test_a_cut_list_shows_its_beginning() -> None:
    assert shorten(list(range(1000)), 4) == [0, 1, 2, CUT]
    assert shorten({n: n for n in range(1000)}, 5) == {0: 0, 1: 1, CUT: CUT}
