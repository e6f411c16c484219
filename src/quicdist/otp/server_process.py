"""The process of a :class:`GenServer`: its loop, without a task while nothing waits."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Coroutine
from typing import Any

from quicdist.node.errors import NameRegistered, ProcessExit
from quicdist.node.exits import NORMAL, SHUTDOWN, exit_reason
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp import system
from quicdist.otp.gen import GEN_CALL, GEN_CAST, SYSTEM, From, is_from
from quicdist.otp.gen import reply as gen_reply
from quicdist.otp.gen_server import IGNORE, NO_REPLY, TIMEOUT, Continue, GenServer, NoReply, Reply, Stop, Then
from quicdist.otp.server_names import LookedUp
from quicdist.term import Atom, Pid

log = logging.getLogger("quicdist.otp")

_EXIT = Atom("EXIT")
_CANCELLED = Atom("cancelled")
_FAILED = object()
_BAD_RETURN_VALUE = Atom("bad_return_value")

#: Coroutines of ``terminate`` of servers that are gone already, and the nodes these were on.
_terminating: dict[asyncio.Future[Any], Runtime] = {}


class ServerProcess(Process):
    """Runs a :class:`GenServer`. ``parent`` is who started and linked it."""

    __slots__ = (
        "_held",
        "_queue",
        "_ready",
        "_serving",
        "_timer",
        "_waiting",
        "server",
        "suspended",
    )

    def __init__(self, runtime: Runtime, pid: Pid, server: GenServer) -> None:
        super().__init__(runtime, pid)
        self.server = server
        #: Whether ``sys:suspend`` holds it.
        self.suspended = False
        self._queue: deque[Any] = deque()
        self._held: deque[Any] = deque()
        self._waiting: asyncio.Future[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        #: From the end of ``init`` until ``terminate`` is called.
        self._serving = False
        #: Where ``init`` waits for something: done when it is, with what it has raised.
        self._ready: asyncio.Future[Exception | None] | None = None
        server.process = self

    # -- starting --------------------------------------------------------------------------------

    def begin(self, name: LookedUp | None = None) -> None:
        """Register ``name``, if one is given, and run ``init``; messages that come meanwhile wait.
        Raises what a plain ``init`` raises, after the process has ended with it."""
        try:
            result = self.server.init() if name is None else self._init_named(name)
            if isinstance(result, Awaitable):
                self._ready = asyncio.get_running_loop().create_future()
                self._waiting = _task(self._init(result), result)
            else:
                self._initialised(result)
        except Exception as error:
            self._runtime.terminate(self, exit_reason(error))
            raise

    async def _init_named(self, name: LookedUp) -> Any:
        names = self.node.services.names
        await names.register(name, self.pid)
        result: Any = _FAILED
        try:
            result = self.server.init()
            if isinstance(result, Awaitable):
                result = await result
        finally:
            if result is IGNORE or result is _FAILED or isinstance(result, Stop):
                await names.unregister(name)
        return result

    async def ready(self) -> bool:
        """Wait for ``init``: False if the process has ended since. Raises what ``init`` raised."""
        if self._ready is not None and (error := await asyncio.shield(self._ready)) is not None:
            raise error
        return self.alive

    async def _init(self, result: Awaitable[Any]) -> None:
        assert self._ready is not None
        try:
            self._initialised(await result)
        except Exception as error:
            self._ready.set_result(error)
            if isinstance(error, NameRegistered):
                log.error("%r was not started: %s", self, error)
                self._runtime.terminate(self, NORMAL)
            else:
                self._runtime.crashed(self, error)
        else:
            self._ready.set_result(None)
            self._next()

    def _initialised(self, result: Any) -> None:
        self._waiting = None
        if result is IGNORE:
            self._runtime.terminate(self, NORMAL)
        elif isinstance(result, Stop):
            raise ProcessExit(result.reason)
        else:
            self._serving = True
            self._carry_on(result, None)

    # -- messages ----------------------------------------------------------------------------------

    def handle(self, message: Any) -> None:
        if self._waiting is not None:
            self._queue.append(message)
        else:
            self._take(message)

    def _next(self) -> None:
        """Go on with what came while a coroutine waited."""
        while self._queue and self._waiting is None and self.alive:
            self._take(self._queue.popleft())

    def _take(self, message: Any) -> None:
        kind, sender, request = _sorted(message)
        try:
            if kind is SYSTEM:
                self._carry_on(system.handle(self, sender, request), None)
                self._next()
                return
            if self.suspended and not (kind is _EXIT and sender == self.parent):
                self._held.append(message)
                return
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if kind is GEN_CALL:
                self._carry_on(self.server.handle_call(request, sender), sender)
            elif kind is GEN_CAST:
                self._carry_on(self.server.handle_cast(request), None)
            elif kind is _EXIT and sender == self.parent:
                self.end(request)
            else:
                self._carry_on(self.server.handle_info(message), None)
        except Exception as error:
            self._failed(error)

    @property
    def message_queue_len(self) -> int:
        return len(self._held) + len(self._queue)

    @property
    def messages(self) -> list[Any]:
        return [*self._held, *self._queue]

    def resume(self) -> None:
        """Take up the messages that came while it was suspended."""
        self.suspended = False
        self._queue.extendleft(reversed(self._held))
        self._held.clear()

    # -- what callbacks return -----------------------------------------------------------------------

    def _carry_on(self, result: Any, sender: From | None) -> None:
        """Do what a callback's result asks for, until there is something to wait for."""
        while True:
            if isinstance(result, Awaitable):
                self._waiting = _task(self._wait(result, sender), result)
                return
            then: Then = None
            if isinstance(result, Reply | NoReply | Stop):
                if isinstance(result, Stop):
                    self.end(result.reason, sender, result.reply)
                    return
                then = result.then
                if isinstance(result, Reply):
                    if sender is None:
                        raise ProcessExit((_BAD_RETURN_VALUE, repr(result)))
                    gen_reply(self, sender, result.value)
            elif sender is not None:
                gen_reply(self, sender, result)
            if isinstance(then, Continue):
                result, sender = self.server.handle_continue(then.argument), None
                continue
            if then is not None and not isinstance(then, Atom):
                self._timer = asyncio.get_running_loop().call_later(then, self._time_out)
            return

    async def _wait(self, result: Awaitable[Any], sender: From | None) -> None:
        try:
            value = await result
            self._waiting = None
            self._carry_on(value, sender)
            self._next()
        except asyncio.CancelledError:
            if self.alive:  # by the callback itself, or by who stops the event loop
                self._runtime.terminate(self, _CANCELLED)
            raise
        except Exception as error:
            self._failed(error)

    def _time_out(self) -> None:
        self._timer = None
        self._runtime.deliver(self, TIMEOUT)

    # -- the end -----------------------------------------------------------------------------------

    def end(self, reason: Any, sender: From | None = None, answer: Any = NO_REPLY) -> None:
        """Call ``terminate``, answer the last call and end with ``reason``."""
        self._finish(reason, sender, answer, None)

    def _failed(self, error: Exception) -> None:
        self._finish(exit_reason(error), None, NO_REPLY, error)

    def _finish(self, reason: Any, sender: From | None, answer: Any, error: Exception | None) -> None:
        if not self._serving:
            return
        self._serving = False
        try:
            result = self.server.terminate(reason)
        except Exception as failed:
            self._over(exit_reason(failed), sender, answer, failed)
            return
        if isinstance(result, Awaitable):
            self._waiting = _task(self._finishing(result, reason, sender, answer, error), result)
        else:
            self._over(reason, sender, answer, error)

    async def _finishing(
        self, result: Awaitable[Any], reason: Any, sender: From | None, answer: Any, error: Exception | None
    ) -> None:
        try:
            await result
        except Exception as failed:
            reason, error = exit_reason(failed), failed
        self._over(reason, sender, answer, error)

    def _over(self, reason: Any, sender: From | None, answer: Any, error: Exception | None) -> None:
        if sender is not None and not isinstance(answer, NoReply):
            try:
                gen_reply(self, sender, answer)
            except Exception as failed:  # a reply that Erlang has no term for
                reason, error = exit_reason(failed), failed
        if error is not None:
            self._runtime.crashed(self, error)
            return
        if not is_shutdown(reason):
            log.error("%r stopped: %r", self, reason)
        self._runtime.terminate(self, reason)

    def ended(self) -> None:
        super().ended()
        self._queue.clear()
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting is not _current_task():
            waiting.cancel()
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(ProcessExit(self.exit_reason))
        if not self._serving:
            return
        self._serving = False
        try:  # A signal has ended it.
            result = self.server.terminate(self.exit_reason)
        except Exception:
            log.exception("%r failed in terminate", self)
            return
        if isinstance(result, Awaitable):
            task = asyncio.ensure_future(result)
            _terminating[task] = self._runtime
            task.add_done_callback(_terminated)


def _sorted(message: Any) -> tuple[Atom | None, Any, Any]:
    """The kind of a message, who sent it and what it asks for; None for one that is no call, cast,
    system message or exit signal."""
    if isinstance(message, tuple):
        if len(message) == 3:
            label, sender, request = message
            for kind in (GEN_CALL, SYSTEM):
                if label == kind and is_from(sender):
                    return kind, sender, request
            if label == _EXIT:
                return _EXIT, sender, request
        elif len(message) == 2 and message[0] == GEN_CAST:
            return GEN_CAST, None, message[1]
    return None, None, None


def is_shutdown(reason: Any) -> bool:
    """Whether an exit reason is an orderly one: ``normal``, ``shutdown`` or ``{shutdown, _}``."""
    if isinstance(reason, tuple) and len(reason) == 2:
        reason = reason[0]
        return bool(reason == SHUTDOWN)
    return bool(reason in (NORMAL, SHUTDOWN))


def _terminated(task: asyncio.Future[Any]) -> None:
    del _terminating[task]
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("terminate failed", exc_info=error)


async def all_terminated(runtime: Runtime, timeout: float) -> None:
    """Let what servers of this node still do in ``terminate`` come to an end, for ``timeout``
    seconds, and then no more."""
    tasks = [task for task, its in _terminating.items() if its is runtime]
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=timeout)
    for task in late:
        log.error("a server of %s was still in terminate after %g s: %r", runtime.name, timeout, task)
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)


def _task(waiting: Coroutine[Any, Any, None], result: Awaitable[Any]) -> asyncio.Future[None]:
    """Run what waits for ``result``, which may be cancelled before it has begun to."""
    task = asyncio.ensure_future(waiting)
    if isinstance(result, Coroutine):
        task.add_done_callback(lambda _: result.close())
    return task


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def start(
    runtime: Runtime,
    server: GenServer,
    *,
    name: str | LookedUp | None = None,
    link_to: Process | Pid | None = None,
) -> ServerProcess:
    """Start a server as a process of its own (``gen_server:start/4``), linked to the process that
    counts as its parent where one is given (``start_link/4``). ``init`` may be under way yet, and
    so may be the registration of a name that others keep: where that is taken, it ends at once."""
    parent = link_to.pid if isinstance(link_to, Process) else link_to
    process = ServerProcess(runtime, runtime.identifiers.pid(), server)
    runtime.add(process, name=name if isinstance(name, str) else None)
    process.parent = parent
    if parent is not None:
        runtime.link(process, parent)
    process.begin(None if isinstance(name, str) else name)
    return process
