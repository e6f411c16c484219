"""Polls for the answer of a quick peer, in place of sleeping until it comes.

To wake a sleeping thread takes some 20 to 50 µs, and it then runs with cold caches: the same instructions
take three times as long. So the schedulers of a BEAM poll for a while before they sleep (``+sbwt`` of
``erl``, *scheduler busy wait threshold*). Here the event loop does so, but only for peers whose answers come
quickly and one by one: then the wait is short, and so is the CPU time that it takes.
"""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from time import monotonic
from typing import Final
from weakref import WeakKeyDictionary

from quicdist.carrier.keepalive import KeepAlive

#: Seconds within which an answer is quick, and for which the event loop polls for one.
LONGEST: Final = 0.00025
#: Each quick answer adds one to the score of a peer, up to ``MOST``, and any other outcome subtracts
#: ``LOSS``. From ``ENOUGH`` on the event loop polls: in the long run, if eight in nine answers are quick.
ENOUGH: Final = 32
MOST: Final = 40
LOSS: Final = 8


class BusyWait:
    """Keeps one event loop from sleeping; :meth:`of` gives the one of a loop.

    The loop polls all its sockets and runs all its callbacks and timers meanwhile.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._until = 0.0
        #: Whether the loop is kept from sleeping.
        self.polls = False
        #: Not that of the caller, who may act for a process or a peer.
        self._context = contextvars.Context()
        #: Simulated time does not pass while the loop polls.
        self._allowed = KeepAlive.of(loop).real_time

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> BusyWait:
        """The BusyWait of an event loop."""
        wait = _waits.get(loop)
        if wait is None:
            wait = _waits[loop] = BusyWait(loop)
        return wait

    def until(self, time: float) -> None:
        """Do not sleep until ``time``, in seconds of the monotonic clock."""
        if time > self._until:
            self._until = time
        if not self.polls and self._allowed:
            self.polls = True
            self._poll()

    def _poll(self) -> None:
        # A loop that has a callback to run polls its sockets and does not wait.
        loop = self._loop()
        if loop is not None and monotonic() < self._until:
            loop.call_soon(self._poll, context=self._context)
        else:
            self.polls = False


_waits: WeakKeyDictionary[asyncio.AbstractEventLoop, BusyWait] = WeakKeyDictionary()


class AnswerWait:
    """Waits busily for the answers of one peer, if nearly all come within ``longest`` seconds and one by one.

    If several come at once, sleeping is better: more come meanwhile, and together they cost less.
    """

    __slots__ = ("_busy_wait", "_longest", "_messages", "_score", "_sent_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, longest: float = LONGEST) -> None:
        self._busy_wait = BusyWait.of(loop)
        self._longest = longest
        self._score = 0
        #: When the first message since the last answer was sent; 0 if none was.
        self._sent_at = 0.0
        #: How many messages had been received when the last one was sent.
        self._messages = 0

    def sent(self, messages: int) -> None:
        """A message has been sent, which the peer may answer; ``messages`` have been received so far."""
        now = monotonic()
        if messages - self._messages > 1:
            self._score = max(self._score - LOSS, 0)
        self._messages = messages
        if not self._sent_at:
            self._sent_at = now
        elif now - self._sent_at > self._longest:  # no answer
            self._score = max(self._score - LOSS, 0)
        if self._score >= ENOUGH:
            self._busy_wait.until(self._sent_at + self._longest)

    def received(self) -> None:
        """Something has come from the peer: an answer, if a message was sent before."""
        if self._sent_at:
            if monotonic() - self._sent_at > self._longest:
                self._score = max(self._score - LOSS, 0)
            elif self._score < MOST:
                self._score += 1
            self._sent_at = 0.0
