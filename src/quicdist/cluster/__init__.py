"""Which nodes a cluster has: the strategies of ``Node(cluster=...)``, as libcluster has them.

A strategy lists names of nodes; discovery (:mod:`quicdist.discovery`) finds their addresses. ``Node`` keeps
the connections: :class:`quicdist.node.Cluster`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quicdist.cluster.backoff import Backoff
    from quicdist.cluster.dns import DnsPoll, DnsSrv
    from quicdist.cluster.epmd import EpmdHosts, ErlangHosts, LocalEpmd
    from quicdist.cluster.strategy import ChangingNodes, ClusterSource, StaticNodes, Strategy
else:
    from quicdist.lazy import lazy_names

    # A node loads the strategies that it uses.
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "quicdist.cluster.backoff": "Backoff",
            "quicdist.cluster.dns": "DnsPoll DnsSrv",
            "quicdist.cluster.epmd": "EpmdHosts ErlangHosts LocalEpmd",
            "quicdist.cluster.strategy": "ChangingNodes ClusterSource StaticNodes Strategy",
        },
    )

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
