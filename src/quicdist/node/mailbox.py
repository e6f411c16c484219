"""A mailbox: the messages a process has not received yet, and its selective receive.

Erlang Reference Manual, *Expressions*: Receive; *Processes*: Receiving Signals, Priority Messages.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from quicdist.node.patterns import Pattern, matcher


class Mailbox:
    """Messages in the order they came, priority messages before the others.

    A message that someone waits for goes to the one who waits and is never queued: an idle
    process has an empty mailbox, and one that keeps up has no queue at all.
    """

    __slots__ = ("_matches", "_messages", "_priority", "_taken", "_waiter")

    def __init__(self) -> None:
        self._messages: deque[Any] | None = None
        #: How many of the messages, from the first, are priority messages.
        self._priority = 0
        self._waiter: asyncio.Future[Any] | None = None
        self._matches: Callable[[Any], bool] | None = None
        #: By id of a message that waits here: what to call when it is taken.
        self._taken: dict[int, Callable[[], None]] | None = None

    def __len__(self) -> int:
        return len(self._messages or ())

    def __iter__(self) -> Iterator[Any]:
        return iter(self._messages or ())

    def put(self, message: Any, *, priority: bool = False, taken: Callable[[], None] | None = None) -> None:
        """Take in a message; ``taken`` is called once it was received, or dropped."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            try:
                if self._matches is None or self._matches(message):
                    waiter.set_result(message)
                    if taken is not None:
                        taken()
                    return
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                # A pattern that fails is the receiver's error, not the sender's.
                waiter.set_exception(error)
        messages = self._messages
        if messages is None:
            messages = self._messages = deque()
        if priority:
            messages.insert(self._priority, message)
            self._priority += 1
        else:
            messages.append(message)
        if taken is not None:
            if self._taken is None:
                self._taken = {}
            self._taken[id(message)] = taken

    async def get(self, pattern: Pattern = None, timeout: float | None = None) -> Any:
        """The first message that matches, waited for. Raises :class:`TimeoutError`."""
        matches = None if pattern is None else matcher(pattern)
        messages = self._messages
        if messages:
            if matches is None:
                return self._take(0)
            for index, message in enumerate(messages):
                if matches(message):
                    return self._take(index)
        if self._waiter is not None:
            raise RuntimeError("another receive of this process is waiting")
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        self._matches = matches
        timer = None if timeout is None else loop.call_later(max(timeout, 0.0), _expire, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                # It came at the moment the receiver was called off: it is still unread.
                self._put_back(waiter.result())
            raise
        finally:
            self._waiter = self._matches = None
            if timer is not None:
                timer.cancel()

    def take(self) -> Any:
        """The first message, of which there must be one."""
        return self._take(0)

    def put_first(self, messages: Iterable[Any]) -> None:
        """Put messages before all others, in their order."""
        for message in reversed(list(messages)):
            self._put_back(message)

    def _take(self, index: int) -> Any:
        messages = self._messages
        assert messages is not None
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

    def _put_back(self, message: Any) -> None:
        if self._messages is None:
            self._messages = deque()
        self._messages.appendleft(message)
        if self._priority:
            self._priority += 1

    def discard(self, matches: Callable[[Any], bool]) -> bool:
        """Drop the first message that ``matches`` says yes to; whether there was one."""
        for index, message in enumerate(self._messages or ()):
            if matches(message):
                self._take(index)
                return True
        return False

    def close(self, error: BaseException) -> None:
        """Drop all messages; whoever waits for one gets ``error``."""
        self._messages = None
        self._priority = 0
        waiting, self._taken = self._taken, None
        for taken in (waiting or {}).values():
            taken()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)


def _expire(waiter: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
