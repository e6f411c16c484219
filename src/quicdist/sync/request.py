"""Requests that have been sent, for threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from quicdist.otp import Request as AsyncRequest
from quicdist.sync.loop_thread import LoopThread
from quicdist.sync.methods import Facade, in_loop

T = TypeVar("T")


class Request(Facade["AsyncRequest[T]"], Generic[T]):
    """A :class:`quicdist.Request` for threads: ``request.receive_response()`` waits for the answer and
    returns its value, or raises its error. The callback of ``when_done`` is called in the thread of the
    node."""

    def receive_response(self, timeout: float | None = None) -> T:
        """The answer; after ``timeout`` seconds the request is abandoned with :class:`CallTimeout`
        (``receive_response/2``)."""
        value: T = self._thread.call(self._inner.receive_response, timeout)
        return value

    def wait_response(self, timeout: float = 0.0) -> bool:
        """Wait ``timeout`` seconds at most; whether there is an answer. Unlike ``receive_response`` it does
        not abandon the request (``wait_response/2``)."""
        answered: bool = self._thread.call(self._inner.wait_response, timeout)
        return answered

    def when_done(self, callback: Callable[[T | None, Exception | None], None]) -> None:
        """Call ``callback`` in the thread of the node with the value and None, or with None and the error,
        when it is done."""
        self._thread.call(self._inner.when_done, callback)

    done = in_loop(AsyncRequest.done)
    abandon = in_loop(AsyncRequest.abandon)


def request_of(thread: LoopThread, request: AsyncRequest[T]) -> Request[T]:
    """The request for threads."""
    return Request(thread, request)
