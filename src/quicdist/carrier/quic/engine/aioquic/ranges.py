"""Sets of numbers as ranges, in logarithmic time.

aioquic's ``RangeSet`` looks through all its ranges for each that is added or taken away, and who sends,
or acknowledges, every other byte chooses how many there are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from operator import attrgetter

from aioquic.quic.rangeset import RangeSet

_start = attrgetter("start")
_stop = attrgetter("stop")


class Ranges(RangeSet):
    """aioquic's set of ranges. The list in it is aioquic's own: whatever is not overridden works on it."""

    _RangeSet__ranges: list[range]

    @classmethod
    def of(cls, ranges: Iterable[range]) -> Ranges:
        """A set of ``ranges`` that ascend and do not touch."""
        made = cls()
        made._RangeSet__ranges.extend(ranges)
        return made

    def add(self, start: int, stop: int | None = None) -> None:
        if stop is None:
            stop = start + 1
        assert stop > start
        ranges = self._RangeSet__ranges
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
        ranges = self._RangeSet__ranges
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
        """What of ``start`` to ``stop`` is not in the set, in order."""
        ranges = self._RangeSet__ranges
        found = []
        for held in ranges[bisect_right(ranges, start, key=_stop) : bisect_left(ranges, stop, key=_start)]:
            if start < held.start:
                found.append(range(start, held.start))
            start = held.stop
        if start < stop:
            found.append(range(start, stop))
        return found

    def __contains__(self, value: object) -> bool:
        ranges = self._RangeSet__ranges
        if not isinstance(value, int):
            return False
        at = bisect_right(ranges, value, key=_start)
        return at > 0 and value < ranges[at - 1].stop
