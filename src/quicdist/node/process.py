"""A process: a pid, a mailbox, and what it is linked to and monitors."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from quicdist.node.errors import NoSuchProcess
from quicdist.node.exits import NORMAL
from quicdist.node.patterns import Pattern, matcher
from quicdist.term import Atom, Pid, Reference

if TYPE_CHECKING:
    from quicdist.node.runtime import Runtime


class Process:
    """A process of this node, as seen from inside and from outside.

    It has one of three bodies: a coroutine function that receives when it likes, a plain function
    called once per message, or none (a subclass that overrides :meth:`handle`).
    """

    __slots__ = (
        "__weakref__",
        "_mailbox",
        "_on_end",
        "_runtime",
        "_task",
        "_waiter",
        "aliases",
        "exit_reason",
        "group_leader",
        "links",
        "monitored_by",
        "monitors",
        "name",
        "pid",
        "trap_exit",
        "unlinking",
    )

    def __init__(self, runtime: Runtime, pid: Pid) -> None:
        self._runtime = runtime
        self.pid = pid
        #: The name it is registered under, if any.
        self.name: str | None = None
        #: Whether exit signals come as ``{'EXIT', From, Reason}`` (``process_flag(trap_exit, true)``).
        self.trap_exit = False
        #: Why it ended; None while it is alive.
        self.exit_reason: Any = None
        self.group_leader: Pid | None = None
        self.links: set[Pid] = set()
        self.unlinking: dict[Pid, int] = {}
        self.monitors: set[Reference] = set()
        #: Who monitors this process: the reference, and the watcher with the name it watches by.
        self.monitored_by: dict[Reference, tuple[Pid, Pid | Atom]] = {}
        self.aliases: set[Reference] = set()
        self._mailbox: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._task: asyncio.Task[Any] | None = None
        self._on_end: list[Callable[[], Any]] = []

    def __repr__(self) -> str:
        name = f" {self.name}" if self.name else ""
        return f"<{type(self).__name__} {self.pid}{name}>"

    @property
    def node(self) -> Any:
        """The node this process lives on."""
        return self._runtime.owner

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet (``is_process_alive/1``)."""
        return self.exit_reason is None

    # -- messages --------------------------------------------------------------------------

    def send(self, to: Any, message: Any) -> None:
        """Send ``message`` to a pid, process, alias, ``name`` or ``(name, node)``.

        Like Erlang's ``!`` it does not wait and does not fail for a process or node that is not
        there. Raises :class:`~quicdist.term.EncodeError` for what Erlang has no term for.
        """
        self._runtime.send(self.pid, to, message)

    def handle(self, message: Any) -> None:
        """Take one message; puts it in the mailbox unless a subclass has other plans."""
        self._mailbox.append(message)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def receive(self, pattern: Pattern = None, *, timeout: float | None = None) -> Any:
        """The next message, or the first that matches ``pattern`` (see
        :func:`~quicdist.node.patterns.matcher`); others stay, in order, as in Erlang's ``receive``.

        Raises :class:`TimeoutError` when none has come after ``timeout`` seconds (0 only looks).
        """
        mailbox = self._mailbox
        if pattern is None:
            if mailbox:
                return mailbox.popleft()
            await self._arrival(0, timeout)
            return mailbox.popleft()
        matches = matcher(pattern)
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        seen = 0
        while True:
            while seen < len(mailbox):
                if matches(mailbox[seen]):
                    message = mailbox[seen]
                    del mailbox[seen]
                    return message
                seen += 1
            await self._arrival(seen, None if deadline is None else deadline - loop.time())

    async def _arrival(self, seen: int, timeout: float | None) -> None:
        """Wait until more than ``seen`` messages are in the mailbox."""
        if self._waiter is not None:
            raise RuntimeError(f"{self!r} is receiving already")
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = None if timeout is None else loop.call_later(max(timeout, 0.0), _expire, waiter)
        try:
            await waiter
        finally:
            self._waiter = None
            if timer is not None:
                timer.cancel()
        if len(self._mailbox) <= seen:
            raise TimeoutError

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Every message that comes, for as long as the process lives."""
        while True:
            yield await self.receive()

    # -- links, monitors, aliases ----------------------------------------------------------

    def link(self, pid: Pid | Process) -> None:
        """Link with a process (``link/1``); one that is not there ends this one with ``noproc``."""
        self._runtime.link(self, _pid(pid))

    def unlink(self, pid: Pid | Process) -> None:
        """Remove a link (``unlink/1``)."""
        self._runtime.unlink(self, _pid(pid))

    def monitor(self, target: Any, *, alias: bool = False) -> Reference:
        """Monitor a pid, ``name`` or ``(name, node)`` (``monitor/2,3``): when it ends, or is not
        there, ``{'DOWN', Reference, process, Target, Reason}`` comes as a message. With ``alias``
        the reference is an alias too, until the monitor goes (``{alias, demonitor}``)."""
        return self._runtime.monitor(self, target, alias=alias)

    def demonitor(self, reference: Reference, *, flush: bool = True) -> None:
        """Remove a monitor; with ``flush`` also its message, should it have come already."""
        self._runtime.demonitor(self, reference)
        if flush:
            kept = [message for message in self._mailbox if not _is_down(message, reference)]
            if len(kept) != len(self._mailbox):
                self._mailbox.clear()
                self._mailbox.extend(kept)

    def alias(self) -> Reference:
        """A reference that can be sent to as if it were this process (``alias/0``)."""
        return self._runtime.alias(self)

    def unalias(self, reference: Reference) -> bool:
        """Take an alias back: what is sent to it from now on is dropped. Whether it was one."""
        return self._runtime.unalias(self, reference)

    # -- life ------------------------------------------------------------------------------

    def spawn(
        self, function: Callable[..., Any], *args: Any, name: str | None = None, link: bool = False
    ) -> Process:
        """Spawn a process on this node, linked to this one if asked for (``spawn_link``)."""
        return self._runtime.spawn(function, *args, name=name, link_to=self if link else None)

    def exit(self, to: Pid | Process, reason: Any) -> None:
        """Send an exit signal to another process, or to this one (``exit/2``)."""
        self._runtime.exit(self.pid, _pid(to), reason)

    def stop(self, reason: Any = NORMAL) -> None:
        """End this process with ``reason`` (``exit/1``, from outside its own code)."""
        self._runtime.terminate(self, reason)

    def run(self, body: Awaitable[Any]) -> None:
        """Give the process a coroutine to run; it ends when that does."""
        self._task = asyncio.get_running_loop().create_task(
            self._runtime.run_body(self, body), name=f"quicdist: process {self.pid}"
        )

    def on_end(self, callback: Callable[[], Any]) -> None:
        """Call ``callback`` when the process has ended; at once if it has already."""
        if self.alive:
            self._on_end.append(callback)
        else:
            callback()

    def ended(self) -> None:
        """Called once, when the process has ended: nothing runs on its behalf any more."""
        callbacks, self._on_end = self._on_end, []
        for callback in callbacks:
            callback()
        if self._task is not None and self._task is not _current_task():
            self._task.cancel()
        self._mailbox.clear()


class HandlerProcess(Process):
    """A process whose body is a plain function, called with the process and each message."""

    __slots__ = ("_function",)

    def __init__(self, runtime: Runtime, pid: Pid, function: Callable[[Process, Any], Any]) -> None:
        super().__init__(runtime, pid)
        self._function = function

    def handle(self, message: Any) -> None:
        self._function(self, message)


def _pid(process: Pid | Process) -> Pid:
    if isinstance(process, Process):
        return process.pid
    if isinstance(process, Pid):
        return process
    raise NoSuchProcess(f"{process!r} is not a pid")


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _is_down(message: Any, reference: Reference) -> bool:
    return (
        isinstance(message, tuple) and len(message) == 5 and message[0] == _DOWN and message[1] == reference
    )


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


_DOWN = Atom("DOWN")
