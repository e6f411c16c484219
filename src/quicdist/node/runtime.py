"""The emulator's part of a node: its processes, their names, and signals between them.

What a BEAM offers on top by itself (``net_kernel``, ``rpc`` and so on) is in :mod:`quicdist.otp`.
"""

from __future__ import annotations

import inspect
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
from quicdist.node.exits import error_term, exit_reason, failure
from quicdist.node.identifiers import Identifiers
from quicdist.node.interface import NodeInterface
from quicdist.node.links import Links
from quicdist.node.process import HandlerProcess, Process, ProcessState
from quicdist.node.relations import Relations
from quicdist.node.reports import CrashLog, Reporter
from quicdist.node.running_calls import RunningCalls
from quicdist.node.signals import Signals
from quicdist.node.spawnables import Spawnables
from quicdist.node.spawning import Spawning
from quicdist.node.turns import Turns
from quicdist.protocol import NO_PAYLOAD, ControlMessage, DistFlag
from quicdist.term import Atom, EncodeError, Pid, Reference
from quicdist.term.names import REGISTERED_NAME, Name, atom_of, name_of

log = get_logger("quicdist.node")

P = TypeVar("P", bound=Process)

_RUNNING, _ENDED = ProcessState.RUNNING, ProcessState.ENDED
_BADARG = Atom("badarg")

#: Signals go out in their newest form; for older peers the carrier sends what it replaced.
_TO_ALIAS = int(wire.AltactFlag.ALIAS)
_TO_ALIAS_FIRST = int(wire.AltactFlag.ALIAS | wire.AltactFlag.PRIO)


class Runtime:
    """The processes of one node, all of them in the thread that made it.

    ``transmit`` sends a signal to another node by name: ``transmit(node, control, payload, pair)``,
    see :meth:`ConnectionTable.send`. ``is_connected`` says whether there is a connection to
    a node, or one is being made; ``offers``, whether a node that is connected has a capability;
    ``not_connected`` gives the error that says why there is no connection to a node.
    """

    def __init__(
        self,
        name: str,
        creation: int,
        *,
        owner: Any,
        transmit: Callable[[str, ControlMessage, Any, Hashable], bool],
        is_connected: Callable[[str], bool],
        offers: Callable[[str, DistFlag], bool] = lambda node, flag: True,
        not_connected: Callable[[str], NotConnected] = NotConnected,
        spawnables: Spawnables | None = None,
    ) -> None:
        self.name = name
        #: The node object that processes see as ``process.node``.
        self.owner: NodeInterface[Process] = owner
        #: The group leader of processes that no other process spawned.
        self.group_leader: Pid | None = None
        self.identifiers = Identifiers(name, creation)
        self.turns = Turns()
        self.links = Links(self)
        self.relations = Relations(self)
        self.spawning = Spawning(self, spawnables)
        self.signals = Signals(self)
        self.offers = offers
        self.not_connected = not_connected
        #: Is told of processes that crash.
        self.reporter: Reporter = CrashLog(name, self.find)
        #: What other nodes have called, and is waited for when the node stops.
        self.calls = RunningCalls()
        #: The processes that the node itself offers: they end last.
        self.services: set[Pid] = set()
        self._is_connected = is_connected
        self._transmit = transmit
        self._thread = get_ident()
        self._forked = ""
        self._atom = Atom(name)
        self._processes: dict[Pid, Process] = {}
        self._names: dict[str, Process] = {}

    def forked(self, why: str) -> None:
        """Refuse everything from now on: this is a copy of the node in a forked process."""
        self._forked = why
        self._thread = 0

    def _out_of_reach(self) -> NodeError:
        """Why the caller cannot use the node."""
        if self._forked:
            return NodeNotStarted(self._forked)
        return NodeError(
            f"node {self.name} belongs to the thread of its event loop, and this is thread "
            f"{current_thread().name}: use node.call_soon_threadsafe(process.send, to, message)"
        )

    # -- finding processes -----------------------------------------------------------------

    def is_local(self, pid: Pid) -> bool:
        """Whether a pid is of this node (of this or of a former life)."""
        return pid.node is self._atom

    def is_connected(self, node: str) -> bool:
        """Whether signals to ``node`` find a way, or wait for one, without a new dial."""
        return node == self.name or self._is_connected(node)

    def find(self, pid: Pid) -> Process | None:
        """The living process with this pid."""
        return self._processes.get(pid)

    def whereis(self, name: Name) -> Process | None:
        """The process registered under ``name`` (``whereis/1``)."""
        return self._names.get(name_of(name, REGISTERED_NAME))

    def resolve(self, target: Pid | Atom) -> Process | None:
        """The living process a signal's pid or name stands for."""
        return self._processes.get(target) if isinstance(target, Pid) else self._names.get(target.name)

    def processes(self) -> list[Process]:
        """All living processes (``processes/0``)."""
        return list(self._processes.values())

    def registered(self) -> list[str]:
        """All registered names (``registered/0``)."""
        return list(self._names)

    def locate(self, target: Any) -> tuple[str, Pid | Atom]:
        """The node and the pid or name that ``target`` stands for: a pid, a process, a name, or
        ``(name, node)``. Raises TypeError for anything else."""
        if isinstance(target, Pid):
            return target.node.name, target
        if isinstance(target, Process):
            return self.name, target.pid
        if isinstance(target, str | Atom):
            return self.name, _atom(target)
        if isinstance(target, tuple) and len(target) == 2:
            name, node = target
            if isinstance(name, str | Atom) and isinstance(node, str | Atom):
                return _atom(node).name, _atom(name)
        raise TypeError(f"a pid, a process, a name or (name, node) is wanted, not {target!r}")

    # -- spawning and names ----------------------------------------------------------------

    def spawn(
        self,
        function: Callable[..., Any],
        *args: Any,
        name: Name | None = None,
        link_to: Process | None = None,
    ) -> Process:
        """Start a process: a coroutine function runs as its body, called with the process and
        ``args``; a plain function becomes its handler, called with the process and each message.

        Raises :class:`NameRegistered` when ``name`` is taken, and :class:`TypeError` for other
        arguments than ``function`` takes; then there is no process.
        """
        if inspect.iscoroutinefunction(function):
            process = self.add_process(name=name, link_to=link_to)
            process.body = function
            try:
                process.run(function(process, *args))
            except TypeError as error:
                self.terminate(process, exit_reason(error))
                raise
            return process
        if args:
            raise TypeError(
                f"{function!r} is no coroutine function: it is called with messages, not {args!r}"
            )
        handler = HandlerProcess(self, self.identifiers.pid(), function)
        handler.body = function
        return self.add(handler, name=name, link_to=link_to)

    def add_process(self, *, name: Name | None = None, link_to: Process | None = None) -> Process:
        """A new process that has a mailbox and no body yet; see :meth:`Process.run`."""
        return self.add(Process(self, self.identifiers.pid()), name=name, link_to=link_to)

    def add(self, process: P, *, name: Name | None = None, link_to: Process | None = None) -> P:
        """Take a process of any kind into the table; ``link_to`` is its parent."""
        if get_ident() != self._thread:
            raise self._out_of_reach()
        self._processes[process.pid] = process
        if name is not None:
            try:
                self.register(name, process)
            except BaseException:
                del self._processes[process.pid]
                raise
        if link_to is None:
            process.group_leader = self.group_leader
        else:
            process.group_leader = link_to.group_leader
            process.parent = link_to.pid
            self.links.link(link_to, process.pid)
        return process

    def register(self, name: Name, process: Process) -> None:
        """Register a process under a name (``register/2``); it can have one name only."""
        key = atom_of(name, REGISTERED_NAME).name
        if key in self._names or process.name is not None:
            holder = self._names.get(key, process)
            raise NameRegistered(f"cannot register {process.pid} as {key}: {holder!r} stands in the way")
        if not process.alive:
            raise NoSuchProcess(f"cannot register {process.pid} as {key}: it has ended")
        self._names[key] = process
        process.name = key

    def unregister(self, name: Name) -> None:
        """Take a name away (``unregister/1``). Raises :class:`NoSuchProcess` when nobody has it."""
        process = self._names.pop(name_of(name, REGISTERED_NAME), None)
        if process is None:
            raise _badarg(NoSuchProcess(f"no process is registered as {name}"))
        process.name = None

    # -- the end of a process --------------------------------------------------------------

    def crashed(self, process: Process, error: BaseException, message: Any = None) -> None:
        """End a process with the reason its exception stands for, and report it. ``message`` is the
        one that was handled."""
        self.reporter.process_crashed(process, failure(error), error, message)
        self.terminate(process, exit_reason(error))

    def exit(self, process: Process, reason: Any) -> None:
        """Let an exit signal end a process: its body is called off, and may clean up. Only the
        first one counts."""
        if process.state is _RUNNING:
            process.exit_begins(reason)

    def terminate(self, process: Process, reason: Any) -> None:
        """End a process at once; those linked to it and monitoring it are told why."""
        if self._processes.pop(process.pid, None) is None:
            return
        process.state = _ENDED
        process.exit_reason = reason
        if process.name is not None:
            del self._names[process.name]
            process.name = None
        if process.is_bound:
            self.links.process_ended(process, reason)
            self.relations.process_ended(process, reason)
        process.ended()

    def connection_lost(self, node: str) -> None:
        """A connection was lost, or could not be made: ``noconnection`` for all that crossed it."""
        self.spawning.connection_lost(node)
        for process in self.processes():
            if process.is_bound:
                self.relations.watcher_lost(process, node)
                self.links.connection_lost(process, node)
        self.relations.connection_lost(node)

    # -- messages and other signals --------------------------------------------------------

    def send(
        self, source: Pid, to: Any, message: Any, *, priority: bool = False, owner: Pid | None = None
    ) -> None:
        """Send a message from ``source``; see :meth:`Process.send`.

        ``owner`` is the process an alias belongs to, where that is known: then the message keeps
        its order with others to that process on every carrier.
        """
        if isinstance(to, Pid) and to.node is not self._atom:
            self.signal(to.node.name, wire.SendSender(source, to), message)
            return
        if get_ident() != self._thread:
            raise self._out_of_reach()
        if isinstance(to, Pid):
            process = self._processes.get(to)
            if process is not None:
                self.turns.take(self.hand_over, process, message)
            return
        if isinstance(to, Reference):
            if to.node is self._atom:
                self.turns.take(self.relations.message_to_alias, to, message, priority)
            else:
                flags = _TO_ALIAS_FIRST if priority else _TO_ALIAS
                pair = None if owner is None else (source, owner)
                self.signal(to.node.name, wire.AltactSigSend(flags, source, to), message, pair)
            return
        node, where = self.locate(to)
        if node != self.name and isinstance(where, Atom):
            self.signal(node, wire.RegSend(source, wire.UNUSED, where), message)
            return
        target = self.resolve(where)
        if target is not None:
            self.turns.take(self.hand_over, target, message)
        elif isinstance(to, str | Atom):
            raise _badarg(NoSuchProcess(f"no process is registered as {to} on {self.name}"))

    def signal(
        self, node: str, control: ControlMessage, payload: Any = NO_PAYLOAD, pair: Hashable = None
    ) -> bool:
        """Send a signal to a node, this one included. What cannot be encoded is the caller's error. A
        node that cannot be reached is nobody's, its links and monitors tell; False means that they
        cannot, because the signal was not even taken."""
        if get_ident() != self._thread:
            raise self._out_of_reach()
        if node == self.name:
            self.turns.take(self.signals.act, node, control, payload)
            return True
        return self._transmit(node, control, payload, pair)

    def signal_reason(self, to: Pid, control: ControlMessage, reason: Any, pair: Hashable = None) -> None:
        """Tell ``to`` of the end of a process, whatever the reason is."""
        try:
            self.signal(to.node.name, control, reason, pair)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # A reason Erlang has no term for must not keep the end of a process from being told.
            contained(log, f"telling {to}", self.signal, to.node.name, control, (error_term(error), []), pair)

    def not_encoded(self, control: ControlMessage, error: EncodeError) -> None:
        """A signal that waited for a connection has a term in it that the peer does not know."""
        if isinstance(control, wire.SpawnRequest):
            self.spawning.not_supported(control)
        elif isinstance(control, wire.PayloadExit | wire.PayloadExit2):
            self.signal(control.to_pid.node.name, control, (error_term(error), []))

    def link(self, process: Process, to: Pid) -> None:
        """Link a process of this node with another; see :meth:`Process.link`."""
        self.links.link(process, to)

    def set_group_leader(self, source: Pid, leader: Pid, of: Pid) -> None:
        """Make ``leader`` the group leader of a process, as ``source`` wants it."""
        self.signal(of.node.name, wire.GroupLeader(leader, of), pair=(source, of))

    def hand_over(self, process: Process, message: Any, priority: bool = False) -> None:
        """Put a message into a process's hands: its turn has come."""
        if process.state is not _RUNNING:
            return
        try:
            if priority:
                process.handle_priority(message)
            else:
                process.handle(message)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self.crashed(process, error, message)

    def deliver(self, process: Process, message: Any) -> None:
        """Hand a message to a process in its turn."""
        self.turns.take(self.hand_over, process, message)

    def later(self, function: Callable[..., Any], *args: Any) -> None:
        """Do something as a signal of this node: now, or after the signals before it."""
        self.turns.take(function, *args)


def _atom(name: Name) -> Atom:
    return name if isinstance(name, Atom) else _kept(name)


def _badarg(error: NodeError) -> NodeError:
    """What a BIF says of a local name that nobody has."""
    error.exit_reason = (_BADARG, [])
    return error


#: Names that are sent to over and over: an atom that nobody holds has to be made anew each time.
_kept = lru_cache(maxsize=1024)(Atom)
