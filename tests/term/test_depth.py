"""``Limits.max_depth`` holds exactly, in both directions, whatever stands in what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicdist.term import Atom, Codec, DecodeError, EncodeError, ImproperList, Limits, Record

#: Put one term into another.
WRAPS: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda term: (term,),
    "list": lambda term: [term],
    "value of a map": lambda term: {Atom("key"): term},
    "element of an improper list": lambda term: ImproperList([term], Atom("end")),
    "field of a record": lambda term: Record("module", "record", {Atom("field"): term}.items()),
}

#: Leaves, and the levels that they are themselves.
LEAVES = [(1, 0), ([], 0), ((), 0), ({}, 0), (Atom("a"), 0), ([1, 2], 1), ([1, 1000], 1), ([1.5] * 9, 1)]


@given(
    st.lists(st.sampled_from(sorted(WRAPS)), min_size=1, max_size=60),
    st.sampled_from(LEAVES),
    st.booleans(),
)
def test_the_limit_is_the_deepest_there_may_be(wraps: list[str], leaf: tuple[Any, int], view: bool) -> None:
    term, depth = leaf
    for wrap in wraps:
        term, depth = WRAPS[wrap](term), depth + 1
    data = Codec().encode(term)
    # What is decoded in place goes another way than bytes.
    received = memoryview(data + bytes(5000)) if view else data

    enough = Codec(limits=Limits(max_depth=depth))
    assert enough.encode(term) == data
    assert enough.decode(received) == (term, len(data))

    short = Codec(limits=Limits(max_depth=depth - 1))
    with pytest.raises(EncodeError, match=f"nested deeper than {depth - 1}"):
        short.encode(term)
    with pytest.raises(DecodeError, match=f"nested deeper than {depth - 1}"):
        short.decode(received)
