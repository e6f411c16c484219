"""Patterns of selective receive."""

from __future__ import annotations

from typing import Any

import pytest

from quicdist import ANY, Atom, Pid
from quicdist.node import patterns
from quicdist.node.patterns import matcher

PID = Pid("a@b", 1, 0, 1)


@pytest.mark.parametrize(
    ("pattern", "term"),
    [
        (ANY, None),
        (1, 1),
        (1.0, 1.0),
        ("text", b"text"),
        (Atom("ok"), Atom("ok")),
        (Pid, PID),
        (int, 7),
        (bool, True),
        ((Atom("ok"), ANY), (Atom("ok"), [1])),
        ([int, ANY], [1, 2]),
        ((), ()),
        (lambda term: term > 3, 4),
        (PID, PID),
    ],
)
def test_a_pattern_matches_the_term(pattern: Any, term: Any) -> None:
    assert matcher(pattern)(term)


@pytest.mark.parametrize(
    ("pattern", "term"),
    [
        (1, 1.0),
        (1, True),
        (True, 1),
        (int, True),
        (0.0, 0),
        ("ok", Atom("ok")),
        ((Atom("ok"), ANY), (Atom("ok"),)),
        ((Atom("ok"), ANY), [Atom("ok"), 1]),
        ([], ()),
        (lambda term: term > 3, 3),
        (Pid, Atom("x")),
    ],
)
def test_a_pattern_does_not_match_the_term(pattern: Any, term: Any) -> None:
    assert not matcher(pattern)(term)


OK = Atom("ok")


@pytest.mark.parametrize(
    ("value", "other"), [(1, True), (True, 1), (1, 1.0), (1.0, 1), (OK, "ok"), ("ok", OK)]
)
def test_an_equal_pattern_of_another_type_is_another_pattern(value: Any, other: Any) -> None:
    assert not matcher((OK, other))((OK, value))
    assert matcher((OK, value))((OK, b"ok" if value == "ok" else value))
    assert not matcher((OK, value))((OK, other))


def test_a_changed_list_in_a_pattern_is_compiled_again() -> None:
    part = [1]
    pattern = (OK, part)
    assert matcher(pattern)((OK, [1]))
    part[0] = 2
    assert matcher(pattern)((OK, [2]))
    assert not matcher(pattern)((OK, [1]))


def test_the_tests_that_are_kept_are_bounded() -> None:
    for number in range(patterns.MAX_TESTS + 10):
        assert matcher((OK, Atom(f"kept_{number}"), ANY))((OK, Atom(f"kept_{number}"), 1))
        assert len(patterns._tests) <= patterns.MAX_TESTS
