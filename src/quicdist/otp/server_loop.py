"""The loop of a server of any behaviour: receives its messages, one after the other.

OTP: ``sys(3)``; Design Principles, *sys and proc_lib*. A server has no task while nothing is awaited.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from quicdist.node.exit_reason import EXIT
from quicdist.node.process_lifecycle import ProcessState
from quicdist.node.runtime import Runtime
from quicdist.otp import system_messages
from quicdist.otp.behaviour import Behaviour
from quicdist.otp.function_clause import with_clauses
from quicdist.otp.gen_messages import GEN_CALL, SYSTEM, classify
from quicdist.otp.server_lifecycle import ServerLifecycle, ServerPhase
from quicdist.term import Atom, Pid

_STARTING, _INITIALISED = ServerPhase.STARTING, ServerPhase.INITIALISED
_RUNNING, _SUSPENDED = ServerPhase.RUNNING, ServerPhase.SUSPENDED


class ServerLoop(ServerLifecycle):
    """Handles system messages and the exit of the parent, and hands other messages to the behaviour.

    Until ``init`` has returned, and while a coroutine of the server is awaited, messages wait in the
    mailbox, where that coroutine can receive them.
    """

    __slots__ = ("_clauses", "_held", "_last")

    def __init__(self, runtime: Runtime, pid: Pid, server: Behaviour) -> None:
        super().__init__(runtime, pid, server)
        #: The callbacks that detect a missing case, by name.
        self._clauses = with_clauses(type(server), server.matching_callbacks)
        #: Messages that came while the server was suspended.
        self._held: deque[Any] = deque()
        #: The message that was handled last.
        self._last: Any = None

    # -- for the behaviour -------------------------------------------------------------------------

    @abstractmethod
    def entered(self, result: Any) -> None:
        """``init`` has returned ``result``. What it raises ends the server."""

    @abstractmethod
    def handle_message(self, kind: Atom | None, sender: Any, request: Any, message: Any) -> None:
        """Handle a message, classified by :func:`~quicdist.otp.gen_messages.classify`. What it raises ends
        the server."""

    def parent_ended(self, reason: Any) -> None:
        """The parent has ended with ``reason``: end too."""
        self.terminate(reason)

    def await_code(self, code: Awaitable[Any], after: Callable[[Any], None]) -> None:
        """Run code of the program; then call ``after`` with its value, and handle the messages that came
        meanwhile. What either raises ends the server."""
        self.run_code(code, partial(self.runtime.submit, self._code_ended, after))

    def call_back(self, name: str, callback: Callable[..., Any], *args: Any) -> Any:
        """Call a callback, in the version that detects a missing case if there is one."""
        known = self._clauses.get(name)
        if known is not None and getattr(callback, "__func__", None) is known[0]:
            return known[1](self.server, *args)
        return callback(*args)

    # -- messages ----------------------------------------------------------------------------------

    def enter_loop(self, result: Any) -> None:
        if self.phase is _INITIALISED:
            self.become(_RUNNING)
            self._code_ended(self.entered, result, None)

    def handle(self, message: Any) -> None:
        if self.task is None and (self.phase is _RUNNING or self.phase is _SUSPENDED):
            if self._take(message):
                self._next()
            return
        self.mailbox.put(message)
        if self.server.supervises and classify(message)[:2] == (EXIT, self.parent):
            self._end_starting_children(message[2])

    def handle_priority(self, message: Any) -> None:
        if self.task is not None or self.phase is _STARTING or self.phase is _INITIALISED:
            self.mailbox.put(message, priority=True)
        else:
            self.handle(message)

    def _end_starting_children(self, reason: Any) -> None:
        """The parent ends this supervisor while it waits for a child to start: end that child, whose
        ``init`` may take for ever."""
        for process in self.runtime.processes():
            if process.parent != self.pid or not isinstance(process, ServerLoop):
                continue
            if process.phase is _STARTING:
                if process.is_supervisor:
                    self.runtime.links.exit_received(self.pid, process.pid, reason)
                else:
                    self.runtime.exit(process, reason)

    def _next(self) -> None:
        """Handle the messages that came while a coroutine was awaited."""
        while super().message_queue_len and self.task is None and self.state is ProcessState.RUNNING:
            self._take(self.mailbox.take())

    def _take(self, message: Any) -> bool:
        """Handle a message; whether messages may wait in the mailbox now."""
        kind, sender, request = classify(message)
        try:
            if kind is SYSTEM:
                answering = system_messages.handle(self, sender, request)
                if answering is not None:
                    self.await_code(answering, _done)
                return True
            if self.phase is _SUSPENDED and not (kind is EXIT and sender == self.parent):
                self._held.append(message)
                return False
            self._last = message
            if kind is EXIT and sender == self.parent:
                self.parent_ended(request)
            else:
                self.handle_message(kind, sender, request, message)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.fail(error)
        return False

    def _code_ended(self, after: Callable[[Any], None], value: Any, error: BaseException | None) -> None:
        if self.state is not ProcessState.RUNNING:
            self.code_cancelled()
        elif error is not None:
            self.fail(error)
        else:
            try:
                after(value)
            except KeyboardInterrupt:
                raise
            except BaseException as failed:
                self.fail(failed)
            self._next()

    @property
    def last_message(self) -> Any:
        """The message that was handled last; of a call, its request."""
        kind, _, request = classify(self._last)
        return request if kind is GEN_CALL else self._last

    @property
    def client(self) -> Pid | None:
        """The client of the last message, if that was a call."""
        kind, sender, _ = classify(self._last)
        return sender[0] if kind is GEN_CALL else None

    @property
    def message_queue_len(self) -> int:
        return len(self._held) + super().message_queue_len

    @property
    def messages(self) -> list[Any]:
        return [*self._held, *super().messages]

    def resume(self) -> None:
        super().resume()
        held, self._held = self._held, deque()
        self.mailbox.put_first(held)

    def ended(self) -> None:
        super().ended()
        self._held.clear()


def _done(_: Any) -> None:
    """Nothing follows."""
