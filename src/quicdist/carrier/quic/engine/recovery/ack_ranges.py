"""The packets that an ACK frame acknowledges for the first time.

A peer repeats its ranges, up to hundreds, until it knows that an ACK frame has arrived. To look up all
packets of every ACK frame would cost time proportional to all packets in flight.
"""

from __future__ import annotations

from collections.abc import Sequence


def newly_acknowledged(ranges: Sequence[range], known: Sequence[range]) -> list[range]:
    """The parts of ``ranges`` that are not in ``known``. Both ascend and do not touch. Takes time linear in
    the number of ranges."""
    if not known:
        return list(ranges)
    last, newest = known[-1], ranges[-1]
    if (
        len(ranges) == len(known)
        and last.start <= newest.start <= last.stop <= newest.stop
        and (len(ranges) == 1 or ranges[:-1] == known[:-1])
    ):
        # The usual case: the last range has grown. quic_dist's moves: it has 65,537 packets at most.
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
