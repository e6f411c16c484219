"""Nodes listed by hand, as in ``quic_discovery_static``: no daemon, no name server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from quicdist.carrier import Address
from quicdist.discovery.contract import Backend, BackendDiscovery
from quicdist.protocol.names import node_name
from quicdist.term import Atom
from quicdist.term.names import Name

#: Addresses by node name.
Addresses: TypeAlias = (
    Mapping[str, Address | tuple[str, int]]
    | Mapping[Atom, Address | tuple[str, int]]
    | Mapping[Name, Address | tuple[str, int]]
)


class StaticTable(Backend):
    """A table of node names and addresses, which may change while nodes use it."""

    def __init__(self, nodes: Addresses | None = None) -> None:
        self._listed: dict[str, Address] = {}
        self._registered: dict[str, Address] = {}
        if nodes is not None:
            for node, address in nodes.items():
                self.add(node, address)

    def add(self, node: Name, address: Address | tuple[str, int]) -> None:
        """List ``node`` (``name@host``), in place of what was listed for it.

        Raises :class:`ValueError` for a name without host or a port outside 1 to 65535.
        """
        name = node_name(node)
        self._listed[name] = _checked(name, address)

    def remove(self, node: Name) -> None:
        """Remove ``node`` from the table, if it is listed."""
        self._listed.pop(node_name(node), None)

    async def register(self, node: str, port: int) -> None:
        host = node.partition("@")[2]
        if host:
            self._registered[node] = _checked(node, (host, port))

    async def unregister(self, node: str) -> None:
        self._registered.pop(node, None)

    async def lookup(self, node: str, host: str) -> Address | None:
        # Entries made by hand take precedence over registered ones: a port may be mapped.
        return self._listed.get(node) or self._registered.get(node)

    async def list_nodes(self, host: str) -> Sequence[tuple[str, int]]:
        return [(node, address.port) for node, address in (self._registered | self._listed).items()]


def _checked(node: str, address: Address | tuple[str, int]) -> Address:
    host, port = (address.host, address.port) if isinstance(address, Address) else address
    name, _, node_host = node.partition("@")
    if not name or not node_host:
        raise ValueError(f"{node!r} is not a node name: expected name@host")
    if not host or not 0 < port < 1 << 16:
        raise ValueError(f"invalid address of {node}: host {host!r}, port {port}")
    return Address(host, port)


class StaticDiscovery(BackendDiscovery):
    """Discovery by a :class:`StaticTable`: ``StaticDiscovery({"a@host": ("10.0.0.1", 4433)})``.

    Nodes of this program that share one object find each other: registering lists them.
    """

    def __init__(
        self,
        nodes: Addresses | None = None,
        *,
        default_port: int | None = None,
    ) -> None:
        self.table = StaticTable(nodes)
        super().__init__(self.table, label="static table", default_port=default_port)

    def add(self, node: Name, address: Address | tuple[str, int]) -> None:
        """:meth:`StaticTable.add`."""
        self.table.add(node, address)

    def remove(self, node: Name) -> None:
        """:meth:`StaticTable.remove`."""
        self.table.remove(node)
