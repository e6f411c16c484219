"""The emulator's part of a node: its processes, their names, and signals between them.

What a BEAM offers on top by itself (``net_kernel``, ``rpc`` and so on) is in :mod:`quicdist.otp`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import quicdist.protocol as wire
from quicdist.errors import QuicDistError
from quicdist.node.errors import NameRegistered, NoSuchProcess, ProcessExit
from quicdist.node.exits import NORMAL, exit_reason
from quicdist.node.identifiers import Identifiers
from quicdist.node.process import HandlerProcess, Process
from quicdist.node.relations import Relations
from quicdist.protocol import NO_PAYLOAD, ControlMessage
from quicdist.term import Atom, Pid, Reference, TermError

log = logging.getLogger("quicdist.node")

P = TypeVar("P", bound=Process)

#: Signals go out in their newest form; for older peers the carrier sends what it replaced.
_TO_ALIAS = int(wire.AltactFlag.ALIAS)
_DOWN = Atom("DOWN")
_PROCESS = Atom("process")


class Runtime:
    """The processes of one node. ``transmit`` sends a signal to another node by name."""

    def __init__(
        self,
        name: str,
        creation: int,
        *,
        owner: Any,
        transmit: Callable[..., None],
        is_connected: Callable[[str], bool],
    ) -> None:
        self.name = name
        #: The node object processes see as ``process.node``.
        self.owner = owner
        self.identifiers = Identifiers(name, creation)
        self.relations = Relations(self)
        self.is_connected = is_connected
        self._transmit = transmit
        self._atom = Atom(name)
        self._processes: dict[Pid, Process] = {}
        self._names: dict[str, Process] = {}
        self._local: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._draining = False

    # -- finding processes -----------------------------------------------------------------

    def is_local(self, pid: Pid) -> bool:
        """Whether a pid is of this node (of this or of a former life)."""
        return pid.node is self._atom

    def find(self, pid: Pid) -> Process | None:
        """The living process with this pid."""
        return self._processes.get(pid)

    def whereis(self, name: str | Atom) -> Process | None:
        """The process registered under ``name`` (``whereis/1``)."""
        return self._names.get(name if isinstance(name, str) else name.name)

    def resolve(self, target: Pid | Atom) -> Process | None:
        """The living process a signal's pid or name stands for."""
        return self.find(target) if isinstance(target, Pid) else self._names.get(target.name)

    def processes(self) -> list[Process]:
        """All living processes (``processes/0``)."""
        return list(self._processes.values())

    def registered(self) -> list[str]:
        """All registered names (``registered/0``)."""
        return list(self._names)

    def locate(self, target: Any) -> tuple[str, Pid | Atom]:
        """The node and the pid or name that ``target`` stands for: a pid, a process, a name, or
        ``(name, node)``. Raises :class:`NoSuchProcess` for anything else."""
        if isinstance(target, Pid):
            return target.node.name, target
        if isinstance(target, Process):
            return self.name, target.pid
        if isinstance(target, str | Atom):
            return self.name, _atom(target)
        if isinstance(target, tuple) and len(target) == 2 and all(isinstance(x, str | Atom) for x in target):
            return _atom(target[1]).name, _atom(target[0])
        raise NoSuchProcess(f"{target!r} is neither a pid, nor a name, nor (name, node)")

    # -- spawning and names ----------------------------------------------------------------

    def spawn(
        self,
        function: Callable[..., Any],
        *args: Any,
        name: str | None = None,
        link_to: Process | None = None,
    ) -> Process:
        """Start a process: a coroutine function runs as its body, called with the process and
        ``args``; a plain function becomes its handler, called with the process and each message.

        Raises :class:`NameRegistered` when ``name`` is taken.
        """
        if inspect.iscoroutinefunction(function):
            process = self.add(Process(self, self.identifiers.pid()), name=name, link_to=link_to)
            process.run(function(process, *args))
            return process
        if args:
            raise TypeError(
                f"{function!r} is no coroutine function: it is called with messages, not {args!r}"
            )
        return self.add(HandlerProcess(self, self.identifiers.pid(), function), name=name, link_to=link_to)

    def add(self, process: P, *, name: str | None = None, link_to: Process | None = None) -> P:
        """Take a process of any kind into the table."""
        self._processes[process.pid] = process
        if name is not None:
            try:
                self.register(name, process)
            except NameRegistered:
                del self._processes[process.pid]
                raise
        if link_to is not None:
            self.link(link_to, process.pid)
        return process

    def register(self, name: str | Atom, process: Process) -> None:
        """Register a process under a name (``register/2``); it can have one name only."""
        key = _atom(name).name
        if key in self._names or process.name is not None:
            holder = self._names.get(key, process)
            raise NameRegistered(f"cannot register {process.pid} as {key}: {holder!r} stands in the way")
        if not process.alive:
            raise NoSuchProcess(f"cannot register {process.pid} as {key}: it has ended")
        self._names[key] = process
        process.name = key

    def unregister(self, name: str | Atom) -> None:
        """Take a name away (``unregister/1``). Raises :class:`NoSuchProcess` when nobody has it."""
        process = self._names.pop(_atom(name).name, None)
        if process is None:
            raise NoSuchProcess(f"no process is registered as {name}")
        process.name = None

    # -- the body of a process -------------------------------------------------------------

    async def run_body(self, process: Process, body: Any) -> None:
        """Run a process's coroutine; the process ends with it."""
        try:
            await body
        except asyncio.CancelledError:
            if process.alive:
                self.terminate(process, Atom("cancelled"))
            raise
        except Exception as error:
            self.crashed(process, error)
        else:
            self.terminate(process, NORMAL)

    def crashed(self, process: Process, error: Exception) -> None:
        """End a process with the reason its exception stands for, and log it if it was no exit."""
        if not isinstance(error, ProcessExit):
            log.error("%r crashed", process, exc_info=error)
        self.terminate(process, exit_reason(error))

    def terminate(self, process: Process, reason: Any) -> None:
        """End a process; those linked to it and monitoring it are told why."""
        if self._processes.pop(process.pid, None) is None:
            return
        process.exit_reason = reason
        if process.name is not None:
            del self._names[process.name]
            process.name = None
        self.relations.process_ended(process, reason)
        process.ended()

    # -- messages --------------------------------------------------------------------------

    def send(self, source: Pid, to: Any, message: Any) -> None:
        """Send a message from ``source``; see :meth:`Process.send`."""
        if isinstance(to, Pid):
            if to.node is self._atom:
                process = self.find(to)
                if process is not None:
                    self.later(self._take, process, message)
            else:
                self.signal(to.node.name, wire.SendSender(source, to), message)
            return
        if isinstance(to, Reference):
            if to.node is self._atom:
                receiver = self.relations.alias_receiver(to)
                if receiver is not None:
                    self.later(receiver, message)
            else:
                self.signal(to.node.name, wire.AltactSigSend(_TO_ALIAS, source, to), message)
            return
        node, where = self.locate(to)
        if node != self.name:
            self.signal(node, wire.RegSend(source, wire.UNUSED, where), message)
            return
        target = self.resolve(where)
        if target is not None:
            self.later(self._take, target, message)
        elif isinstance(to, str | Atom):
            raise NoSuchProcess(f"no process is registered as {to} on {self.name}")

    def signal(self, node: str, control: ControlMessage, payload: Any = NO_PAYLOAD) -> None:
        """Send a signal to another node. What cannot be encoded is the caller's error; a node
        that cannot be reached is nobody's: its links and monitors tell."""
        try:
            self._transmit(node, control, payload)
        except TermError:
            raise
        except QuicDistError as error:
            log.error("a signal to %s was dropped: %s", node, error)

    def deliver(self, process: Process, message: Any) -> None:
        """Hand a message to a process in its turn."""
        self.later(self._take, process, message)

    def _take(self, process: Process, message: Any) -> None:
        if process.exit_reason is not None:
            return
        try:
            process.handle(message)
        except Exception as error:
            self.crashed(process, error)

    def later(self, function: Callable[..., None], *args: Any) -> None:
        """Do something as a signal of this node: now, or after the signals before it.

        A handler that sends to a handler must neither recurse without end nor overtake, so
        whatever a signal causes is done once it is through.
        """
        self._local.append((function, args))
        if self._draining:
            return
        self._draining = True
        try:
            while self._local:
                function, args = self._local.popleft()
                function(*args)
        finally:
            self._draining = False

    # -- links, monitors, aliases, as a process asks for them --------------------------------

    def link(self, process: Process, to: Pid) -> None:
        self.relations.link(process, to)

    def unlink(self, process: Process, to: Pid) -> None:
        self.relations.unlink(process, to)

    def exit(self, source: Pid, to: Pid, reason: Any) -> None:
        self.relations.exit(source, to, reason)

    def monitor(self, process: Process, target: Any, *, alias: bool = False) -> Reference:
        reference = self.identifiers.reference()
        relations = self.relations
        if alias:
            relations.alias(lambda message: self._take(process, message), reference)
            process.aliases.add(reference)
        node, where = self.locate(target)
        monitored = (where, Atom(node)) if isinstance(where, Atom) else where

        def on_down(reason: Any) -> None:
            if alias:
                self.unalias(process, reference)
            self.deliver(process, (_DOWN, reference, _PROCESS, monitored, reason))

        return relations.monitor(process, process.pid, target, on_down, reference=reference)

    def demonitor(self, process: Process, reference: Reference) -> bool:
        self.unalias(process, reference)
        return self.relations.demonitor(reference, process.pid)

    def alias(self, process: Process) -> Reference:
        reference = self.relations.alias(lambda message: self._take(process, message))
        process.aliases.add(reference)
        return reference

    def unalias(self, process: Process, reference: Reference) -> bool:
        if reference not in process.aliases:
            return False
        process.aliases.discard(reference)
        return self.relations.unalias(reference)

    # -- the end ---------------------------------------------------------------------------

    def stop(self, reason: Any, processes: Iterable[Process] | None = None) -> None:
        """End all processes (or those given), as a node that halts does."""
        for process in list(processes if processes is not None else self.processes()):
            self.terminate(process, reason)


def _atom(name: str | Atom) -> Atom:
    return name if isinstance(name, Atom) else Atom(name)
