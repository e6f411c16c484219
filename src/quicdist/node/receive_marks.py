"""Receive marks: how many messages of a mailbox came after a reference was made.

No older message can hold the reference, so that a receive for it need not look at them. On a BEAM
these are the receive markers; Efficiency Guide, *Processes*: Fetching Received Messages.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from quicdist.term import Reference

#: Marks that one mailbox keeps, the newest ones. (A BEAM keeps 8 for a process.)
MAX_MARKS: Final = 256


class ReceiveMarks:
    """The marks of one mailbox that was not empty when the first of them was made, and is not yet.

    Messages are known by their place from the end: 0 is the last one.
    """

    __slots__ = ("_came", "_lasting", "_marks", "_newer")

    def __init__(self) -> None:
        #: How many messages have come since the first mark.
        self._came = 0
        #: By reference, how many had when it was made; the oldest reference first.
        self._marks: dict[Reference, int] = {}
        #: References by which more than one message may come.
        self._lasting: set[Reference] = set()
        #: Of each message here that came since the first mark: how many came between.
        self._newer: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._marks)

    def add(self, reference: Reference, *, lasting: bool) -> None:
        """Note that ``reference`` has just been made."""
        if len(self._marks) >= MAX_MARKS:
            oldest = next(iter(self._marks))
            del self._marks[oldest]
            self._lasting.discard(oldest)
        self._marks[reference] = self._came
        if lasting:
            self._lasting.add(reference)

    def no_longer_lasting(self, reference: Reference) -> None:
        """One more message by ``reference`` at most is received."""
        self._lasting.discard(reference)

    def received(self, references: list[Reference]) -> None:
        """A message by ``references`` has been received: their marks go, but for lasting ones."""
        for reference in references:
            if reference not in self._lasting:
                self._marks.pop(reference, None)

    def newer_than(self, references: list[Reference]) -> int | None:
        """How many messages here came after the newest of ``references`` was made; None if none of
        them has a mark."""
        mark = max([self._marks.get(reference, -1) for reference in references])
        if mark < 0:
            return None
        newer = 0
        for number in reversed(self._newer):
            if number < mark:
                break
            newer += 1
        return newer

    # -- what becomes of the messages ------------------------------------------------------

    def queued(self) -> None:
        """A message has been queued behind all others."""
        self._newer.append(self._came)
        self._came += 1

    def put_back(self, place: int) -> None:
        """A message has been queued before ``place`` others that came later."""
        index = len(self._newer) - place
        if index >= 0:
            # Perhaps a mark was made since it came. Then a receive looks at one message too many.
            self._newer.insert(index, self._newer[index] if place else self._came)

    def taken(self, place: int) -> None:
        """The message at ``place`` is gone."""
        if place < len(self._newer):
            del self._newer[len(self._newer) - 1 - place]
