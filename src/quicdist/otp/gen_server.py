"""``gen_server``: a class of callbacks that answers calls and casts from any node.

OTP: ``gen_server(3)``. The callbacks are those of the behaviour; each may be a plain function or a
coroutine function, and while a coroutine waits, later messages wait with it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable
from typing import Any, Final

from quicdist.node.exits import NORMAL
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp.gen import GEN_CALL, GEN_CAST, From, is_from
from quicdist.otp.gen import reply as gen_reply
from quicdist.term import Pid

log = logging.getLogger("quicdist.otp")


class _NoReply:
    def __repr__(self) -> str:
        return "NO_REPLY"


#: What ``handle_call`` returns when the answer follows later, by :meth:`GenServer.reply`.
NO_REPLY: Final = _NoReply()


class GenServer:
    """Base class of servers; override what is needed.

    ``self.process`` is the process it runs as, from ``init`` on. Ending by
    :class:`~quicdist.ProcessExit` ends the server with that reason, any other exception with the
    reason it stands for; ``terminate`` is called in both cases.
    """

    process: Process

    def init(self) -> Any:
        """Called once, before any message."""

    def handle_call(self, request: Any, sender: From) -> Any:
        """A ``gen_server:call``: what is returned is the reply, unless it is :data:`NO_REPLY`."""
        raise NotImplementedError(f"{type(self).__name__} takes no calls, got {request!r}")

    def handle_cast(self, request: Any) -> Any:
        """A ``gen_server:cast``."""
        raise NotImplementedError(f"{type(self).__name__} takes no casts, got {request!r}")

    def handle_info(self, message: Any) -> Any:
        """Any other message; logged unless overridden, as ``gen_server`` does."""
        log.warning("%r got a message it has no use for: %r", self.process, message)

    def terminate(self, reason: Any) -> Any:
        """Called when the server ends, with the exit reason."""

    def reply(self, sender: From, value: Any) -> None:
        """Answer a call that ``handle_call`` left open (``gen_server:reply/2``)."""
        gen_reply(self.process, sender, value)


class ServerProcess(Process):
    """The process of a :class:`GenServer`. It has a task only while one of its coroutines waits."""

    __slots__ = ("_queue", "_server", "_waiting")

    def __init__(self, runtime: Runtime, pid: Pid, server: GenServer) -> None:
        super().__init__(runtime, pid)
        self._server = server
        self._queue: deque[Any] = deque()
        self._waiting: asyncio.Task[None] | None = None
        server.process = self

    def begin(self) -> None:
        """Run ``init``; messages that come meanwhile wait."""
        self._step(self._server.init(), None)

    def handle(self, message: Any) -> None:
        if self._waiting is not None:
            self._queue.append(message)
            return
        self._take(message)

    def _take(self, message: Any) -> None:
        server = self._server
        match message:
            case (label, sender, request) if label == GEN_CALL and is_from(sender):
                self._step(server.handle_call(request, sender), sender)
            case (label, request) if label == GEN_CAST:
                self._step(server.handle_cast(request), None)
            case _:
                self._step(server.handle_info(message), None)

    def _step(self, result: Any, sender: From | None) -> None:
        if inspect.isawaitable(result):
            self._waiting = asyncio.ensure_future(self._wait(result, sender))
        else:
            self._answer(result, sender)

    def _answer(self, result: Any, sender: From | None) -> None:
        if sender is not None and result is not NO_REPLY:
            gen_reply(self, sender, result)

    async def _wait(self, result: Awaitable[Any], sender: From | None) -> None:
        try:
            self._answer(await result, sender)
            self._waiting = None
            while self._queue and self._waiting is None and self.alive:
                self._take(self._queue.popleft())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._runtime.crashed(self, error)

    def ended(self) -> None:
        super().ended()
        self._queue.clear()
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting is not asyncio.current_task():
            waiting.cancel()
        try:
            result = self._server.terminate(self.exit_reason)
        except Exception:
            log.exception("%r failed in terminate", self)
            return
        if inspect.isawaitable(result):
            task = asyncio.ensure_future(result)
            _terminating.add(task)
            task.add_done_callback(_terminated)


#: Coroutines of ``terminate`` under way: nothing else holds them.
_terminating: set[asyncio.Future[Any]] = set()


def _terminated(task: asyncio.Future[Any]) -> None:
    _terminating.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("terminate failed", exc_info=error)


def start(
    runtime: Runtime, server: GenServer, *, name: str | None = None, link_to: Process | None = None
) -> ServerProcess:
    """Start a server as a process of its own (``gen_server:start/4``)."""
    process = runtime.add(
        ServerProcess(runtime, runtime.identifiers.pid(), server), name=name, link_to=link_to
    )
    try:
        process.begin()
    except Exception:
        runtime.terminate(process, NORMAL)
        raise
    return process
