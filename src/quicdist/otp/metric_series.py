"""The series that exporters make of a :class:`NodeMetrics`: one table for all of them.

Names and units follow the conventions of Prometheus (*Metric and label naming*): base units, the unit in the
name, ``_total`` for counters. OpenTelemetry's exporters make the same names of names without prefix and
suffix.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from quicdist.carrier import LinkStats
from quicdist.node.errors import NodeError, NodeNotStarted
from quicdist.node.histogram import Durations
from quicdist.otp.metrics import LinkMetrics, NodeMetrics
from quicdist.otp.node import Node

#: Label values, in the order of :attr:`Series.labels`, and the number.
Sample = tuple[tuple[str, ...], float]


class Kind(Enum):
    """The kinds of series."""

    #: Never decreases while the node runs.
    COUNTER = "counter"
    GAUGE = "gauge"
    #: Durations in seconds.
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Series:
    """One metric. ``name`` is without ``quicdist_``, unit and ``_total``; ``unit`` is ``""``, ``"bytes"`` or
    ``"seconds"``. ``samples`` gives the numbers of a counter or gauge, ``durations`` those of a histogram."""

    name: str
    kind: Kind
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    samples: Callable[[NodeMetrics], Iterator[Sample]] = lambda metrics: iter(())
    durations: Callable[[NodeMetrics], Iterator[tuple[tuple[str, ...], Durations]]] = lambda metrics: iter(())

    @property
    def full_name(self) -> str:
        """The name in Prometheus: ``quicdist_received_bytes_total``."""
        parts = ["quicdist", self.name, self.unit, "total" if self.kind is Kind.COUNTER else ""]
        return "_".join(part for part in parts if part)


def _one(value: Callable[[NodeMetrics], float]) -> Callable[[NodeMetrics], Iterator[Sample]]:
    return lambda metrics: iter([((), value(metrics))])


def _by(
    table: Callable[[NodeMetrics], Mapping[Any, int]],
) -> Callable[[NodeMetrics], Iterator[Sample]]:
    """The samples of a mapping from label values to numbers."""

    def samples(metrics: NodeMetrics) -> Iterator[Sample]:
        for key, number in table(metrics).items():
            yield (key if isinstance(key, tuple) else (key,)), number

    return samples


def _traffic(value: Callable[[LinkStats], int]) -> Callable[[NodeMetrics], Iterator[Sample]]:
    return _by(
        lambda metrics: {carrier: value(stats) for carrier, stats in metrics.connections.traffic.items()}
    )


def _links(value: Callable[[LinkMetrics], float | None]) -> Callable[[NodeMetrics], Iterator[Sample]]:
    def samples(metrics: NodeMetrics) -> Iterator[Sample]:
        for link in metrics.links:
            number = value(link)
            if number is not None:
                yield (link.node, link.carrier), number

    return samples


def _connected(metrics: NodeMetrics) -> Mapping[str, int]:
    up = dict.fromkeys(metrics.connections.made, 0)
    for link in metrics.links:
        up[link.carrier] = up.get(link.carrier, 0) + 1
    return up


def _calls(metrics: NodeMetrics) -> Mapping[tuple[str, str], int]:
    return {
        (kind, outcome): number
        for kind, calls in metrics.calls_out.items()
        for outcome, number in calls.outcomes.items()
    }


_COUNTER, _GAUGE, _HISTOGRAM = Kind
_CARRIER, _REASON, _LINK = ("carrier",), ("carrier", "reason"), ("peer", "carrier")

#: All series.
SERIES: Final[tuple[Series, ...]] = (
    # connections
    Series("connections", _GAUGE, "Connections that are up.", "", _CARRIER, _by(_connected)),
    Series(
        *("connections_made", _COUNTER, "Connections that came up.", "", _CARRIER),
        _by(lambda metrics: metrics.connections.made),
    ),
    Series(
        *("connections_lost", _COUNTER, "Connections that ended, by reason.", "", _REASON),
        _by(lambda metrics: metrics.connections.lost),
    ),
    Series(
        *("dials_failed", _COUNTER, "Attempts to reach another node that failed, by reason.", "", _REASON),
        _by(lambda metrics: metrics.connections.dials_failed),
    ),
    Series(
        *("handshakes_refused", _COUNTER, "Incoming connections that were refused, by reason.", "", _REASON),
        _by(lambda metrics: metrics.connections.refused),
    ),
    Series(
        *("connecting", _GAUGE, "Nodes that are being connected."),
        samples=_one(lambda metrics: metrics.connections.connecting),
    ),
    Series(
        *("signals_waiting", _GAUGE, "Signals that wait for a connection."),
        samples=_one(lambda metrics: metrics.connections.signals_waiting),
    ),
    Series(
        *("signals_dropped", _COUNTER, "Signals that were lost because there was no connection."),
        samples=_one(lambda metrics: metrics.connections.signals_dropped),
    ),
    # traffic, over all connections there were
    Series(
        *("received", _COUNTER, "Bytes of messages that came.", "bytes", _CARRIER),
        _traffic(lambda stats: stats.bytes_in),
    ),
    Series(
        *("sent", _COUNTER, "Bytes of messages that were sent.", "bytes", _CARRIER),
        _traffic(lambda stats: stats.bytes_out),
    ),
    Series(
        *("received_messages", _COUNTER, "Messages and other signals that came.", "", _CARRIER),
        _traffic(lambda stats: stats.messages_in),
    ),
    Series(
        *("sent_messages", _COUNTER, "Messages and other signals that were sent.", "", _CARRIER),
        _traffic(lambda stats: stats.messages_out),
    ),
    Series(
        *("send_pauses", _COUNTER, "Times that senders had to wait for a slow node.", "", _CARRIER),
        _traffic(lambda stats: stats.send_pauses),
    ),
    # single connections
    Series(
        *("link_queued", _GAUGE, "Bytes that are not sent or not acknowledged.", "bytes", _LINK),
        _links(lambda link: link.queued),
    ),
    Series(
        *("link_blocked", _GAUGE, "1 while senders wait for this node.", "", _LINK),
        _links(lambda link: not link.writable),
    ),
    Series(
        *("link_round_trip", _GAUGE, "Smoothed round-trip time.", "seconds", _LINK),
        _links(lambda link: link.transport.round_trip),
    ),
    Series(
        *("link_retransmissions", _COUNTER, "Packets or segments that were lost.", "", _LINK),
        _links(lambda link: link.transport.retransmissions),
    ),
    Series(
        *("link_congestion_window", _GAUGE, "Congestion window.", "bytes", _LINK),
        _links(lambda link: link.transport.congestion_window),
    ),
    Series(
        *("link_in_flight", _GAUGE, "Bytes that are sent and not acknowledged.", "bytes", _LINK),
        _links(lambda link: link.transport.in_flight),
    ),
    Series(
        *("link_user_streams", _GAUGE, "Open user streams.", "", _LINK),
        _links(lambda link: link.user_streams),
    ),
    # calls
    Series(
        *("calls", _COUNTER, "Calls by this program that have ended, by outcome.", "", ("kind", "outcome")),
        _by(_calls),
    ),
    Series(
        *("call_duration", _HISTOGRAM, "Time until a call by this program has ended.", "seconds", ("kind",)),
        durations=lambda metrics: (((kind,), calls.durations) for kind, calls in metrics.calls_out.items()),
    ),
    Series(
        *("served_calls", _COUNTER, "Calls of exported functions that have ended.", "", ("outcome",)),
        _by(lambda metrics: metrics.calls_in.outcomes),
    ),
    Series(
        *("served_call_duration", _HISTOGRAM, "Time that a call of an exported function took.", "seconds"),
        durations=lambda metrics: iter([((), metrics.calls_in.durations)]),
    ),
    Series(
        *("served_calls_running", _GAUGE, "Calls of exported functions that are not answered yet."),
        samples=_one(lambda metrics: metrics.calls_running),
    ),
    # processes
    Series(
        *("processes", _GAUGE, "Processes, the node's own ones too."),
        samples=_one(lambda metrics: metrics.processes.count),
    ),
    Series(
        *("processes_spawned", _COUNTER, "Processes that were spawned."),
        samples=_one(lambda metrics: metrics.processes.spawned),
    ),
    Series(
        *("processes_crashed", _COUNTER, "Processes that crashed."),
        samples=_one(lambda metrics: metrics.processes.crashed),
    ),
    Series(
        *("mailbox_messages", _GAUGE, "Messages that wait in all mailboxes."),
        samples=_one(lambda metrics: metrics.processes.mailbox_messages),
    ),
    Series(
        *("mailbox_max_messages", _GAUGE, "Messages that wait in the fullest mailbox."),
        samples=_one(lambda metrics: metrics.processes.mailbox_max),
    ),
    # the cluster
    Series(
        *("cluster_nodes_listed", _GAUGE, "Nodes that the option cluster lists."),
        samples=_one(lambda metrics: metrics.cluster.listed),
    ),
    Series(
        *("cluster_nodes_connected", _GAUGE, "Those of them that are connected."),
        samples=_one(lambda metrics: metrics.cluster.connected),
    ),
    Series(
        *("cluster_strategies_unanswered", _GAUGE, "Strategies that have not listed any nodes yet."),
        samples=_one(lambda metrics: metrics.cluster.unanswered),
    ),
    # the event loop
    Series(
        *("event_loop_lag", _HISTOGRAM, "How late the event loop was, four times a second.", "seconds"),
        durations=lambda metrics: iter([((), metrics.loop_lag)]),
    ),
)


def snapshot(node: Node, timeout: float) -> NodeMetrics | None:
    """The metrics of a node, from any thread; None if the node does not run, or its event loop does not
    answer within ``timeout`` seconds."""
    try:
        return node.metrics()
    except NodeNotStarted:
        return None
    except NodeError:
        pass  # This is another thread.
    answer: concurrent.futures.Future[NodeMetrics] = concurrent.futures.Future()

    def take() -> None:
        if answer.set_running_or_notify_cancel():
            try:
                answer.set_result(node.metrics())
            except Exception as error:
                answer.set_exception(error)

    try:
        node.call_soon_threadsafe(take)
        return answer.result(timeout)
    except (NodeError, TimeoutError, RuntimeError):  # RuntimeError: the event loop is closed
        answer.cancel()
        return None
