"""Figures of a node at one moment: ``node.metrics()``.

Nothing is computed for them while the node runs, except counters that are counted where a connection, a call
or a process begins or ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from quicdist.carrier import Link, LinkStats, TransportStats
from quicdist.node.cluster import Cluster
from quicdist.node.histogram import Durations
from quicdist.node.local_node import LocalNode
from quicdist.otp.call_counters import CallCounters
from quicdist.otp.services import Services
from quicdist.protocol import DistFlag


@dataclass(frozen=True, slots=True)
class LinkMetrics:
    """One connection. ``stats`` are its counters; ``queued`` are the bytes that this side has not sent or
    that the peer has not acknowledged; with ``writable`` false, senders wait (:meth:`Node.drain`)."""

    node: str
    carrier: str
    hidden: bool
    stats: LinkStats
    transport: TransportStats
    queued: int
    writable: bool
    user_streams: int


@dataclass(frozen=True, slots=True)
class ConnectionMetrics:
    """The connections since the start of the node, by carrier (``"quic"``, ``"tcp"``, ``"tls"``) and reason.

    A reason is the name of an error's class, such as ``NetTickTimeout`` or ``WrongCookie``. ``made`` and
    ``lost`` are connections that were up; the reason ``Closed`` means that this node has closed it.
    ``dials_failed`` are attempts to reach another node, one for each carrier tried; ``refused`` are incoming
    connections that were refused or given up. ``traffic`` are the sums over all connections, also those that
    have ended. ``connecting`` nodes are being dialled now, and ``signals_waiting`` for that;
    ``signals_dropped`` were lost because their node was not connected.
    """

    made: Mapping[str, int]
    lost: Mapping[tuple[str, str], int]
    dials_failed: Mapping[tuple[str, str], int]
    refused: Mapping[tuple[str, str], int]
    traffic: Mapping[str, LinkStats]
    connecting: int
    signals_waiting: int
    signals_dropped: int


@dataclass(frozen=True, slots=True)
class CallMetrics:
    """The calls of one kind that have ended: how many by outcome, and their durations in seconds.

    The outcome of a call of this node is ``return``, or the class of the error: ``CallTimeout``,
    ``RemoteError``, ``NotConnected``, ... Of a call by another node it is ``return``, ``error``, ``exit`` or
    ``throw``.
    """

    outcomes: Mapping[str, int]
    durations: Durations


@dataclass(frozen=True, slots=True)
class ProcessMetrics:
    """The processes: how many there are (the node's own ones too) and were spawned, how many have crashed,
    and how many messages wait in all mailboxes together and in the fullest one."""

    count: int
    spawned: int
    crashed: int
    mailbox_messages: int
    mailbox_max: int


@dataclass(frozen=True, slots=True)
class ClusterMetrics:
    """The nodes that the option ``cluster`` lists: how many, how many of them are connected, and how many
    strategies have not answered."""

    listed: int
    connected: int
    unanswered: int


@dataclass(frozen=True, slots=True)
class NodeMetrics:
    """Figures of a node at one moment. Counters begin with the node and never decrease.

    ``calls_out`` are the calls of this program by kind: ``erpc`` (:meth:`Node.call` too) and ``gen``
    (``gen_server`` and the like). ``calls_in`` are the calls of exported functions by other nodes, of which
    ``calls_running`` are not answered yet. ``loop_lag`` is by how many seconds the event loop was late,
    measured four times a second.
    """

    node: str
    links: tuple[LinkMetrics, ...]
    connections: ConnectionMetrics
    calls_out: Mapping[str, CallMetrics]
    calls_in: CallMetrics
    calls_running: int
    processes: ProcessMetrics
    cluster: ClusterMetrics
    loop_lag: Durations


def node_metrics(node: LocalNode, services: Services, cluster: Cluster) -> NodeMetrics:
    """The figures of a running node, now. Raises :class:`NodeError` in another thread."""
    runtime = node.runtime
    runtime.check_thread()
    mailboxes = [process.message_queue_len for process in runtime.processes()]
    return NodeMetrics(
        node=node.name,
        links=tuple(_link(node, link) for link in node.connections.links()),
        connections=_connections(node),
        calls_out={"erpc": _calls(services.erpc.counters), "gen": _calls(services.gen.counters)},
        calls_in=_calls(services.dispatcher.counters),
        calls_running=len(runtime.calls.running()),
        processes=ProcessMetrics(
            count=len(mailboxes),
            spawned=runtime.identifiers.pids_made,
            crashed=runtime.crashes,
            mailbox_messages=sum(mailboxes),
            mailbox_max=max(mailboxes, default=0),
        ),
        cluster=ClusterMetrics(len(cluster.nodes), len(cluster.connected), len(cluster.unanswered)),
        loop_lag=node.loop_lag(),
    )


def _link(node: LocalNode, link: Link) -> LinkMetrics:
    return LinkMetrics(
        node=link.peer.name,
        carrier=link.carrier_name,
        hidden=not link.peer.negotiated & DistFlag.PUBLISHED,
        stats=link.stats.copy(),
        transport=link.transport_stats(),
        queued=link.pending,
        writable=link.writable,
        user_streams=len(node.streams.list(link.peer.name)),
    )


def _connections(node: LocalNode) -> ConnectionMetrics:
    table = node.connections
    counters = table.counters
    refused = counters.refused.copy()
    for carrier, reason, number in table.refused_early():
        refused[carrier, reason] += number
    connecting, waiting = table.waiting()
    return ConnectionMetrics(
        made=dict(counters.made),
        lost=dict(counters.lost),
        dials_failed=dict(counters.dials_failed),
        refused=dict(refused),
        traffic=counters.totals(table.links()),
        connecting=connecting,
        signals_waiting=waiting,
        signals_dropped=counters.signals_dropped,
    )


def _calls(counters: CallCounters) -> CallMetrics:
    return CallMetrics(dict(counters.outcomes), counters.durations.snapshot())
