"""Accounting of strangers by where they come from: rates, delays, and places of a bounded table.

A source is an IPv4 address or an IPv6 /64, the least that one host is given (RFC 6177, RFC 4291 section
2.5.1): who owns it may use all of its addresses. All tables are bounded, and made-up addresses cannot grow
them; sources that do not fit share what is left. Times are the caller's, in seconds of any steady clock.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

#: A source as a key: 4 bytes of an IPv4 address, 8 of an IPv6 prefix, or the text of something else.
Source = bytes

#: The prefix of IPv4-mapped IPv6 addresses, ``::ffff:0:0/96`` (RFC 4291, section 2.5.5.2).
_MAPPED: Final = bytes(10) + b"\xff\xff"
_PREFIX: Final = 8
#: Sources kept in a table unless told otherwise.
SOURCES: Final = 1024

H = TypeVar("H", bound=Hashable)


def source_of(host: str) -> Source:
    """The source of an IP address in text, with or without a scope id. IPv4 in IPv6 is IPv4."""
    try:
        if ":" not in host:
            return socket.inet_aton(host)
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return host.encode()[:_PREFIX]
    return packed[12:] if packed.startswith(_MAPPED) else packed[:_PREFIX]


class TokenBucket:
    """Allows ``rate`` events per second on average, and ``burst`` at once."""

    __slots__ = ("_at", "_tokens", "burst", "rate")

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._at = float("-inf")

    def take(self, now: float, amount: float = 1.0) -> bool:
        """Take ``amount`` tokens if they are there."""
        if now > self._at:
            # At the first call the bucket is full, whatever the clock says.
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
            self._at = now
        if self._tokens < amount:
            return False
        self._tokens -= amount
        return True

    def give_back(self, amount: float = 1.0) -> None:
        """Return tokens that were taken and not used."""
        self._tokens = min(self.burst, self._tokens + amount)

    def available(self, now: float, amount: float = 1.0) -> float:
        """In how many seconds ``amount`` tokens are there; 0 if they are there now."""
        tokens = min(self.burst, self._tokens + max(0.0, now - self._at) * self.rate)
        return max(0.0, (amount - tokens) / self.rate)


class SourceRates:
    """A :class:`TokenBucket` for each source.

    At most ``sources`` buckets are kept. To make room the one used longest ago is dropped: who can send
    from more sources than that is not held back by a limit per source, and needs one for all.
    """

    def __init__(self, rate: float, burst: float, *, sources: int = SOURCES) -> None:
        self._rate, self._burst, self._sources = rate, burst, sources
        self._buckets: dict[Source, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, source: Source, now: float) -> bool:
        """Take a token of a source, if there is one."""
        bucket = self._buckets.pop(source, None)
        if bucket is None:
            if len(self._buckets) >= self._sources:
                del self._buckets[next(iter(self._buckets))]
            bucket = TokenBucket(self._rate, self._burst)
        # The order of the table is that of use.
        self._buckets[source] = bucket
        return bucket.take(now)

    def give_back(self, source: Source) -> None:
        """Return a token that was taken and not used."""
        bucket = self._buckets.get(source)
        if bucket is not None:
            bucket.give_back()


class FailureDelay:
    """How long the failures of a source make it wait, for example its wrong cookies.

    The first ``free`` failures cost nothing; each one after that doubles the delay from ``first`` seconds
    up to ``longest``. A failure is forgotten after ``forget`` seconds. At most ``sources`` are kept, and the
    one that failed longest ago makes room.
    """

    def __init__(
        self,
        *,
        free: int = 3,
        first: float = 0.05,
        longest: float = 1.0,
        forget: float = 10.0,
        sources: int = SOURCES,
    ) -> None:
        self._free, self._first, self._longest = free, first, longest
        self._forget, self._sources = forget, sources
        #: By source, in the order of their last failures: how many count, and since when.
        self._failures: dict[Source, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._failures)

    def failed(self, source: Source, now: float) -> float:
        """Count a failure; the seconds to wait before it is answered."""
        count = self._count(source, now) + 1
        self._failures.pop(source, None)
        if len(self._failures) >= self._sources:
            del self._failures[next(iter(self._failures))]
        # What is beyond the longest delay is not counted: it would take as long to be forgotten.
        self._failures[source] = min(count, self._free + 32), now
        return self._seconds(count)

    def delay(self, source: Source, now: float) -> float:
        """The seconds that an attempt of a source has to wait for its earlier failures."""
        return self._seconds(self._count(source, now)) if source in self._failures else 0.0

    def succeeded(self, source: Source) -> None:
        """Forget the failures of a source."""
        self._failures.pop(source, None)

    def _count(self, source: Source, now: float) -> float:
        count, at = self._failures.get(source, (0.0, now))
        return max(0.0, count - (now - at) / self._forget)

    def _seconds(self, count: float) -> float:
        over = count - self._free
        if over <= 0:
            return 0.0
        return min(self._longest, math.ldexp(self._first, math.ceil(min(over, 32)) - 1))


class EvictingTable(Generic[H]):
    """A bounded number of places for things of strangers, such as connections in their handshake.

    There is always one for the next: at most ``most`` things are held, and at most ``per_source`` of one
    source, and :meth:`enter` says which has to give way. That is, in this order: the oldest of the same
    source if it has its share; the oldest whose address is not validated; the oldest of the source that
    has most. The oldest of a source is, while more than half of its things are silent, the oldest of those,
    else the oldest of the others: a flood that says nothing does not take the places of those that speak
    (:meth:`spoke`), nor the other way round. Who comes from an address that others misuse gets in with
    them, and stays in if it is quicker than they take all its places.
    """

    def __init__(self, most: int, per_source: int) -> None:
        if not 1 <= per_source <= most:
            raise ValueError(f"per_source {per_source} is not 1 to {most}")
        self.most = most
        self.per_source = per_source
        #: By source, the things of each in the order of their coming.
        self._held: dict[Source, dict[H, None]] = {}
        self._sources: dict[H, Source] = {}
        #: Those whose address is not validated, in the order of their coming.
        self._unvalidated: dict[H, None] = {}
        self._speaking: set[H] = set()

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, thing: object) -> bool:
        return thing in self._sources

    def __iter__(self) -> Iterator[H]:
        return iter(tuple(self._sources))

    def count(self, source: Source) -> int:
        """How many places a source has."""
        return len(self._held.get(source, ()))

    def enter(self, thing: H, source: Source, *, validated: bool) -> H | None:
        """Give ``thing`` a place; what has lost its own for that, or None. ``validated``: it has shown that
        it receives what is sent to its address."""
        loser = self._loser(source)
        if loser is not None:
            self.leave(loser)
        self._sources[thing] = source
        self._held.setdefault(source, {})[thing] = None
        if not validated:
            self._unvalidated[thing] = None
        return loser

    def validated(self, thing: H) -> None:
        """The address of ``thing`` is validated now."""
        self._unvalidated.pop(thing, None)

    def spoke(self, thing: H) -> None:
        """``thing`` has said something that makes sense."""
        if thing in self._sources:
            self._speaking.add(thing)

    def leave(self, thing: H) -> None:
        """``thing`` needs its place no longer, if it has one."""
        source = self._sources.pop(thing, None)
        if source is None:
            return
        self._unvalidated.pop(thing, None)
        self._speaking.discard(thing)
        held = self._held[source]
        del held[thing]
        if not held:
            del self._held[source]

    def _loser(self, source: Source) -> H | None:
        if self.count(source) >= self.per_source:
            return self._oldest(source)
        if len(self._sources) < self.most:
            return None
        if self._unvalidated:
            return next(iter(self._unvalidated))
        # Only when all places are taken: as many sources as there are places, at most.
        return self._oldest(max(self._held, key=self.count))

    def _oldest(self, source: Source) -> H:
        held = self._held[source]
        if not self._speaking:
            return next(iter(held))
        silent = [thing for thing in held if thing not in self._speaking]
        if 2 * len(silent) > len(held):
            return silent[0]
        return next(thing for thing in held if thing in self._speaking)
