"""Sets of integers as ranges, in logarithmic time.

aioquic's ``RangeSet`` searches all its ranges for each one added or subtracted. A peer that sends or
acknowledges every other byte decides how many there are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

from aioquic.quic.rangeset import RangeSet

_start = attrgetter("start")
_stop = attrgetter("stop")


class Ranges(RangeSet):
    """A set of ranges with the interface of aioquic's. ``ranges`` ascend and do not touch."""

    def __init__(self, ranges: Iterable[range] = ()) -> None:
        self.ranges = list(ranges)

    def __len__(self) -> int:
        return len(self.ranges)

    def __iter__(self) -> Iterator[range]:
        return iter(self.ranges)

    def __getitem__(self, key: Any) -> Any:
        return self.ranges[key]

    def __eq__(self, other: object) -> bool:
        return self.ranges == other.ranges if isinstance(other, Ranges) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"Ranges({self.ranges!r})"

    def bounds(self) -> range:
        return range(self.ranges[0].start, self.ranges[-1].stop)

    def shift(self) -> range:
        return self.ranges.pop(0)

    def add(self, start: int, stop: int | None = None) -> None:
        if stop is None:
            stop = start + 1
        assert stop > start
        ranges = self.ranges
        if not ranges or start > ranges[-1].stop:
            ranges.append(range(start, stop))
            return
        last = ranges[-1]
        if start >= last.start:
            if stop > last.stop:
                ranges[-1] = range(last.start, stop)
            return
        # The ranges that it touches.
        first = bisect_left(ranges, start, key=_stop)
        end = bisect_right(ranges, stop, first, key=_start)
        if first == end:
            ranges.insert(first, range(start, stop))
            return
        ranges[first:end] = [range(min(start, ranges[first].start), max(stop, ranges[end - 1].stop))]

    def subtract(self, start: int, stop: int) -> None:
        assert stop > start
        ranges = self.ranges
        if not ranges or stop <= ranges[0].start:
            return
        first = 0 if start < ranges[0].stop else bisect_right(ranges, start, key=_stop)
        end = bisect_left(ranges, stop, first, key=_start) if len(ranges) > first + 1 else len(ranges)
        if first == end or stop <= ranges[first].start:
            return
        left, right = ranges[first], ranges[end - 1]
        kept = []
        if left.start < start:
            kept.append(range(left.start, start))
        if stop < right.stop:
            kept.append(range(stop, right.stop))
        ranges[first:end] = kept

    def gaps(self, start: int, stop: int) -> list[range]:
        """The parts of ``start`` to ``stop`` that are not in the set, in order."""
        ranges = self.ranges
        found = []
        for held in ranges[bisect_right(ranges, start, key=_stop) : bisect_left(ranges, stop, key=_start)]:
            if start < held.start:
                found.append(range(start, held.start))
            start = held.stop
        if start < stop:
            found.append(range(start, stop))
        return found

    def __contains__(self, value: object) -> bool:
        ranges = self.ranges
        if not isinstance(value, int):
            return False
        at = bisect_right(ranges, value, key=_start)
        return at > 0 and value < ranges[at - 1].stop
