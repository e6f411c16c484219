"""A connection on its way in, from the name it says to the end of its handshake.

OTP's ``net_kernel`` takes a node whose attempt it has let in for one that is being connected
(``accept_pending``): who wants to send there meanwhile waits for that connection, and does not dial.
"""

from __future__ import annotations

from typing import Protocol

from quicdist.carrier import LocalNode
from quicdist.protocol import LocalIdentity, PeerNamed, Status
from quicdist.term import Codec

_LET_IN = frozenset({Status.OK, Status.OK_SIMULTANEOUS})


class AcceptTable(Protocol):
    """The table of connections, as one on its way in sees it."""

    def accept_pending(self, node: str, accepting: Accepting) -> None:
        """``node`` is being connected by its own attempt."""


class Accepting:
    """The node as the carrier sees it in one incoming handshake: a :class:`LocalNode` that notes
    who is let in."""

    def __init__(self, local: LocalNode, table: AcceptTable) -> None:
        self._local = local
        self._table = table
        #: The node that was let in, once it was.
        self.node: str | None = None

    @property
    def identity(self) -> LocalIdentity:
        return self._local.identity

    @property
    def codec(self) -> Codec:
        return self._local.codec

    def cookie_for(self, node: str) -> str:
        return self._local.cookie_for(node)

    def connection_requested(self, peer: PeerNamed) -> Status:
        status = self._local.connection_requested(peer)
        if status in _LET_IN:
            self._let_in(peer.name)
        return status

    def connection_alive(self, node: str) -> bool:
        return self._local.connection_alive(node)

    def old_connection_pending(self, node: str) -> None:
        self._local.old_connection_pending(node)
        self._let_in(node)

    def _let_in(self, node: str) -> None:
        self.node = node
        self._table.accept_pending(node, self)
