"""Path MTU discovery (DPLPMTUD, RFC 8899; RFC 9000, section 14.3): the size of the datagrams of a connection.

A connection starts with :data:`MIN_SIZE`, which every path of QUIC supports. Probe packets without data
search for a larger size: first that of Ethernet, then the maximum, then the sizes of common links, then the
middle between the longest that was acknowledged and the shortest that was lost. When a black hole is
detected, the size falls back to :data:`MIN_SIZE` and probing restarts.

Silence alone is no black hole. Either the peer acknowledges a short packet that was sent after long ones, and
none of those, when none had been acknowledged for some probe timeouts; or :data:`MAX_LOSSES` long datagrams
were lost one after the other. If datagrams of :data:`MIN_SIZE` are lost and short ones arrive, the path
cannot carry QUIC.

No I/O and no clock: the owner asks for the probe that is :meth:`~PathMtu.due`, and reports its fate. A path
is probed while there is more to send than fits one datagram, so an idle connection sends no probes.
"""

from __future__ import annotations

from typing import Final

#: The size that every path of QUIC supports (RFC 9000, section 14).
MIN_SIZE: Final = 1200
#: Fits IPv4 and IPv6 over Ethernet: the size that quic_dist sends, and the longest that it is sent.
BASE_SIZE: Final = 1452
#: The longest that an engine has to build: the length of a STREAM frame has 14 bits in aioquic.
MAX_SIZE: Final = 16384
#: The sizes that fit links with an MTU of 9000 and of 1500, over IPv4 and IPv6.
COMMON_SIZES: Final = (8972, 8952, 1472)
#: The number of lost probes after which a size is given up (RFC 8899, section 5.1.2).
MAX_PROBES: Final = 3
#: Seconds until a larger size is probed again (PMTU_RAISE_TIMER, RFC 8899, section 5.1.1).
RAISE_TIME: Final = 600.0
#: The search ends when less than this part of the size is left.
GRANULARITY: Final = 32
#: A black hole: the number of datagrams lost in a row, each sent when the fate of the one before was known.
#: At 20 % of loss by chance this happens once in 16,000 cases.
MAX_LOSSES: Final = 6
#: Datagrams longer than this show whether the path supports :data:`MIN_SIZE`.
FULL: Final = MIN_SIZE - 100
#: The path cannot carry QUIC: the number of those lost in a row, and of short packets acknowledged meanwhile.
#: At 20 % of loss by chance this happens once in 10 million cases.
NARROW_LOSSES: Final = 10
NARROW_SHORT: Final = 3


class PathMtu:
    """The path MTU discovery of one connection on one path, up to ``limit`` bytes."""

    __slots__ = (
        "_in_flight",
        "_is_up",
        "_least",
        "_limit",
        "_losses",
        "_most",
        "_probed",
        "_probes",
        "_quiet_until",
        "_short",
        "_suspected",
        "_too_long",
        "_tries",
        "_watched",
        "size",
    )

    def __init__(self, limit: int = MAX_SIZE) -> None:
        self._limit = self._most = min(limit, MAX_SIZE)
        #: Probing is possible: no datagram is fragmented.
        self._probes = False
        self._is_up = False
        #: The current maximum size of datagrams.
        self.size = MIN_SIZE
        #: The shortest size that is known not to arrive.
        self._too_long = self._most + 1
        #: The size last probed, whether a probe is in flight, and how many were lost.
        self._probed = 0
        self._in_flight = False
        self._tries = 0
        #: No probe is sent before this time: the search is complete.
        self._quiet_until = 0.0
        #: The size of the datagram that is watched; how many before it were lost in a row, the shortest of
        #: those, and how many short packets were acknowledged since.
        self._watched = 0
        self._losses = 0
        self._least = 0
        self._short = 0
        #: The size before the last black hole: it is probed first, until datagrams of it arrive.
        self._suspected = 0

    def peer_takes(self, size: int, *, long: bool, whole: bool = True) -> None:
        """The handshake is complete: the peer takes datagrams of up to ``size`` bytes
        (``max_udp_payload_size``), with ``long`` those above :data:`BASE_SIZE` too. ``whole``: no datagram is
        fragmented. Otherwise probes show nothing, and the size is that of Ethernet."""
        self._most = min(self._limit, max(size, MIN_SIZE), MAX_SIZE if long else BASE_SIZE)
        self._too_long = min(self._too_long, self._most + 1)
        self._probes, self._is_up = whole, True
        if not whole:
            self._assume()

    def _assume(self) -> None:
        base = min(BASE_SIZE, self._most)
        self.size = base if base < self._too_long else MIN_SIZE

    def anew(self) -> PathMtu:
        """The discovery for the same connection on another path."""
        other = PathMtu(self._limit)
        if self._is_up:
            other.peer_takes(self._most, long=True, whole=self._probes)
        return other

    # -- probes ------------------------------------------------------------------------------

    def due(self, now: float) -> int:
        """The size of a probe to send now, or 0. It is in flight until its fate is reported."""
        if now < self._quiet_until or self._in_flight:
            return 0
        if self._quiet_until:
            # PMTU_RAISE_TIMER: search again.
            self._quiet_until = 0.0
            self._too_long = self._most + 1
            if not self._probes:
                self._assume()
        size = self._next() if self._probes else 0
        if not size:
            self._quiet_until = now + RAISE_TIME
            return 0
        if size != self._probed:
            self._probed, self._tries = size, 0
        self._in_flight = True
        return size

    def _next(self) -> int:
        low, high = self.size, self._too_long
        for size in (BASE_SIZE, self._suspected, self._most, *COMMON_SIZES):
            if low < size < high:
                return size
        return (low + high) // 2 if high - low > low // GRANULARITY else 0

    def probe_acknowledged(self) -> None:
        """The probe was acknowledged."""
        self._in_flight = False
        self.size = max(self.size, self._probed)

    def probe_lost(self) -> None:
        """The probe was lost, perhaps for other reasons than its size."""
        self._in_flight = False
        self._tries += 1
        if self._tries >= MAX_PROBES:
            self._too_long = min(self._too_long, self._probed)

    def too_long(self, size: int) -> None:
        """The system refused a datagram of ``size`` bytes, the probe or another."""
        if size == self._probed:
            self._in_flight = False
        if size < self._too_long:
            self._too_long = size
            self._quiet_until = 0.0
        if self.size >= size:
            self.size = MIN_SIZE

    # -- black holes -------------------------------------------------------------------------

    @property
    def _threshold(self) -> int:
        return MIN_SIZE if self.size > MIN_SIZE else FULL

    @property
    def watch_threshold(self) -> int:
        """Datagrams longer than this show whether the path supports the current size. If some were lost, only
        those as long as these do."""
        return self._least - 1 if self._losses else self._threshold

    @property
    def to_watch(self) -> int:
        """Watch the next datagram longer than this; 0: one is watched."""
        return 0 if self._watched else self._threshold

    @property
    def is_watching(self) -> bool:
        """Whether a datagram is watched."""
        return bool(self._watched)

    def watch(self, size: int) -> None:
        """A datagram of ``size`` bytes was sent and is watched."""
        self._watched = size

    def _fate_known(self, size: int) -> None:
        if size == self._watched:  # and not a late one from before
            self._watched = 0

    def delivered(self, size: int) -> None:
        """A watched datagram was acknowledged."""
        self._fate_known(size)
        if size >= self._least:
            self._reset_losses()
        if size > self._suspected * (GRANULARITY - 1) // GRANULARITY:
            self._suspected = 0

    def undelivered(self, size: int) -> None:
        """A watched datagram was lost."""
        self._fate_known(size)
        if self._threshold < size <= self.size:
            self._least = min(size, self._least) if self._losses else size
            self._losses += 1
            if self._losses >= MAX_LOSSES:
                self.suspect()

    @property
    def doubtful(self) -> bool:
        """Datagrams of :data:`MIN_SIZE` were lost: short packets have to show whether the path is broken."""
        return self.size == MIN_SIZE and self._losses > 1

    def short_delivered(self, *, enough: bool) -> None:
        """The peer has acknowledged a short packet that was sent after long ones, and none of those.
        ``enough``: too many for chance."""
        self._short += 1
        if enough:
            self.suspect()

    @property
    def is_too_narrow(self) -> bool:
        """The path cannot carry QUIC."""
        return self.size == MIN_SIZE and self._losses >= NARROW_LOSSES and self._short >= NARROW_SHORT

    @property
    def losses(self) -> int:
        """The number of watched datagrams lost in a row."""
        return self._losses

    def hinted(self) -> None:
        """The network reports that a datagram was too long, but not which (ICMP)."""
        if not self._in_flight:
            self.suspect()

    def suspect(self) -> None:
        """A black hole: fall back to :data:`MIN_SIZE`, and probe the size before it first. If its probes
        arrive and its datagrams do not, it is not probed a second time."""
        size = self.size
        if size <= MIN_SIZE:
            return
        self.size = MIN_SIZE
        # The watched datagram was longer than the new size.
        self._reset_losses()
        self._tries = self._watched = 0
        self._quiet_until = 0.0
        if self._suspected == size:
            self._too_long = min(self._too_long, size)
        self._suspected = size

    def _reset_losses(self) -> None:
        self._losses = self._least = self._short = 0
