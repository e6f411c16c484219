"""An asynchronous request to a process or node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any, Generic, TypeVar

from quicdist.containment import contained
from quicdist.logs import get_logger
from quicdist.node.tracing import CANCELLED, SafeSpan
from quicdist.otp.call_counters import SUCCESS, CallCounters
from quicdist.otp.errors import CallTimeout

log = get_logger("quicdist.otp")

#: The value of an answer.
T = TypeVar("T")


class Request(Generic[T]):
    """Returned by ``send_request`` (``erpc:send_request/4``, ``gen_server:send_request/2``). The program
    can state the type of the value: ``request: Request[int] = ...``.

    ``await request`` waits for the answer and returns its value, or raises its error. Several requests
    are awaited together with :func:`asyncio.gather`. Only one coroutine at a time may wait.
    """

    __slots__ = ("_abandon", "_answer", "_began", "_counters", "_mark", "_span", "_what")

    def __init__(
        self,
        what: Callable[[], str],
        abandon: Callable[[], None],
        mark: Callable[[Exception], None] = lambda error: None,
        counters: CallCounters | None = None,
        span: SafeSpan | None = None,
    ) -> None:
        """``what`` names the callee for errors, ``abandon`` is called when the answer is no longer wanted,
        ``mark`` sets the exit reason of an error, ``counters`` count the request when it is done,
        ``span`` is its span, if calls are traced."""
        self._span = span
        self._counters = counters
        self._began = 0.0 if counters is None else monotonic()
        self._what = what
        self._abandon = abandon
        self._mark = mark
        # A pair, not an exception: asyncio would log an exception that is never retrieved.
        self._answer: asyncio.Future[tuple[Any, Exception | None]] = (
            asyncio.get_running_loop().create_future()
        )

    def __repr__(self) -> str:
        return f"<Request {self._what()}{' (answered)' if self.done() else ''}>"

    def done(self) -> bool:
        """Whether there is an answer, or an error in its place."""
        return self._answer.done()

    def __await__(self) -> Generator[Any, None, T]:
        return self.receive_response().__await__()

    async def receive_response(self, timeout: float | None = None) -> T:
        """The answer; after ``timeout`` seconds the request is abandoned with :class:`CallTimeout`
        (``receive_response/2``)."""
        answer = self._answer
        if answer.done():
            # Let other tasks run: a loop of calls to local servers never waits otherwise.
            await asyncio.sleep(0)
        else:
            timer = None
            if timeout is not None:
                timer = asyncio.get_running_loop().call_later(max(timeout, 0.0), self._expire, timeout)
            try:
                await answer
            except asyncio.CancelledError:
                self._abandon()
                if self._span is not None:
                    self._span.end(CANCELLED)
                raise
            finally:
                if timer is not None:
                    timer.cancel()
        value, error = answer.result()
        if error is not None:
            raise error
        result: T = value
        return result

    async def wait_response(self, timeout: float = 0.0) -> bool:
        """Wait ``timeout`` seconds at most; whether there is an answer. Unlike ``receive_response`` it does
        not abandon the request (``wait_response/2``)."""
        if not self._answer.done():
            await asyncio.wait([self._answer], timeout=timeout)
        return self._answer.done()

    def when_done(self, callback: Callable[[T | None, Exception | None], None]) -> None:
        """Call ``callback`` with the value and None, or with None and the error, when it is done."""

        def done(answer: asyncio.Future[tuple[Any, Exception | None]]) -> None:
            if not answer.cancelled():
                contained(log, "the callback of a request", callback, *answer.result())

        self._answer.add_done_callback(done)

    def abandon(self) -> None:
        """Ignore the answer from now on; a coroutine that waits for it gets :class:`CallTimeout`.

        A function on another node continues to run, as with OTP's calls.
        """
        if not self._answer.done():
            self._expire(0.0)

    def _expire(self, timeout: float) -> None:
        self._abandon()
        self.fail(CallTimeout(self._what(), timeout))

    # -- for the sender of the answer --------------------------------------------------------------

    def succeed(self, value: T) -> None:
        """Set the value. Only the first answer counts."""
        if not self._answer.done():
            self._ended(SUCCESS)
            self._answer.set_result((value, None))

    def fail(self, error: Exception) -> None:
        """Set the error."""
        if not self._answer.done():
            self._ended(type(error).__name__)
            self._mark(error)
            self._answer.set_result((None, error))

    def _ended(self, outcome: str) -> None:
        if self._counters is not None:
            self._counters.ended(self._began, outcome)
        if self._span is not None:
            self._span.end(outcome)
