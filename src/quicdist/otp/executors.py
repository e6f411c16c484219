"""Runs calls in executors of the program, such as process pools.

``ProcessPoolExecutor`` pickles calls and results. An object that pickles but does not unpickle, such as
many exceptions, breaks the worker or the whole pool. So an exception is turned into an outcome of
Erlang terms in the worker, and calls and outcomes travel as bytes that are unpickled where a failure
ends one call only. Executors in this process pickle nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import pickle
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextvars import Context
from typing import Any

from quicdist.containment import describe
from quicdist.logs import get_logger
from quicdist.node.exit_reason import ERROR, error_term
from quicdist.otp.outcome import Outcome, outcome_of, run

log = get_logger("quicdist.otp")

#: Characters kept of what a function prints in another OS process.
MAX_PRINTED = 1024 * 1024

#: An executor, or a function that returns one.
ExecutorOrFactory = Executor | Callable[[], Executor]


class _Pickled:
    """An object that may be pickled for another OS process."""

    __slots__ = ("content", "failed")

    def __init__(self, content: Any) -> None:
        self.content = content
        #: The outcome of the call if this could not be pickled or unpickled.
        self.failed: Outcome | None = None

    def _pickled(self) -> tuple[Any, ...]:
        return _arrived, (type(self), pickle.dumps(self.content, pickle.HIGHEST_PROTOCOL), None)

    def _refused(self, error: BaseException) -> tuple[Any, ...]:
        return _arrived, (type(self), b"", (ERROR, error_term(error), []))


class _PickledCall(_Pickled):
    """A function, its arguments, and whether what it prints is captured; ``context`` is used by workers in
    this process."""

    __slots__ = ("context",)

    def __init__(self, content: Any, context: Context | None = None) -> None:
        super().__init__(content)
        self.context = context

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return self._pickled()
        except Exception:
            # The executor may have another pickler; else it reports the error.
            return _PickledCall, (self.content,)
        except BaseException as error:
            return self._refused(error)


class _PickledOutcome(_Pickled):
    """An outcome, and what the function has printed, if that is captured."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return self._pickled()
        except BaseException as error:
            return self._refused(error)


def _arrived(kind: type[_Pickled], data: bytes, failed: Outcome | None) -> _Pickled:
    crossing = kind(None)
    crossing.failed = failed
    if failed is None:
        try:
            crossing.content = pickle.loads(data)
        except BaseException as error:
            crossing.failed = (ERROR, error_term(error), [])
    return crossing


def work(request: _PickledCall) -> _PickledOutcome:
    """Run a call; called by an executor, in this process or another one."""
    if request.failed is not None:
        return _PickledOutcome((request.failed, ""))
    function, arguments, captures = request.content
    if request.context is not None:
        return _PickledOutcome((request.context.run(run, function, arguments), ""))
    if not captures:
        return _PickledOutcome((run(function, arguments), ""))
    printed = _Printed()
    with contextlib.redirect_stdout(printed):
        outcome = run(function, arguments)
    return _PickledOutcome((outcome, printed.getvalue()))


class _Printed(io.StringIO):
    """What a function prints in another OS process, up to :data:`MAX_PRINTED` characters."""

    def write(self, text: str) -> int:
        if self.tell() + len(text) > MAX_PRINTED:
            super().write(text[: max(0, MAX_PRINTED - self.tell())])
        else:
            super().write(text)
        return len(text)


class Executors:
    """Submits calls to executors, and makes those that the program passes as a function."""

    def __init__(self) -> None:
        self._made: dict[Callable[[], Executor], Executor] = {}
        self._known_broken: weakref.WeakSet[Executor] = weakref.WeakSet()
        self._lock = threading.Lock()

    def submit(
        self,
        source: ExecutorOrFactory,
        call: tuple[Callable[..., Any], Sequence[Any]],
        context: Context,
        done: Callable[[Outcome, str], object],
        *,
        captures: bool = False,
    ) -> Future[_PickledOutcome]:
        """Run a call; ``done`` is called with its outcome and, with ``captures``, what it has printed in
        another OS process; in any thread.

        Raises what ``executor.submit`` raises.
        """
        executor = self._executor(source)
        request = _PickledCall((*call, captures), context)
        try:
            future = executor.submit(work, request)
        except BrokenExecutor as error:
            self._broken(source, executor, error)
            if executor is source:
                raise
            executor = self._executor(source)
            future = executor.submit(work, request)

        def answered(future: Future[_PickledOutcome]) -> None:
            printed = ""
            try:
                response = future.result()
                if response.failed is not None:
                    outcome = response.failed
                else:
                    outcome, printed = response.content
            except CancelledError:
                outcome = outcome_of(asyncio.CancelledError())
            except BaseException as error:
                if isinstance(error, BrokenExecutor):
                    self._broken(source, executor, error)
                outcome = outcome_of(error)
            done(outcome, printed)

        future.add_done_callback(answered)
        return future

    def _executor(self, source: ExecutorOrFactory) -> Executor:
        if isinstance(source, Executor):
            return source
        with self._lock:
            executor = self._made.get(source)
            if executor is None:
                executor = self._made[source] = source()
            return executor

    def _broken(self, source: ExecutorOrFactory, executor: Executor, error: BaseException) -> None:
        with self._lock:
            if executor in self._known_broken:
                return
            self._known_broken.add(executor)
            if not isinstance(source, Executor) and self._made.get(source) is executor:
                del self._made[source]
        then = "all calls to it fail" if executor is source else "the next call makes a new one"
        log.error("%r is broken, %s: %s", executor, then, describe(error))

    def close(self) -> None:
        """Shut down the executors made here, without waiting for running calls."""
        while self._made:
            self._made.popitem()[1].shutdown(wait=False, cancel_futures=True)
