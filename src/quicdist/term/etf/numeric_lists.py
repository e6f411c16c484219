"""Reads lists of numbers and of empty terms, many elements at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import isfinite
from struct import Struct, unpack
from typing import Any

from quicdist.term.tags import Tag

#: By tag, for elements of a fixed size: their bytes, their type for struct, the tag, and four tags.
_RUNS = {
    int(tag): (size, code, bytes((tag,)), bytes((tag,)) * 4)
    for tag, size, code in (
        (Tag.SMALL_INTEGER_EXT, 2, "B"),
        (Tag.INTEGER_EXT, 5, "i"),
        (Tag.NEW_FLOAT_EXT, 9, "d"),
    )
}
#: Elements that are looked at in the first step: short runs cost little so, and long ones take few steps.
_FIRST = 128
#: Empty terms: a list of millions of them must cost no more than its bytes.
_EMPTY: dict[int, tuple[bytes, Callable[[int], list[Any]]]] = {
    Tag.NIL_EXT: (bytes([Tag.NIL_EXT]), lambda many: [[] for _ in range(many)]),
    Tag.MAP_EXT: (bytes([Tag.MAP_EXT]) + bytes(4), lambda many: [{} for _ in range(many)]),
}
#: Empty terms that are read in one step.
_MANY = 256
RUN_TAGS = frozenset(map(int, (*_RUNS, *_EMPTY)))


def read_runs(data: Any, i: int, size: int, count: int, items: list[Any]) -> int:
    """Read integers and floats from the head of a list many at a time, as long as that pays.

    Fills ``items`` with up to ``count`` elements and returns the offset behind them.
    """
    while count > 3 and i < size:
        tag = data[i]
        run = _RUNS.get(tag)
        if run is None:
            if tag in _EMPTY:
                i, count = _empty(data, i, count, items)
            break
        stride, code, unit, short = run
        if data[i : i + 4 * stride : stride] != short:
            break
        window, done = _FIRST, 0
        while True:
            window = min(window, count)
            chunk = bytes(data[i : i + stride * window])
            tags = chunk[::stride]
            same = len(tags) - len(tags.lstrip(unit))
            if same * stride > len(chunk):
                same -= 1  # cut off: the loop for single elements says so
            if stride == 2:
                items += chunk[1 : 2 * same : 2]
            else:
                if same <= _FIRST:
                    numbers = _format(same, code).unpack_from(chunk)
                else:
                    values = bytearray(chunk[: same * stride])
                    del values[::stride]
                    numbers = unpack(f">{same}{code}", values)
                # A sum that is finite has finite terms only.
                if code == "d" and not isfinite(sum(numbers)) and not all(map(isfinite, numbers)):
                    return i
                items += numbers
            i += same * stride
            count -= same
            done += same
            if same < window or not count:
                break
            window *= 4
        if done < 8:
            break
    return i


@lru_cache(maxsize=2 * _FIRST)
def _format(count: int, code: str) -> Struct:
    """The format of so many numbers with their tags."""
    return Struct(">" + f"x{code}" * count)


def _empty(data: Any, i: int, count: int, items: list[Any]) -> tuple[int, int]:
    """The same for empty lists and maps: the offset after them, and how many elements are left."""
    unit, made = _EMPTY[data[i]]
    many = min(count, _MANY)
    while many > 3:
        window = unit * many
        while count >= many and data[i : i + len(window)] == window:
            items += made(many)
            i += len(window)
            count -= many
        many //= 8
    return i, count
