"""Which nodes a cluster has: the strategies of ``Node(cluster=...)``, as libcluster has them.

A strategy lists names of nodes; discovery (:mod:`quicdist.discovery`) finds their addresses. ``Node`` keeps
the connections: :class:`quicdist.node.Cluster`.
"""

from quicdist.cluster.backoff import Backoff
from quicdist.cluster.dns import DnsPoll, DnsSrv
from quicdist.cluster.epmd import EpmdHosts, ErlangHosts, LocalEpmd
from quicdist.cluster.strategy import ChangingNodes, ClusterSource, StaticNodes, Strategy

__all__ = [
    "Backoff",
    "ChangingNodes",
    "ClusterSource",
    "DnsPoll",
    "DnsSrv",
    "EpmdHosts",
    "ErlangHosts",
    "LocalEpmd",
    "StaticNodes",
    "Strategy",
]
