"""Keeps a node connected to the nodes that its strategies list: the counterpart of libcluster.

Source: libcluster 3.5.0, ``Cluster.Strategy`` (``connect_nodes/4``, ``disconnect_nodes/4``).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from quicdist.cluster import Backoff, Strategy
from quicdist.cluster.membership import Membership
from quicdist.cluster.strategy import INTERVAL
from quicdist.containment import contained, describe, settle
from quicdist.errors import QuicDistError
from quicdist.logs import RateLimit, get_logger
from quicdist.node.dial_queue import own_context
from quicdist.node.errors import NodeError, NotSettled
from quicdist.node.local_node import LocalNode, NodeDown, NodeEvent, NodeUp
from quicdist.protocol import parse_node_name
from quicdist.protocol.names import node_name
from quicdist.term.names import Name

log = get_logger("quicdist.node.cluster")

#: Nodes that are dialled at once.
MAX_DIALS: Final = 16
#: Nodes that one strategy may list.
MAX_NODES: Final = 1000
#: Events that wait for the reader of an iterator; the oldest are dropped beyond that.
MAX_EVENTS: Final = 1000
#: The part of an interval by which it varies, so that nodes started together do not ask together.
JITTER: Final = 0.1


@dataclass(frozen=True, slots=True)
class ConnectFailed:
    """A node that is listed could not be reached; it is dialled again after ``retry_in`` seconds."""

    node: str
    error: QuicDistError
    retry_in: float


@dataclass(frozen=True, slots=True)
class LookupFailed:
    """A strategy could not say which nodes there are. The last answer stays valid; it is asked again after
    ``retry_in`` seconds."""

    strategy: Strategy
    error: BaseException
    retry_in: float


#: What :meth:`Cluster.subscribe` and :meth:`Cluster.events` report. A node that is listed has joined
#: (:class:`NodeUp`), has left (:class:`NodeDown`), or could not be reached.
ClusterEvent = NodeUp | NodeDown | ConnectFailed | LookupFailed


class ClusterEvents(AsyncIterator[ClusterEvent]):
    """The events of a cluster from its making on, until :meth:`close` or the end of the node. If the reader
    is slow, the last 1000 are kept; ``dropped`` counts the others."""

    def __init__(self, cluster: Cluster) -> None:
        self.dropped = 0
        self._kept: deque[ClusterEvent] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._over = False
        self._unsubscribe = cluster.subscribe(self._add)

    def _add(self, event: ClusterEvent) -> None:
        if len(self._kept) >= MAX_EVENTS:
            self._kept.popleft()
            self.dropped += 1
        self._kept.append(event)
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def close(self) -> None:
        """End the iteration after the events that are there."""
        self._over = True
        self._unsubscribe()
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ClusterEvent:
        while not self._kept:
            if self._over:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._kept.popleft()


class _Lookup:
    """One strategy, and its last answer."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self.answered = False
        self.error: BaseException | None = None
        self.failures = 0

    @property
    def name(self) -> str:
        try:
            return repr(self.strategy)
        except Exception:
            return type(self.strategy).__qualname__


class Cluster:
    """The nodes that this node stays connected to: ``node.cluster``.

    ``strategies`` list them. Each node listed that is not connected is dialled at once, and again with a
    back-off (``retry``) until it is connected; a connection that ends is made again in the same way.

    A node that a strategy no longer lists is not dialled any more. It is disconnected only if the strategy
    ``disconnects`` and no other one lists it, as in libcluster. A lookup that fails changes nothing.
    """

    def __init__(self, node: LocalNode, strategies: Sequence[Strategy], retry: Backoff) -> None:
        self._node = node
        self._lookups = [_Lookup(strategy) for strategy in strategies]
        self._backoff = retry
        self._chance = random.SystemRandom()
        self._members = Membership(node.name, retry, self._chance)
        self._errors: dict[str, QuicDistError] = {}
        self._subscribers: list[Callable[[ClusterEvent], None]] = []
        self._iterators: list[ClusterEvents] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._dials = 0
        self._timer: asyncio.TimerHandle | None = None
        self._running = False
        self._unsubscribe: Callable[[], None] = lambda: None
        self._failed_lookups = RateLimit()

    def __repr__(self) -> str:
        asked = ", ".join(lookup.name for lookup in self._lookups) or "no strategy"
        share = f"{len(self.connected)} of {len(self.nodes)}"
        return f"<Cluster of {self._node.name}: {share} nodes connected, {asked}>"

    # -- what there is ---------------------------------------------------------------------

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """The strategies, in the order in which they were given."""
        return tuple(lookup.strategy for lookup in self._lookups)

    @property
    def nodes(self) -> list[str]:
        """The nodes that the strategies list, without this one."""
        return self._members.nodes

    @property
    def connected(self) -> list[str]:
        """Those of :attr:`nodes` that are connected."""
        return self._members.up

    @property
    def missing(self) -> dict[str, QuicDistError | None]:
        """Those of :attr:`nodes` that are not connected, each with the error of the last attempt, or None
        before that has failed."""
        up = set(self.connected)
        return {node: self._errors.get(node) for node in self.nodes if node not in up}

    @property
    def unanswered(self) -> dict[str, BaseException | None]:
        """The strategies, by their names, that have not listed any nodes yet, each with its last error."""
        return {lookup.name: lookup.error for lookup in self._lookups if not lookup.answered}

    # -- waiting and events ----------------------------------------------------------------

    async def settled(self, *, at_least: int | None = None, timeout: float | None = None) -> list[str]:
        """Wait until each strategy has answered and all nodes listed are connected; returns these nodes.

        With ``at_least``, wait until so many of the nodes listed are connected, whichever they are: for a
        list in which a node may be down for long. ``timeout`` is in seconds; None waits for ever.

        Raises :class:`NotSettled` after the time-out, :class:`NodeNotStarted`.
        """
        self._check_running()
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        while not self._is_settled(at_least):
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError:
                assert timeout is not None
                raise NotSettled(timeout, self.missing, self.unanswered) from None
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            self._check_running()
        return self.connected

    def _check_running(self) -> None:
        if not self._running:
            raise self._node.not_started()
        self._node.check_loop()

    def _is_settled(self, at_least: int | None) -> bool:
        if at_least is not None:
            return len(self.connected) >= at_least
        return not self.unanswered and not self.missing

    def subscribe(self, callback: Callable[[ClusterEvent], None]) -> Callable[[], None]:
        """Call ``callback`` with every event from now on; the function returned ends that."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback) if callback in self._subscribers else None

    def events(self) -> ClusterEvents:
        """The events from now on, as an asynchronous iterator, which ends with the node::

        async for event in node.cluster.events():
            match event:
                case NodeUp(name): ...
                case NodeDown(name, error): ...
                case ConnectFailed(name, error, retry_in): ...
                case LookupFailed(strategy, error, retry_in): ...
        """
        events = ClusterEvents(self)
        self._iterators.append(events)
        return events

    def _tell(self, event: ClusterEvent) -> None:
        for callback in list(self._subscribers):
            contained(log, f"{callback!r}, called with {event},", callback, event)
        self._changed()

    def _changed(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # -- starting and stopping -------------------------------------------------------------

    def start(self) -> None:
        """Begin to look up and to dial, when the node runs."""
        self._running = True
        self._unsubscribe = self._node.subscribe(self._node_event)
        for lookup in self._lookups:
            self._run(self._look_up(lookup), f"cluster of {self._node.name}: {lookup.name}")

    def stop(self) -> None:
        """End all lookups and dials. Connections stay."""
        if not self._running:
            return
        self._running = False
        self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        for events in self._iterators:
            events.close()
        self._iterators.clear()
        self._changed()

    def forked(self) -> None:
        """This is a copy in a forked process, where the node does not run."""
        self._running = False

    def _run(self, work: Any, name: str) -> None:
        # A message of a peer can be the cause, but this dial is the program's.
        task = asyncio.get_running_loop().create_task(work, name=name, context=own_context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- looking up ------------------------------------------------------------------------

    async def _look_up(self, lookup: _Lookup) -> None:
        """Ask one strategy again and again."""
        strategy = lookup.strategy
        while True:
            nodes, error = await settle(self._names(strategy))
            if isinstance(error, StopAsyncIteration):
                lookup.answered = True
                self._changed()
                return
            if error is not None:
                lookup.failures += 1
                delay = self._backoff.delay(lookup.failures, self._chance)
                self._lookup_failed(lookup, error, delay)
                await asyncio.sleep(delay)
                continue
            lookup.failures, lookup.error, lookup.answered = 0, None, True
            self._listed(lookup, nodes)
            interval = getattr(strategy, "interval", INTERVAL)
            if interval is None:
                return
            await asyncio.sleep(interval * self._chance.uniform(1 - JITTER, 1 + JITTER))

    async def _names(self, strategy: Strategy) -> list[str]:
        """The names that a strategy lists now, checked."""
        found: list[str] = []
        listed: Iterable[Name] = await strategy.nodes(self._node.name)
        if isinstance(listed, str | bytes):
            raise NodeError(f"expected a list of node names, got {listed!r}")
        for name in listed:
            if len(found) >= MAX_NODES:
                raise NodeError(f"more than {MAX_NODES} nodes are listed")
            found.append(str(parse_node_name(node_name(name))))
        # A node with a dynamic name has got it by now.
        return [name for name in found if name != self._node.name]

    def _lookup_failed(self, lookup: _Lookup, error: BaseException, delay: float) -> None:
        lookup.error = error
        error.__traceback__ = None  # It is kept, and would keep frames alive.
        note = self._failed_lookups.admit(lookup.name)
        if note is not None:
            kind = "" if isinstance(error, QuicDistError) else f"{type(error).__qualname__}: "
            log.warning("%s: %s%s; asked again in %.1f s%s", lookup.name, kind, describe(error), delay, note)
        self._tell(LookupFailed(lookup.strategy, error, delay))

    def _listed(self, lookup: _Lookup, nodes: list[str]) -> None:
        connected = {link.peer.name for link in self._node.connections.links()}
        gone = self._members.listed(lookup, nodes, connected, self._now())
        for node in gone:
            self._errors.pop(node, None)
            if not getattr(lookup.strategy, "disconnects", False):
                continue
            was_up = self._node.connections.link(node) is not None
            if self._node.connections.disconnect(node) and was_up:
                log.info("%s is no longer listed by %s: disconnected", node, lookup.name)
                self._tell(NodeDown(node, None))
        self._dial_due()
        self._changed()

    # -- connections -----------------------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _node_event(self, event: NodeEvent) -> None:
        if isinstance(event, NodeUp):
            told = self._members.connected(event.node, self._now())
            self._errors.pop(event.node, None)
        else:
            told = self._members.disconnected(event.node, self._now()) is not None
            if told and event.error is not None:
                self._errors[event.node] = event.error
        if told:
            self._tell(event)
            self._dial_due()

    def _dial_due(self) -> None:
        """Dial the nodes whose time has come, and set the timer for the next one."""
        if not self._running:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for node in self._members.due(self._now(), MAX_DIALS - self._dials):
            self._dials += 1
            self._run(self._dial(node), f"cluster of {self._node.name}: dial {node}")
        at = self._members.next_time()
        if at is not None and self._dials < MAX_DIALS:
            self._timer = asyncio.get_running_loop().call_at(at, self._dial_due)

    async def _dial(self, node: str) -> None:
        try:
            _, error = await settle(self._node.connections.connect(node))
        finally:
            self._dials -= 1
        if error is None and not self._node.connections.is_linked(node):
            error = NodeError("the connection ended at once")
        if error is not None:
            failure = error if isinstance(error, QuicDistError) else NodeError(describe(error))
            delay = self._members.failed(node, self._now())
            if delay is not None:
                failure.__traceback__ = None  # It is kept, and would keep frames alive.
                self._errors[node] = failure
                self._tell(ConnectFailed(node, failure, delay))
        self._dial_due()
