"""Lists of terms with nothing in them: read in runs, told apart, and cheap."""

from __future__ import annotations

import struct
import time
from typing import Any

import pytest

from quicdist.term import Codec, DecodeError

MAP, NIL = b"\x74\0\0\0\0", b"\x6a"


def listed(*elements: bytes, end: bytes = NIL) -> bytes:
    return b"\x6c" + struct.pack(">I", len(elements)) + b"".join(elements) + end


@pytest.mark.parametrize("count", [1, 3, 4, 63, 64, 65, 128, 1000])
@pytest.mark.parametrize(("unit", "empty"), [(MAP, {}), (NIL, [])])
def test_runs_of_empty_terms(unit: bytes, empty: Any, count: int) -> None:
    codec = Codec()
    for others in (b"", b"\x61\x07", MAP, b"\x74\0\0\0\1\x61\1\x61\2", b"\x6c\0\0\0\1\x61\1\x6a"):
        before = codec.decode(listed(*[unit] * count, *([others] if others else [])))[0]
        assert before[:count] == [empty] * count
        assert len(before) == count + bool(others)
        after = codec.decode(listed(*([others] if others else []), *[unit] * count))[0]
        assert after[bool(others) :] == [empty] * count
    # Each is its own.
    terms = codec.decode(listed(*[unit] * count))[0]
    assert len({id(term) for term in terms}) == count
    improper = codec.decode(listed(*[unit] * count, end=b"\x61\x07"))[0]
    assert improper.elements == (empty,) * count
    with pytest.raises(DecodeError):
        codec.decode(listed(*[unit] * count)[:-1])
    with pytest.raises(DecodeError):
        codec.decode(listed(*[unit] * count)[: -1 - len(unit)])


def test_a_million_empty_maps_cost_less_than_a_second() -> None:
    data = listed(*[MAP] * 1_000_000)
    begun = time.process_time()
    terms, _ = Codec().decode(data)
    assert time.process_time() - begun < 1.0
    assert len(terms) == 1_000_000
