"""How many nodes are dialled at once, and who may cause it.

A peer can name any number of nodes: an answer to a pid of a node that is not connected means a dial. Such
dials, which come of what peers send, have few places of their own, wait in a line of bounded length for
each peer, and are not repeated at once where one has failed. Those of the program go before them; and those
that somebody waits for before all others, and a part of the places is theirs: what a process that runs by
itself sends, to whomever a peer has named, counts as the program's.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import functools
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from quicdist.node.errors import NodeError

#: Dials under way at once, unless told otherwise: each has a socket or two.
MAX_DIALS: Final = 64
#: Of those, the ones that came of what peers sent. Names that cannot be resolved hold a thread each, of
#: which an event loop has few.
MAX_PROVOKED: Final = 4
#: One part in so many of all places is for dials that somebody waits for.
AWAITED_SHARE: Final = 4
#: Dials that may wait for what one peer has sent.
MAX_WAITING: Final = 256
#: Seconds for which a node that could not be reached is not dialled again for what a peer sends.
RETRY: Final = 1.0
#: Nodes of which that is remembered.
MAX_FAILED: Final = 1024
#: Signals, and bytes of them, that may wait for such a dial.
PROVOKED_SIGNALS: Final = 10_000
PROVOKED_BYTES: Final = 16 * 1024 * 1024

#: The peer whose message is being handled, also in tasks that its handling has started.
_peer: contextvars.ContextVar[str | None] = contextvars.ContextVar("quicdist_peer", default=None)


def on_behalf_of(node: str, function: Callable[..., None]) -> Callable[..., None]:
    """``function``, called so that the dials it causes count as caused by ``node``. It must not be called
    again while it runs."""
    context = contextvars.copy_context()
    context.run(_peer.set, node)
    return functools.partial(context.run, function)


def peer_behind() -> str | None:
    """The peer whose message is being handled; None for what the program does by itself."""
    return _peer.get()


def by_itself() -> contextvars.Context:
    """A context for what goes on by itself, whatever has begun it."""
    context = contextvars.copy_context()
    context.run(_peer.set, None)
    return context


class TooManyDials(NodeError):
    """A dial was not begun: too many others wait, caused by the same peer."""


class DialKind(enum.Enum):
    """Which dials go first, and how many of each kind there may be at once."""

    #: Somebody waits for the connection.
    AWAITED = enum.auto()
    #: The program has sent something.
    WANTED = enum.auto()
    #: A message of a peer has caused it.
    PROVOKED = enum.auto()


class Ticket:
    """One dial, before and while it has a place."""

    __slots__ = ("awaited", "entered", "peer", "turn")

    def __init__(self, peer: str | None) -> None:
        #: The peer that has caused it; None for the program.
        self.peer = peer
        #: Somebody waits for the connection.
        self.awaited = False
        #: Done when it has a place; None before it waits for one.
        self.turn: asyncio.Future[None] | None = None
        #: What it was when it got a place; None before.
        self.entered: DialKind | None = None


class DialQueue:
    """Gives each dial its place, in the order of their coming: first those that somebody waits for, then
    the program's."""

    def __init__(self, most: int = MAX_DIALS) -> None:
        if most < 1:
            raise NodeError(f"{most} dials at once: it takes 1 to reach a node")
        self._most = most
        #: Dials that nobody waits for, and of those the ones that peers have caused.
        self._most_unawaited = max(1, most - most // AWAITED_SHARE)
        self._most_provoked = min(MAX_PROVOKED, most)
        self._dialling = self._unawaited = self._provoked = 0
        self._awaited: deque[Ticket] = deque()
        self._wanted: deque[Ticket] = deque()
        self._waiting: deque[Ticket] = deque()
        #: How many dials each peer has caused that are not over.
        self._caused: Counter[str] = Counter()
        self._failed: dict[str, float] = {}

    def ticket(self, node: str) -> Ticket:
        """A ticket for a dial to ``node``, for whoever causes it now; it ends with :meth:`leave`. Raises
        :class:`TooManyDials`."""
        peer = _peer.get()
        if peer is not None:
            failed = self._failed.get(node)
            if failed is not None and asyncio.get_running_loop().time() - failed < RETRY:
                raise TooManyDials(f"it could not be reached less than {RETRY:g} s ago")
            if self._caused[peer] >= MAX_WAITING:
                raise TooManyDials(f"{MAX_WAITING} dials wait already that messages of {peer} have caused")
            self._caused[peer] += 1
        return Ticket(peer)

    def wanted(self, ticket: Ticket) -> None:
        """The program wants that connection as well: it goes before those of peers."""
        if ticket.peer is None:
            return
        self._forget_cause(ticket)
        self._move(ticket)

    def awaited(self, ticket: Ticket) -> None:
        """Somebody waits for that connection: it goes before those that nobody waits for."""
        if ticket.awaited:
            return
        self._forget_cause(ticket)
        ticket.awaited = True
        self._move(ticket)

    async def enter(self, ticket: Ticket) -> None:
        """Wait for a place."""
        ticket.turn = asyncio.get_running_loop().create_future()
        self._line(ticket).append(ticket)
        self._next()
        await ticket.turn

    def _line(self, ticket: Ticket) -> deque[Ticket]:
        """The line it has to wait in."""
        if ticket.awaited:
            return self._awaited
        return self._wanted if ticket.peer is None else self._waiting

    def _move(self, ticket: Ticket) -> None:
        """To the line it has to wait in, if it waits."""
        if ticket.turn is None or ticket.entered is not None:
            return
        for line in (self._waiting, self._wanted):
            if ticket in line:
                line.remove(ticket)
                self._line(ticket).append(ticket)
                self._next()
                return

    def leave(self, ticket: Ticket) -> None:
        """That dial is over, or will not be: once is enough."""
        self._forget_cause(ticket)
        if ticket.entered is not None:
            self._dialling -= 1
            self._unawaited -= ticket.entered is not DialKind.AWAITED
            self._provoked -= ticket.entered is DialKind.PROVOKED
            ticket.entered = None
            self._next()
        else:
            for line in (self._awaited, self._wanted, self._waiting):
                if ticket in line:
                    line.remove(ticket)

    def failed(self, node: str) -> None:
        """``node`` could not be reached."""
        self._failed.pop(node, None)
        if len(self._failed) >= MAX_FAILED:
            del self._failed[next(iter(self._failed))]
        self._failed[node] = asyncio.get_running_loop().time()

    def _forget_cause(self, ticket: Ticket) -> None:
        peer, ticket.peer = ticket.peer, None
        if peer is not None:
            self._caused[peer] -= 1
            if not self._caused[peer]:
                del self._caused[peer]

    def _next(self) -> None:
        while self._dialling < self._most:
            if self._awaited:
                self._enters(self._awaited.popleft(), DialKind.AWAITED)
            elif self._unawaited >= self._most_unawaited:
                return
            elif self._wanted:
                self._unawaited += 1
                self._enters(self._wanted.popleft(), DialKind.WANTED)
            elif self._waiting and self._provoked < self._most_provoked:
                self._unawaited += 1
                self._provoked += 1
                self._enters(self._waiting.popleft(), DialKind.PROVOKED)
            else:
                return

    def _enters(self, ticket: Ticket, kind: DialKind) -> None:
        self._dialling += 1
        ticket.entered = kind
        if ticket.turn is not None and not ticket.turn.done():
            ticket.turn.set_result(None)
