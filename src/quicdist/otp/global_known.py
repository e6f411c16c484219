"""The other nodes that ``global`` knows, with their protocol versions.

OTP: ``global``, the map *known* of its state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from quicdist.term import Atom

#: The protocol version of this node, that of OTP 25 to 29.
VERSION = 8
#: From this version on, nodes have versions in messages, and tell each other of lost connections.
WITH_VERSIONS = 7
#: Nodes that are known, and nodes in one message; more are left out.
MAX_NODES = 4096

_CONNECTION_ID, _PENDING, _REMOVING = Atom("connection_id"), Atom("pending"), Atom("removing")
_YES = Atom("yes")


@dataclass(slots=True)
class KnownNodes:
    """What one node knows of others."""

    #: Those that have the same names, or will have when they are connected.
    versions: dict[str, int] = field(default_factory=dict)
    #: Those that names are being exchanged with.
    pending: dict[str, int] = field(default_factory=dict)
    #: Those whose connection is to end here; others are not told when it does.
    removing: set[str] = field(default_factory=set)
    #: Those that are connected.
    connection_ids: dict[str, int] = field(default_factory=dict)

    def __contains__(self, node: str) -> bool:
        return node in self.versions or node in self.pending

    def version(self, node: str) -> int:
        """The protocol version of another node; 0 if it is not known."""
        return self.versions.get(node, self.pending.get(node, 0))

    def add(self, nodes: dict[str, int]) -> list[str]:
        """Nodes are known from now on; those of them that were not. Known ones keep their versions."""
        added = [node for node in nodes if node not in self.versions][: MAX_NODES - len(self.versions)]
        for node in added:
            self.versions[node] = nodes[node]
        return added

    def remove(self, node: str) -> None:
        """A node is not known any more."""
        self.pending.pop(node, None)
        self.versions.pop(node, None)

    def informed(self, without: str) -> list[str]:
        """The nodes that are told of lost connections."""
        nodes = (self.versions | self.pending).items()
        return [node for node, version in nodes if node != without and version >= WITH_VERSIONS]

    def term(self) -> dict[Any, Any]:
        """The map of OTP."""
        return {
            **{Atom(node): version for node, version in self.versions.items()},
            **{(_PENDING, Atom(node)): version for node, version in self.pending.items()},
            **{(_REMOVING, Atom(node)): _YES for node in self.removing},
            **{(_CONNECTION_ID, Atom(node)): number for node, number in self.connection_ids.items()},
        }


def nodes_term(nodes: dict[str, int], version: int) -> list[Any]:
    """Nodes and their versions, for a node with a protocol version."""
    if version < WITH_VERSIONS:
        return [Atom(node) for node in nodes]
    return [(Atom(node), its_version) for node, its_version in nodes.items()]


def nodes_of(term: list[Any], without: str) -> dict[str, int]:
    """The nodes in a message, ``[Node | {Node, Version}]``; a version of 0 is not known."""
    nodes: dict[str, int] = {}
    for entry in term[:MAX_NODES]:
        match entry:
            case Atom() as node:
                nodes[node.name] = 0
            case (Atom() as node, int() as version):
                nodes[node.name] = version
    nodes.pop(without, None)
    return nodes
