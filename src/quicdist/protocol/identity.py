"""What the two nodes of a connection tell each other about themselves in the handshake."""

from __future__ import annotations

from dataclasses import dataclass

from quicdist.protocol.flags import DEFAULT_FLAGS, DistFlag


@dataclass(frozen=True, slots=True)
class LocalIdentity:
    """The name, creation and flags of this node.

    ``name`` is the full node name. With NAME_ME in ``flags`` it is the host alone: the node then
    asks the node that it connects to for a name, and ``creation`` is not sent. ``internal`` is the node
    name in the pids and references of such a node within itself, where they have the creation 0.
    """

    name: str
    creation: int
    flags: DistFlag = DEFAULT_FLAGS
    internal: str | None = None

    @property
    def of_own_identifiers(self) -> tuple[str, int]:
        """The node name and the creation of this node's own pids and references within it."""
        return (self.name, self.creation) if self.internal is None else (self.internal, 0)


@dataclass(frozen=True, slots=True)
class GivenName:
    """A name and a creation for a node that asks for a name (NAME_ME)."""

    name: str
    creation: int


@dataclass(frozen=True, slots=True)
class Peer:
    """The node at the other end.

    ``flags`` are the flags that it offered (with MANDATORY_25_DIGEST expanded), ``negotiated`` those that
    both nodes offered: only these may be used on the connection.
    """

    name: str
    creation: int
    flags: DistFlag
    negotiated: DistFlag

    @property
    def hidden(self) -> bool:
        """Whether it is a hidden node: one that does not offer PUBLISHED."""
        return not self.flags & DistFlag.PUBLISHED
