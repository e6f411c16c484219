"""A bounded table of entries for unauthenticated peers, in which a new entry evicts another."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

from quicdist.carrier.addresses import Source

H = TypeVar("H", bound=Hashable)


class EvictingTable(Generic[H]):
    """At most ``most`` entries of unauthenticated peers, such as connections in their handshake, and at most
    ``per_source`` of one source.

    A new entry is always taken: :meth:`enter` returns the one that it evicts. That is, in this order:

    1. the oldest of the same source, if that has ``per_source``;
    2. the oldest whose address is not validated;
    3. the oldest of the source that has most.

    The oldest of a source is the oldest silent one while more than half of its entries are silent, otherwise
    the oldest that has sent something valid (:meth:`spoke`): neither a flood of silent connections evicts
    those that speak, nor the other way round. A peer behind an address that attackers use as well is
    accepted, and stays if its handshake is quicker than they fill its source's share.
    """

    def __init__(self, most: int, per_source: int) -> None:
        if not 1 <= per_source <= most:
            raise ValueError(f"per_source {per_source} is not 1 to {most}")
        self.most = most
        self.per_source = per_source
        #: By source, the entries of each in the order in which they were made.
        self._held: dict[Source, dict[H, None]] = {}
        self._sources: dict[H, Source] = {}
        #: Those whose address is not validated, in the order in which they were made.
        self._unvalidated: dict[H, None] = {}
        self._speaking: set[H] = set()

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, thing: object) -> bool:
        return thing in self._sources

    def __iter__(self) -> Iterator[H]:
        return iter(tuple(self._sources))

    def count(self, source: Source) -> int:
        """The number of entries of a source."""
        return len(self._held.get(source, ()))

    def enter(self, thing: H, source: Source, *, validated: bool) -> H | None:
        """Add ``thing``; the entry that was evicted for it, or None. ``validated``: the peer was seen to
        receive at its address."""
        evicted = self._to_evict(source)
        if evicted is not None:
            self.leave(evicted)
        self._sources[thing] = source
        self._held.setdefault(source, {})[thing] = None
        if not validated:
            self._unvalidated[thing] = None
        return evicted

    def validated(self, thing: H) -> None:
        """The address of ``thing`` is validated now."""
        self._unvalidated.pop(thing, None)

    def spoke(self, thing: H) -> None:
        """``thing`` has sent something valid."""
        if thing in self._sources:
            self._speaking.add(thing)

    def leave(self, thing: H) -> None:
        """Remove ``thing``, if it is there."""
        source = self._sources.pop(thing, None)
        if source is None:
            return
        self._unvalidated.pop(thing, None)
        self._speaking.discard(thing)
        held = self._held[source]
        del held[thing]
        if not held:
            del self._held[source]

    def _to_evict(self, source: Source) -> H | None:
        if self.count(source) >= self.per_source:
            return self._oldest(source)
        if len(self._sources) < self.most:
            return None
        if self._unvalidated:
            return next(iter(self._unvalidated))
        # Only when the table is full: at most as many sources as there are entries.
        return self._oldest(max(self._held, key=self.count))

    def _oldest(self, source: Source) -> H:
        held = self._held[source]
        if not self._speaking:
            return next(iter(held))
        silent = [thing for thing in held if thing not in self._speaking]
        if 2 * len(silent) > len(held):
            return silent[0]
        return next(thing for thing in held if thing in self._speaking)
