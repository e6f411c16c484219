"""An incoming connection, from the name that the peer sends to the end of the handshake.

OTP's ``net_kernel`` regards a node whose incoming attempt it has accepted as one that is being connected
(``accept_pending``): signals to that node wait for the connection, and nothing is dialled. Here this holds
only after the peer has proved the cookie, because any peer can claim a name. Before that, a dial waits for an
incoming attempt of the same name for a short time only (:data:`GRACE`), and then runs concurrently. When the
peer has proved the cookie, OTP's rule decides between the two: the dial of the node with the greater name is
kept, if it has sent its name.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from quicdist.carrier import LocalNode
from quicdist.protocol import Challenges, GivenName, LocalIdentity, PeerNamed, Status
from quicdist.term import Codec

#: Seconds for which a dial waits for an accepted attempt of the same node: most handshakes take less.
GRACE: Final = 0.2
#: Seconds for which a failed dial waits for one.
PATIENCE: Final = 1.0

_ACCEPTED = frozenset({Status.OK, Status.OK_SIMULTANEOUS})


class AcceptTable(Protocol):
    """The table of connections, as far as an incoming connection uses it."""

    @property
    def arrivals(self) -> Arrivals: ...

    def accept_pending(self, node: str, accepting: PendingAccept) -> None:
        """The attempt of ``node`` has proved the cookie and replaces a dial."""

    def peer_proved(self, node: str, accepting: PendingAccept) -> asyncio.Future[None] | None:
        """As :meth:`~quicdist.carrier.LocalNode.peer_proved`."""


class Arrivals:
    """Incoming attempts that were accepted and have not proved the cookie yet. Carriers limit their
    number."""

    def __init__(self) -> None:
        self._attempts: dict[str, set[PendingAccept]] = {}
        self._waiters: dict[str, set[asyncio.Future[None]]] = {}

    def add(self, node: str, accepting: PendingAccept) -> None:
        self._attempts.setdefault(node, set()).add(accepting)

    def discard(self, node: str, accepting: PendingAccept) -> None:
        attempts = self._attempts.get(node)
        if attempts is None:
            return
        attempts.discard(accepting)
        if not attempts:
            del self._attempts[node]
            for waiter in self._waiters.pop(node, ()):
                if not waiter.done():
                    waiter.set_result(None)

    async def over(self, node: str, seconds: float) -> None:
        """Wait until there is no attempt of ``node``, for so many seconds at most."""
        if node not in self._attempts:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(node, set())
        waiters.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=seconds)
        finally:
            waiters.discard(waiter)
            if not waiters and self._waiters.get(node) is waiters:
                del self._waiters[node]


class PendingAccept:
    """This node in one incoming handshake: a :class:`~quicdist.carrier.LocalNode` that tells the table of
    connections whose attempt it is."""

    def __init__(self, local: LocalNode, table: AcceptTable) -> None:
        self._local = local
        self._table = table
        #: The name of the accepted node, once there is one.
        self.node: str | None = None

    @property
    def identity(self) -> LocalIdentity:
        return self._local.identity

    @property
    def codec(self) -> Codec:
        return self._local.codec

    @property
    def challenges(self) -> Challenges:
        return self._local.challenges

    def cookie_for(self, node: str) -> str:
        return self._local.cookie_for(node)

    def connection_requested(self, peer: PeerNamed) -> Status | GivenName:
        status = self._local.connection_requested(peer)
        if isinstance(status, GivenName):
            self.node = status.name
        elif status in _ACCEPTED:
            self.node = peer.name
            self._table.arrivals.add(peer.name, self)
        return status

    def connection_alive(self, node: str) -> bool:
        return self._local.connection_alive(node)

    def name_said(self, node: str) -> None:
        """Nothing to do: a dialled node sends its name with the challenge, which decides nothing."""

    def peer_proved(self, node: str) -> asyncio.Future[None] | None:
        return self._table.peer_proved(node, self)

    def old_connection_pending(self, node: str) -> None:
        self._local.old_connection_pending(node)
        self.node = node
        self._table.accept_pending(node, self)
