"""The client side of ``gen_server``: calls and casts to any server of the cluster.

OTP: ``gen_server(3)``: ``call``, ``cast``, ``multi_call``, ``abcast``, ``send_request``, ``stop``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

from quicdist.logs import get_logger
from quicdist.node.errors import NodeError, NoSuchProcess, ProcessEnded
from quicdist.node.exit_reason import NORMAL
from quicdist.node.process import Process
from quicdist.node.runtime import Runtime
from quicdist.otp import server_start
from quicdist.otp.deadline import Deadline
from quicdist.otp.erpc import gather
from quicdist.otp.errors import CallTimeout, exits_bare
from quicdist.otp.gen import GenClient, described, milliseconds, ref_term
from quicdist.otp.gen_messages import GEN_CAST, SYSTEM
from quicdist.otp.gen_server import GenServer
from quicdist.otp.name_resolver import NameResolver
from quicdist.otp.request import Request
from quicdist.otp.server_names import Global, GlobalOrVia, Via
from quicdist.protocol.names import N, node_names
from quicdist.term import Atom, Pid, exactly_equal
from quicdist.term.names import REGISTERED_NAME, Name, atom_of

log = get_logger("quicdist.otp")

_TERMINATE = Atom("terminate")
_SYS = Atom("sys")


class GenServerClient:
    """Calls and starts servers. A server is a pid, process, ``name``, ``(name, node)``,
    :class:`Global` or :class:`Via`."""

    def __init__(self, runtime: Runtime, gen: GenClient, names: NameResolver) -> None:
        self._runtime = runtime
        self._gen = gen
        self._names = names

    async def call(
        self, to: Any, request: Any, *, timeout: float | None = 5.0, process: Process | None = None
    ) -> Any:
        """Call a server and wait for its reply (``gen_server:call/3``).

        ``timeout`` is in seconds, None waits for ever. ``process`` is the caller that the server sees,
        by default a process of the node's own. Raises :class:`CallTimeout`, :class:`NoSuchProcess`,
        :class:`NotConnected`, :class:`ProcessEnded` with the reason of a server that ended before it
        replied, and :class:`CallingSelf`.
        """
        return await self._gen.call(to, request, timeout=timeout, process=process)

    def send_request(self, to: Any, request: Any, *, process: Process | None = None) -> Request[Any]:
        """Call a server without waiting; the reply comes from the :class:`Request`
        (``gen_server:send_request/2``)."""
        return self._gen.send_request(to, request, process=process)

    def cast(self, to: Any, request: Any) -> None:
        """Cast to a server (``gen_server:cast/2``); never fails."""
        with contextlib.suppress(NoSuchProcess):
            self.send(to, (GEN_CAST, request))

    def send(self, to: Any, message: Any) -> None:
        """Send a message from the node's own process. It is dropped if no process has the name; for a local
        name this raises :class:`NoSuchProcess`."""
        source = self._gen.process.pid
        if not isinstance(to, Global | Via):
            self._runtime.send(source, to, message)
            return

        def found(pid: Pid | None, error: Exception | None) -> None:
            if pid is None:
                log.debug("a message to %s was dropped: %s", to, error)
            else:
                self._runtime.send(source, pid, message)

        self._names.find(to, found)

    async def multi_call(
        self, nodes: Iterable[N], name: Name, request: Any, *, timeout: float | None = None
    ) -> tuple[list[tuple[N, Any]], list[N]]:
        """Call the servers of one name on many nodes: ``([(node, reply)], bad nodes)``, each in the
        order of ``nodes`` (``gen_server:multi_call/4``). ``timeout`` is in seconds."""
        names, name = node_names(nodes), atom_of(name, REGISTERED_NAME)
        requests = [self._gen.send_request((name, node), request) for node in names]
        results = list(zip(names, await gather(requests, timeout), strict=True))
        return (
            [(node, result) for node, result in results if not isinstance(result, Exception)],
            [node for node, result in results if isinstance(result, Exception)],
        )

    def abcast(self, nodes: Iterable[Name], name: Name, request: Any) -> None:
        """Cast to the servers of one name on many nodes (``gen_server:abcast/3``)."""
        name = atom_of(name, REGISTERED_NAME)
        for node in node_names(nodes):
            self.cast((name, node), request)

    async def stop(self, to: Any, reason: Any = NORMAL, *, timeout: float | None = None) -> None:
        """End a server with ``reason`` and wait until it has ended (``gen_server:stop/3``). Raises the
        errors of :meth:`call`, and :class:`ProcessEnded` if it ended with another reason. ``timeout`` is
        in seconds."""
        try:
            deadline = Deadline(timeout)
            if isinstance(to, Global | Via):
                to = await self._names.where(to, timeout)
            await self._stop(to, reason, timeout, deadline)
        except NodeError as error:
            exits_bare(error)
            raise

    async def _stop(self, to: Any, reason: Any, timeout: float | None, deadline: Deadline) -> None:
        watcher = self._runtime.add_process()
        try:
            watcher.monitor(to)
            function = (_SYS, _TERMINATE, [ref_term(to), reason, milliseconds(timeout)])
            await self._gen.call(
                to,
                (_TERMINATE, reason),
                label=SYSTEM,
                timeout=deadline.left(),
                process=watcher,  # the call follows the monitor in the order of one pair of processes
                function=function,
            )
            try:
                *_, ended = await watcher.receive(timeout=deadline.left())
            except TimeoutError:
                raise CallTimeout(described(to), timeout or 0.0) from None
            if not exactly_equal(ended, reason):
                raise ProcessEnded(described(to), ended)
        finally:
            watcher.stop()

    # -- servers of this node ----------------------------------------------------------------------

    async def start(
        self,
        server: GenServer,
        *,
        name: Name | GlobalOrVia | None = None,
        link_to: Process | Pid | None = None,
        debug: Iterable[Any] = (),
    ) -> Process | None:
        """Start a server on this node and wait for its ``init`` (``gen_server:start/4``; with
        ``link_to``, its parent, ``start_link/4``). None if ``init`` returned ``IGNORE``. Raises what
        ``init`` raised, :class:`ProcessEnded` with the reason of its ``Stop``, or
        :class:`NameRegistered`. ``debug`` are debug options, as of ``node.serve``."""
        process = server_start.start(self._runtime, server, name=name, link_to=link_to, debug=debug)
        return process if await process.ready() else None
