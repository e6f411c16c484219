"""Processes whose bodies are plain functions, each in a thread of its own."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from quicdist.node import Process as AsyncProcess
from quicdist.node import ProcessExit
from quicdist.sync.loop_thread import LoopThread
from quicdist.sync.methods import Facade, blocking, in_loop
from quicdist.sync.threads import in_thread
from quicdist.term import Pid, Reference
from quicdist.term.names import Name

if TYPE_CHECKING:
    pass


class Process(Facade[AsyncProcess]):
    """A :class:`quicdist.Process` for threads: an iterator over its messages, and a context manager, which
    ends the process.

    One thread at a time may receive. When the process has ended, ``receive`` raises :class:`ProcessExit`, and
    with it the function ends that is the body.
    """

    send = in_loop(AsyncProcess.send)
    send_wait = blocking(AsyncProcess.send_wait)
    receive = blocking(AsyncProcess.receive)
    link = in_loop(AsyncProcess.link)
    unlink = in_loop(AsyncProcess.unlink)
    monitor = in_loop(AsyncProcess.monitor)
    demonitor = in_loop(AsyncProcess.demonitor)
    alias = in_loop(AsyncProcess.alias)
    unalias = in_loop(AsyncProcess.unalias)
    make_ref = in_loop(AsyncProcess.make_ref)
    spawn_on = blocking(AsyncProcess.spawn_on)
    spawn_monitor_on = blocking(AsyncProcess.spawn_monitor_on)
    spawn_request = in_loop(AsyncProcess.spawn_request)
    spawn_request_abandon = in_loop(AsyncProcess.spawn_request_abandon)
    send_after = in_loop(AsyncProcess.send_after)
    start_timer = in_loop(AsyncProcess.start_timer)
    cancel_timer = in_loop(AsyncProcess.cancel_timer)
    read_timer = in_loop(AsyncProcess.read_timer)
    exit = in_loop(AsyncProcess.exit)
    stop = in_loop(AsyncProcess.stop)
    set_group_leader = in_loop(AsyncProcess.set_group_leader)
    finished = blocking(AsyncProcess.finished)

    def spawn(
        self, function: Callable[..., Any], *args: Any, name: Name | None = None, link: bool = False
    ) -> Process:
        """Spawn a process on this node, with the group leader of this one (``spawn/3``); ``function`` is as
        for ``spawn`` of the node."""
        body = body_of(self._thread, function, args)
        return process_of(
            self._thread, self._thread.call(self._inner.spawn, body, *args, name=name, link=link)
        )

    def spawn_link(self, function: Callable[..., Any], *args: Any, name: Name | None = None) -> Process:
        """Spawn a process on this node, linked to this one (``spawn_link/3``)."""
        return self.spawn(function, *args, name=name, link=True)

    def spawn_monitor(
        self, function: Callable[..., Any], *args: Any, name: Name | None = None
    ) -> tuple[Process, Reference]:
        """Spawn a process on this node and monitor it (``spawn_monitor/3``)."""
        body = body_of(self._thread, function, args)
        process, reference = self._thread.call(self._inner.spawn_monitor, body, *args, name=name)
        return process_of(self._thread, process), reference

    # -- what it is ------------------------------------------------------------------------

    @property
    def pid(self) -> Pid:
        """Its pid."""
        return self._inner.pid

    @property
    def name(self) -> str | None:
        """The name it is registered under, if any."""
        return self._inner.name

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._inner.alive

    @property
    def exit_reason(self) -> Any:
        """The reason with which it has ended."""
        return self._inner.exit_reason

    @property
    def trap_exit(self) -> bool:
        """Whether exit signals come as ``{'EXIT', From, Reason}`` (``process_flag(trap_exit, true)``)."""
        return self._inner.trap_exit

    @trap_exit.setter
    def trap_exit(self, traps: bool) -> None:
        self._thread.call(setattr, self._inner, "trap_exit", traps)

    @property
    def parent(self) -> Pid | None:
        """The process that spawned it, if any."""
        return self._inner.parent

    @property
    def group_leader(self) -> Pid | None:
        """Where its output goes."""
        return self._inner.group_leader

    @property
    def message_queue_len(self) -> int:
        """How many messages have not been received."""
        return self._inner.message_queue_len

    @property
    def messages(self) -> list[Any]:
        """The messages that have not been received, in the order of receiving."""
        return self._ask("messages")

    @property
    def links(self) -> list[Pid]:
        """The processes it is linked to."""
        return self._ask("links")

    @property
    def monitors(self) -> list[Reference]:
        """The monitors it holds."""
        return self._ask("monitors")

    def _ask(self, attribute: str) -> list[Any]:
        answer: list[Any] = self._thread.call(getattr, self._inner, attribute)
        return answer

    # -- with and for ----------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        """All messages, until the process ends."""
        while True:
            yield self.receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process, with the reason of a :class:`ProcessExit` that ends the block."""
        if not self._thread.is_over:
            if isinstance(value, ProcessExit):
                self.stop(value.reason)
            else:
                self.stop()


def process_of(thread: LoopThread, process: AsyncProcess) -> Process:
    """The process for threads."""
    return Process(thread, process)


def process_or_none(thread: LoopThread, process: AsyncProcess | None) -> Process | None:
    """The process for threads, if there is one."""
    return None if process is None else Process(thread, process)


def body_of(
    thread: LoopThread, function: Callable[..., Any], args: tuple[Any, ...] = ()
) -> Callable[..., Any]:
    """The body of a process that runs ``function``, which is a coroutine function, or a plain one for a
    thread: called with the process and ``args`` once, or with the process and each message if it takes one
    more parameter. Raises :class:`TypeError` for a function that takes neither."""
    if inspect.iscoroutinefunction(function):
        return function
    runs = _handling(function) if _handles_messages(function, args) else function

    @functools.wraps(function)
    async def body(process: AsyncProcess, *args: Any) -> Any:
        name = f"quicdist {process.name or process.pid}"
        outer = Process(thread, process)
        return await in_thread(name, runs, outer, *args)

    return body


def _handles_messages(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return not args
    try:
        signature.bind(None, *args)
    except TypeError as error:
        if not args:
            try:
                signature.bind(None, None)
            except TypeError:
                pass
            else:
                return True
        raise TypeError(
            f"{function!r} cannot be the body of a process: it takes the process and {len(args)} "
            f"arguments, or the process and a message ({error})"
        ) from None
    return False


def _handling(function: Callable[[Process, Any], Any]) -> Callable[[Process], None]:
    def handle_all(process: Process) -> None:
        for message in process:
            function(process, message)

    return handle_all
