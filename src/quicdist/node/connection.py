"""One connection of this node to another, from the first signal or dial to its end."""

from __future__ import annotations

import asyncio
import enum
from copy import copy

from quicdist.carrier import Link
from quicdist.node.dial_queue import PROVOKED_BYTES, PROVOKED_SIGNALS, Ticket
from quicdist.node.errors import NotConnected
from quicdist.node.outbox import Outbox
from quicdist.node.pending_accept import PendingAccept


class ConnectionState(enum.Enum):
    """Where a connection is in its life. OTP's ``net_kernel`` calls all before ``UP`` ``pending``.

    OTP's ``up_pending`` is missing: when a connected node that lost the connection makes another one, the old
    one ends here at once.
    """

    #: There is no dial and no incoming attempt yet.
    NEW = enum.auto()
    #: This node's dial waits for a place in the queue; or it has failed, and waits for an attempt of the
    #: other node.
    DIAL_WAITING = enum.auto()
    #: This node's dial is under way.
    DIALLING = enum.auto()
    #: An attempt of the other node has proved the cookie, and replaces a dial.
    ACCEPTING = enum.auto()
    #: There is a link.
    UP = enum.auto()
    #: It is no longer in the table.
    ENDED = enum.auto()


_NEW, _DIAL_WAITING, _DIALLING, _ACCEPTING, _UP, _ENDED = ConnectionState

#: The states that may follow each state.
_NEXT: dict[ConnectionState, frozenset[ConnectionState]] = {
    _NEW: frozenset({_DIAL_WAITING, _ACCEPTING, _UP}),
    _DIAL_WAITING: frozenset({_DIALLING, _ACCEPTING, _UP, _ENDED}),
    _DIALLING: frozenset({_DIAL_WAITING, _ACCEPTING, _UP, _ENDED}),
    _ACCEPTING: frozenset({_ACCEPTING, _DIAL_WAITING, _UP, _ENDED}),
    _UP: frozenset({_ENDED}),
    _ENDED: frozenset(),
}


class NodeConnection:
    """The connection to one node: a link, or the signals that wait for one and the attempts to make it."""

    __slots__ = (
        "accepting",
        "caused_by",
        "dialling",
        "link",
        "name_said",
        "node",
        "outbox",
        "state",
        "ticket",
        "told",
        "waiters",
    )

    def __init__(self, node: str, caused_by: str | None = None) -> None:
        self.node = node
        self.state = _NEW
        #: The peer whose messages made this node dial; None once the program wants the connection too.
        self.caused_by = caused_by
        #: The link, while the state is ``UP``.
        self.link: Link | None = None
        #: Incoming attempts that have proved the cookie and whose handshake has not ended.
        self.accepting: set[PendingAccept] = set()
        #: The task that dials, and its place in the queue.
        self.dialling: asyncio.Task[None] | None = None
        self.ticket: Ticket | None = None
        #: This node's dial has sent the name; done when the dial has ended.
        self.name_said: asyncio.Future[None] | None = None
        self.outbox = Outbox() if caused_by is None else Outbox(PROVOKED_SIGNALS, PROVOKED_BYTES)
        self.waiters: list[asyncio.Future[Link]] = []
        #: Whether the program was told that the node is up.
        self.told = False

    def fail_waiters(self, error: NotConnected) -> None:
        """There is no link for those who wait for one."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(copy(error))  # one each, because an exit reason may be set on it

    def become(self, state: ConnectionState) -> None:
        """Change the state to one that may follow."""
        assert state in _NEXT[self.state], f"{self.node}: {self.state} is not followed by {state}"
        self.state = state

    @property
    def is_unwanted(self) -> bool:
        """Whether no caller and no signal waits for it."""
        return not self.waiters and not self.outbox
