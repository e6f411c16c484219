"""quicdist without asyncio: a node in a thread of its own.

::

    from quicdist.sync import Node

    with Node("py@127.0.0.1", cookie="secret") as node:
        print(node.call("a@127.0.0.1", "lists", "reverse", [[1, 2, 3]]))

Terms, errors, servers and all else come from :mod:`quicdist`.
"""

from quicdist.sync.cluster import Cluster, ClusterEvents
from quicdist.sync.exports import Exports
from quicdist.sync.node import Node
from quicdist.sync.process import Process
from quicdist.sync.request import Request
from quicdist.sync.streams import StreamAcceptor, UserStream

__all__ = [
    "Cluster",
    "ClusterEvents",
    "Exports",
    "Node",
    "Process",
    "Request",
    "StreamAcceptor",
    "UserStream",
]
