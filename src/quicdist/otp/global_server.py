"""The processes of ``global`` on a node: ``global_name_server``, its locker and its registrar.

OTP: ``global``. The protocol is in :mod:`~quicdist.otp.global_protocol`; here are its processes, its
connections and its timers.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from quicdist.containment import describe
from quicdist.errors import QuicDistError
from quicdist.logs import RateLimit, get_logger
from quicdist.node.dial_queue import RETRY, causing_peer
from quicdist.node.errors import NodeError
from quicdist.node.local_node import LocalNode, NodeDown, NodeUp
from quicdist.node.process import HandlerProcess, Process
from quicdist.node.reports import MAX_REPORTS, PERIOD, Shown
from quicdist.otp import gen_server
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.gen import GenClient
from quicdist.otp.gen_messages import GEN_CAST, From
from quicdist.otp.gen_server import GenServer
from quicdist.otp.global_known import VERSION
from quicdist.otp.global_locker import LOCK_SET, Locker, LockIsSet, LockSet, merge
from quicdist.otp.global_locks import LockTable, trans_all_known
from quicdist.otp.global_port import Work
from quicdist.otp.global_protocol import GlobalProtocol, ResolverEnded
from quicdist.otp.global_resolving import exchange_names
from quicdist.otp.global_steps import Apply, Receive, Runner, Steps
from quicdist.protocol import DistFlag
from quicdist.term import Atom, Pid, Reference

log = get_logger("quicdist.otp")

#: Monitors that are set up before other work goes on.
MONITORS_AT_ONCE = 500
#: Registrations that may wait on one node.
MAX_REGISTRATIONS = 10_000

GLOBAL_NAME_SERVER = Atom("global_name_server")
_YES, _NO, _OK = Atom("yes"), Atom("no"), Atom("ok")
_REGISTER, _REGISTER_EXT, _UNREGISTER = Atom("register"), Atom("register_ext"), Atom("unregister")
_SET_LOCK, _DEL_LOCK, _SYNC = Atom("set_lock"), Atom("del_lock"), Atom("sync")
_LOCKER_DIED, _REGISTRAR_DIED = Atom("locker_died"), Atom("registrar_died")
_ERROR, _SYSTEM_LIMIT = Atom("error"), Atom("system_limit")
_STATE, _NO_TRACE = Atom("state"), Atom("no_trace")


@dataclass(frozen=True, slots=True)
class Partitions:
    """Whether the node takes part in ``global``'s full mesh (``connect_all``), and whether it keeps
    partitions of the cluster apart (``prevent_overlapping_partitions``). OTP: *kernel(6)*."""

    connect_all: bool = True
    prevent_overlapping: bool = True


@dataclass(frozen=True, slots=True)
class _Job:
    """A procedure that the registrar runs while all known nodes are locked."""

    procedure: Callable[[list[str]], Steps[Any]]
    done: Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class _Connected:
    """To the server: a dial has ended."""

    done: Callable[[bool], None]
    connected: bool


async def _worked_off(work: Work) -> None:
    for _ in work:
        await asyncio.sleep(0)


class StepsOfProcess:
    """The :class:`~quicdist.otp.global_steps.StepPort` of a process: it sends the calls."""

    def __init__(self, gen: GenClient, erpc: ErpcClient, process: Process | None) -> None:
        self._gen = gen
        self._erpc = erpc
        self._process = process

    def multi_call(
        self, nodes: list[str], request: Any, done: Callable[[list[tuple[str, Any]]], None]
    ) -> None:
        replies: dict[str, Any] = {}
        left = set(nodes)

        def answered(node: str, value: Any, error: Exception | None) -> None:
            left.discard(node)
            if error is None:
                replies[node] = value
            if not left:
                done([(node, replies[node]) for node in nodes if node in replies])

        for node in nodes:
            sent = self._gen.send_request((GLOBAL_NAME_SERVER, node), request, process=self._process)
            sent.when_done(partial(answered, node))

    def apply(self, step: Apply, done: Callable[[tuple[Any, Exception | None]], None]) -> None:
        request = self._erpc.send_request(step.node, step.module, step.function, step.arguments)
        request.when_done(lambda value, error: done((value, error)))

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Callable[[], None]:
        return asyncio.get_running_loop().call_later(seconds, callback).cancel


class GlobalNameServer(GenServer):
    """The server ``global_name_server``; it is the port of its :class:`GlobalProtocol`, and of its
    :class:`Locker`."""

    def __init__(
        self,
        node: LocalNode,
        gen: GenClient,
        erpc: ErpcClient,
        partitions: Partitions,
    ) -> None:
        self._node = node
        self._gen = gen
        self._erpc = erpc
        self._partitions = partitions
        self.name = node.name
        self.random = Random()
        self._warnings = RateLimit(MAX_REPORTS, PERIOD)
        # Tags must not be those of a server that this node had before.
        self._unique = itertools.count(time.time_ns())
        self._connection_ids = itertools.count(1)
        #: The dials that run, and who waits for each.
        self._connecting: dict[str, tuple[asyncio.Task[None], list[Callable[[bool], None]]]] = {}
        #: Processes that are to be monitored; a long list of names is not to stop the event loop.
        self._to_monitor: dict[Reference, Pid] = {}
        self.protocol: GlobalProtocol

    # -- the server --------------------------------------------------------------------------------

    def init(self) -> None:
        runtime = self._node.runtime
        self._locker_process = self._helper(self._locker_got, _LOCKER_DIED)
        self._registrar_process = self._helper(self._registrar_got, _REGISTRAR_DIED)
        self.protocol = GlobalProtocol(
            self,
            runtime.identifiers.creation,
            connect_all=self._partitions.connect_all,
            prevent_overlapping_partitions=self._partitions.prevent_overlapping,
        )
        locker = Locker(self, self.locker)
        self._locker = Runner(self.steps(self._locker_process), locker.run(), merge=merge)
        self._registrar = Runner(self.steps(self._registrar_process), self._registrations())
        self._locker.start()
        self._registrar.start()
        self._unsubscribe = self._node.subscribe(self._node_event)

    def terminate(self, reason: Any) -> None:
        """Its names are lost: other nodes must connect anew to exchange theirs."""
        self._unsubscribe()
        self._locker.stop()
        self._registrar.stop()
        for helper in (self._locker_process, self._registrar_process):
            self._node.runtime.kernel_processes.discard(helper.pid)
            self._node.runtime.submit(self._node.runtime.terminate, helper, reason)
        for task, _ in self._connecting.values():
            task.cancel()
        for link in list(self._node.connections.links()):
            if self.is_visible(link.peer.name):
                self.disconnect(link.peer.name)

    def _helper(self, handle: Callable[[Process, Any], None], died: Atom) -> Process:
        runtime = self._node.runtime
        helper = runtime.add(HandlerProcess(runtime, runtime.identifiers.pid(), handle))
        helper.trap_exit = True
        helper.parent = self.process.pid
        runtime.kernel_processes.add(helper.pid)
        helper.on_end(lambda: runtime.exit(self.process, (died, helper.exit_reason)))
        return helper

    def get_state(self) -> Any:
        known, synced, attempts = self.protocol.state_term()
        conf = (Atom("conf"), self.protocol.connect_all, self.protocol.prevent_overlapping_partitions)
        helpers = (self._locker_process.pid, self._registrar_process.pid)
        return (_STATE, conf, known, synced, attempts, [], Atom(self.name), *helpers, _NO_TRACE, False)

    def steps(self, process: Process | None) -> StepsOfProcess:
        """What runs the procedures of a process, None: of the node itself."""
        return StepsOfProcess(self._gen, self._erpc, process)

    def _node_event(self, event: NodeUp | NodeDown) -> None:
        self._node.runtime.deliver(self.process, event)

    def handle_call(self, request: Any, sender: From) -> Any:
        protocol, registry = self.protocol, self.protocol.registry
        match request:
            case (kind, lock_id) if kind == _SET_LOCK:
                return registry.locks.set(lock_id, sender[0])
            case (kind, lock_id) if kind == _DEL_LOCK:
                registry.locks.delete(lock_id, sender[0])
                return True
            case (kind, name, Pid() as pid, method) if kind == _REGISTER:
                return _YES if registry.register(name, pid, method, sender[0]) else _NO
            case (kind, name, Pid() as pid, method, Atom() as node) if kind == _REGISTER_EXT:
                return _YES if registry.register(name, pid, method, sender[0], node.name) else _NO
            case (kind, name) if kind == _UNREGISTER:
                registry.unregister(name)
                return _OK
            case (kind, list() as nodes) if kind == _SYNC:
                wanted = [node.name for node in nodes if isinstance(node, Atom)]
                waits = protocol.sync(wanted, lambda: self.reply(sender, _OK))
                return gen_server.NO_REPLY if waits else (_ERROR, _SYSTEM_LIMIT)
            case Atom() if request.name in _QUERIES:
                return _QUERIES[request.name](self)
        log.debug("global_name_server got an unexpected call: %s", Shown(request))
        return gen_server.NO_REPLY

    def handle_cast(self, request: Any) -> Any:
        if not self.protocol.handle_cast(request):
            log.debug("global_name_server got an unexpected cast: %s", Shown(request))
        work = self.protocol.take_work()
        for _ in work:
            return _worked_off(work)  # later messages wait
        return None

    def handle_info(self, message: Any) -> None:
        if isinstance(message, NodeUp):
            if self.is_visible(message.node):
                self.protocol.node_up(message.node, next(self._connection_ids))
        elif isinstance(message, NodeDown):
            self.protocol.node_down(message.node)
        elif isinstance(message, _Connected):
            message.done(message.connected)
        elif not self.protocol.handle_info(message):
            log.debug("global_name_server got an unexpected message: %s", Shown(message))

    # -- the locker and the registrar --------------------------------------------------------------

    @property
    def locker(self) -> Pid:
        return self._locker_process.pid

    @property
    def locks(self) -> LockTable:
        return self.protocol.registry.locks

    def known_nodes(self) -> list[str]:
        return list(self.protocol.known.versions)

    def tell_locker(self, message: Any) -> None:
        self._node.runtime.deliver(self._locker_process, message)

    def tell_server(self, message: LockIsSet | ResolverEnded) -> None:
        self._node.runtime.deliver(self.process, (GEN_CAST, message))

    def _locker_got(self, _: Process, message: Any) -> None:
        match message:
            case (kind, Pid() as locker, bool() as is_set, _) if kind == LOCK_SET:
                message = LockSet(locker, is_set, None)  # protocol version 5
            case tuple() | list() | Atom():
                return
        self._locker.deliver(message)

    def is_near(self, node: str) -> bool:
        return node.partition("@")[2] == socket.gethostname()

    def with_all_locked(
        self, procedure: Callable[[list[str]], Steps[Any]], done: Callable[[Any], None]
    ) -> None:
        """Run a procedure while all known nodes are locked, after those before it. Raises
        :class:`NodeError` if too many wait."""
        if self._registrar.waiting_messages >= MAX_REGISTRATIONS:
            raise NodeError(f"{MAX_REGISTRATIONS} registrations of global names wait on {self.name}")
        self._node.runtime.deliver(self._registrar_process, _Job(procedure, done))

    def _registrar_got(self, _: Process, message: Any) -> None:
        if isinstance(message, _Job):
            self._registrar.deliver(message)

    def _registrations(self) -> Steps[None]:
        while True:
            job: _Job = yield Receive(lambda message: True)
            result = yield from trans_all_known(self, self._registrar_process.pid, job.procedure)
            job.done(result)

    # -- what the protocol asks --------------------------------------------------------------------

    def cast(self, node: str, message: Any) -> None:
        self.process.send((GLOBAL_NAME_SERVER, Atom(node)), (GEN_CAST, message))

    def cast_from_locker(self, node: str, message: Any) -> None:
        self._locker_process.send((GLOBAL_NAME_SERVER, Atom(node)), (GEN_CAST, message))

    def send_from_locker(self, to: Pid, message: Any) -> None:
        self._locker_process.send(to, message)

    def send(self, node: str, message: Any) -> None:
        if self._node.connections.link(node) is not None:
            self.process.send((GLOBAL_NAME_SERVER, Atom(node)), message)

    def start_resolver(self, node: str, my_tag: int, names: list[Any]) -> Callable[[], None]:
        def compared(result: tuple[Any, Any]) -> None:
            self.tell_server(ResolverEnded(node, my_tag, *result))

        comparing = exchange_names(names, self.protocol.registry.names.get, self.name, node, self.warn)
        runner = Runner(self.steps(None), comparing, compared)
        self._node.runtime.submit(runner.start)
        return runner.stop

    def monitor(self, pid: Pid) -> Reference:
        # Later: a process that has ended must not be reported before the caller knows the reference.
        reference = self._node.runtime.identifiers.reference()
        if not self._to_monitor:
            self._node.runtime.submit(self._monitor_some)
        self._to_monitor[reference] = pid
        return reference

    def _monitor_some(self) -> None:
        monitors = self._node.runtime.monitors
        for reference, pid in list(itertools.islice(self._to_monitor.items(), MONITORS_AT_ONCE)):
            del self._to_monitor[reference]
            down = partial(self._down, reference)
            monitors.monitor(self.process, self.process.pid, pid, down, reference=reference)
        if self._to_monitor:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._node.runtime.submit, self._monitor_some)

    def _down(self, reference: Reference, _: Any) -> None:
        self.protocol.registry.down(reference)

    def demonitor(self, reference: Reference) -> None:
        if self._to_monitor.pop(reference, None) is None:
            demonitor = self._node.runtime.monitors.demonitor
            self._node.runtime.submit(demonitor, reference, self.process.pid)

    def connect(self, node: str, done: Callable[[bool], None]) -> None:
        running = self._connecting.get(node)
        if running is not None:
            running[1].append(done)
            return
        task = asyncio.ensure_future(self._connect(node))
        self._connecting[node] = task, [done]

    async def _connect(self, node: str) -> None:
        try:
            connected = node == self.name or await self._reach(node)
        finally:
            _, waiting = self._connecting.pop(node)
        for done in waiting:
            self._node.runtime.deliver(self.process, _Connected(done, connected))

    async def _reach(self, node: str) -> bool:
        # A dial that a peer has caused fails at once if one has failed just before. The node must not count
        # as lost for that alone: others would end their connections to it.
        attempts = 1 if causing_peer() is None else 2
        for attempt in range(1, attempts + 1):
            try:
                await self._node.connections.connect(node)
            except QuicDistError as error:
                log.debug("global: cannot connect to %s: %s", node, describe(error))
                if attempt < attempts:
                    await asyncio.sleep(RETRY)
            else:
                return True
        return False

    def disconnect(self, node: str) -> None:
        error = NodeError(f"global ended the connection to {node}")
        self._node.runtime.submit(self._node.connections.disconnect, node, error)

    def is_visible(self, node: str) -> bool:
        link = self._node.connections.link(node)
        return link is not None and bool(link.peer.negotiated & DistFlag.PUBLISHED)

    def is_alive(self, pid: Pid) -> bool:
        return self._node.runtime.find(pid) is not None

    def link(self, pid: Pid) -> None:
        self._node.runtime.submit(self._node.runtime.link, self.process, pid)

    def unlink(self, pid: Pid) -> None:
        self._node.runtime.submit(self._node.runtime.unlink, self.process, pid)

    def unique_integer(self) -> int:
        return next(self._unique)

    def now(self) -> float:
        return time.monotonic()

    def warn(self, message: str, *args: Any) -> None:
        note = self._warnings.admit(message)
        if note is not None:
            log.warning(message + "%s", *args, note)


_QUERIES: dict[str, Callable[[GlobalNameServer], Any]] = {
    "get_known": lambda server: [Atom(node) for node in server.known_nodes()],
    "get_synced": lambda server: [Atom(node) for node in server.protocol.syncers.synced],
    "get_protocol_version": lambda server: VERSION,
    "get_names_ext": lambda server: server.protocol.registry.external_names(),
    "info": GlobalNameServer.get_state,
    "disconnect": lambda server: [Atom(node) for node in server.protocol.disconnect()],
}
