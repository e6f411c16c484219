"""Names and locks of the whole cluster: ``global``, and names registered with modules of other nodes.

OTP: ``global(3)``, *ei_global(3)*. A published node takes part in ``global``. A hidden one does not: for
names it asks a node that does, as OTP's C nodes do (``ei_global_whereis``, ``ei_global_register``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from inspect import isawaitable
from typing import Any, TypeVar, overload

from quicdist.node.errors import NodeError, NoSuchProcess, NotConnected
from quicdist.node.local_node import LocalNode
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp.deadline import Deadline
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.errors import CallTimeout, RemoteError
from quicdist.otp.global_known import MAX_NODES
from quicdist.otp.global_locks import del_lock, set_lock
from quicdist.otp.global_server import GLOBAL_NAME_SERVER, GlobalNameServer
from quicdist.otp.global_steps import MultiCall, Runner, Steps
from quicdist.otp.server_process import ServerProcess
from quicdist.protocol.names import node_name, node_names
from quicdist.term import Atom, Export, Pid, term_to_binary
from quicdist.term.names import Name, name_of, named_term

T = TypeVar("T")

_YES = Atom("yes")
_REGISTER, _UNREGISTER = Atom("register"), Atom("unregister")
_REGISTER_EXT = Atom("register_ext")
#: Returned by :meth:`GlobalNames.trans` if the lock was not set.
ABORTED = Atom("aborted")

#: What decides a conflict of names: one of ``"random_exit_name"``, ``"random_notify_name"`` and
#: ``"notify_all_name"``, or ``(module, function)``.
Resolver = str | tuple[Name, Name] | Export
#: ``(resource, requester)``, two terms.
LockId = tuple[Any, Any]


class RemoteNameRegistry:
    """The names registered with ``module``: asks the first of ``nodes`` that has this module."""

    def __init__(self, erpc: ErpcClient, module: str, nodes: Callable[[], Iterable[str]]) -> None:
        self._erpc = erpc
        self._module = module
        self._nodes = nodes

    async def whereis_name(self, name: Any, *, timeout: float | None = 5.0) -> Pid | None:
        """The pid of a name, None if no connected node knows it (``global:whereis_name/1``).
        ``timeout`` is in seconds."""
        deadline = Deadline(timeout)
        for node in self._nodes():
            try:
                pid = await self._erpc.call(
                    node, self._module, "whereis_name", [named_term(name)], timeout=deadline.left()
                )
            except (RemoteError, NotConnected):
                continue  # disconnected, or without the module: ask the next one
            if isinstance(pid, Pid):
                return pid
        return None

    async def register_name(self, name: Any, process: Process | Pid, *, timeout: float | None = 5.0) -> bool:
        """Register a name for a process of this node; False if it is taken. Raises
        :class:`NotConnected` if no connected node has the module. ``timeout`` is in seconds."""
        return bool(await self.ask("register_name", [named_term(name), _pid(process)], timeout) == _YES)

    async def unregister_name(self, name: Any, *, timeout: float | None = 5.0) -> None:
        """Unregister a name."""
        await self.ask("unregister_name", [named_term(name)], timeout)

    async def ask(self, function: str, arguments: list[Any], timeout: float | None) -> Any:
        """Call a function of the module. Raises :class:`NotConnected` if no node has it."""
        deadline = Deadline(timeout)
        for node in self._nodes():
            try:
                return await self._erpc.call(node, self._module, function, arguments, timeout=deadline.left())
            except (RemoteError, NotConnected):
                continue
        raise NotConnected(f"with the module {self._module}")


class GlobalNames:
    """``global``: names that the whole cluster knows, and locks on all of its nodes.

    A published node (``hidden=False``) takes part in ``global``: it knows all names, and what it registers is
    known to all nodes at once and to nodes that join later, until the process ends. When two parts of a
    cluster meet that have the same name, its resolver decides. A hidden node asks a connected node instead: a
    name that it registers belongs to the node that was asked, and ends with it.

    A name is any term; a ``str`` stands for the atom. Time-outs are in seconds, and None waits for ever, as
    OTP does; after :class:`CallTimeout` the operation goes on.
    """

    def __init__(self, node: LocalNode, visible: Callable[[], list[str]]) -> None:
        self._node = node
        self._visible = visible

    @property
    def _server(self) -> GlobalNameServer:
        runtime = self._node.runtime
        runtime.check_loop()
        return running_server(runtime)

    # -- names -------------------------------------------------------------------------------------

    async def whereis_name(self, name: Any, *, timeout: float | None = 5.0) -> Pid | None:
        """The pid of a name, None if it is not registered (``global:whereis_name/1``)."""
        return self._server.protocol.registry.whereis(named_term(name))

    async def registered_names(self, *, timeout: float | None = 5.0) -> list[Any]:
        """All names (``global:registered_names/0``)."""
        return [known.name for known in self._server.protocol.registry.names.items()]

    async def register_name(
        self,
        name: Any,
        process: Process | Pid,
        resolver: Resolver = "random_exit_name",
        *,
        timeout: float | None = 5.0,
    ) -> bool:
        """Register a name on all nodes (``global:register_name/3``); False if it is taken, or if the process
        has a name already.

        ``resolver`` decides when another part of the cluster that joins has the same name. It is called on
        the node of one of the two processes with the name and both pids, and returns one of them or
        ``Atom("none")``. ``"random_exit_name"`` kills one of the processes, ``"random_notify_name"`` sends
        one of them ``{global_name_conflict, Name}``, ``"notify_all_name"`` unregisters the name and sends
        both ``{global_name_conflict, Name, OtherPid}``. An own one is given by ``(module, function)``, and
        exported by ``@node.export``.
        """
        name, pid, method = checked(name, process, resolver)

        def register(nodes: list[str]) -> Steps[bool]:
            if not self._is_free(name, pid):
                return False
            yield MultiCall(nodes, (_REGISTER, name, pid, method))
            return True

        return await self._locked(register, f"register_name of {name}", timeout)

    def _is_free(self, name: Any, pid: Pid) -> bool:
        server = self._server
        if server.protocol.registry.whereis(name) is not None:
            return False
        others = server.protocol.registry.names.of(pid)
        if others:
            server.warn("global: %s has the name %s already; not registered as %s", pid, others[0], name)
        return not others

    async def re_register_name(
        self,
        name: Any,
        process: Process | Pid,
        resolver: Resolver = "random_exit_name",
        *,
        timeout: float | None = 5.0,
    ) -> None:
        """Register a name on all nodes, also one that is taken (``global:re_register_name/3``)."""
        name, pid, method = checked(name, process, resolver)

        def register(nodes: list[str]) -> Steps[None]:
            yield MultiCall(nodes, (_REGISTER, name, pid, method))

        await self._locked(register, f"re_register_name of {name}", timeout)

    async def unregister_name(self, name: Any, *, timeout: float | None = 5.0) -> None:
        """Unregister a name on all nodes (``global:unregister_name/1``)."""
        name = named_term(name)
        if self._server.protocol.registry.whereis(name) is None:
            return

        def unregister(nodes: list[str]) -> Steps[None]:
            yield MultiCall(nodes, (_UNREGISTER, name))

        await self._locked(unregister, f"unregister_name of {name}", timeout)

    async def register_name_external(
        self,
        name: Any,
        process: Process | Pid,
        resolver: Resolver = "random_exit_name",
        *,
        timeout: float | None = 5.0,
    ) -> bool:
        """Register a name for a process of a node that takes no part in ``global``, such as a C node or a
        hidden one (``global:register_name_external/3``)."""
        name, pid, method = checked(name, process, resolver)

        def register(nodes: list[str]) -> Steps[bool]:
            if self._server.protocol.registry.whereis(name) is not None:
                return False
            yield MultiCall(nodes, (_REGISTER_EXT, name, pid, method, Atom(self._node.name)))
            return True

        return await self._locked(register, f"register_name_external of {name}", timeout)

    async def send(self, name: Any, message: Any, *, timeout: float | None = 5.0) -> Pid:
        """Send a message to the process of a name; its pid (``global:send/2``). Raises
        :class:`NoSuchProcess`."""
        pid = await self.whereis_name(name, timeout=timeout)
        if pid is None:
            raise NoSuchProcess(f"no process is registered globally as {name}")
        self._server.process.send(pid, message)
        return pid

    async def sync(self, nodes: Iterable[Name] | None = None, *, timeout: float | None = None) -> None:
        """Wait until the names are the same here and on all of these nodes, by default all visible ones
        (``global:sync/0,1``). Nodes that are not connected are connected to first."""
        wanted = self._visible() if nodes is None else [node_name(node) for node in node_names(nodes)]
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._server.protocol.sync(wanted, lambda: _resolve(done, None)):
            raise NodeError("too many calls of global:sync wait")
        await _within(done, "global:sync", timeout)

    def disconnect(self) -> list[str]:
        """End the connections to all published nodes, without the effect that a lost connection has on the
        others; the names of these nodes (``global:disconnect/0``)."""
        return self._server.protocol.disconnect()

    async def _locked(
        self, procedure: Callable[[list[str]], Steps[T]], what: str, timeout: float | None
    ) -> T:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._server.with_all_locked(procedure, lambda result: _resolve(done, result))
        return await _within(done, what, timeout)

    # -- locks -------------------------------------------------------------------------------------

    async def set_lock(
        self,
        lock_id: LockId,
        nodes: Iterable[Name] | None = None,
        retries: int | None = None,
        *,
        process: Process | None = None,
    ) -> bool:
        """Set a lock on these nodes, by default this one and all visible ones (``global:set_lock/3``); False
        if it is taken after ``retries`` attempts more, None: try without end.

        ``lock_id`` is ``(resource, requester)``, any two terms; a ``str`` stands for the atom. Whoever has
        the same requester shares the lock. It belongs to ``process``, by default to one of the node's own,
        and goes when that ends, or by :meth:`del_lock`.
        """
        lock_id, wanted = _lock_term(lock_id), self._lock_nodes(nodes)
        try:
            return await self._run(set_lock(self._server, lock_id, wanted, retries), process)
        except asyncio.CancelledError:
            self._start(del_lock(lock_id, wanted), process)
            raise

    async def del_lock(
        self, lock_id: LockId, nodes: Iterable[Name] | None = None, *, process: Process | None = None
    ) -> None:
        """Delete a lock on these nodes (``global:del_lock/2``); ``process`` is that of :meth:`set_lock`."""
        await self._run(del_lock(_lock_term(lock_id), self._lock_nodes(nodes)), process)

    @overload
    async def trans(
        self,
        lock_id: LockId,
        function: Callable[[], Awaitable[T]],
        nodes: Iterable[Name] | None = None,
        retries: int | None = None,
        *,
        process: Process | None = None,
    ) -> T | Atom: ...

    @overload
    async def trans(
        self,
        lock_id: LockId,
        function: Callable[[], T],
        nodes: Iterable[Name] | None = None,
        retries: int | None = None,
        *,
        process: Process | None = None,
    ) -> T | Atom: ...

    async def trans(
        self,
        lock_id: LockId,
        function: Callable[[], Any],
        nodes: Iterable[Name] | None = None,
        retries: int | None = None,
        *,
        process: Process | None = None,
    ) -> Any:
        """Call ``function``, which can be a coroutine function, while a lock is set, and return its value
        (``global:trans/4``); ``Atom("aborted")`` if the lock is taken. The arguments are those of
        :meth:`set_lock`."""
        lock_id, wanted = _lock_term(lock_id), self._lock_nodes(nodes)
        if not await self.set_lock(lock_id, wanted, retries, process=process):
            return ABORTED
        try:
            result = function()
            return await result if isawaitable(result) else result
        finally:
            self._start(del_lock(lock_id, wanted), process)

    def _lock_nodes(self, nodes: Iterable[Name] | None) -> list[str]:
        if nodes is None:
            return [self._node.name, *self._visible()]
        wanted = [node_name(node) for node in node_names(nodes)]
        if len(wanted) > MAX_NODES:
            raise NodeError(f"a lock on {len(wanted)} nodes; {MAX_NODES} at most")
        return wanted

    async def _run(self, steps: Steps[T], process: Process | None) -> T:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        runner = self._start(steps, process, lambda result: _resolve(done, result))
        try:
            return await done
        finally:
            runner.stop()

    def _start(
        self, steps: Steps[T], process: Process | None, done: Callable[[T], None] = lambda result: None
    ) -> Runner[T]:
        runner = Runner(self._server.steps(process), steps, done)
        runner.start()
        return runner


class HiddenGlobalNames(GlobalNames):
    """``global`` for a hidden node: names are those of the first of ``nodes`` that has ``global``; locks are
    set as by published nodes."""

    def __init__(
        self,
        node: LocalNode,
        visible: Callable[[], list[str]],
        erpc: ErpcClient,
        nodes: Callable[[], Iterable[str]],
    ) -> None:
        super().__init__(node, visible)
        self._registry = RemoteNameRegistry(erpc, "global", nodes)

    async def whereis_name(self, name: Any, *, timeout: float | None = 5.0) -> Pid | None:
        return await self._registry.whereis_name(name, timeout=timeout)

    async def registered_names(self, *, timeout: float | None = 5.0) -> list[Any]:
        return list(await self._registry.ask("registered_names", [], timeout))

    async def register_name(
        self,
        name: Any,
        process: Process | Pid,
        resolver: Resolver = "random_exit_name",
        *,
        timeout: float | None = 5.0,
    ) -> bool:
        arguments = list(checked(name, process, resolver))
        return bool(await self._registry.ask("register_name_external", arguments, timeout) == _YES)

    async def re_register_name(
        self,
        name: Any,
        process: Process | Pid,
        resolver: Resolver = "random_exit_name",
        *,
        timeout: float | None = 5.0,
    ) -> None:
        deadline = Deadline(timeout)
        await self.unregister_name(name, timeout=deadline.left())
        await self.register_name(name, process, resolver, timeout=deadline.left())

    async def unregister_name(self, name: Any, *, timeout: float | None = 5.0) -> None:
        await self._registry.ask("unregister_name_external", [named_term(name)], timeout)

    async def register_name_external(
        self,
        name: Any,
        process: Process | Pid,
        resolver: Resolver = "random_exit_name",
        *,
        timeout: float | None = 5.0,
    ) -> bool:
        return await self.register_name(name, process, resolver, timeout=timeout)


def running_server(runtime: Runtime) -> GlobalNameServer:
    """The ``global_name_server`` of a node. Raises :class:`NodeError` while it is started again."""
    process = runtime.whereis(GLOBAL_NAME_SERVER)
    if isinstance(process, ServerProcess) and isinstance(process.server, GlobalNameServer):
        return process.server
    raise NodeError(f"global_name_server does not run on {runtime.name}")


def checked(name: Any, process: Process | Pid, resolver: Resolver) -> tuple[Any, Pid, Export]:
    """The terms of a registration. Raises EncodeError for a name that is no term."""
    name = named_term(name)
    term_to_binary(name)
    return name, _pid(process), resolver_term(resolver)


def resolver_term(resolver: Resolver) -> Export:
    """A resolver as the fun that other nodes get."""
    if isinstance(resolver, Export):
        if resolver.arity != 3:
            raise NodeError(f"a resolver has 3 parameters: the name and both pids; got {resolver}")
        return resolver
    if isinstance(resolver, tuple) and len(resolver) == 2:
        return Export(name_of(resolver[0]), name_of(resolver[1]), 3)
    return Export("global", name_of(resolver), 3)


def _lock_term(lock_id: LockId) -> tuple[Any, Any]:
    """The term of a lock. Raises EncodeError for what is no term."""
    if not isinstance(lock_id, tuple) or len(lock_id) != 2:
        raise NodeError(f"a lock is (resource, requester), not {lock_id!r}")
    resource, requester = named_term(lock_id[0]), named_term(lock_id[1])
    term_to_binary((resource, requester))
    return resource, requester


def _pid(process: Process | Pid) -> Pid:
    pid = process.pid if isinstance(process, Process) else process
    if not isinstance(pid, Pid):
        raise NodeError(f"expected a process or a pid, got {process!r}")
    return pid


def _resolve(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


async def _within(future: asyncio.Future[T], what: str, timeout: float | None) -> T:
    try:
        async with asyncio.timeout(timeout):
            return await future
    except TimeoutError:
        raise CallTimeout(what, timeout or 0.0) from None
