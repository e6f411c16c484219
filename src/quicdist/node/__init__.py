"""The node: processes, mailboxes, names, links, monitors, aliases, and the table of connections."""

from quicdist.node.cluster import Cluster, ClusterEvent, ClusterEvents, ConnectFailed, LookupFailed
from quicdist.node.errors import (
    CookieError,
    NameRegistered,
    NetTickTimeout,
    NodeError,
    NodeNotStarted,
    NoSuchProcess,
    NotConnected,
    NotSettled,
    ProcessEnded,
    ProcessExit,
    SpawnError,
)
from quicdist.node.event_loop import run
from quicdist.node.histogram import Durations
from quicdist.node.local_node import LocalNode, NodeDown, NodeEvent, NodeUp
from quicdist.node.patterns import ANY, AnyOf
from quicdist.node.process import Process
from quicdist.node.tracing import CallTracer, Span, TracedCall

__all__ = [
    "ANY",
    "AnyOf",
    "CallTracer",
    "Cluster",
    "ClusterEvent",
    "ClusterEvents",
    "ConnectFailed",
    "CookieError",
    "Durations",
    "LocalNode",
    "LookupFailed",
    "NameRegistered",
    "NetTickTimeout",
    "NoSuchProcess",
    "NodeDown",
    "NodeError",
    "NodeEvent",
    "NodeNotStarted",
    "NodeUp",
    "NotConnected",
    "NotSettled",
    "Process",
    "ProcessEnded",
    "ProcessExit",
    "Span",
    "SpawnError",
    "TracedCall",
    "run",
]
