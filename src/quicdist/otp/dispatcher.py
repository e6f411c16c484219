"""Runs exported functions for their callers: in the event loop, in threads, in executors."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any

from quicdist.containment import settle
from quicdist.logs import RateLimit, get_logger
from quicdist.node.code_output import code_output
from quicdist.node.exit_reason import ERROR
from quicdist.node.process import Process
from quicdist.node.running_calls import RunningCalls
from quicdist.node.tracing import SafeSpan, TracedCall, server_span
from quicdist.otp.call_context import Call, current
from quicdist.otp.call_counters import CallCounters
from quicdist.otp.caller_output import CallerOutput, CallOutput
from quicdist.otp.erlang_apply import Mfa, NotApplicable, is_indirect, named_by
from quicdist.otp.executors import Executors
from quicdist.otp.exports import ExportedFunction, Exports
from quicdist.otp.outcome import NOT_STARTED, NOT_SUPPORTED, RETURN, Outcome, outcome_of, run
from quicdist.otp.thread_pool import ThreadPool
from quicdist.otp.trace_propagation import FEATURES, MODULE, of_mfa
from quicdist.term import Atom, Pid

log = get_logger("quicdist.otp")

_UNDEF = Atom("undef")
#: The observer of OTP 29 crashes if a function of this module is ``undef``. With ``notsup`` it shows an error
#: and returns to its own node.
_OBSERVER_BACKEND = Atom("observer_backend")

#: Called with the outcome of a call.
Done = Callable[[Outcome], object]


class Dispatcher:
    """Finds exported functions and runs them. ``calls`` gets the processes whose functions are awaited,
    ``outputs`` has the standard output of each call."""

    def __init__(self, exports: Exports, calls: RunningCalls, outputs: CallerOutput) -> None:
        self._exports = exports
        self._calls = calls
        self._outputs = outputs
        self._threads = ThreadPool()
        self._executors = Executors()
        self._refusals = RateLimit()
        #: The calls, by their outcome: ``return``, ``error``, ``exit`` or ``throw``.
        self.counters = CallCounters()

    def knows(self, module: str, function: str, arity: int) -> bool:
        """Whether a function of this name and arity is exported."""
        return self._exports.find(module, function, arity) is not None

    def resolve(self, mfa: Mfa) -> tuple[Mfa, list[Any]]:
        """The function that ``mfa`` names if it is ``erlang:apply`` or the like, else ``mfa`` itself;
        and the stack frames of those calls. Raises :class:`NotApplicable`."""
        frames: list[Any] = []
        while is_indirect(*mfa) and self._find(mfa) is None:
            try:
                mfa, frame = named_by(mfa[0], mfa[2])
            except NotApplicable as error:
                error.frames += frames
                raise
            frames.insert(0, frame)
        return mfa, frames

    def _find(self, mfa: Mfa) -> ExportedFunction | None:
        module, function, arguments = mfa
        if isinstance(module, Atom) and isinstance(function, Atom) and isinstance(arguments, list):
            return self._exports.find(module.name, function.name, len(arguments))
        return None

    def apply(self, process: Process, caller: Pid | None, mfa: Sequence[Any], done: Done) -> None:
        """Apply ``[Module, Function, Arguments]`` in a process and call ``done`` with the outcome: at
        once, unless the function has to be awaited.

        When the process ends, the function is cancelled, unless it runs in a thread: a thread cannot be
        stopped.
        """
        done = partial(self._counted, monotonic(), done)
        tracer = process.runtime.tracer
        if tracer is None or (mfa[0] is MODULE and mfa[1] is FEATURES):
            self._apply(process, caller, mfa, done)
            return
        headers, mfa = of_mfa((mfa[0], mfa[1], mfa[2]))
        span = server_span(tracer, _traced_call(process, caller, mfa), headers)
        if span is None:
            self._apply(process, caller, mfa, done)
            return
        with span.active():
            self._apply(process, caller, mfa, partial(_ended, span, done))

    def _apply(self, process: Process, caller: Pid | None, mfa: Sequence[Any], done: Done) -> None:
        try:
            (module, function, arguments), frames = self.resolve((mfa[0], mfa[1], mfa[2]))
        except NotApplicable as error:
            _with_frames(error.frames, done)(error.outcome)
            return
        if frames:
            done = _with_frames(frames, done)
        export = self._find((module, function, arguments))
        if export is None:
            refused = NOT_SUPPORTED if module is _OBSERVER_BACKEND else None
            done(refused or (ERROR, _UNDEF, [(module, function, arguments, [])]))
            return
        output = self._outputs.of(process)
        if output is not None:
            done = partial(self._outputs.finish, process, output, done)
        token = current.set(Call(process, caller))
        try:
            begin = self._begin_blocking if export.blocking else _begin
            outcome = begin(process, export, (module, function, arguments), done, output)
        finally:
            current.reset(token)
        if outcome is None or (output is not None and output.used):
            self._calls.add(process)
        if outcome is not None:
            done(outcome)

    def _counted(self, began: float, done: Done, outcome: Outcome) -> None:
        self.counters.ended(began, outcome[0].name)
        done(outcome)

    def _begin_blocking(
        self,
        process: Process,
        export: ExportedFunction,
        mfa: Mfa,
        done: Done,
        output: CallOutput | None,
    ) -> Outcome | None:
        """Run a blocking function outside the event loop; an outcome if that is not possible."""
        name, arguments = _name(mfa), mfa[2]
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        context.run(code_output.set, output)

        def finished(outcome: Outcome) -> None:
            if process.alive:
                done(outcome)

        def tell(outcome: Outcome) -> None:
            with contextlib.suppress(RuntimeError):  # The event loop is closed.
                loop.call_soon_threadsafe(finished, outcome)

        if export.executor is None:

            def job() -> None:
                tell(context.run(run, export.function, arguments, lambda error: _log_failed(name, error)))

            if self._threads.start(name, job):
                return None
            if (note := self._refusals.admit(name)) is not None:
                log.error("%s: no free thread, the call was answered system_limit%s", name, note)
            return NOT_STARTED

        def answered(outcome: Outcome, printed: str) -> None:
            if printed and output is not None:
                output.write(printed)
            if outcome[0] != RETURN:
                log.debug("%s failed in its executor: %r", name, outcome)
            tell(outcome)

        try:
            call = (export.function, arguments)
            future = self._executors.submit(
                export.executor, call, context, answered, captures=output is not None
            )
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return _failed(name, error)
        process.on_end(future.cancel)
        return None

    def close(self) -> None:
        """Free the executors: the node has stopped."""
        self._executors.close()


def _begin(
    process: Process, export: ExportedFunction, mfa: Mfa, done: Done, output: CallOutput | None
) -> Outcome | None:
    """Call a function in the event loop; its outcome, None if it is awaited."""
    token = None
    if output is not None:
        token = code_output.set(output)
        output.begins = True
    try:
        result = export.function(*mfa[2])
        if not isinstance(result, Awaitable):
            return (RETURN, result)
        task = asyncio.ensure_future(settle(result))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _failed(_name(mfa), error)
    finally:
        if output is not None and token is not None:
            output.begins = False
            code_output.reset(token)

    def settled(task: asyncio.Future[Any]) -> None:
        if inspect.iscoroutine(result):
            result.close()  # cancelled before it had begun
        if not process.alive:
            return
        if task.cancelled():
            done(_failed(_name(mfa), asyncio.CancelledError()))
        else:
            value, error = task.result()
            done((RETURN, value) if error is None else _failed(_name(mfa), error))

    process.on_end(task.cancel)
    task.add_done_callback(settled)
    return None


def _traced_call(process: Process, caller: Pid | None, mfa: Sequence[Any]) -> TracedCall:
    module, function, arguments = mfa
    own = process.runtime.name
    name = ""
    if isinstance(module, Atom) and isinstance(function, Atom) and isinstance(arguments, list):
        name = f"{module}:{function}/{len(arguments)}"
    return TracedCall("erpc", own, own if caller is None else caller.node.name, name)


def _ended(span: SafeSpan, done: Done, outcome: Outcome) -> None:
    span.end(outcome[0].name)
    done(outcome)


def _name(mfa: Mfa) -> str:
    module, function, arguments = mfa
    return f"{module}:{function}/{len(arguments)}"


def _failed(name: str, error: BaseException) -> Outcome:
    _log_failed(name, error)
    return outcome_of(error)


def _log_failed(name: str, error: BaseException) -> None:
    log.debug("%s failed", name, exc_info=error)


def _with_frames(frames: list[Any], done: Done) -> Done:
    """``done`` with ``frames`` added to the stack trace of a failure."""

    def longer(outcome: Outcome) -> None:
        kind, reason, *stack = outcome
        done((kind, reason, [*stack[0], *frames]) if stack else outcome)

    return longer
