"""What a fake BEAM answers to a call."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Self

from quicdist import Atom, RemoteError
from quicdist.sync.threads import in_thread


class Answer:
    """The answer to calls of one function, or to some requests of one server. The last method called counts;
    each returns this object."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._queue: deque[Any] = deque()
        self._make: Callable[..., Any] | None = None
        #: The answer is this exception.
        self._error: BaseException | None = None
        self._hangs = False
        #: The arguments of each call, or the requests, in the order in which they came.
        self.calls: list[Any] = []
        self.returns(Atom("ok"))

    def __repr__(self) -> str:
        return f"<Answer of {self._what}, called {len(self.calls)} times>"

    def _reset(self) -> None:
        self._queue.clear()
        self._make = self._error = None
        self._hangs = False

    def returns(self, value: Any) -> Self:
        """Return ``value`` each time; before it is told anything, an answer returns ``ok``."""
        return self.returns_each([value])

    def returns_each(self, values: Iterable[Any]) -> Self:
        """Return one value after the other; the last one again and again. Raises ValueError for no values."""
        self._reset()
        self._queue.extend(values)
        if not self._queue:
            raise ValueError(f"{self._what} needs a value to return")
        return self

    def runs(self, function: Callable[..., Any]) -> Self:
        """Return what ``function`` returns for the arguments of the call, or for the request. A plain
        function runs in a thread, and may block. What it raises fails the call."""
        self._reset()
        self._make = function
        return self

    def raises(self, reason: Any, kind: str = "error") -> Self:
        """Fail with ``erlang:error(Reason)``; with ``kind``, ``"exit"`` or ``"throw"``, with these. A ``str``
        stands for the atom. Raises ValueError for another ``kind``."""
        if kind not in ("error", "exit", "throw"):
            raise ValueError(f'kind is "error", "exit" or "throw", not {kind!r}')
        self._reset()
        self._error = RemoteError(kind, Atom(reason) if isinstance(reason, str) else reason)
        return self

    def hangs(self) -> Self:
        """Do not answer."""
        self._reset()
        self._hangs = True
        return self

    async def value(self, arguments: tuple[Any, ...], over: asyncio.Event) -> Any:
        """The value for one call. ``over`` ends the waiting of those that are not answered."""
        if self._hangs:
            await over.wait()
        if self._error is not None:
            raise self._error
        if self._make is None:
            return self._queue[0] if len(self._queue) == 1 else self._queue.popleft()
        if inspect.iscoroutinefunction(self._make):
            return await self._make(*arguments)
        return await in_thread(f"fake {self._what}", self._make, *arguments)
