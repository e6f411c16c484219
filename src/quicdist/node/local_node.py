"""The inner object of a node: its identity, processes and connections, and the interface for carriers.

:class:`quicdist.Node`, which programs use, holds one of these.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from quicdist.carrier import CarrierError, Link, MessageHandler, NetAddress
from quicdist.carrier.liveness import NET_TICKTIME, Ticker
from quicdist.containment import contained
from quicdist.discovery import Family, new_creation
from quicdist.errors import QuicDistError
from quicdist.forking import tell_children
from quicdist.logs import get_logger
from quicdist.node import loop_watch, shutdown
from quicdist.node.connections import SETUP_TIME, ConnectionTable
from quicdist.node.cookie import MAX_COOKIE, read_cookie
from quicdist.node.dial_queue import MAX_DIALS
from quicdist.node.dynamic_names import OwnName
from quicdist.node.endpoints import Endpoint
from quicdist.node.errors import CookieError, NetTickTimeout, NodeError, NodeNotStarted
from quicdist.node.histogram import Durations, Histogram
from quicdist.node.lifecycle import Lifecycle
from quicdist.node.loop_watch import LoopWatch
from quicdist.node.quic_dist import QuicDist
from quicdist.node.registration import Registrations
from quicdist.node.runtime import Runtime
from quicdist.node.spawnables import Spawnables
from quicdist.node.streams import Streams
from quicdist.protocol import (
    DEFAULT_FLAGS,
    Challenges,
    ControlMessage,
    DistFlag,
    GivenName,
    LocalIdentity,
    PeerNamed,
    Status,
)
from quicdist.protocol.names import node_name, validate_node_name
from quicdist.term import Codec, EncodeError
from quicdist.term.names import Name, name_of

log = get_logger("quicdist.node")

#: Seconds for which a stopping node waits for dials that signals wait for.
DIAL_TIME = 2.0


@dataclass(frozen=True, slots=True)
class NodeUp:
    """A node was connected."""

    node: str


@dataclass(frozen=True, slots=True)
class NodeDown:
    """The connection to a node has ended; ``error`` is None if this node closed it."""

    node: str
    error: QuicDistError | None


#: The argument of the callbacks of :meth:`LocalNode.subscribe`.
NodeEvent = NodeUp | NodeDown


class NodeServices:
    """Services that start and stop with a node; this class has none. Those that a BEAM node offers are in
    :mod:`quicdist.otp`."""

    def start(self) -> None:
        """The node has its runtime, and does not accept connections yet."""

    def stop(self) -> None:
        """The node begins to stop."""

    async def flush(self) -> None:
        """The processes have ended: wait until their output is written."""

    def break_off(self) -> None:
        """End everything without waiting."""

    def forked(self) -> None:
        """This is a copy in a forked process, where the node does not run."""

    def runs_current_task(self) -> bool:
        """Whether the current task runs code that has to end before the node has stopped."""
        return False


class _Running(NamedTuple):
    """The parts of a node that exist from its start to its end."""

    identity: LocalIdentity
    runtime: Runtime
    loop: asyncio.AbstractEventLoop
    #: When it started, by ``time.monotonic()``.
    since: float


class LocalNode:
    """One node: started once, stopped once.

    Carriers, the table of connections and the services of OTP use it (:class:`quicdist.carrier.LocalNode`,
    :class:`~quicdist.node.connections.ConnectionOwner`).

    ``name`` is ``alive@host``; ``undefined@host`` asks for a name. ``cookie`` is the secret shared with the
    cluster, by default that of ``~/.erlang.cookie``. ``endpoints`` are tried in order to reach other nodes.
    ``net_ticktime`` and ``setup_time`` are seconds; ``max_dials`` is how many nodes are dialled at once.
    ``busy_wait``: whether the event loop polls for answers of quick peers.
    ``owner`` is what processes see as ``process.node``.
    """

    def __init__(
        self,
        name: Name,
        *,
        owner: Any = None,
        services: NodeServices | None = None,
        cookie: Name | None = None,
        endpoints: Sequence[Endpoint] = (),
        hidden: bool = True,
        codec: Codec | None = None,
        net_ticktime: float = NET_TICKTIME,
        setup_time: float = SETUP_TIME,
        max_dials: int = MAX_DIALS,
        busy_wait: bool = True,
    ) -> None:
        #: The name that it was made with: ``undefined@host`` asks for one.
        self.static_name = str(validate_node_name(node_name(name)))
        self._own_name = OwnName(self.static_name, self._renamed)
        self.endpoints = tuple(endpoints)
        self.codec = codec or Codec()
        self.challenges = Challenges()
        self.spawnables = Spawnables()
        #: Where it listens.
        self.addresses: list[NetAddress] = []
        self.lifecycle = Lifecycle(self.static_name, self._start, self._stop, self._runs)
        self._owner = owner
        self._services = services or NodeServices()
        self._cookie = _checked_cookie(read_cookie() if cookie is None else cookie)
        self._cookies: dict[str, str] = {}
        self._flags = DEFAULT_FLAGS if hidden else DEFAULT_FLAGS | DistFlag.PUBLISHED
        self._running: _Running | None = None
        self._registrations = Registrations(self.static_name)
        self._subscribers: list[Callable[[NodeEvent], None]] = []
        self._busy_wait = busy_wait
        self._watch: LoopWatch | None = None
        self.connections = ConnectionTable(
            self, self, self._own_name, setup_time=setup_time, max_dials=max_dials
        )
        self.streams = Streams(self.connections, lambda: self.runtime)
        self.quic_dist = QuicDist(self.streams, lambda: self.runtime, self.endpoints)
        self._ticker = Ticker(lambda: list(self.connections.links()), self._silent, net_ticktime)

    @property
    def name(self) -> str:
        """The name of this node for others; ``nonode@nohost`` while it has none."""
        return self._own_name.current

    @property
    def has_dynamic_name(self) -> bool:
        """Whether another node gives it its name."""
        return self._own_name.is_dynamic

    def _renamed(self) -> None:
        if self._running is not None:
            given = self._own_name.given
            self._running.runtime.given_name = None if given is None else given.name

    # -- starting and stopping -------------------------------------------------------------

    async def _start(self) -> None:
        creation = None
        for endpoint in self.endpoints:
            self.connections.use(endpoint)
            self._registrations.use(endpoint.discovery)
            if not endpoint.listen:
                continue
            listener = await self.connections.listen(endpoint, self.static_name)
            self.addresses.append(listener.address)
            address = listener.address
            family: Family = "inet6" if address.family == "inet6" else "inet"
            registered = await self._registrations.register(endpoint.discovery, address.port, family)
            creation = creation or registered
        self._begin(creation or new_creation())
        self.connections.accept()
        self._ticker.start()
        self._watch = loop_watch.acquire(self.static_name)

    def _begin(self, creation: int) -> None:
        if self._own_name.is_dynamic:
            name, creation = self._own_name.identity(self._flags).of_own_identifiers
        else:
            name = self.static_name
        runtime = Runtime(
            name,
            creation,
            owner=self._owner,
            transmit=self.connections.send,
            is_connected=self.connections.has,
            offers=self.connections.offers,
            not_connected=self.connections.not_connected,
            spawnables=self.spawnables,
        )
        identity = LocalIdentity(name, creation, self._flags)
        self._running = _Running(identity, runtime, asyncio.get_running_loop(), time.monotonic())
        tell_children(self)
        self._services.start()

    def forked(self) -> None:
        """Called in a process that the program has forked. The node runs in the parent only, which has its
        sockets and its event loop."""
        self.lifecycle.forked()
        if self._running is not None:
            self._running.runtime.forked(str(self.lifecycle.not_running()))
        self._running = None
        self._services.forked()

    async def _stop(self) -> None:
        processes = shutdown.Shutdown(self._running.runtime) if self._running is not None else None
        self._services.stop()
        try:
            withdrawing = asyncio.ensure_future(self._registrations.withdraw())
            await self.connections.stop_accepting()
            self.streams.stop_accepting()
            if processes is not None:
                await asyncio.gather(processes.calls(), self.streams.finished(shutdown.SHUTDOWN_TIME))
                await processes.servers()
            await withdrawing
            await self.connections.dials_done(DIAL_TIME)
            await self.connections.close()
            if processes is not None:
                await processes.others()
        finally:
            self._break_off(processes)
        await self._services.flush()

    def _break_off(self, processes: shutdown.Shutdown | None) -> None:
        """End everything without waiting, also after a stop that was cancelled."""
        self._ticker.stop()
        self.streams.break_off()
        if processes is not None:
            processes.all_at_once()
        self.connections.break_off()
        if self._watch is not None:
            loop_watch.release(self._watch, self.static_name)
            self._watch = None
        if self._running is not None:
            self._running.runtime.timers.close()
        self._running = None
        self._services.break_off()

    def _runs(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether ``task`` runs code that has to end before this node has stopped."""
        if self._running is None:
            return False
        return (
            self.streams.is_run_by(task)
            or any(process.is_run_by(task) for process in self._running.runtime.processes())
            or self._services.runs_current_task()
        )

    def fail(self, error: BaseException) -> None:
        """Stop the node because of ``error``, which ``run_forever`` or the ``async with`` block raises."""
        self.lifecycle.fail(error)

    def not_started(self) -> NodeNotStarted:
        """The error for an operation that needs a running node."""
        return self.lifecycle.not_running()

    @property
    def is_running(self) -> bool:
        """Whether it has a runtime, from the end of its start to the end of its stop."""
        return self._running is not None

    @property
    def uptime(self) -> float:
        """Seconds since its start; 0 if it does not run."""
        return 0.0 if self._running is None else time.monotonic() - self._running.since

    @property
    def runtime(self) -> Runtime:
        """Its processes. Raises :class:`NodeNotStarted`."""
        if self._running is None:
            raise self.not_started()
        return self._running.runtime

    def check_loop(self) -> None:
        """Raise :class:`NodeError` in another thread or event loop than that in which the node runs."""
        if self._running is not None:
            self._running.runtime.check_loop()

    def call_soon_threadsafe(self, function: Callable[..., Any], *args: Any) -> None:
        """See :meth:`quicdist.Node.call_soon_threadsafe`."""
        if self._running is None:
            raise self.not_started()
        self._running.loop.call_soon_threadsafe(contained, log, "a call from another thread", function, *args)

    # -- what carriers ask -----------------------------------------------------------------

    @property
    def identity(self) -> LocalIdentity:
        if self._running is None:
            raise self.not_started()
        return self._own_name.identity(self._flags) if self._own_name.is_dynamic else self._running.identity

    def cookie_for(self, node: Name) -> str:
        """The cookie shared with ``node`` (``erlang:get_cookie/1``)."""
        return self._cookies.get(node_name(node), self._cookie)

    def set_cookie(self, node: Name, cookie: Name) -> None:
        """Use another cookie with one node (``erlang:set_cookie/2``)."""
        self._cookies[node_name(node)] = _checked_cookie(cookie)

    def connection_requested(self, peer: PeerNamed) -> Status | GivenName:
        return self.connections.connection_requested(peer)

    def connection_alive(self, node: str) -> bool:
        return self.connections.connection_alive(node)

    def name_said(self, node: str) -> None:
        self.connections.name_said(node)

    def peer_proved(self, node: str) -> None:
        """Answered for each attempt by :class:`~quicdist.node.pending_accept.PendingAccept`."""

    def old_connection_pending(self, node: str) -> None:
        self.connections.disconnect(node, NodeError(f"{node} lost this connection and has made another"))

    # -- what the table of connections asks and tells ------------------------------------------

    def message_handler(self, node: str) -> MessageHandler:
        return functools.partial(self.runtime.signals.dispatch, node)

    def not_supported(self, control: ControlMessage) -> None:
        self.runtime.spawning.not_supported(control)

    def not_encoded(self, control: ControlMessage, error: EncodeError) -> None:
        self.runtime.not_encoded(control, error)

    def link_made(self, link: Link) -> None:
        link.busy_wait = self._busy_wait
        self.streams.link_made(link)

    def node_up(self, node: str) -> None:
        self._tell(NodeUp(node))

    def node_down(self, node: str, error: QuicDistError | None, *, was_up: bool) -> None:
        if self._running is not None:
            self._running.runtime.connection_lost(node)
        if was_up:
            self._tell(NodeDown(node, error))

    # -- the connections of all nodes ----------------------------------------------------------

    def subscribe(self, callback: Callable[[NodeEvent], None]) -> Callable[[], None]:
        """See :meth:`quicdist.Node.subscribe`."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback) if callback in self._subscribers else None

    def _tell(self, event: NodeEvent) -> None:
        for callback in list(self._subscribers):
            contained(log, f"{callback!r}, called with {event},", callback, event)

    def loop_lag(self) -> Durations:
        """By how much the event loop was late, measured four times a second."""
        return (self._watch.lag if self._watch is not None else Histogram()).snapshot()

    def rebind(self) -> list[str]:
        """See :meth:`quicdist.Node.rebind`."""
        moved = []
        for link in list(self.connections.links()):
            try:
                if link.migrate():
                    moved.append(link.peer.name)
            except CarrierError as error:
                log.warning("%s", error)
        return moved

    def _silent(self, link: Link) -> None:
        self.connections.disconnect(link.peer.name, NetTickTimeout(link.peer.name, self._ticker.ticktime))

    @property
    def net_ticktime(self) -> float:
        """Seconds of silence after which a connected node counts as down."""
        return self._ticker.ticktime


def _checked_cookie(cookie: Name) -> str:
    cookie = name_of(cookie, "a cookie")
    if not 0 < len(cookie) <= MAX_COOKIE:
        raise CookieError(f"a cookie has 1 to {MAX_COOKIE} characters, this one {len(cookie)}")
    return cookie
