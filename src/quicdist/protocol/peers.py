"""The two sides of a connection, as the handshake makes them known to each other."""

from __future__ import annotations

from dataclasses import dataclass

from quicdist.protocol.flags import DEFAULT_FLAGS, DistFlag


@dataclass(frozen=True, slots=True)
class LocalIdentity:
    """What this node says of itself in handshakes.

    ``name`` is the full node name. With NAME_ME in ``flags`` it is the host alone: the node then
    asks to be given a name by the node it connects to, and ``creation`` is not sent.
    """

    name: str
    creation: int
    flags: DistFlag = DEFAULT_FLAGS


@dataclass(frozen=True, slots=True)
class Peer:
    """The node at the other end.

    ``flags`` are those it offered (with MANDATORY_25_DIGEST spelled out), ``negotiated`` those
    that both offered: what may be used on this connection.
    """

    name: str
    creation: int
    flags: DistFlag
    negotiated: DistFlag

    @property
    def hidden(self) -> bool:
        """Whether it is a hidden node: one that does not offer PUBLISHED."""
        return not self.flags & DistFlag.PUBLISHED
