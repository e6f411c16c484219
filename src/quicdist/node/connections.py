"""The table of connections: at most one to each node, dialled on demand or accepted.

In OTP this is part of ``net_kernel``. The rules for two nodes that dial each other are those of its
``mark_pending`` and of the Erlang distribution protocol, *Distribution handshake*.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Hashable, Iterator, Sequence
from typing import Any, Protocol
from weakref import WeakSet

from quicdist.carrier import Carrier, Incoming, Link, LinkLost, Listener, LocalNode, MessageHandler
from quicdist.errors import QuicDistError
from quicdist.logs import get_logger
from quicdist.node.connection import ConnectionState, NodeConnection
from quicdist.node.connection_counters import ConnectionCounters, reason_of
from quicdist.node.connection_errors import ConnectionErrors
from quicdist.node.dial_queue import (
    MAX_DIALS,
    DialQueue,
    Ticket,
    causing_peer,
    on_behalf_of,
    own_context,
)
from quicdist.node.dialling import dial
from quicdist.node.dynamic_names import GivenNames, OwnName
from quicdist.node.endpoints import Endpoint
from quicdist.node.errors import NodeError, NotConnected
from quicdist.node.listeners import Listeners
from quicdist.node.pending_accept import GRACE, PATIENCE, Arrivals, PendingAccept
from quicdist.protocol import (
    NO_PAYLOAD,
    ConnectionAlive,
    ControlMessage,
    DistFlag,
    GivenName,
    PeerNamed,
    SpawnRequest,
    Status,
)
from quicdist.term import EncodeError, TermError

log = get_logger("quicdist.node")

#: Seconds a handshake may take (OTP's ``net_setuptime``).
SETUP_TIME = 7.0
#: Seconds within which links and dials have to end when the node stops; carriers need less.
CLOSE_TIME = 20.0

_DIAL_WAITING, _DIALLING = ConnectionState.DIAL_WAITING, ConnectionState.DIALLING
_ACCEPTING, _UP, _ENDED = ConnectionState.ACCEPTING, ConnectionState.UP, ConnectionState.ENDED


class ConnectionOwner(Protocol):
    """The node that a table belongs to: what the table calls of it."""

    def message_handler(self, node: str) -> MessageHandler:
        """The function that handles the messages of ``node``."""

    def not_supported(self, control: ControlMessage) -> None: ...

    def not_encoded(self, control: ControlMessage, error: EncodeError) -> None: ...

    def link_made(self, link: Link) -> None: ...

    def node_up(self, node: str) -> None: ...

    def node_down(self, node: str, error: QuicDistError | None, *, was_up: bool) -> None: ...


class ConnectionTable:
    """All connections of one node."""

    def __init__(
        self,
        owner: ConnectionOwner,
        local: LocalNode,
        own_name: OwnName,
        *,
        setup_time: float = SETUP_TIME,
        max_dials: int = MAX_DIALS,
    ) -> None:
        self._owner = owner
        self._local = local
        self._own_name = own_name
        self._given_names = GivenNames()
        self._setup_time = setup_time
        self._endpoints: list[Endpoint] = []
        self._listeners = Listeners()
        self._tasks: set[asyncio.Task[None]] = set()
        #: Links that were closed here: they may still transmit their queues.
        self._closing: WeakSet[Link] = WeakSet()
        self._connections: dict[str, NodeConnection] = {}
        self.arrivals = Arrivals()
        self._dials = DialQueue(max_dials)
        self._errors = ConnectionErrors()
        self.counters = ConnectionCounters()
        self._allowed: frozenset[str] | None = None
        self._open = True

    # -- listening -------------------------------------------------------------------------

    async def listen(self, endpoint: Endpoint, name: str) -> Listener:
        """Listen at an endpoint; connections are accepted from :meth:`accept` on."""
        return await self._listeners.listen(endpoint, name)

    def accept(self) -> None:
        """Accept incoming connections at all listeners, until :meth:`close`."""
        for carrier, listener, incoming in self._listeners.incoming():
            self._run(self._accept(carrier, incoming), f"accept on {listener.address}")

    def use(self, endpoint: Endpoint) -> None:
        """Dial by this endpoint too, after the others."""
        self._endpoints.append(endpoint)

    async def _accept(self, carrier: Carrier, connections: AsyncIterator[Incoming]) -> None:
        async for incoming in connections:
            self._run(self._accept_one(carrier, incoming), f"handshake with {incoming.remote_address}")

    async def _accept_one(self, carrier: Carrier, incoming: Incoming) -> None:
        accepting = PendingAccept(self._local, self)
        try:
            link = await carrier.accept_connection(incoming, accepting, setup_time=self._setup_time)
            self._adopt(link)
        except QuicDistError as error:  # The carrier has closed the connection and logged why.
            self.counters.refused[carrier.family, reason_of(error)] += 1
        finally:
            self._accept_over(accepting)

    def accept_pending(self, node: str, accepting: PendingAccept) -> None:
        """The attempt of ``node`` has proved the cookie and replaces this node's dial."""
        self.arrivals.discard(node, accepting)
        connection = self._connections.get(node)
        if connection is None:
            connection = self._connections[node] = NodeConnection(node)
        connection.accepting.add(accepting)
        self._stop_dialling(connection)
        connection.become(_ACCEPTING)

    def peer_proved(self, node: str, accepting: PendingAccept) -> asyncio.Future[None] | None:
        """An attempt of ``node`` has proved the cookie. The result is done when this node's dial, which
        goes first, has ended; None where there is nothing to wait for."""
        connection = self._connections.get(node)
        if connection is not None and connection.state is _UP:
            raise ConnectionAlive(node)
        if connection is not None and connection.name_said is not None and self._local.identity.name > node:
            return connection.name_said
        self.accept_pending(node, accepting)
        return None

    def _accept_over(self, accepting: PendingAccept) -> None:
        if accepting.node is None:
            return
        self.arrivals.discard(accepting.node, accepting)
        connection = self._connections.get(accepting.node)
        if connection is None or connection.state is not _UP:
            self._given_names.not_connected(accepting.node)
        if connection is None:
            return
        connection.accepting.discard(accepting)
        if connection.state is not _ACCEPTING or connection.accepting:
            return
        if connection.is_unwanted or not self._open:
            del self._connections[connection.node]
            connection.become(_ENDED)
        else:
            self._start_dialling(connection, Ticket(None))

    def _run(
        self, coroutine: Any, name: str, context: contextvars.Context | None = None
    ) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        task: asyncio.Task[None] = loop.create_task(coroutine, name=f"quicdist: {name}", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)

    # -- who may connect -------------------------------------------------------------------

    def allow(self, nodes: Sequence[str]) -> None:
        """Allow these nodes: from the first call on no others are accepted and dialled
        (``net_kernel:allow/1``)."""
        self._allowed = (self._allowed or frozenset()) | frozenset(nodes)

    def is_allowed(self, node: str) -> bool:
        return self._allowed is None or node in self._allowed

    def connection_requested(self, peer: PeerNamed) -> Status | GivenName:
        """The status for a peer that dials this node (``net_kernel``'s answer to ``is_pending``), or a name
        for one that asks for it."""
        own = self._local.identity.name
        if not self.is_allowed(peer.name) or peer.name == own:
            return Status.NOT_ALLOWED
        if peer.wants_name:
            return self._given_names.give(peer.name, self._is_taken) or Status.NOT_ALLOWED
        connection = self._connections.get(peer.name)
        if connection is None:
            return Status.OK
        if connection.state is _UP:
            return Status.ALIVE
        if connection.state is not _DIALLING:
            return Status.OK
        # Both dial at once: the dial of the node with the greater name is kept.
        return Status.NOK if own > peer.name else Status.OK_SIMULTANEOUS

    def _is_taken(self, name: str) -> bool:
        return name in self._connections or name == self._local.identity.name

    def connection_alive(self, node: str) -> bool:
        """Whether this node still dials ``node``, which answers that there is a connection."""
        connection = self._connections.get(node)
        return connection is not None and connection.state is not _UP

    # -- dialling --------------------------------------------------------------------------

    async def connect(self, node: str) -> Link:
        """The link to ``node``, dialled if there is none. Raises :class:`NotConnected`."""
        connection = self._wanted(node)
        if connection.link is not None:
            return connection.link
        self._program_wants(connection)
        if connection.ticket is not None:
            self._dials.awaited(connection.ticket)
        waiter: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        connection.waiters.append(waiter)
        try:
            return await waiter
        finally:
            with contextlib.suppress(ValueError):
                connection.waiters.remove(waiter)

    def _wanted(self, node: str) -> NodeConnection:
        connection = self._connections.get(node)
        if connection is None:
            if not self._open:
                raise NotConnected(node, (NodeError("this node has stopped"),))
            try:
                ticket = self._dials.ticket(node)
            except NodeError as error:
                raise NotConnected(node, (error,)) from None
            connection = self._connections[node] = NodeConnection(node, ticket.peer)
            self._start_dialling(connection, ticket)
        return connection

    def _program_wants(self, connection: NodeConnection) -> None:
        """Count a dial that a peer has caused as the program's, if the program wants it too."""
        if connection.caused_by is not None and causing_peer() is None:
            connection.caused_by = None
            connection.outbox.widen()
            if connection.ticket is not None:
                self._dials.wanted(connection.ticket)

    def name_said(self, node: str) -> None:
        """This node's dial to ``node`` is about to send the name."""
        connection = self._connections.get(node)
        if connection is not None and connection.state is _DIALLING and connection.name_said is None:
            connection.name_said = asyncio.get_running_loop().create_future()

    def _dial_over(self, connection: NodeConnection) -> None:
        """This node's dial has ended: release its place and the attempts that wait for its end."""
        ticket, connection.ticket = connection.ticket, None
        if ticket is not None:
            self._dials.leave(ticket)
        said, connection.name_said = connection.name_said, None
        if said is not None:
            said.set_result(None)

    def _start_dialling(self, connection: NodeConnection, ticket: Ticket) -> None:
        connection.become(_DIAL_WAITING)
        connection.ticket = ticket
        connection.dialling = self._run(self._dial(connection), f"dial {connection.node}", own_context())

    def _stop_dialling(self, connection: NodeConnection) -> None:
        if connection.dialling is not None:
            connection.dialling.cancel()
            connection.dialling = None
        self._dial_over(connection)

    async def _dial(self, connection: NodeConnection) -> None:
        node = connection.node
        attempts: list[QuicDistError] = []
        try:
            if not self.is_allowed(node):
                attempts.append(NodeError("node not allowed (net_kernel:allow/1)"))
            elif not self._endpoints:
                attempts.append(NodeError("this node has no carrier"))
            else:
                if connection.ticket is not None:
                    await self._dials.enter(connection.ticket)
                await self.arrivals.over(node, GRACE)
                async with self._own_name.asking():
                    connection.become(_DIALLING)
                    link = await dial(
                        self._endpoints, node, self._local, self._setup_time, attempts, self.counters
                    )
                    if link is not None:
                        connection.dialling = None
                        self._adopt(link)
                        return
                connection.become(_DIAL_WAITING)
                self._dial_over(connection)
                self._dials.failed(node)
                # An attempt of the other node that succeeds now cancels this task.
                await self.arrivals.over(node, PATIENCE)
        except asyncio.CancelledError:
            # Cancelled because an incoming connection has replaced the dial, or because the node stops. The
            # canceller has changed the connection's state.
            if connection.dialling is not asyncio.current_task():
                raise
            attempts.append(NodeError("dialling was cancelled"))
        self._give_up(connection, NotConnected(node, tuple(attempts)))

    def _give_up(self, connection: NodeConnection, error: NotConnected, *, called_off: bool = False) -> None:
        if self._connections.get(connection.node) is not connection or connection.state is _UP:
            return
        del self._connections[connection.node]
        connection.become(_ENDED)
        self._dial_over(connection)
        self.counters.signals_dropped += len(connection.outbox)
        self._errors.dial_failed(
            error, len(connection.outbox), called_off=called_off, caused_by=connection.caused_by
        )
        connection.fail_waiters(error)
        self._owner.node_down(connection.node, error, was_up=False)

    # -- links up and down -----------------------------------------------------------------

    def _adopt(self, link: Link) -> None:
        node = link.peer.name
        if not self._open:
            self._close(link, "this node has stopped")
            return
        connection = self._connections.get(node)
        if connection is not None and connection.state is _UP:
            # Both of two crossing dials were accepted: the first one here is kept.
            self._close(link, f"{node} is connected already")
            return
        if connection is None:
            connection = self._connections[node] = NodeConnection(node)
        self._stop_dialling(connection)
        self._reopen(connection)
        connection.become(_UP)
        connection.link = link
        if self._own_name.is_dynamic:
            self._own_name.connected(node, link.local)
        self._errors.connected(node)
        self.counters.link_made(link)
        self._owner.link_made(link)
        link.start(
            on_behalf_of(node, self._owner.message_handler(node)),
            lambda error: self._lost(connection, link, error),
        )
        if link.closed:
            return  # The peer broke the protocol with its first bytes; _lost follows.
        connection.told = True
        log.info("connected to %s over %s at %s", node, link.carrier_name, link.remote_address)
        self._owner.node_up(node)
        for control, payload, pair in connection.outbox.take():
            self._send_now(link, control, payload, pair)
        for waiter in connection.waiters:
            if not waiter.done():
                waiter.set_result(link)

    def _send_now(self, link: Link, control: ControlMessage, payload: Any, pair: Hashable) -> None:
        if isinstance(control, SpawnRequest) and not link.peer.negotiated & DistFlag.SPAWN:
            self._owner.not_supported(control)
            return
        try:
            link.send(control, payload, pair=pair)
        except EncodeError as error:  # a term that this peer cannot decode
            self._errors.not_sent(link.peer.name, error)
            self._owner.not_encoded(control, error)
        except QuicDistError as error:
            self._errors.not_sent(link.peer.name, error)

    def _lost(self, connection: NodeConnection, link: Link, error: QuicDistError | None) -> None:
        if connection.link is not link:
            return
        connection.link = None
        connection.become(_ENDED)
        if self._connections.get(connection.node) is connection:
            del self._connections[connection.node]
        self._close(link)
        self.counters.link_lost(link, error)
        self._errors.connection_ended(connection.node, error)
        if not connection.told:
            self.counters.signals_dropped += len(connection.outbox)
            reason = error or NodeError("this node closed the connection")
            connection.fail_waiters(NotConnected(connection.node, (reason,)))
        self._given_names.connection_ended(connection.node)
        nameless = self._own_name.is_lost_with(connection.node)
        self._owner.node_down(connection.node, error, was_up=connection.told)
        if nameless:
            gave = NodeError(f"the connection to {connection.node}, which gave this node its name, has ended")
            for other in list(self._connections):
                self.disconnect(other, gave)

    def _close(self, link: Link, reason: str = "") -> None:
        link.close(reason)
        self._closing.add(link)

    def disconnect(self, node: str, error: QuicDistError | None = None) -> bool:
        """End the connection to ``node``, or the attempt to connect; whether there was one."""
        connection = self._connections.get(node)
        if connection is None:
            return False
        if connection.link is not None:
            self._lost(connection, connection.link, error)
            return True
        self._stop_dialling(connection)
        reason = error or NodeError("the attempt was cancelled")
        self._give_up(connection, NotConnected(node, (reason,)), called_off=True)
        return True

    def not_connected(self, node: str) -> NotConnected:
        """The error for an operation that needs a connection to ``node``, with the errors of the last dial
        or of the last connection."""
        if not self._open:
            return NotConnected(node, (NodeError("this node has stopped"),))
        connection = self._connections.get(node)
        if connection is not None and connection.link is not None and connection.link.error is not None:
            return NotConnected(node, (connection.link.error,))  # it has ended just now
        return self._errors.not_connected(node)

    # -- sending ---------------------------------------------------------------------------

    def send(
        self, node: str, control: ControlMessage, payload: Any = NO_PAYLOAD, pair: Hashable = None
    ) -> bool:
        """Send a signal. If there is no connection, the node is dialled, and the signal waits in order.
        ``pair`` is as in :meth:`~quicdist.carrier.Link.send`. Returns whether the signal was accepted; if
        not, it is lost, and ``node_down`` does not report it.

        Raises :class:`~quicdist.term.EncodeError`.
        """
        connection = self._connections.get(node)
        try:
            if connection is None:
                if self._own_name.is_dynamic:
                    why = "a node with a dynamic name connects only where it is told to: await node.connect()"
                    raise NotConnected(node, (NodeError(why),))
                connection = self._wanted(node)
            if connection.link is not None:
                connection.link.send(control, payload, pair=pair)
                return True
        except TermError:
            raise
        except LinkLost:  # the link has reported it, and node_down follows
            return False
        except QuicDistError as error:
            self.counters.signals_dropped += 1
            if self._open:  # otherwise the processes of a node that stops go on for a moment
                self._errors.dropped(node, error, caused_by=causing_peer())
            return False
        self._program_wants(connection)
        outbox = connection.outbox
        was_open = outbox.full is None
        full = outbox.add(node, control, payload, pair, self._local.codec)
        if full is not None:
            self.counters.signals_dropped += 1
        if full is not None and was_open:
            self._errors.dropped(node, full, caused_by=connection.caused_by)
            # Later: the sender must not be called back before this returns.
            asyncio.get_running_loop().call_soon(self._reopen, connection)
        return full is None

    def _reopen(self, connection: NodeConnection) -> None:
        """Report the signals lost when the outbox was full, and accept signals again."""
        full = connection.outbox.full
        if full is not None and self._connections.get(connection.node) is connection:
            connection.outbox.reopen()
            self._owner.node_down(connection.node, full, was_up=False)

    async def drain(self, node: str) -> None:
        """Wait while more bytes are queued for ``node`` than its connection's limit, also while it is being
        dialled, and always for one iteration of the event loop. Returns when the connection ends."""
        connection = self._connections.get(node)
        if connection is not None and connection.link is None and connection.outbox:
            with contextlib.suppress(NotConnected):
                await self.connect(node)
        if connection is not None and connection.link is not None:
            await connection.link.drain()
        else:
            await asyncio.sleep(0)

    def has(self, node: str) -> bool:
        """Whether ``node`` is connected or being connected."""
        return node in self._connections

    def link(self, node: str) -> Link | None:
        """The link to ``node``; None if it is not connected."""
        connection = self._connections.get(node)
        return connection.link if connection is not None else None

    def is_linked(self, node: str) -> bool:
        """Whether ``node`` is connected, or this node itself."""
        return node == self._local.identity.name or self.link(node) is not None

    def offers(self, node: str, flag: DistFlag) -> bool:
        """Whether ``node`` has the capability ``flag``; True while it is not connected."""
        link = self.link(node)
        return link is None or bool(link.peer.negotiated & flag)

    def links(self) -> Iterator[Link]:
        """All links."""
        return (connection.link for connection in list(self._connections.values()) if connection.link)

    def waiting(self) -> tuple[int, int]:
        """How many nodes are being connected, and how many signals wait for that."""
        connecting = [each for each in self._connections.values() if each.link is None]
        return len(connecting), sum(len(each.outbox) for each in connecting)

    def refused_early(self) -> Iterator[tuple[str, str, int]]:
        """Incoming connections that the carriers' own handshakes ended: carrier, reason and number."""
        return self._listeners.failed()

    # -- ending ----------------------------------------------------------------------------

    async def stop_accepting(self) -> None:
        """Stop listening; incoming connections in their handshake are closed. Dials and links continue."""
        await self._listeners.stop()

    async def dials_done(self, timeout: float) -> None:
        """Wait for the end of all dials that signals wait for, for ``timeout`` seconds at most."""
        dials = [
            connection.dialling
            for connection in self._connections.values()
            if connection.dialling is not None and connection.outbox
        ]
        if dials:
            await asyncio.wait(dials, timeout=timeout)

    async def close(self) -> None:
        """Stop listening, end all connections, and wait until the peers have been notified."""
        await self.stop_accepting()
        self.break_off()
        deadline = asyncio.get_running_loop().time() + CLOSE_TIME
        # First the tasks: a handshake that is over when it is cancelled makes a link, which is closed.
        await self._ended_by(deadline, [*self._tasks])
        await self._ended_by(deadline, [asyncio.ensure_future(link.wait_closed()) for link in self._closing])

    async def _ended_by(self, deadline: float, tasks: Sequence[asyncio.Future[None]]) -> None:
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=deadline - asyncio.get_running_loop().time())
        for task in late:
            log.error("%r has not ended in time (%g s) and is abandoned", task, CLOSE_TIME)
            task.cancel()

    def break_off(self) -> None:
        """End all connections and attempts to connect, without waiting."""
        self._open = False
        for node in list(self._connections):
            self.disconnect(node)
        for task in list(self._tasks):
            task.cancel()
