"""What an ACK frame acknowledges that an earlier one did not.

A peer repeats what it has acknowledged, in up to hundreds of ranges, until it knows that it was heard.
To look all of that up for every ACK frame would cost as much as everything in flight.
"""

from __future__ import annotations

from collections.abc import Sequence


def newly_acknowledged(ranges: Sequence[range], known: Sequence[range]) -> list[range]:
    """What is in ``ranges`` and not in ``known``; both ascend and do not touch. Takes time linear in their
    numbers."""
    if not known:
        return list(ranges)
    last, newest = known[-1], ranges[-1]
    if (
        len(ranges) == len(known)
        and newest.start == last.start
        and newest.stop >= last.stop
        and (len(ranges) == 1 or ranges[:-1] == known[:-1])
    ):
        # The usual: the last range has grown.
        return [range(last.stop, newest.stop)] if newest.stop > last.stop else []
    fresh = []
    at, count = 0, len(known)
    for numbers in ranges:
        start, stop = numbers.start, numbers.stop
        while at < count and known[at].stop <= start:
            at += 1
        here = at
        while start < stop:
            if here == count or known[here].start >= stop:
                fresh.append(range(start, stop))
                break
            if known[here].start > start:
                fresh.append(range(start, known[here].start))
            start = known[here].stop
            here += 1
    return fresh
