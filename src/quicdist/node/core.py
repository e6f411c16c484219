"""A node: its identity, its processes, and its connections, put together.

``quicdist.Node`` adds what OTP's own processes offer; see :mod:`quicdist.otp`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from quicdist.carrier import DEFAULT_PRIORITY, CarrierError, Link, NetAddress, UserStream
from quicdist.containment import contained
from quicdist.discovery import Family, new_creation
from quicdist.errors import QuicDistError
from quicdist.forking import tell_children
from quicdist.logs import get_logger
from quicdist.node import loop_watch, shutdown
from quicdist.node.connections import SETUP_TIME, ConnectionTable, Endpoint
from quicdist.node.cookie import read_cookie
from quicdist.node.dial_queue import MAX_DIALS
from quicdist.node.endpoints import carrier_names
from quicdist.node.errors import CookieError, NetTickTimeout, NodeError, NodeNotStarted
from quicdist.node.lifecycle import Lifecycle
from quicdist.node.liveness import NET_TICKTIME, Ticker
from quicdist.node.loop_watch import LoopWatch
from quicdist.node.quic_dist import QuicDist
from quicdist.node.registration import Registrations
from quicdist.node.runtime import Runtime
from quicdist.node.spawnables import Spawnables
from quicdist.node.spawning import Spawning
from quicdist.node.streams import StreamAcceptor, StreamHandler, StreamInfo, Streams
from quicdist.protocol import (
    DEFAULT_FLAGS,
    Challenges,
    ControlMessage,
    DistFlag,
    LocalIdentity,
    PeerNamed,
    Status,
)
from quicdist.protocol.names import node_name, validate_node_name
from quicdist.term import Codec, EncodeError
from quicdist.term.names import Name, name_of

log = get_logger("quicdist.node")

#: Seconds that a node which stops waits for others to be reached that something was sent to.
DIAL_TIME = 2.0
#: Characters a cookie may have; it is an atom to OTP.
_MAX_COOKIE = 255


@dataclass(frozen=True, slots=True)
class NodeUp:
    """A node has connected."""

    node: str


@dataclass(frozen=True, slots=True)
class NodeDown:
    """A connected node is gone; ``error`` says why, None if this node closed the connection."""

    node: str
    error: QuicDistError | None


NodeEvent = NodeUp | NodeDown


class NodeCore:
    """A node of a cluster, once :meth:`start` has run and until :meth:`stop` has.

    ``name`` is ``alive@host``. ``cookie`` is the secret shared with the cluster, by default that
    of ``~/.erlang.cookie``. ``endpoints`` are the ways to other nodes, tried in order.
    ``net_ticktime`` and ``setup_time`` are seconds; ``max_dials`` is how many nodes are dialled at once.
    """

    def __init__(
        self,
        name: Name,
        *,
        cookie: Name | None = None,
        endpoints: Sequence[Endpoint] = (),
        hidden: bool = True,
        codec: Codec | None = None,
        net_ticktime: float = NET_TICKTIME,
        setup_time: float = SETUP_TIME,
        max_dials: int = MAX_DIALS,
    ) -> None:
        self.name = str(validate_node_name(node_name(name)))
        self.endpoints = tuple(endpoints)
        self.codec = codec or Codec()
        self._cookie = _checked_cookie(read_cookie() if cookie is None else cookie)
        self._cookies: dict[str, str] = {}
        self._flags = DEFAULT_FLAGS if hidden else DEFAULT_FLAGS | DistFlag.PUBLISHED
        self._identity: LocalIdentity | None = None
        self.challenges = Challenges()
        self._runtime: Runtime | None = None
        #: Why there is none, in a process that was forked.
        self._absent = ""
        self._spawnables = Spawnables()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._registrations = Registrations(self.name)
        #: For the node's own use.
        self.life = Lifecycle(self.name, self._start, self._stop, self._runs)
        self._subscribers: list[Callable[[NodeEvent], None]] = []
        self._watch: LoopWatch | None = None
        self.addresses: list[NetAddress] = []
        self.connections = ConnectionTable(self, self, setup_time=setup_time, max_dials=max_dials)
        self.streams = Streams(self.connections, lambda: self.runtime)
        #: User streams for processes, by the names of OTP's module.
        self.quic_dist = QuicDist(self.streams, lambda: self.runtime)
        self._ticker = Ticker(lambda: list(self.connections.links()), self._silent, net_ticktime)

    def __repr__(self) -> str:
        state = "not in this process" if self._absent else self.life.state.name.lower()
        carriers = ", ".join(carrier_names(self.endpoints))
        return (
            f"<{type(self).__name__} {self.name} {state}, {f'over {carriers}' if carriers else 'no carrier'}>"
        )

    # -- starting and stopping -------------------------------------------------------------

    async def __aenter__(self) -> Self:
        await self.life.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.life.exit(raised)

    async def start(self) -> None:
        """Listen, register the name, and accept connections from then on. A node is started once.

        Raises :class:`~quicdist.carrier.ListenError`,
        :class:`~quicdist.discovery.DiscoveryError`, :class:`NodeNameTaken` among them, and
        :class:`NodeError` for a node that was started before; then nothing is left listening.
        """
        await self.life.start()

    async def _start(self) -> None:
        creation = None
        for endpoint in self.endpoints:
            self.connections.use(endpoint)
            self._registrations.use(endpoint.discovery)
            if not endpoint.listen:
                continue
            listener = await self.connections.listen(endpoint, self.name)
            self.addresses.append(listener.address)
            address = listener.address
            family: Family = "inet6" if address.family == "inet6" else "inet"
            given = await self._registrations.register(endpoint.discovery, address.port, family)
            creation = creation or given
        self._begin(creation or new_creation())
        self.connections.accept()
        self._ticker.start()
        self._watch = loop_watch.acquire(self.name)

    def _begin(self, creation: int) -> None:
        self._identity = LocalIdentity(self.name, creation, self._flags)
        self._runtime = Runtime(
            self.name,
            creation,
            owner=self,
            transmit=self.connections.send,
            is_connected=self.connections.has,
            offers=self.connections.offers,
            not_connected=self.connections.not_connected,
            spawnables=self._spawnables,
        )
        self._loop = asyncio.get_running_loop()
        tell_children(self)

    def forked(self) -> None:
        """Called in a process that the program has forked: the node lives in the other one alone, which
        has its sockets and its event loop."""
        self._absent = f"node {self.name} runs in process {os.getppid()}: one forked from it cannot use it"
        if self._runtime is not None:
            self._runtime.forked(self._absent)
        self._identity = self._runtime = self._loop = None

    async def stop(self) -> None:
        """Stop in order, and wait until that is done. Called again, it waits for the same stop.

        No connection is accepted any more, and the name is taken out of discovery. While links are up,
        running calls are answered, within five seconds, and supervisors and servers end with
        ``shutdown``: supervised processes in order and within their shutdown times, other servers within
        five seconds. What is queued is sent, and the links are closed. Then all other processes end.

        In code that the node runs, such as a process or an exported function, it does not wait.
        """
        await self.life.stop()

    async def _stop(self) -> None:
        processes = shutdown.Shutdown(self._runtime) if self._runtime is not None else None
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
            self._let_go(processes)

    def _let_go(self, processes: shutdown.Shutdown | None) -> None:
        """What a stop that was broken off has left is ended without waiting."""
        self._ticker.stop()
        self.streams.break_off()
        if processes is not None:
            processes.all_at_once()
        self.connections.break_off()
        if self._watch is not None:
            loop_watch.release(self._watch, self.name)
            self._watch = None
        self._runtime = None
        self._loop = None

    def _runs(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether ``task`` runs code that has to end before this node has stopped."""
        runtime = self._runtime
        return runtime is not None and (
            self.streams.is_run_by(task) or any(process.is_run_by(task) for process in runtime.processes())
        )

    def fail(self, error: BaseException) -> None:
        """The node cannot go on: it stops, and whoever runs it gets ``error``. For the node's own use."""
        self.life.fail(error)

    async def run_forever(self) -> None:
        """Wait until the node has stopped; SIGTERM and SIGINT stop it, a second one ends the program
        at once. Raises what made the node stop by itself.

        In a thread other than the main one, signals are left to the program.
        """
        await self.life.run_forever()

    def not_started(self) -> NodeNotStarted:
        """The error of using it now."""
        return NodeNotStarted(self._absent) if self._absent else self.life.not_running()

    @property
    def runtime(self) -> Runtime:
        """Its processes. Raises :class:`NodeNotStarted`."""
        if self._runtime is None:
            raise self.not_started()
        return self._runtime

    @property
    def spawning(self) -> Spawning:
        """What can be spawned on it, and by it on others. Raises :class:`NodeNotStarted`."""
        return self.runtime.spawning

    def call_soon_threadsafe(self, function: Callable[..., Any], *args: Any) -> None:
        """Call a function in the thread of this node, from any thread: the way to send or spawn
        from another one. What it raises is logged. Raises :class:`NodeNotStarted`."""
        if self._loop is None:
            raise self.not_started()
        self._loop.call_soon_threadsafe(contained, log, "what another thread called", function, *args)

    # -- bytes beside the messages, and backpressure ------------------------------------------

    async def open_stream(self, node: Name, *, priority: int = DEFAULT_PRIORITY) -> UserStream:
        """Open a stream of bytes to ``node`` (``quic_dist:open_stream/2``), over its QUIC connection,
        which is made if there is none. Streams with a lower ``priority``, from 16 to 255, are served
        first, and messages before all.

        Raises :class:`NotConnected`; :class:`StreamsNotSupported` for a node over TCP and for
        quic_dist before 1.0. What a node refuses shows when the stream is used:
        :class:`StreamRefused`.
        """
        return await self.streams.open(node, priority)

    def accept_streams(
        self, handler: StreamHandler | None = None, *, node: Name | None = None
    ) -> StreamAcceptor:
        """Accept streams that ``node`` opens, or any node (``quic_dist:accept_streams/1``).

        ``handler`` is called with each :class:`UserStream`. If it is a coroutine function the stream
        is closed when it returns, and reset when it raises. Without one the result is an
        asynchronous iterator over the streams. Several acceptors take turns. Streams that nobody
        accepts are refused.
        """
        return self.streams.accept(handler, node=node)

    def list_streams(self, node: Name | None = None) -> list[StreamInfo]:
        """The user streams with ``node``, or all nodes, that are not over
        (``quic_dist:list_streams/0,1``)."""
        return self.streams.list(node)

    async def drain(self, node: Name) -> None:
        """Wait while more bytes wait for ``node`` than its connection's bound (4 MiB by default): a
        slow node slows those down who send to it and await this. Others fill the connection's buffer,
        and one that is full (256 MiB) ends the connection.

        Ends with the connection, and where there is none after one turn of the event loop, in which
        other tasks run; so it does wherever there is nothing to wait for.
        """
        await self.connections.drain(node_name(node))

    # -- what carriers ask -----------------------------------------------------------------

    @property
    def identity(self) -> LocalIdentity:
        if self._identity is None:
            raise self.not_started()
        return self._identity

    def cookie_for(self, node: Name) -> str:
        """The cookie shared with ``node`` (``erlang:get_cookie/1``)."""
        return self._cookies.get(node_name(node), self._cookie)

    def set_cookie(self, node: Name, cookie: Name) -> None:
        """Use another cookie with one node (``erlang:set_cookie/2``)."""
        self._cookies[node_name(node)] = _checked_cookie(cookie)

    def connection_requested(self, peer: PeerNamed) -> Status:
        return self.connections.connection_requested(peer)

    def connection_alive(self, node: str) -> bool:
        return self.connections.connection_alive(node)

    def name_said(self, node: str) -> None:
        self.connections.name_said(node)

    def peer_proved(self, node: str) -> None:
        """Answered for each attempt by :class:`~quicdist.node.pending_accept.PendingAccept`."""

    def old_connection_pending(self, node: str) -> None:
        self.connections.disconnect(node, NodeError(f"{node} lost this connection and has made another"))

    # -- what connections tell ---------------------------------------------------------------

    def message_received(self, node: str, control: ControlMessage, payload: Any) -> None:
        if self._runtime is not None:
            self._runtime.signals.dispatch(node, control, payload)

    def not_supported(self, control: ControlMessage) -> None:
        self.runtime.spawning.not_supported(control)

    def not_encoded(self, control: ControlMessage, error: EncodeError) -> None:
        self.runtime.not_encoded(control, error)

    def link_made(self, link: Link) -> None:
        self.streams.link_made(link)

    def node_up(self, node: str) -> None:
        self._tell(NodeUp(node))

    def node_down(self, node: str, error: QuicDistError | None, *, was_up: bool) -> None:
        if self._runtime is not None:
            self._runtime.connection_lost(node)
        if was_up:
            self._tell(NodeDown(node, error))

    def subscribe(self, callback: Callable[[NodeEvent], None]) -> Callable[[], None]:
        """Call ``callback`` with every :class:`NodeUp` and :class:`NodeDown` from now on; the
        function returned ends that."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback) if callback in self._subscribers else None

    def _tell(self, event: NodeEvent) -> None:
        for callback in list(self._subscribers):
            contained(log, f"{callback!r}, told of {event},", callback, event)

    def rebind(self) -> list[str]:
        """Go on from new sockets to every node that can be moved so (dialled, over QUIC), as after a
        change of network: their names. It is not needed where the system says that the address is gone.
        """
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
    if not 0 < len(cookie) <= _MAX_COOKIE:
        raise CookieError(f"a cookie has 1 to {_MAX_COOKIE} characters, this one {len(cookie)}")
    return cookie
