"""The sockets of a node as ports, and the bytes that came and went on them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from quicdist.carrier import Link, LinkStats, NetAddress
from quicdist.node.local_node import LocalNode, NodeEvent, NodeUp


class NodeLinks:
    """Numbers the listeners and links of a node, and adds up their traffic, ended links included."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node
        self._numbers: dict[NetAddress | Link, int] = {}
        self._next = itertools.count(1)
        self._stats: dict[str, LinkStats] = {}
        #: Bytes in and out of links that have ended.
        self._ended = (0, 0)
        self._watching = False

    def watch(self) -> None:
        """Count from now on, with what the present links have carried."""
        if not self._watching:
            self._watching = True
            self._node.subscribe(self._changed)
            for link in self._node.connections.links():
                self._stats[link.peer.name] = link.stats

    def _changed(self, event: NodeEvent) -> None:
        ended = self._stats.pop(event.node, None)
        if ended is not None:
            bytes_in, bytes_out = self._ended
            self._ended = (bytes_in + ended.bytes_in, bytes_out + ended.bytes_out)
        link = self._node.connections.link(event.node)
        if isinstance(event, NodeUp) and link is not None:
            self._stats[event.node] = link.stats

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes that came in and went out on connections to other nodes; they never decrease."""
        bytes_in, bytes_out = self._ended
        return (
            bytes_in + sum(stats.bytes_in for stats in self._stats.values()),
            bytes_out + sum(stats.bytes_out for stats in self._stats.values()),
        )

    def numbered(self) -> Iterator[tuple[int, NetAddress | Link]]:
        """The listeners and links of now, each with a number that stays its own."""
        known, self._numbers = self._numbers, {}
        sockets: list[NetAddress | Link] = [*self._node.addresses, *self._node.connections.links()]
        for socket in sockets:
            number = known.get(socket)
            self._numbers[socket] = next(self._next) if number is None else number
        return iter([(number, socket) for socket, number in self._numbers.items()])
