"""Several ``global_name_server`` in one process, without nodes: a network of queues, and a clock that jumps.

Messages from one process to another keep their order, as in Erlang; of the messages of different pairs a
seed decides which comes next. Time passes when no message is under way.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from quicdist.otp.global_locker import Locker, LockSet, merge
from quicdist.otp.global_locks import GLOBAL, LockTable, del_lock, set_lock, trans_all_known
from quicdist.otp.global_protocol import GlobalProtocol, ResolverEnded
from quicdist.otp.global_resolving import exchange_names
from quicdist.otp.global_steps import Apply, MultiCall, Receive, Runner, Steps
from quicdist.term import Atom, Pid, Reference

Method = Callable[[Any, Pid, Pid], Any]


class World:
    """The nodes and the network between them; ``seed`` decides every order."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.time = 0.0
        self.nodes: dict[str, SimulatedNode] = {}
        #: By sender and receiver, each ``(node, process)``.
        self._channels: dict[tuple[Any, Any], deque[Callable[[], object]]] = {}
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()
        self._links: set[frozenset[str]] = set()
        #: Calls that fail if the link goes: by link, what tells the caller.
        self._calls: dict[int, tuple[str, str, Callable[[Any, bool], None]]] = {}
        #: What resolvers have killed.
        self.killed: list[Pid] = []
        #: How often a resolver was called, by name.
        self.resolved: list[Any] = []
        #: Links that cannot be made.
        self.cut: set[frozenset[str]] = set()

    # -- the network -------------------------------------------------------------------------------

    def linked(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self._links

    def connect(self, one: str, other: str) -> bool:
        pair = frozenset((one, other))
        if one == other:
            return True
        if pair in self.cut or not {one, other} <= self.nodes.keys():
            return False
        if pair not in self._links:
            self._links.add(pair)
            for here, there in ((one, other), (other, one)):
                node = self.nodes[here]
                up = partial(node.protocol.node_up, there, next(self._numbers))
                self.send((here, "kernel"), (here, "server"), up)
        return True

    def disconnect(self, one: str, other: str) -> None:
        pair = frozenset((one, other))
        if pair not in self._links:
            return
        self._links.discard(pair)
        for (source, target), channel in self._channels.items():
            if frozenset((source[0], target[0])) == pair:
                channel.clear()
        for number, (caller, callee, done) in list(self._calls.items()):
            if frozenset((caller, callee)) == pair:
                del self._calls[number]
                self.send((caller, "kernel"), (caller, "calls"), partial(done, None, False))
        for here, there in ((one, other), (other, one)):
            node = self.nodes[here]
            node.fire_monitors(there)
            self.send((here, "kernel"), (here, "server"), partial(node.protocol.node_down, there))

    def stop(self, name: str) -> None:
        """A node dies."""
        for other in list(self.nodes):
            self.disconnect(name, other)
        for (source, target), channel in self._channels.items():
            if name in (source[0], target[0]):
                channel.clear()
        del self.nodes[name]

    def send(self, source: Any, target: Any, effect: Callable[[], object]) -> None:
        local = source[0] == target[0] and source[0] in self.nodes
        if local or self.linked(source[0], target[0]):
            self._channels.setdefault((source, target), deque()).append(effect)

    def call(
        self,
        caller: str,
        process: str,
        callee: str,
        function: Callable[[], Any],
        done: Callable[[Any, bool], None],
    ) -> None:
        """Let ``function`` run at the server of ``callee``; ``done`` gets the value, and whether there is
        one."""
        if callee != caller and not self.connect(caller, callee):
            self.send((caller, "kernel"), (caller, "calls"), partial(done, None, False))
            return
        number = next(self._numbers)
        self._calls[number] = caller, callee, done

        def answered(value: Any) -> None:
            if self._calls.pop(number, None) is not None:
                done(value, True)

        def run() -> None:
            value = function()
            self.send((callee, "server"), (caller, process), partial(answered, value))

        self.send((caller, process), (callee, "server"), run)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Callable[[], None]:
        cancelled: list[bool] = []
        entry = (self.time + seconds, next(self._numbers), lambda: None if cancelled else callback())
        heapq.heappush(self._timers, entry)
        return lambda: cancelled.append(True)

    # -- running -----------------------------------------------------------------------------------

    def step(self) -> bool:
        """Deliver one message, or let time pass; False if nothing is left to happen."""
        busy = [channel for channel in self._channels.values() if channel]
        if busy:
            self.random.choice(busy).popleft()()
            return True
        if self._timers:
            self.time, _, callback = heapq.heappop(self._timers)
            callback()
            return True
        return False

    def run(self, most: int = 200_000) -> None:
        """Run until nothing happens any more."""
        for _ in range(most):
            if not self.step():
                return
        raise AssertionError(f"still busy after {most} steps, at {self.time:.1f} s")

    def run_some(self, steps: int) -> None:
        for _ in range(steps):
            if not self.step():
                return

    def add(self, *names: str, **options: Any) -> list[SimulatedNode]:
        added = []
        for name in names:
            node = self.nodes[name] = SimulatedNode(self, name, **options)
            added.append(node)
        return added


class _Sender:
    """The step port of one process of a node."""

    def __init__(self, node: SimulatedNode, process: str, pid: Pid) -> None:
        self._node = node
        self._process = process
        self._pid = pid

    def multi_call(
        self, nodes: list[str], request: Any, done: Callable[[list[tuple[str, Any]]], None]
    ) -> None:
        world, replies, left = self._node.world, dict[str, Any](), set(nodes)

        def answered(name: str, value: Any, there: bool) -> None:
            left.discard(name)
            if there:
                replies[name] = value
            if not left:
                done([(name, replies[name]) for name in nodes if name in replies])

        for name in nodes:
            function = partial(self._handle, name, request)
            world.call(self._node.name, self._process, name, function, partial(answered, name))

    def _handle(self, name: str, request: Any) -> Any:
        return self._node.world.nodes[name].handle_call(request, self._pid)

    def apply(self, step: Apply, done: Callable[[tuple[Any, Exception | None]], None]) -> None:
        world = self._node.world

        def answered(value: Any, there: bool) -> None:
            done((value, None) if there else (None, ConnectionError("noconnection")))

        def resolve() -> Any:
            method, name, one, other = step.arguments
            world.resolved.append(name)
            return world.nodes[step.node].resolve(method, name, one, other)

        world.call(self._node.name, self._process, step.node, resolve, answered)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> Callable[[], None]:
        world, node = self._node.world, self._node

        def while_it_lives() -> None:
            if world.nodes.get(node.name) is node:
                callback()

        return world.call_later(seconds, while_it_lives)


class SimulatedNode:
    """One node: the port of its protocol and of its locker, and its processes."""

    def __init__(self, world: World, name: str, **options: Any) -> None:
        self.world = world
        self.name = name
        self.random = Random(world.random.random())
        self._pids = itertools.count(1)
        self._atom = Atom(name)
        self.living: set[Pid] = set()
        self._monitors: dict[Reference, Pid] = {}
        self._references = itertools.count(1)
        self._unique = itertools.count(1000)
        self.warnings: list[str] = []
        self.locker = self.spawn()
        self.registrar = self.spawn()
        self.protocol = GlobalProtocol(self, 1, **options)
        self._locker = Runner(
            _Sender(self, "locker", self.locker), Locker(self, self.locker).run(), merge=merge
        )
        self._registrar = Runner(_Sender(self, "registrar", self.registrar), self._registrations())
        self._locker.start()
        self._registrar.start()

    # -- processes ---------------------------------------------------------------------------------

    def spawn(self) -> Pid:
        pid = Pid(self._atom, next(self._pids), 0, 1)
        self.living.add(pid)
        return pid

    def kill(self, pid: Pid) -> None:
        """A process of this node ends: its monitors fire everywhere."""
        self.living.discard(pid)
        for name, node in self.world.nodes.items():
            for reference in [ref for ref, watched in node._monitors.items() if watched == pid]:
                down = partial(node.down, reference)
                self.world.send((self.name, pid.id), (name, "server"), down)

    def fire_monitors(self, name: str) -> None:
        """The connection to a node is gone."""
        for reference in [ref for ref, pid in self._monitors.items() if pid.node.name == name]:
            self.world.send((self.name, "kernel"), (self.name, "server"), partial(self.down, reference))

    def down(self, reference: Reference) -> None:
        if self._monitors.pop(reference, None) is not None:
            self.protocol.registry.down(reference)

    # -- the API -----------------------------------------------------------------------------------

    def register(
        self, name: Any, pid: Pid, method: Any = "smaller", done: Callable[[bool], object] = bool
    ) -> None:
        """``global:register_name``."""

        def procedure(nodes: list[str]) -> Steps[bool]:
            if self.protocol.registry.whereis(name) is not None:
                return False
            yield MultiCall(nodes, (Atom("register"), name, pid, method))
            return True

        self._registrar.deliver((procedure, done))

    def _registrations(self) -> Steps[None]:
        while True:
            procedure, done = yield Receive(lambda message: True)
            result = yield from trans_all_known(self, self.registrar, procedure)
            done(result)

    def trans(
        self, pid: Pid, lock_id: Any, nodes: list[str], inside: Callable[[], Steps[None]]
    ) -> Runner[None]:
        """``global:trans``."""

        def steps() -> Steps[None]:
            yield from set_lock(self, lock_id, nodes, None)
            yield from inside()
            yield from del_lock(lock_id, nodes)

        runner = Runner(_Sender(self, f"client {pid.id}", pid), steps())
        runner.start()
        return runner

    def names(self) -> dict[Any, Pid]:
        return {known.name: known.pid for known in self.protocol.registry.names.items()}

    def resolve(self, method: str, name: Any, one: Pid, other: Pid) -> Any:
        """The methods of the tests: keep the process on the smaller node and kill the other; keep none."""
        if method == "none":
            return Atom("none")
        kept, killed = sorted((one, other), key=lambda pid: pid.node.name)
        self.world.killed.append(killed)
        if killed.node.name in self.world.nodes:
            self.world.nodes[killed.node.name].kill(killed)
        return kept

    def handle_cast(self, message: Any) -> None:
        self.protocol.handle_cast(message)
        for _ in self.protocol.take_work():
            pass

    def handle_call(self, request: Any, sender: Pid) -> Any:
        kind, *arguments = request
        match kind.name, arguments:
            case "set_lock", [lock_id]:
                return self.protocol.registry.locks.set(lock_id, sender)
            case "del_lock", [lock_id]:
                self.protocol.registry.locks.delete(lock_id, sender)
                return True
            case "register", [name, pid, method]:
                return self.protocol.registry.register(name, pid, method, sender)
        raise AssertionError(request)

    @property
    def has_global_lock(self) -> bool:
        return self.protocol.registry.locks.global_lock is not None

    # -- the ports ---------------------------------------------------------------------------------

    @property
    def locks(self) -> LockTable:
        return self.protocol.registry.locks

    def known_nodes(self) -> list[str]:
        return list(self.protocol.known.versions)

    def is_near(self, node: str) -> bool:
        return node.endswith("@near")

    def cast(self, node: str, message: Any) -> None:
        self._cast("server", node, message)

    def cast_from_locker(self, node: str, message: Any) -> None:
        self._cast("locker", node, message)

    def _cast(self, source: str, node: str, message: Any) -> None:
        self.world.connect(self.name, node)
        if node in self.world.nodes:
            handle = partial(self.world.nodes[node].handle_cast, message)
            self.world.send((self.name, source), (node, "server"), handle)

    def send_from_locker(self, to: Pid, message: Any) -> None:
        handle = partial(self.world.nodes[to.node.name].locker_got, message)
        self.world.send((self.name, "locker"), (to.node.name, "locker"), handle)

    def locker_got(self, message: Any) -> None:
        """A message of a locker with protocol version 5."""
        _, locker, is_set, _ = message
        self._locker.deliver(LockSet(locker, is_set, None))

    def send(self, node: str, message: Any) -> None:
        if self.world.linked(self.name, node):
            handle = partial(self.world.nodes[node].protocol.handle_info, message)
            self.world.send((self.name, "server"), (node, "server"), handle)

    def tell_locker(self, message: Any) -> None:
        deliver = partial(self._locker.deliver, message)
        self.world.send((self.name, "server"), (self.name, "locker"), deliver)

    def tell_server(self, message: Any) -> None:
        self.world.send((self.name, "locker"), (self.name, "server"), partial(self.handle_cast, message))

    def start_resolver(self, node: str, my_tag: int, names: list[Any]) -> Callable[[], None]:
        def compared(result: tuple[Any, Any]) -> None:
            self.tell_server(ResolverEnded(node, my_tag, *result))

        comparing = exchange_names(names, self.protocol.registry.names.get, self.name, node, self.warn)
        runner = Runner(_Sender(self, f"resolver {my_tag}", self.locker), comparing, compared)
        self.world.send((self.name, "server"), (self.name, f"resolver {my_tag}"), runner.start)
        return runner.stop

    def monitor(self, pid: Pid) -> Reference:
        reference = Reference(self._atom, [next(self._references), 0, 0], 1)
        self._monitors[reference] = pid
        owner = self.world.nodes.get(pid.node.name)
        known = pid.node.name == self.name or self.world.linked(self.name, pid.node.name)
        if not known or owner is None or pid not in owner.living:
            self.world.send((self.name, "kernel"), (self.name, "server"), partial(self.down, reference))
        return reference

    def demonitor(self, reference: Reference) -> None:
        self._monitors.pop(reference, None)

    def connect(self, node: str, done: Callable[[bool], None]) -> None:
        connected = self.world.connect(self.name, node)
        self.world.send((self.name, f"connect {node}"), (self.name, "server"), partial(done, connected))

    def disconnect(self, node: str) -> None:
        disconnect = partial(self.world.disconnect, self.name, node)
        self.world.send((self.name, "server"), (self.name, "kernel"), disconnect)

    def is_visible(self, node: str) -> bool:
        return self.world.linked(self.name, node)

    def is_alive(self, pid: Pid) -> bool:
        return pid in self.living

    def link(self, pid: Pid) -> None: ...

    def unlink(self, pid: Pid) -> None: ...

    def unique_integer(self) -> int:
        return next(self._unique)

    def now(self) -> float:
        return self.world.time

    def warn(self, message: str, *args: Any) -> None:
        self.warnings.append(message % args)


class OldNode(SimulatedNode):
    """A node with an old protocol version: it keeps what comes, and answers what the test tells it to."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name, connect_all=False)
        self.casts: list[Any] = []
        self.to_locker: list[Any] = []

    def handle_cast(self, message: Any) -> None:
        self.casts.append(message)

    def locker_got(self, message: Any) -> None:
        self.to_locker.append(message)

    def cast_to(self, node: SimulatedNode, *message: Any) -> None:
        """Cast a message to a node, and run until nothing happens."""
        kind, *fields = message
        node.handle_cast((Atom(kind), *fields))
        self.world.run()


__all__ = ["GLOBAL", "OldNode", "SimulatedNode", "World"]
