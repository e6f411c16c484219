"""``global:sync``: who waits until the names of which nodes are the same here.

OTP: ``global(3)``, ``sync/0,1``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

#: Nodes that calls of ``global:sync`` wait for, all together; further calls are refused.
MAX_AWAITED = 100_000


@dataclass(slots=True, eq=False)
class Syncer:
    """One call that waits."""

    nodes: set[str]
    done: Callable[[], None]


class Syncers:
    """The calls that wait, and the nodes whose names are the same here."""

    def __init__(self) -> None:
        self.synced: dict[str, None] = {}
        self._waiting: list[Syncer] = []

    def add(self, nodes: Iterable[str], done: Callable[[], None]) -> Syncer | None:
        """Call ``done`` when all of these nodes are synchronised; None if too many wait."""
        syncer = Syncer({node for node in nodes if node not in self.synced}, done)
        if not syncer.nodes:
            done()
        elif sum(len(other.nodes) for other in self._waiting) + len(syncer.nodes) > MAX_AWAITED:
            return None
        else:
            self._waiting.append(syncer)
        return syncer

    def synced_with(self, node: str) -> None:
        """The names of a node are the same here."""
        self.synced[node] = None
        self.gone(node)

    def down(self, node: str) -> None:
        """A node is gone: nobody waits for it any more."""
        self.synced.pop(node, None)
        self.gone(node)

    def gone(self, node: str, syncer: Syncer | None = None) -> None:
        """A node is not waited for any more, by one call or by all."""
        for one in [syncer] if syncer is not None else list(self._waiting):
            one.nodes.discard(node)
            if not one.nodes and one in self._waiting:
                self._waiting.remove(one)
                one.done()
