"""Limits concurrent dials, and those among them that messages of peers cause.

A peer can name any number of nodes, and an answer to a pid of a node that is not connected needs a dial.
Dials caused by messages of peers have a small limit, wait in a queue of bounded length for each peer, and
are not repeated at once after a failure. Dials of the program go before them. Dials that a caller waits for
go before all others, and a part of the places is reserved for them. What a process sends outside the
handling of a peer's message counts as the program's, even if a peer has named the destination.
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

#: Concurrent dials, by default: each needs one or two sockets.
MAX_DIALS: Final = 64
#: Concurrent dials that messages of peers may cause. Resolving a host name occupies a thread, and an event
#: loop has few.
MAX_PROVOKED: Final = 4
#: The share of the places that is reserved for dials that a caller waits for: one in so many.
AWAITED_SHARE: Final = 4
#: Waiting dials that messages of one peer may cause.
MAX_WAITING: Final = 256
#: Seconds for which messages of peers do not cause another dial to a node that could not be reached.
RETRY: Final = 1.0
#: Unreachable nodes that are remembered.
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


def causing_peer() -> str | None:
    """The peer whose message is being handled; None outside of that."""
    return _peer.get()


def own_context() -> contextvars.Context:
    """A copy of the context in which no message of a peer is being handled."""
    context = contextvars.copy_context()
    context.run(_peer.set, None)
    return context


class DialKind(enum.Enum):
    """The kinds of dials, from the highest priority to the lowest; each has a limit."""

    #: A caller waits for the connection.
    AWAITED = enum.auto()
    #: The program has sent something.
    WANTED = enum.auto()
    #: A message of a peer has caused it.
    PROVOKED = enum.auto()


class Ticket:
    """One dial, while it waits for a place and while it has one."""

    __slots__ = ("awaited", "entered", "peer", "place")

    def __init__(self, peer: str | None) -> None:
        #: The peer whose message has caused it; None for the program.
        self.peer = peer
        #: Whether a caller waits for the connection.
        self.awaited = False
        #: Done when it has a place; None before it waits for one.
        self.place: asyncio.Future[None] | None = None
        #: Its kind when it got a place; None before.
        self.entered: DialKind | None = None


class DialQueue:
    """Gives places to dials, in order of arrival within each kind (:class:`DialKind`)."""

    def __init__(self, most: int = MAX_DIALS) -> None:
        if most < 1:
            raise NodeError(f"max_dials is {most}: expected at least 1")
        self._max = most
        #: The limits for dials that no caller waits for, and for dials that peers have caused.
        self._max_unawaited = max(1, most - most // AWAITED_SHARE)
        self._max_provoked = min(MAX_PROVOKED, most)
        self._dialling = self._unawaited = self._provoked = 0
        self._awaited: deque[Ticket] = deque()
        self._wanted: deque[Ticket] = deque()
        self._waiting: deque[Ticket] = deque()
        #: The number of dials caused by each peer that have not ended.
        self._caused: Counter[str] = Counter()
        self._failed: dict[str, float] = {}

    def ticket(self, node: str) -> Ticket:
        """A ticket for a dial to ``node``; it ends with :meth:`leave`. Raises :class:`NodeError` if the dial
        must not start: too many dials caused by the same peer wait, or the last one failed just now."""
        peer = _peer.get()
        if peer is not None:
            failed = self._failed.get(node)
            if failed is not None and asyncio.get_running_loop().time() - failed < RETRY:
                raise NodeError(f"not dialled again: it could not be reached less than {RETRY:g} s ago")
            if self._caused[peer] >= MAX_WAITING:
                raise NodeError(
                    f"not dialled: {MAX_WAITING} dials caused by messages of {peer} are waiting already"
                )
            self._caused[peer] += 1
        return Ticket(peer)

    def wanted(self, ticket: Ticket) -> None:
        """The program wants the connection too: the dial goes before those of peers."""
        if ticket.peer is None:
            return
        self._forget_cause(ticket)
        self._move(ticket)

    def awaited(self, ticket: Ticket) -> None:
        """A caller waits for the connection: the dial goes before all others."""
        if ticket.awaited:
            return
        self._forget_cause(ticket)
        ticket.awaited = True
        self._move(ticket)

    async def enter(self, ticket: Ticket) -> None:
        """Wait for a place."""
        ticket.place = asyncio.get_running_loop().create_future()
        self._queue_for(ticket).append(ticket)
        self._next()
        await ticket.place

    def _queue_for(self, ticket: Ticket) -> deque[Ticket]:
        """The queue for a dial of its kind."""
        if ticket.awaited:
            return self._awaited
        return self._wanted if ticket.peer is None else self._waiting

    def _move(self, ticket: Ticket) -> None:
        """Move a waiting dial to the queue for its kind."""
        if ticket.place is None or ticket.entered is not None:
            return
        for queue in (self._waiting, self._wanted):
            if ticket in queue:
                queue.remove(ticket)
                self._queue_for(ticket).append(ticket)
                self._next()
                return

    def leave(self, ticket: Ticket) -> None:
        """The dial has ended or will not take place. A second call does nothing."""
        self._forget_cause(ticket)
        if ticket.entered is not None:
            self._dialling -= 1
            self._unawaited -= ticket.entered is not DialKind.AWAITED
            self._provoked -= ticket.entered is DialKind.PROVOKED
            ticket.entered = None
            self._next()
        else:
            for queue in (self._awaited, self._wanted, self._waiting):
                if ticket in queue:
                    queue.remove(ticket)

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
        while self._dialling < self._max:
            if self._awaited:
                self._enters(self._awaited.popleft(), DialKind.AWAITED)
            elif self._unawaited >= self._max_unawaited:
                return
            elif self._wanted:
                self._unawaited += 1
                self._enters(self._wanted.popleft(), DialKind.WANTED)
            elif self._waiting and self._provoked < self._max_provoked:
                self._unawaited += 1
                self._provoked += 1
                self._enters(self._waiting.popleft(), DialKind.PROVOKED)
            else:
                return

    def _enters(self, ticket: Ticket, kind: DialKind) -> None:
        self._dialling += 1
        ticket.entered = kind
        if ticket.place is not None and not ticket.place.done():
            ticket.place.set_result(None)
