"""The node: processes, mailboxes, names, links, monitors, aliases, and the table of connections."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
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
else:
    from quicdist.lazy import lazy_names

    # The modules of this package import each other, not the package: its names are for programs.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "quicdist.node.cluster": "Cluster ClusterEvent ClusterEvents ConnectFailed LookupFailed",
            "quicdist.node.errors": """
                CookieError NameRegistered NetTickTimeout NodeError NodeNotStarted NoSuchProcess NotConnected
                NotSettled ProcessEnded ProcessExit SpawnError
            """,
            "quicdist.node.event_loop": "run",
            "quicdist.node.histogram": "Durations",
            "quicdist.node.local_node": "LocalNode NodeDown NodeEvent NodeUp",
            "quicdist.node.patterns": "ANY AnyOf",
            "quicdist.node.process": "Process",
            "quicdist.node.tracing": "CallTracer Span TracedCall",
        },
    )

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
