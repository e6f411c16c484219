"""An event loop in a thread of its own, for one node, and calls into it from other threads."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import inspect
import os
import signal
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any

from quicdist.forking import tell_children
from quicdist.logs import get_logger
from quicdist.node import NodeError, NodeNotStarted
from quicdist.otp import Node

log = get_logger("quicdist.sync")

#: Seconds for which the end of the program waits for a node that it has not stopped.
EXIT_TIME = 10.0


class LoopThread:
    """Runs ``node`` in a thread.

    The thread ends when the node has stopped. It is a daemon, so that a program that forgets its node can
    end; the node is then stopped by ``atexit``.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        #: The error that made the node stop by itself.
        self.error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        #: The calls that have no value yet.
        self._calls: set[Future[Any]] = set()
        #: Whether it takes no more calls, and whether the event loop is closed.
        self._ends = self._over = False
        #: In a forked process, the one that the node runs in.
        self._parent = 0

    # -- the thread ------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread and the node. Raises what :meth:`quicdist.Node.start` raises; then the thread has
        ended."""
        with self._lock:
            if self._thread is not None:
                raise NodeError(
                    f"node {self.node.name} has been started already and cannot be started again: "
                    "make a new Node"
                )
            # Not uvloop: a forked process crashes when it exits after libuv's threads have run here.
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._run, args=(self._loop,), name=f"quicdist {self.node.name}", daemon=True
            )
            tell_children(self)
            self._thread.start()
        try:
            self.call(self.node.start)
        except BaseException:
            self._loop.call_soon_threadsafe(self._end_with, self.node.stop())
            self.join()
            raise
        _running.add(self)
        self._loop.call_soon_threadsafe(self._end_with, self.node.run_forever())

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while not self._ends:
                try:
                    loop.run_forever()
                except KeyboardInterrupt:
                    # Code that the node runs has raised it: it is meant for the program.
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
                except SystemExit:
                    log.exception("SystemExit in the thread of node %s has no effect", self.node.name)
            _close(loop)
        finally:
            with self._lock:
                self._ends = self._over = True
                unanswered = list(self._calls)
            for future in unanswered:
                if not future.done():
                    future.set_exception(self.not_running())
            _running.discard(self)

    def _end_with(self, last: Coroutine[Any, Any, None]) -> None:
        """Stop the event loop when ``last`` is over."""
        assert self._loop is not None
        task = self._loop.create_task(last, name=f"quicdist: {self.node.name} until its stop")

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled():
                self.error = task.exception()
            with self._lock:
                self._ends = True
            asyncio.get_running_loop().stop()

        task.add_done_callback(ended)

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None:
            self._thread.join(timeout)

    def forked(self) -> None:
        """This is a copy in a forked process, where the thread does not run."""
        self._parent = os.getppid()
        self._lock = threading.Lock()
        _running.discard(self)

    @property
    def is_forked(self) -> bool:
        """Whether this is a copy in a forked process."""
        return self._parent != 0

    @property
    def is_over(self) -> bool:
        """Whether the node has stopped."""
        return self._over

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Its event loop. Raises :class:`NodeNotStarted`."""
        if self._loop is None or self._parent:
            raise self.not_running()
        return self._loop

    def is_current(self) -> bool:
        """Whether the caller runs in this thread."""
        return threading.current_thread() is self._thread

    def not_running(self) -> NodeNotStarted:
        """The error for an operation that needs a running node."""
        name = self.node.name
        if self._parent:
            return NodeNotStarted(
                f"node {name} runs in process {self._parent}: a process forked from it cannot use the node"
            )
        if self._thread is None:
            return NodeNotStarted(f"node {name} has not been started: use it in `with`, or call start()")
        return NodeNotStarted(f"node {name} has stopped")

    # -- calls into it ---------------------------------------------------------------------

    def call(self, function: Callable[..., Any], /, *args: Any, **options: Any) -> Any:
        """Call a function, or a coroutine function, in the event loop, and wait for its value. Raises what it
        raises, and :class:`NodeNotStarted`. An interrupt (Ctrl-C) ends the wait and cancels the coroutine.
        Before the node is started, plain functions are called at once."""
        if self._thread is None and not inspect.iscoroutinefunction(function):
            try:
                return function(*args, **options)  # what a node can be told before it is started
            except NodeNotStarted:
                raise self.not_running() from None
        if self.is_current():
            raise NodeError(
                f"node {self.node.name} of quicdist.sync was used in the thread of its event loop, by "
                f"code that the node runs there: the call would wait for itself. {_ADVICE}"
            )
        with self._lock:
            if self._loop is None or self._parent or self._ends:
                raise self.not_running() from self.error
            future = asyncio.run_coroutine_threadsafe(_applied(function, args, options), self._loop)
            self._calls.add(future)
        try:
            return future.result()
        except CancelledError:
            if self._ends:
                raise self.not_running() from self.error
            raise
        finally:
            future.cancel()
            with self._lock:
                self._calls.discard(future)
            # An error has the frame of this call in its traceback, and the frame has the future.
            del future

    def begin_stop(self) -> None:
        """Begin to stop the node, and do not wait."""
        with self._lock:
            if self._loop is not None and not self._parent and not self._ends:
                asyncio.run_coroutine_threadsafe(self.node.stop(), self._loop)

    def abandon(self) -> None:
        """Do not wait for this node when the program ends."""
        _running.discard(self)


_ADVICE = (
    "In the thread of the loop run coroutine functions and the callbacks of servers: there, use `await` with "
    "the node of the process, self.process.node"
)


async def _applied(function: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    result = function(*args, **options)
    return await result if inspect.iscoroutine(result) else result


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what still runs in a loop that has stopped, and close it, as ``asyncio.run`` does."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    with contextlib.suppress(RuntimeError):  # the interpreter ends, and starts no more threads
        loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()


#: The threads whose nodes run.
_running: weakref.WeakSet[LoopThread] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    """Stop the nodes that the program has not stopped, so that their peers are told."""
    threads = list(_running)
    for thread in threads:
        thread.begin_stop()
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C again: do not wait
        for thread in threads:
            thread.join(EXIT_TIME)
