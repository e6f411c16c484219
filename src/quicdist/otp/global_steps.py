"""Procedures of ``global`` that wait for replies and messages, as generators without I/O.

Such a procedure yields what it waits for: the replies of servers (:class:`MultiCall`), the result of a
function (:class:`Apply`), a message (:class:`Receive`), time (:class:`Sleep`). A :class:`Runner` does what
it yields by a :class:`StepPort`, so that the procedures are tested without nodes, processes and clocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

#: What a procedure returns.
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MultiCall:
    """Call ``global_name_server`` on these nodes (``gen_server:multi_call/3``). The result is the list of
    ``(node, reply)`` of the nodes that have replied, in the order of ``nodes``."""

    nodes: list[str]
    request: Any


@dataclass(frozen=True, slots=True)
class Apply:
    """Call a function on a node (``rpc:call/4``). The result is ``(value, None)`` or ``(None, error)``."""

    node: str
    module: str
    function: str
    arguments: list[Any]


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for the first message that ``accept`` takes; other messages stay. The result is None after
    ``timeout`` seconds; None waits for ever, 0 takes only what has come already."""

    accept: Callable[[Any], bool]
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for a time in seconds; 0 lets other work go on."""

    seconds: float


#: What a procedure waits for.
Step = MultiCall | Apply | Receive | Sleep
#: A procedure.
Steps = Generator[Step, Any, T]


class StepPort(Protocol):
    """What a runner needs. Callbacks come later, never within the call."""

    def multi_call(
        self, nodes: list[str], request: Any, done: Callable[[list[tuple[str, Any]]], None]
    ) -> None: ...

    def apply(self, step: Apply, done: Callable[[tuple[Any, Exception | None]], None]) -> None: ...

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        """Returns the function that cancels the callback."""


class Runner(Generic[T]):
    """Runs one procedure. ``done`` is called with its result. ``merge`` puts a message among those that
    wait for the procedure, in place of those that it makes needless; by default it comes last."""

    def __init__(
        self,
        port: StepPort,
        steps: Steps[T],
        done: Callable[[T], None] = lambda result: None,
        *,
        merge: Callable[[deque[Any], Any], None] = deque.append,
    ) -> None:
        self._port = port
        self._steps = steps
        self._done = done
        self._merge = merge
        self._messages: deque[Any] = deque()
        self._receiving: Receive | None = None
        self._cancel_timer: Callable[[], None] | None = None
        #: Numbers the waits, so that a late answer does not end a later wait.
        self._wait = 0
        self._running = False
        self._over = False

    @property
    def waiting_messages(self) -> int:
        """How many messages have not been received."""
        return len(self._messages)

    def start(self) -> None:
        """Run until the first wait."""
        self._run(None)

    def stop(self) -> None:
        """End the procedure where it waits."""
        self._over = True
        self._wait += 1
        self._stop_timer()
        self._messages.clear()
        if not self._running:
            self._steps.close()

    def deliver(self, message: Any) -> None:
        """Hand a message to the procedure."""
        receiving = self._receiving
        if self._over:
            return
        if receiving is not None and not self._running and receiving.accept(message):
            self._resume(message)
        else:
            self._merge(self._messages, message)

    def _resume(self, result: Any) -> None:
        self._wait += 1
        self._receiving = None
        self._stop_timer()
        self._run(result)

    def _answered(self, wait: int, result: Any) -> None:
        if wait == self._wait and not self._over:
            self._resume(result)

    def _stop_timer(self) -> None:
        cancel, self._cancel_timer = self._cancel_timer, None
        if cancel is not None:
            cancel()

    def _run(self, result: Any) -> None:
        """Run until a step has to wait."""
        self._running = True
        waits = False
        try:
            while not waits and not self._over:
                try:
                    step = self._steps.send(result)
                except StopIteration as end:
                    self._over = True
                    self._messages.clear()
                    self._done(end.value)
                    return
                waits, result = self._begin(step)
        finally:
            self._running = False
        if self._over:
            self._steps.close()

    def _begin(self, step: Step) -> tuple[bool, Any]:
        """Begin a step; whether it waits, else its result."""
        wait = self._wait
        match step:
            case Receive(accept, timeout):
                for at, message in enumerate(self._messages):
                    if accept(message):
                        del self._messages[at]
                        return False, message
                if timeout is not None and timeout <= 0:
                    return False, None
                self._receiving = step
                if timeout is not None:
                    self._timer(timeout, wait)
            case Sleep(seconds):
                self._timer(seconds, wait)
            case MultiCall([], _):
                return False, []
            case MultiCall(nodes, request):
                self._port.multi_call(nodes, request, lambda replies: self._answered(wait, replies))
            case Apply():
                self._port.apply(step, lambda outcome: self._answered(wait, outcome))
        return True, None

    def _timer(self, seconds: float, wait: int) -> None:
        self._cancel_timer = self._port.call_later(seconds, lambda: self._answered(wait, None))
