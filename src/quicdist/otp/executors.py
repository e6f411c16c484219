"""Calls in executors that the program gave, process pools above all.

``ProcessPoolExecutor`` pickles what goes to a worker and what comes back. An object that pickles and
does not unpickle, as many an exception, ends the worker or the whole pool for good. So no exception
crosses here, only its outcome in Erlang's terms, and all that crosses is bytes that are unpickled
where a failure is one call's own. Executors that run in this process pickle nothing.
"""

from __future__ import annotations

import asyncio
import pickle
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextvars import Context
from typing import Any

from quicdist.containment import describe
from quicdist.logs import get_logger
from quicdist.node.exit_reason import error_term
from quicdist.otp.outcomes import ERROR, Outcome, outcome_of, run

log = get_logger("quicdist.otp")

#: An executor, or a function that makes one.
GivenExecutor = Executor | Callable[[], Executor]


class _Crossing:
    """Something that may have to cross to another process."""

    __slots__ = ("content", "failed")

    def __init__(self, content: Any) -> None:
        self.content = content
        #: What came of the call if this could not cross.
        self.failed: Outcome | None = None

    def _pickled(self) -> tuple[Any, ...]:
        return _arrived, (type(self), pickle.dumps(self.content, pickle.HIGHEST_PROTOCOL), None)

    def _refused(self, error: BaseException) -> tuple[Any, ...]:
        return _arrived, (type(self), b"", (ERROR, error_term(error), []))


class _Request(_Crossing):
    """A function and its arguments; ``context`` is for workers in this process."""

    __slots__ = ("context",)

    def __init__(self, content: Any, context: Context | None = None) -> None:
        super().__init__(content)
        self.context = context

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return self._pickled()
        except Exception:
            return _Request, (self.content,)  # The executor may have a better pickle, or will say why not.
        except BaseException as error:
            return self._refused(error)


class _Response(_Crossing):
    """An outcome."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return self._pickled()
        except BaseException as error:
            return self._refused(error)


def _arrived(kind: type[_Crossing], data: bytes, failed: Outcome | None) -> _Crossing:
    crossing = kind(None)
    crossing.failed = failed
    if failed is None:
        try:
            crossing.content = pickle.loads(data)
        except BaseException as error:
            crossing.failed = (ERROR, error_term(error), [])
    return crossing


def work(request: _Request) -> _Response:
    """What an executor runs, here or in another process."""
    if request.failed is not None:
        return _Response(request.failed)
    function, arguments = request.content
    if request.context is None:
        return _Response(run(function, arguments))
    return _Response(request.context.run(run, function, arguments))


class Executors:
    """Hands calls to executors; makes those that are given by a function, one for each function."""

    def __init__(self) -> None:
        self._made: dict[Callable[[], Executor], Executor] = {}
        self._known_broken: weakref.WeakSet[Executor] = weakref.WeakSet()
        self._lock = threading.Lock()

    def submit(
        self,
        given: GivenExecutor,
        call: tuple[Callable[..., Any], Sequence[Any]],
        context: Context,
        done: Callable[[Outcome], object],
    ) -> Future[_Response]:
        """Have a call run; ``done`` is called with its outcome, in some thread.

        Raises what the executor raises that takes no calls.
        """
        executor = self._executor(given)
        request = _Request(call, context)
        try:
            future = executor.submit(work, request)
        except BrokenExecutor as error:
            self._broken(given, executor, error)
            if executor is given:
                raise
            executor = self._executor(given)
            future = executor.submit(work, request)

        def answered(future: Future[_Response]) -> None:
            try:
                response = future.result()
                outcome = response.failed or response.content
            except CancelledError:
                outcome = outcome_of(asyncio.CancelledError())
            except BaseException as error:
                if isinstance(error, BrokenExecutor):
                    self._broken(given, executor, error)
                outcome = outcome_of(error)
            done(outcome)

        future.add_done_callback(answered)
        return future

    def _executor(self, given: GivenExecutor) -> Executor:
        if isinstance(given, Executor):
            return given
        with self._lock:
            executor = self._made.get(given)
            if executor is None:
                executor = self._made[given] = given()
            return executor

    def _broken(self, given: GivenExecutor, executor: Executor, error: BaseException) -> None:
        with self._lock:
            if executor in self._known_broken:
                return
            self._known_broken.add(executor)
            if not isinstance(given, Executor) and self._made.get(given) is executor:
                del self._made[given]
        then = "every call of its exports fails" if executor is given else "the next call gets a new one"
        log.error("%r is broken, %s: %s", executor, then, describe(error))

    def close(self) -> None:
        """Shut down the executors made here. Calls that run in them are not waited for."""
        while self._made:
            self._made.popitem()[1].shutdown(wait=False, cancel_futures=True)
