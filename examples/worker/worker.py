"""A worker of a cluster: stays connected, takes jobs, and ends in order: see README.md."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import quicdist
from quicdist import Atom, Node, NodeUp
from quicdist.node import ClusterEvent, ConnectFailed

log = logging.getLogger("worker")


def job(number: int, seconds: float) -> tuple[Atom, int]:
    """``worker:job/2``: a job that takes a while. A stop of the worker waits for it."""
    time.sleep(seconds)
    return Atom("done"), 2 * number


def told(event: ClusterEvent) -> None:
    match event:
        case NodeUp(node):
            log.info("%s is there", node)
        case ConnectFailed(node, error, retry_in):
            log.warning("%s: %s; again in %.1f s", node, error, retry_in)


async def work(**options: Any) -> None:
    """Work for the nodes of the option ``cluster`` until SIGTERM."""
    async with Node(**options) as node:
        node.export("worker", blocking=True)(job)
        node.cluster.subscribe(told)
        log.info("%s takes jobs", node.name)
        await node.run_forever()
    log.info("stopped")


def options() -> dict[str, Any]:
    """The options of the node, from the environment."""
    nodes = {}
    for entry in os.environ.get("NODES", "").split():  # a@host=10.0.0.1:4370, where there is no epmd
        name, _, address = entry.partition("=")
        host, _, port = address.rpartition(":")
        nodes[name] = (host, int(port))
    return {
        "name": os.environ.get("NODE", "worker@127.0.0.1"),
        "cookie": os.environ.get("COOKIE", "secret"),
        "carrier": "tcp",
        "listen": False,
        "nodes": nodes,
        "cluster": os.environ.get("CLUSTER", "a@127.0.0.1").split(),
    }


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    quicdist.run(work(**options()))
