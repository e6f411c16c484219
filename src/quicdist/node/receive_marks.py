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

    Messages are identified by their place from the end: 0 is the last one.
    """

    __slots__ = ("_came", "_expected", "_marks", "_newer")

    def __init__(self) -> None:
        #: How many messages have come since the first mark.
        self._came = 0
        #: By reference, how many of them came before it was made; the oldest reference first.
        self._marks: dict[Reference, int] = {}
        #: How many messages are still expected by a reference, None for any number.
        self._expected: dict[Reference, int | None] = {}
        #: For each queued message that came since the first mark: how many came before it.
        self._newer: deque[int] = deque()

    def __len__(self) -> int:
        return len(self._marks)

    def add(self, reference: Reference, expected: int | None) -> None:
        """Note that ``reference`` has just been made."""
        if len(self._marks) >= MAX_MARKS:
            self._remove(next(iter(self._marks)))
        self._marks[reference] = self._came
        self._expected[reference] = expected

    def ended(self, reference: Reference) -> None:
        """No more messages by ``reference`` will be sent; the last one may be here."""
        if self._expected.get(reference, 0) is None:
            self._expected[reference] = 1

    def received(self, references: list[Reference]) -> None:
        """A message by ``references`` has been received: remove the marks whose last message it was."""
        for reference in references:
            expected = self._expected.get(reference)
            if expected == 1:
                self._remove(reference)
            elif expected is not None:
                self._expected[reference] = expected - 1

    def _remove(self, reference: Reference) -> None:
        del self._marks[reference], self._expected[reference]

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

    # -- messages come and go --------------------------------------------------------------

    def queued(self) -> None:
        """A message has been queued behind all others."""
        self._newer.append(self._came)
        self._came += 1

    def put_back(self, place: int) -> None:
        """A message has been queued before ``place`` others that came later."""
        index = len(self._newer) - place
        if index >= 0:
            # If a mark was made since it came, a receive tests one message more than necessary.
            self._newer.insert(index, self._newer[index] if place else self._came)

    def taken(self, place: int) -> None:
        """The message at ``place`` is gone."""
        if place < len(self._newer):
            del self._newer[len(self._newer) - 1 - place]
