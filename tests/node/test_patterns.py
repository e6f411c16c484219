"""Patterns of selective receive."""

from __future__ import annotations

from typing import Any

import pytest

from quicdist import ANY, Atom, Pid
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
