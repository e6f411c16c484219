"""The processes of a node, by pid and by name, and the sending of their signals.

Links, monitors and spawning are above this module; :class:`~quicdist.node.runtime.Runtime` combines them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from functools import lru_cache
from threading import current_thread, get_ident
from typing import Any, TypeVar

import quicdist.protocol as wire
from quicdist.containment import contained
from quicdist.logs import get_logger
from quicdist.node.errors import (
    NameRegistered,
    NodeError,
    NodeNotStarted,
    NoSuchProcess,
    NotConnected,
)
from quicdist.node.exit_reason import Failure, error_term, exit_reason, failure
from quicdist.node.identifiers import Identifiers
from quicdist.node.process import Process
from quicdist.node.process_lifecycle import ProcessState
from quicdist.node.reports import CrashLog, Reporter
from quicdist.node.running_calls import RunningCalls
from quicdist.node.signal_queue import SignalQueue
from quicdist.node.tracing import CallTracer
from quicdist.protocol import NO_PAYLOAD, ControlMessage, DistFlag
from quicdist.term import Atom, Pid
from quicdist.term.names import REGISTERED_NAME, Name, atom_of, name_of

log = get_logger("quicdist.node")

P = TypeVar("P", bound=Process)
#: Sends a signal to another node: ``(node, control, payload, pair)``. False if it was not accepted.
Transmit = Callable[[str, ControlMessage, Any, Hashable], bool]

_RUNNING = ProcessState.RUNNING
_BADARG = Atom("badarg")


class ProcessTable(ABC):
    """The processes of one node, all of them in the thread that made it.

    ``transmit`` sends a signal to another node by name, see :meth:`ConnectionTable.send`.
    ``is_connected`` says whether there is a connection to a node, or one is being made; ``offers``,
    whether a node that is connected has a capability; ``not_connected`` gives the error that says why
    there is no connection to a node.
    """

    def __init__(
        self,
        name: str,
        creation: int,
        *,
        transmit: Transmit,
        is_connected: Callable[[str], bool],
        offers: Callable[[str, DistFlag], bool] = lambda node, flag: True,
        not_connected: Callable[[str], NotConnected] = NotConnected,
    ) -> None:
        self.name = name
        #: The name that this node was given; None if ``name`` is its name for other nodes too.
        self.given_name: str | None = None
        #: The group leader of processes that no other process spawned.
        self.group_leader: Pid | None = None
        self.identifiers = Identifiers(name, creation)
        self.signal_queue = SignalQueue(self.crashed)
        self.by_pid: dict[Pid, Process] = {}
        self.by_name: dict[str, Process] = {}
        self.offers = offers
        self.not_connected = not_connected
        #: Called for processes that crash.
        self.reporter: Reporter = CrashLog(name, self.find)
        #: The running calls of other nodes, which a stopping node waits for.
        self.calls = RunningCalls()
        #: The processes of the node's own services: they end last.
        self.kernel_processes: set[Pid] = set()
        #: Makes spans of calls, if the program traces them.
        self.tracer: CallTracer | None = None
        #: How many processes have crashed.
        self.crashes = 0
        self._is_connected = is_connected
        self._transmit = transmit
        self._thread = get_ident()
        self._thread_name = current_thread().name
        self._loop = running_loop()
        self._forked = ""
        self._atom = Atom(name)

    # -- to be provided above ----------------------------------------------------------------

    @abstractmethod
    def act(self, node: str, control: ControlMessage, payload: Any) -> None:
        """Let a signal of this node to itself take effect: now, or after the signals before it."""

    @abstractmethod
    def add_process(self, *, name: Name | None = None, link_to: Process | None = None) -> Process:
        """A new process that has a mailbox and no body yet; see :meth:`Process.run`."""

    @abstractmethod
    def link(self, process: Process, to: Pid) -> None:
        """Link a process of this node with another."""

    @abstractmethod
    def tell_end(self, process: Process, reason: Any) -> None:
        """Fire the links and monitors of a process that has ended."""

    # -- the thread of the node ----------------------------------------------------------------

    def forked(self, why: str) -> None:
        """Refuse every operation from now on: this is a copy of the node in a forked process."""
        self._forked = why
        self._thread = 0

    def check_thread(self) -> None:
        """Raise :class:`NodeError` in any other thread than that of the node."""
        if get_ident() != self._thread:
            raise self.out_of_reach()

    def check_loop(self) -> None:
        """Raise :class:`NodeError` in another thread, and in a coroutine of another event loop: a future of
        that loop would never be woken."""
        if running_loop() is not self._loop or get_ident() != self._thread:
            raise self.out_of_reach()

    def out_of_reach(self) -> NodeError:
        """Why the caller cannot use the node."""
        if self._forked:
            return NodeNotStarted(self._forked)
        if get_ident() != self._thread:
            return NodeError(
                f"node {self.name} belongs to the thread of its event loop, {self._thread_name}, and this is "
                f"thread {current_thread().name}: use node.call_soon_threadsafe(process.send, to, message), "
                "asyncio.run_coroutine_threadsafe(node.call(...), loop), or a node of quicdist.sync"
            )
        return NodeError(
            f"node {self.name} belongs to the event loop that it was started in, {self._loop!r}, and this "
            f"code runs in {running_loop()!r}: start and use a node in the same event loop"
        )

    # -- finding processes -----------------------------------------------------------------

    def is_local(self, pid: Pid) -> bool:
        """Whether a pid is of this node (of this incarnation or an earlier one)."""
        return pid._node is self._atom

    @property
    def known_as(self) -> str:
        """The name of this node for other nodes."""
        return self.given_name or self.name

    def internal(self, node: str) -> str:
        """A name of a node, for this one that of its own pids."""
        return self.name if node == self.given_name else node

    def is_connected(self, node: str) -> bool:
        """Whether a signal to ``node`` can be sent, or waits, without a new dial."""
        return node == self.name or self._is_connected(node)

    def find(self, pid: Pid) -> Process | None:
        """The living process with this pid."""
        return self.by_pid.get(pid)

    def whereis(self, name: Name) -> Process | None:
        """The process registered under ``name`` (``whereis/1``)."""
        return self.by_name.get(name_of(name, REGISTERED_NAME))

    def resolve(self, target: Pid | Atom) -> Process | None:
        """The living process that a signal's pid or name stands for."""
        return self.by_pid.get(target) if isinstance(target, Pid) else self.by_name.get(target.name)

    def processes(self) -> list[Process]:
        """All living processes (``processes/0``)."""
        return list(self.by_pid.values())

    def registered(self) -> list[str]:
        """All registered names (``registered/0``)."""
        return list(self.by_name)

    def locate(self, target: Any) -> tuple[str, Pid | Atom]:
        """The node and the pid or name that ``target`` stands for: a pid, a process, a name, or
        ``(name, node)``. Raises TypeError for anything else."""
        if isinstance(target, Pid):
            return target._node.name, target
        if isinstance(target, Process):
            return self.name, target.pid
        if isinstance(target, str | Atom):
            return self.name, _atom(target)
        if isinstance(target, tuple) and len(target) == 2:
            name, node = target
            if isinstance(name, str | Atom) and isinstance(node, str | Atom):
                return self.internal(_atom(node).name), _atom(name)
        raise TypeError(f"expected a pid, a process, a name or (name, node), got {target!r}")

    # -- processes and names that come and go --------------------------------------------------

    def add(self, process: P, *, name: Name | None = None, link_to: Process | None = None) -> P:
        """Add a process of any class to the table; ``link_to`` is its parent."""
        if get_ident() != self._thread:
            raise self.out_of_reach()
        self.by_pid[process.pid] = process
        if name is not None:
            try:
                self.register(name, process)
            except BaseException:
                del self.by_pid[process.pid]
                raise
        if link_to is None:
            process.group_leader = self.group_leader
        else:
            process.group_leader = link_to.group_leader
            process.parent = link_to.pid
            self.link(link_to, process.pid)
        return process

    def register(self, name: Name, process: Process) -> None:
        """Register a process under a name (``register/2``); it can have one name only."""
        key = atom_of(name, REGISTERED_NAME).name
        if key in self.by_name or process.name is not None:
            holder = self.by_name.get(key, process)
            raise NameRegistered(f"cannot register {process.pid} as {key}: {holder!r} is registered")
        if not process.alive:
            raise NoSuchProcess(f"cannot register {process.pid} as {key}: it has ended")
        self.by_name[key] = process
        process.name = key

    def unregister(self, name: Name) -> None:
        """Unregister a name (``unregister/1``). Raises :class:`NoSuchProcess` if no process has it."""
        process = self.by_name.pop(name_of(name, REGISTERED_NAME), None)
        if process is None:
            raise badarg(NoSuchProcess(f"no process is registered as {name}"))
        process.name = None

    # -- the end of a process --------------------------------------------------------------

    def crashed(self, process: Process, error: BaseException, message: Any = None) -> None:
        """Report a process that has raised ``error``, and end it with the exit reason of that error.
        ``message`` is the message that was being handled."""
        self.report_crash(process, failure(error), error, message)
        self.terminate(process, exit_reason(error))

    def report_crash(
        self, process: Process, why: Failure, error: BaseException | None = None, message: Any = None
    ) -> None:
        """Report a process that ends by itself; see :class:`~quicdist.node.reports.Reporter`."""
        self.crashes += 1
        self.reporter.process_crashed(process, why, error, message)

    def exit(self, process: Process, reason: Any) -> None:
        """Let an exit signal end a process: its body is cancelled, and may clean up. Only the first signal
        counts."""
        if process.state is _RUNNING:
            process.exit_begins(reason)

    def terminate(self, process: Process, reason: Any) -> None:
        """End a process at once, and fire its links and monitors with ``reason``."""
        if self.by_pid.pop(process.pid, None) is None:
            return
        process.end(reason)
        if process.name is not None:
            del self.by_name[process.name]
            process.name = None
        if process.has_relations:
            self.tell_end(process, reason)
        process.ended()

    # -- signals ---------------------------------------------------------------------------

    def signal(
        self, node: str, control: ControlMessage, payload: Any = NO_PAYLOAD, pair: Hashable = None
    ) -> bool:
        """Send a signal to a node, or to this one. Returns False if it was not accepted; then no link or
        monitor will fire for it. An unreachable node is no error here: links and monitors fire.

        Raises :class:`~quicdist.term.EncodeError`.
        """
        if get_ident() != self._thread:
            raise self.out_of_reach()
        if node == self.name or node == self.given_name:
            self.act(node, control, payload)
            return True
        return self._transmit(node, control, payload, pair)

    def signal_reason(self, to: Pid, control: ControlMessage, reason: Any, pair: Hashable = None) -> None:
        """Send ``to`` the signal that a process has ended, even if the reason cannot be encoded."""
        try:
            self.signal(to.node.name, control, reason, pair)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # A reason without an Erlang term must not prevent the signal.
            contained(log, f"telling {to}", self.signal, to.node.name, control, (error_term(error), []), pair)

    def set_group_leader(self, source: Pid, leader: Pid, of: Pid) -> None:
        """Make ``leader`` the group leader of a process, as ``source`` wants it."""
        self.signal(of.node.name, wire.GroupLeader(leader, of), pair=(source, of))

    def deliver(self, process: Process, message: Any) -> None:
        """Hand a message to a process: now, or after the signals before it."""
        self.signal_queue.deliver(process, message)

    def submit(self, function: Callable[..., Any], *args: Any) -> None:
        """Call ``function`` as a signal of this node: now, or after the signals before it."""
        self.signal_queue.submit(function, *args)


def _atom(name: Name) -> Atom:
    return name if isinstance(name, Atom) else _kept(name)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def badarg(error: NodeError) -> NodeError:
    """Set the exit reason of a BIF that is called with an unregistered local name."""
    error.exit_reason = (_BADARG, [])
    return error


#: Keeps the atoms of names that are often sent to: without a reference they would be made anew each time.
_kept = lru_cache(maxsize=1024)(Atom)
