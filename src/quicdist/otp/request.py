"""A question asked of another process or node, whose answer comes later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from quicdist.containment import contained
from quicdist.logs import get_logger
from quicdist.otp.errors import CallTimeout

log = get_logger("quicdist.otp")

#: The value of an answer.
T = TypeVar("T")


class Request(Generic[T]):
    """What ``send_request`` gives back (``erpc:send_request/4``, ``gen_server:send_request/2``), with
    the type of its value, as far as the program knows it: ``request: Request[int] = ...``.

    ``await request`` waits for the answer and returns its value, or raises what went wrong in its
    place; several are awaited together with :func:`asyncio.gather`. One coroutine at a time waits.
    """

    __slots__ = ("_abandon", "_answer", "_mark", "_what")

    def __init__(
        self,
        what: Callable[[], str],
        abandon: Callable[[], None],
        mark: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """``mark`` gives an error the exit reason of OTP's function."""
        self._what = what
        self._abandon = abandon
        self._mark = mark
        # Holds a pair, never an exception: an answer nobody asks for is no error to report.
        self._answer: asyncio.Future[tuple[Any, Exception | None]] = (
            asyncio.get_running_loop().create_future()
        )

    def __repr__(self) -> str:
        return f"<Request {self._what()}{' (answered)' if self.done() else ''}>"

    def done(self) -> bool:
        """Whether the answer has come, or never will."""
        return self._answer.done()

    def __await__(self) -> Generator[Any, None, T]:
        return self.receive_response().__await__()

    async def receive_response(self, timeout: float | None = None) -> T:
        """The answer; after ``timeout`` seconds the request is abandoned with :class:`CallTimeout`
        (``receive_response/2``)."""
        answer = self._answer
        if answer.done():
            # Who calls servers of this node in a loop is not to hold up everybody else.
            await asyncio.sleep(0)
        else:
            timer = None
            if timeout is not None:
                timer = asyncio.get_running_loop().call_later(max(timeout, 0.0), self._expire, timeout)
            try:
                await answer
            except asyncio.CancelledError:
                self._abandon()
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
        """Whether the answer is there within ``timeout`` seconds; unlike ``receive_response`` this
        leaves the request as it is (``wait_response/2``)."""
        if not self._answer.done():
            await asyncio.wait([self._answer], timeout=timeout)
        return self._answer.done()

    def when_done(self, callback: Callable[[T | None, Exception | None], None]) -> None:
        """Call ``callback`` with the value, or with None and the error, once the answer is there."""

        def done(answer: asyncio.Future[tuple[Any, Exception | None]]) -> None:
            if not answer.cancelled():
                contained(log, "the callback of a request", callback, *answer.result())

        self._answer.add_done_callback(done)

    def abandon(self) -> None:
        """Take no interest in the answer any more: whoever waits for it gets :class:`CallTimeout`.

        What runs on the other node goes on there, as with OTP's calls.
        """
        if not self._answer.done():
            self._expire(0.0)

    def _expire(self, timeout: float) -> None:
        self._abandon()
        self.fail(CallTimeout(self._what(), timeout))

    # -- for those who answer --------------------------------------------------------------

    def succeed(self, value: T) -> None:
        """The answer has come. Only the first one counts."""
        if not self._answer.done():
            self._answer.set_result((value, None))

    def fail(self, error: Exception) -> None:
        """There will be no answer."""
        if not self._answer.done():
            self._mark(error)
            self._answer.set_result((None, error))
