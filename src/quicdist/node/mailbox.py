"""A mailbox: the messages a process has not received yet, and its selective receive.

Erlang Reference Manual, *Expressions*: Receive; *Processes*: Receiving Signals, Priority Messages;
Efficiency Guide, *Processes*: Fetching Received Messages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from quicdist.node.patterns import Pattern, Test, compiled
from quicdist.node.receive_marks import ReceiveMarks
from quicdist.term import Reference

#: A process that never has to wait for a message yields to the event loop after so many messages.
IN_A_ROW = 200
#: So many messages that were tested for it and stay count as one that was received.
TESTED = 64


class Mailbox:
    """Messages in the order they came, priority messages before the others.

    A message that a receive waits for is passed to it and never queued: an idle process has an empty
    mailbox, and a process that keeps up has no queue.

    A receive whose pattern holds a reference begins at its receive mark, behind the messages that
    were here when it was made: see :class:`ReceiveMarks`.
    """

    __slots__ = (
        "_in_a_row",
        "_marks",
        "_messages",
        "_place",
        "_priority",
        "_taken",
        "_test",
        "_waiter",
    )

    def __init__(self) -> None:
        self._messages: deque[Any] | None = None
        #: How many messages in a row were received, or tested, without a wait.
        self._in_a_row = 0
        #: How many of the messages, from the first, are priority messages.
        self._priority = 0
        self._marks: ReceiveMarks | None = None
        self._waiter: asyncio.Future[Any] | None = None
        self._test: Test | None = None
        #: The place where the message passed to the receive would have been queued: whether it is a
        #: priority message, and how many of its kind were before it.
        self._place: tuple[bool, int] = (False, 0)
        #: By id of a queued message: the function to call when it is taken.
        self._taken: dict[int, Callable[[], None]] | None = None

    def __len__(self) -> int:
        return len(self._messages or ())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._messages or ())

    # -- adding ----------------------------------------------------------------------------

    def put(self, message: Any, *, priority: bool = False, taken: Callable[[], None] | None = None) -> None:
        """Add a message; ``taken`` is called when it is received or dropped."""
        if self._waiter is None:
            if self._messages is not None and self._marks is None and not priority and taken is None:
                self._messages.append(message)
                return
        elif self._pass_on(message):
            self._place = priority, self._priority if priority else len(self) - self._priority
            if taken is not None:
                taken()
            return
        messages = self._messages
        if messages is None:
            messages = self._messages = deque()
        if priority:
            messages.insert(self._priority, message)
            self._priority += 1
        else:
            messages.append(message)
            if self._marks is not None:
                self._marks.queued()
        if taken is not None:
            if self._taken is None:
                self._taken = {}
            self._taken[id(message)] = taken

    def _pass_on(self, message: Any) -> bool:
        """Pass a message to the receive that waits, if it matches; whether it did."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            return False
        try:
            # A function in the pattern may have ended the process, and this receive with it.
            if self._test is None or (self._test(message) and not waiter.done()):
                waiter.set_result(message)
                self._waiter = None
                return True
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # An exception of the pattern is raised in the receive, not in the sender.
            if not waiter.done():
                waiter.set_result(_Failed(error))
        return False

    def _put_back(self, message: Any) -> None:
        """Queue a message at the place where it would be without the receive, or pass it to the next one."""
        if self._pass_on(message):
            return
        messages = self._messages
        if messages is None:
            messages = self._messages = deque()
        priority, at = self._place
        if priority:
            at = min(at, self._priority)
            self._priority += 1
        else:
            at = min(at + self._priority, len(messages))
        if self._marks is not None:
            self._marks.put_back(len(messages) - at)
        messages.insert(at, message)

    # -- receiving -------------------------------------------------------------------------

    async def get(self, pattern: Pattern = None, timeout: float | None = None) -> Any:
        """The first message that matches, waited for. Raises :class:`TimeoutError`, and what a
        function in the pattern raises; the message stays in the mailbox."""
        self._in_a_row += 1
        if self._in_a_row > IN_A_ROW:
            self._in_a_row = 0
            await asyncio.sleep(0)
        if pattern is None:
            if messages := self._messages:
                if self._marks is None and not self._priority and not self._taken:
                    return messages.popleft()
                return self._take(0)
            test = references = None
        else:
            references = list[Reference]()
            test = compiled(pattern, references)
            index = self._find(test, references) if self._messages else -1
            if index >= 0:
                self._in_a_row += index // TESTED
                message = self._take(index)
                if references:
                    self._received(references)
                return message
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError("another receive of this process is waiting")
        self._in_a_row = 0
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        self._test = test
        timer = None if timeout is None else loop.call_later(max(timeout, 0.0), _expire, waiter, timeout)
        try:
            message = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and not waiter.exception():
                # It came when the receive was cancelled: it is still unread.
                unread = waiter.result()
                if type(unread) is not _Failed:
                    self._put_back(unread)
            raise
        finally:
            if self._waiter is None or self._waiter is waiter:
                self._waiter = self._test = None
            if timer is not None:
                timer.cancel()
        if type(message) is _Failed:
            message.raise_error()
        if references:
            self._received(references)
        return message

    def take(self) -> Any:
        """The first message, of which there must be one."""
        return self._take(0)

    def put_first(self, messages: Iterable[Any]) -> None:
        """Put messages before all others, in their order."""
        first = list(messages)
        if self._messages is None:
            self._messages = deque()
        self._messages.extendleft(reversed(first))
        if self._priority:
            self._priority += len(first)

    def _find(self, test: Test, references: list[Reference]) -> int:
        """Where the first message that matches is; -1 if there is none."""
        messages = self._messages
        assert messages is not None
        newer = self._marks.newer_than(references) if references and self._marks is not None else None
        if newer is not None:
            for index in range(self._priority):
                if test(messages[index]):
                    return index
            # From the end: from the start it would take time in the length of the queue.
            last = list(islice(reversed(messages), newer))
            last.reverse()
            for index, message in enumerate(last, len(messages) - newer):
                if test(message):
                    return index
            return -1
        for index, message in enumerate(messages):
            if test(message):
                return index
        return -1

    def _take(self, index: int) -> Any:
        messages = self._messages
        assert messages is not None
        if self._marks is not None:
            self._marks.taken(len(messages) - 1 - index)
            if len(messages) == 1:
                self._marks = None
        if index < self._priority:
            self._priority -= 1
        if index == 0:
            message = messages.popleft()
        else:
            message = messages[index]
            del messages[index]
        if self._taken and (taken := self._taken.pop(id(message), None)) is not None:
            taken()
        return message

    def discard(self, pattern: Pattern) -> bool:
        """Drop the first message that matches; whether there was one."""
        references: list[Reference] = []
        test = compiled(pattern, references)
        index = self._find(test, references) if self._messages else -1
        if index < 0:
            return False
        self._take(index)
        return True

    # -- receive marks ---------------------------------------------------------------------

    def mark(self, reference: Reference, expected: int | None = 1) -> None:
        """Note that ``reference`` has just been made, and how many messages are expected by it; None for any
        number, until :meth:`ended`. The mark is removed when the last of these is received by a pattern with
        the reference, when no messages are left, and when there are ``MAX_MARKS`` newer marks."""
        if not self._messages:
            return  # every message that comes will be newer
        if self._marks is None:
            self._marks = ReceiveMarks()
        self._marks.add(reference, expected)

    def ended(self, reference: Reference) -> None:
        """No more messages by ``reference`` will be sent; the last one may be here."""
        if self._marks is not None:
            self._marks.ended(reference)

    def _received(self, references: list[Reference]) -> None:
        if self._marks is not None:
            self._marks.received(references)
            if not self._marks:
                self._marks = None

    # -- the end ---------------------------------------------------------------------------

    def close(self, error: BaseException) -> None:
        """Drop all messages; a waiting receive raises ``error``."""
        self._messages = self._marks = None
        self._priority = 0
        waiting, self._taken = self._taken, None
        for taken in (waiting or {}).values():
            taken()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


class _Failed:
    """In place of a message: the pattern of the receive has raised an exception. A future takes no
    ``StopIteration``."""

    __slots__ = ("_error",)

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def raise_error(self) -> None:
        try:
            raise self._error
        finally:
            del self._error  # It refers to this frame.


def _expire(waiter: asyncio.Future[Any], timeout: float) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError(f"no message that matches came within {timeout:g} s"))
