"""Decides which nodes to dial, when, and which to disconnect. It does no I/O and holds no clock."""

from __future__ import annotations

import enum
import random
from collections.abc import Collection, Hashable, Iterable
from typing import Final

from quicdist.cluster.backoff import Backoff

#: Nodes no longer listed whose last attempt is remembered.
MAX_FORMER: Final = 1000


class MemberState(enum.Enum):
    """The states of a node that is listed."""

    #: It is not connected, and will be dialled at a known time.
    WAITING = enum.auto()
    #: It is being dialled.
    DIALLING = enum.auto()
    #: It is connected.
    UP = enum.auto()


WAITING, DIALLING, UP = MemberState


class Member:
    """A node that is listed."""

    __slots__ = ("at", "failures", "last", "state")

    def __init__(self, at: float, last: float) -> None:
        self.state = WAITING
        #: When it is dialled, or since when it has been connected.
        self.at = at
        #: When it was dialled last.
        self.last = last
        #: Attempts that failed, and connections that ended soon, in a row.
        self.failures = 0


class Membership:
    """The nodes that the strategies list, and the state of the connection to each.

    Times are seconds of one clock, passed in. ``own`` is this node, which is never dialled.
    """

    def __init__(self, own: str, backoff: Backoff, chance: random.Random | None = None) -> None:
        self._own = own
        self._backoff = backoff
        self._chance = chance or random.SystemRandom()
        self._lists: dict[Hashable, frozenset[str]] = {}
        self._members: dict[str, Member] = {}
        #: When nodes that are no longer listed were dialled last.
        self._former: dict[str, float] = {}

    # -- what is listed ----------------------------------------------------------------------

    def listed(
        self, source: Hashable, nodes: Iterable[str], connected: Collection[str], now: float
    ) -> list[str]:
        """A strategy (``source``) has listed all its ``nodes``. ``connected`` are the nodes connected now.
        Returns the nodes that it listed before, and that no strategy lists any more."""
        before = self._lists.get(source, frozenset())
        listed = self._lists[source] = frozenset(nodes) - {self._own}
        for node in sorted(listed - self._members.keys()):
            last = self._former.pop(node, None)
            # A node that comes and goes is not dialled each time that it comes.
            at = now if last is None else max(now, last + self._backoff.initial)
            member = self._members[node] = Member(at, now if last is None else last)
            if node in connected:
                member.state, member.at = UP, now
        gone = sorted(node for node in before - listed if not self.is_listed(node))
        for node in gone:
            self._former[node] = self._members.pop(node).last
            if len(self._former) > MAX_FORMER:
                del self._former[next(iter(self._former))]
        return gone

    def is_listed(self, node: str) -> bool:
        """Whether a strategy lists ``node``."""
        return any(node in listed for listed in self._lists.values())

    @property
    def nodes(self) -> list[str]:
        """All nodes listed, without this one."""
        return sorted(self._members)

    def state(self, node: str) -> MemberState | None:
        """The state of a node; None if it is not listed."""
        member = self._members.get(node)
        return None if member is None else member.state

    @property
    def up(self) -> list[str]:
        """The listed nodes that are connected."""
        return sorted(node for node, member in self._members.items() if member.state is UP)

    # -- what happens ------------------------------------------------------------------------

    def due(self, now: float, most: int) -> list[str]:
        """At most ``most`` nodes that are to be dialled now, those that have waited longest first."""
        waiting = [
            (member.at, node)
            for node, member in self._members.items()
            if member.state is WAITING and member.at <= now
        ]
        due = [node for _, node in sorted(waiting)[:most]]
        for node in due:
            member = self._members[node]
            member.state, member.last = DIALLING, now
        return due

    def next_time(self) -> float | None:
        """When the next node is to be dialled."""
        return min((member.at for member in self._members.values() if member.state is WAITING), default=None)

    def connected(self, node: str, now: float) -> bool:
        """A node is connected, whichever side has dialled; whether it is listed."""
        member = self._members.get(node)
        if member is None:
            return False
        if member.state is not UP:
            member.state, member.at = UP, now
        return True

    def disconnected(self, node: str, now: float) -> float | None:
        """A connection has ended: seconds until the node is dialled; None if it is not listed."""
        member = self._members.get(node)
        if member is None or member.state is not UP:
            return None
        if now - member.at >= self._backoff.maximum:
            member.failures = 0
        return self._wait(member, now)

    def failed(self, node: str, now: float) -> float | None:
        """An attempt has failed: seconds until the next one; None if the node is not being dialled."""
        member = self._members.get(node)
        if member is None or member.state is not DIALLING:
            return None
        return self._wait(member, now)

    def _wait(self, member: Member, now: float) -> float:
        member.failures += 1
        delay = self._backoff.delay(member.failures, self._chance)
        member.state, member.at = WAITING, now + delay
        return delay
