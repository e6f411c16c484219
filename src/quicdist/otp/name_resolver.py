"""Resolves a :class:`Global` or :class:`Via` name to a pid."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from copy import copy
from typing import Any

from quicdist.containment import describe, settle
from quicdist.logs import get_logger
from quicdist.node.errors import NameRegistered, NodeError, NoSuchProcess
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.errors import CallTimeout
from quicdist.otp.global_names import GlobalNames, RemoteNameRegistry
from quicdist.otp.server_names import Global, GlobalOrVia, NameRegistry
from quicdist.protocol.names import node_name
from quicdist.term import Atom, Pid
from quicdist.term.names import name_of

log = get_logger("quicdist.otp")

#: Called with the pid, or with the error.
Found = Callable[[Pid | None, Exception | None], None]


class NameResolver:
    """Looks up, registers and unregisters names; concurrent requests for a name share one lookup."""

    def __init__(self, erpc: ErpcClient, global_names: GlobalNames, nodes: Callable[[], list[str]]) -> None:
        self._erpc = erpc
        self._global_names = global_names
        self._nodes = nodes
        #: By name, the callbacks of the lookup that runs.
        self._waiting: dict[Any, list[Found]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, name: GlobalOrVia, found: Found) -> None:
        """Look a name up and call ``found`` later. Callbacks of one name are called in the order of their
        requests, so that messages to a name keep their order."""
        key = type(name), name.key()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(found)
            return
        self._waiting[key] = [found]
        task = asyncio.ensure_future(self._find(key, name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Cancel all lookups: the node has stopped."""
        for task in self._tasks:
            task.cancel()

    async def _find(self, key: Any, name: GlobalOrVia) -> None:
        try:
            pid, failed = await settle(self.whereis(name))
        except asyncio.CancelledError as cancelled:  # by the registry, or because the node has stopped
            pid, failed = None, cancelled
        error: Exception | None = None
        if isinstance(failed, Exception):
            error = failed
        elif failed is not None:
            error = NodeError(f"cannot look up {name}: {type(failed).__qualname__}: {describe(failed)}")
        elif pid is None:
            error = NoSuchProcess(f"no process is registered as {name}")
        for found in self._waiting.pop(key):
            try:
                # A copy each: every caller sets the exit reason of its own call.
                found(pid, copy(error) if isinstance(error, NodeError) else error)
            except Exception:
                log.exception("sending to %s failed", name)

    async def where(self, name: GlobalOrVia, timeout: float | None) -> Pid:
        """The pid of a name. Raises :class:`NoSuchProcess`, and :class:`CallTimeout` after ``timeout``
        seconds."""
        answer: asyncio.Future[Pid] = asyncio.get_running_loop().create_future()

        def found(pid: Pid | None, error: Exception | None) -> None:
            if answer.done():
                return
            if pid is not None:
                answer.set_result(pid)
            elif error is not None:
                answer.set_exception(error)

        self.find(name, found)
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError as error:
            if isinstance(error, CallTimeout):
                raise
            raise CallTimeout(str(name), timeout or 0.0) from None

    async def whereis(self, name: GlobalOrVia) -> Pid | None:
        """The pid of a name, None if no process has it."""
        pid = await _awaited(self._registry(name).whereis_name(name.name))
        return pid if isinstance(pid, Pid) else None

    async def register(self, name: GlobalOrVia, pid: Pid) -> None:
        """Register a name for a process of this node. Raises :class:`NameRegistered`."""
        if not await _awaited(self._registry(name).register_name(name.name, pid)):
            raise NameRegistered(f"cannot register {pid} as {name}: the name is taken, or was refused")

    async def unregister(self, name: GlobalOrVia) -> None:
        """Unregister a name."""
        await _awaited(self._registry(name).unregister_name(name.name))

    def _registry(self, name: GlobalOrVia) -> NameRegistry:
        if isinstance(name, Global):
            return self._global_names
        if not isinstance(name.module, str | Atom):
            return name.module
        node = None if name.node is None else node_name(name.node)
        return RemoteNameRegistry(
            self._erpc, name_of(name.module), self._nodes if node is None else lambda: [node]
        )


async def _awaited(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
