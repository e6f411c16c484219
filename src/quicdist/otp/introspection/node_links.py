"""The sockets of a node as ports, and the bytes that came and went on them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from quicdist.carrier import Link, NetAddress
from quicdist.node.local_node import LocalNode, NodeEvent, NodeUp


class NodeLinks:
    """Numbers the listeners and links of a node, and adds up their traffic, ended links included."""

    def __init__(self, node: LocalNode) -> None:
        self._node = node
        self._numbers: dict[NetAddress | Link, int] = {}
        self._next = itertools.count(1)
        #: The links that are up, by node.
        self._links: dict[str, Link] = {}
        #: Bytes in and out of links that have ended.
        self._ended = (0, 0)
        self._watching = False

    def watch(self) -> None:
        """Count from now on, with what the present links have carried."""
        if not self._watching:
            self._watching = True
            self._node.subscribe(self._changed)
            for link in self._node.connections.links():
                self._links[link.peer.name] = link

    def _changed(self, event: NodeEvent) -> None:
        ended = self._links.pop(event.node, None)
        if ended is not None:
            self._numbers.pop(ended, None)
            bytes_in, bytes_out = self._ended
            self._ended = (bytes_in + ended.stats.bytes_in, bytes_out + ended.stats.bytes_out)
        link = self._node.connections.link(event.node)
        if isinstance(event, NodeUp) and link is not None:
            self._links[event.node] = link

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes that came in and went out on connections to other nodes; they never decrease."""
        bytes_in, bytes_out = self._ended
        stats = [link.stats for link in self._links.values()]
        return (
            bytes_in + sum(one.bytes_in for one in stats),
            bytes_out + sum(one.bytes_out for one in stats),
        )

    def numbered(self) -> Iterator[tuple[int, NetAddress | Link]]:
        """The listeners and links of now, each with a number that stays its own."""
        known, self._numbers = self._numbers, {}
        sockets: list[NetAddress | Link] = [*self._node.addresses, *self._node.connections.links()]
        for socket in sockets:
            number = known.get(socket)
            self._numbers[socket] = next(self._next) if number is None else number
        return iter([(number, socket) for socket, number in self._numbers.items()])
