"""A connection on its way in, from the name it says to the end of its handshake.

OTP's ``net_kernel`` takes a node whose attempt it has let in for one that is being connected
(``accept_pending``): who wants to send there meanwhile waits for that connection, and does not dial. Here
that holds from the moment at which the attempt has shown that it knows the cookie: anybody can say a name.
Before that, a dial waits for an attempt that is under way a moment only (:data:`GRACE`), and goes on beside
it. Which of the two stands is decided when the peer has proved the cookie, by OTP's rule: the dial of the
node with the greater name, once that has said its name.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from quicdist.carrier import LocalNode
from quicdist.protocol import Challenges, LocalIdentity, PeerNamed, Status
from quicdist.term import Codec

#: Seconds for which a dial waits for an attempt of the same node that was let in: most are through by then.
GRACE: Final = 0.2
#: Seconds for which a dial that has failed waits for one.
PATIENCE: Final = 1.0

_LET_IN = frozenset({Status.OK, Status.OK_SIMULTANEOUS})


class AcceptTable(Protocol):
    """The table of connections, as one on its way in sees it."""

    @property
    def arrivals(self) -> Arrivals: ...

    def accept_pending(self, node: str, accepting: PendingAccept) -> None:
        """``node`` is being connected by its own attempt, which knows the cookie."""

    def peer_proved(self, node: str, accepting: PendingAccept) -> asyncio.Future[None] | None:
        """As :meth:`~quicdist.carrier.LocalNode.peer_proved`."""


class Arrivals:
    """Attempts of other nodes that were let in, and have not shown yet that they know the cookie. Those
    there are, carriers bound."""

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
        """Wait until no attempt of ``node`` is under way, for so many seconds at most."""
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
    """The node as the carrier sees it in one incoming handshake: a :class:`LocalNode` that notes
    who is let in."""

    def __init__(self, local: LocalNode, table: AcceptTable) -> None:
        self._local = local
        self._table = table
        #: The name that was let in, once one was.
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

    def connection_requested(self, peer: PeerNamed) -> Status:
        status = self._local.connection_requested(peer)
        if status in _LET_IN:
            self.node = peer.name
            self._table.arrivals.add(peer.name, self)
        return status

    def connection_alive(self, node: str) -> bool:
        return self._local.connection_alive(node)

    def name_said(self, node: str) -> None:
        """Who is dialled says its name with the challenge, which commits nobody."""

    def peer_proved(self, node: str) -> asyncio.Future[None] | None:
        return self._table.peer_proved(node, self)

    def old_connection_pending(self, node: str) -> None:
        self._local.old_connection_pending(node)
        self.node = node
        self._table.accept_pending(node, self)
