"""How long the datagrams of one connection may be: path MTU discovery by probes (DPLPMTUD, RFC 8899;
RFC 9000, section 14.3).

A connection starts with :data:`MIN_SIZE`, which every path of QUIC takes. Probes that hold nothing find out
what more the path takes: first the size that Ethernet takes, then the longest there may be, then the sizes
that common links have, then halves of what is left between the longest that got through and the shortest
that did not. When a black hole is detected, the size falls back to :data:`MIN_SIZE` and probing restarts.

A black hole is not concluded from silence. Either the peer acknowledges a short packet that was sent after
long ones, when none of those had been acknowledged for some probe timeouts, and none of them; or
:data:`MAX_LOSSES` long datagrams were lost one after the other. Where datagrams of :data:`MIN_SIZE` do not
get through and short ones do, the path cannot carry QUIC.

Nothing here reads a clock or sends: the owner asks what is :meth:`~PathMtu.due`, and tells what became of
it. A path is asked while there is more to send than fits one datagram, so an idle connection does nothing.
"""

from __future__ import annotations

from typing import Final

#: What every path of QUIC takes (RFC 9000, section 14).
MIN_SIZE: Final = 1200
#: Fits IPv4 and IPv6 over Ethernet; what quic_dist sends, and the most it is sent.
BASE_SIZE: Final = 1452
#: The longest that aioquic can build: it writes the length of a stream frame in 14 bits.
MAX_SIZE: Final = 16384
#: What fits links with an MTU of 9000 and 1500, over IPv4 and IPv6.
LIKELY: Final = (8972, 8952, 1472)
#: A size is given up when so many probes of it are lost (RFC 8899, section 5.1.2: MAX_PROBES).
MAX_PROBES: Final = 3
#: Seconds until a path is asked for more than it last took (PMTU_RAISE_TIMER, ibid.).
RAISE_TIME: Final = 600.0
#: The part of a size that is not worth another probe.
GRAIN: Final = 32
#: A black hole: so many datagrams lost, each sent when the fate of the one before was known, and none as long
#: come through. At 20 % of loss that is one in 16,000.
MAX_LOSSES: Final = 6
#: Datagrams longer than this tell whether the path takes :data:`MIN_SIZE`.
FULL: Final = MIN_SIZE - 100
#: The path cannot carry QUIC: so many of those were lost in the same way, and so many short packets that were
#: sent meanwhile came through. At 20 % of loss that is one in 10 million.
NARROW_LOSSES: Final = 10
NARROW_SHORT: Final = 3


class PathMtu:
    """The datagrams of one connection on one path, none to be longer than ``limit`` bytes."""

    __slots__ = (
        "_asked",
        "_is_up",
        "_least",
        "_limit",
        "_losses",
        "_most",
        "_probes",
        "_quiet_until",
        "_short",
        "_suspected",
        "_too_long",
        "_tries",
        "_under_way",
        "_watched",
        "size",
    )

    def __init__(self, limit: int = MAX_SIZE) -> None:
        self._limit = self._most = min(limit, MAX_SIZE)
        #: Probes tell something: no datagram is taken apart on its way.
        self._probes = False
        self._is_up = False
        #: How long datagrams may be now.
        self.size = MIN_SIZE
        #: The shortest that does not get through, as far as is known.
        self._too_long = self._most + 1
        #: The size last asked for, whether a probe of it is under way, and how many were lost.
        self._asked = 0
        self._under_way = False
        self._tries = 0
        #: Nothing is asked before, as there is nothing left to ask.
        self._quiet_until = 0.0
        #: The size of the datagram whose fate is waited for; how many before it were lost in a row, the
        #: shortest of those, and how many short packets came through since.
        self._watched = 0
        self._losses = 0
        self._least = 0
        self._short = 0
        #: The size that was given up and is to be asked for first, until such datagrams get through.
        self._suspected = 0

    def peer_takes(self, size: int, *, long: bool, whole: bool = True) -> None:
        """The handshake is over: the peer takes datagrams of up to ``size`` bytes
        (``max_udp_payload_size``), and ``long`` ones. ``whole``: no datagram is taken apart on its way. Where
        that cannot be had, there is nothing to probe, and datagrams are as long as Ethernet takes."""
        self._most = min(self._limit, max(size, MIN_SIZE), MAX_SIZE if long else BASE_SIZE)
        self._too_long = min(self._too_long, self._most + 1)
        self._probes, self._is_up = whole, True
        if not whole:
            self._assume()

    def _assume(self) -> None:
        base = min(BASE_SIZE, self._most)
        self.size = base if base < self._too_long else MIN_SIZE

    def anew(self) -> PathMtu:
        """The same connection on another path, of which nothing is known."""
        other = PathMtu(self._limit)
        if self._is_up:
            other.peer_takes(self._most, long=True, whole=self._probes)
        return other

    # -- probes ------------------------------------------------------------------------------

    def due(self, now: float) -> int:
        """The size of a probe to send now, or 0. One is under way then, until it is told what became of
        it."""
        if now < self._quiet_until or self._under_way:
            return 0
        if self._quiet_until:
            # It was long ago that the path was asked.
            self._quiet_until = 0.0
            self._too_long = self._most + 1
            if not self._probes:
                self._assume()
        size = self._next() if self._probes else 0
        if not size:
            self._quiet_until = now + RAISE_TIME
            return 0
        if size != self._asked:
            self._asked, self._tries = size, 0
        self._under_way = True
        return size

    def _next(self) -> int:
        low, high = self.size, self._too_long
        for size in (BASE_SIZE, self._suspected, self._most, *LIKELY):
            if low < size < high:
                return size
        return (low + high) // 2 if high - low > low // GRAIN else 0

    def probe_acknowledged(self) -> None:
        """The path takes the size that was asked for."""
        self._under_way = False
        self.size = max(self.size, self._asked)

    def probe_lost(self) -> None:
        """The probe got lost, which may have been for other reasons than its size."""
        self._under_way = False
        self._tries += 1
        if self._tries >= MAX_PROBES:
            self._too_long = min(self._too_long, self._asked)

    def too_long(self, size: int) -> None:
        """The system takes no datagrams of ``size`` bytes, be it the probe or another."""
        if size == self._asked:
            self._under_way = False
        if size < self._too_long:
            self._too_long = size
            self._quiet_until = 0.0
        if self.size >= size:
            self.size = MIN_SIZE

    # -- black holes -------------------------------------------------------------------------

    @property
    def _telling(self) -> int:
        return MIN_SIZE if self.size > MIN_SIZE else FULL

    @property
    def telling(self) -> int:
        """Datagrams longer than this tell whether the path takes the size there is now: as long as what was
        lost, if something was."""
        return self._least - 1 if self._losses else self._telling

    @property
    def to_watch(self) -> int:
        """A datagram longer than this is to be watched; 0 while one is."""
        return 0 if self._watched else self._telling

    @property
    def is_watching(self) -> bool:
        """The fate of a datagram is waited for."""
        return bool(self._watched)

    def watch(self, size: int) -> None:
        """A datagram of ``size`` bytes was sent, of whose fate is told."""
        self._watched = size

    def _fate_known(self, size: int) -> None:
        if size == self._watched:  # and not one from before that is late
            self._watched = 0

    def delivered(self, size: int) -> None:
        """The peer has got a datagram that was watched."""
        self._fate_known(size)
        if size >= self._least:
            self._begin_anew()
        if size > self._suspected * (GRAIN - 1) // GRAIN:
            self._suspected = 0

    def undelivered(self, size: int) -> None:
        """A datagram that was watched is lost."""
        self._fate_known(size)
        if self._telling < size <= self.size:
            self._least = min(size, self._least) if self._losses else size
            self._losses += 1
            if self._losses >= MAX_LOSSES:
                self.suspect()

    @property
    def doubtful(self) -> bool:
        """Datagrams of the least size there is in QUIC were lost: whether short packets come through says
        more."""
        return self.size == MIN_SIZE and self._losses > 1

    def short_delivered(self, *, enough: bool) -> None:
        """The peer has got a short packet that was sent after long ones, and none of those. ``enough``: they
        were so many that it was no chance."""
        self._short += 1
        if enough:
            self.suspect()

    @property
    def is_too_narrow(self) -> bool:
        """The path cannot carry QUIC."""
        return self.size == MIN_SIZE and self._losses >= NARROW_LOSSES and self._short >= NARROW_SHORT

    @property
    def losses(self) -> int:
        """How many datagrams that were watched were lost in a row."""
        return self._losses

    def hinted(self) -> None:
        """The network says that a datagram was too long, and not which."""
        if not self._under_way:
            self.suspect()

    def suspect(self) -> None:
        """Go on with the least size, and ask for the size there was. Where probes of it get through, and
        datagrams do not, it is not asked for a second time."""
        size = self.size
        if size <= MIN_SIZE:
            return
        self.size = MIN_SIZE
        # What is watched was as long as that: the fate of shorter ones is told by another.
        self._begin_anew()
        self._tries = self._watched = 0
        self._quiet_until = 0.0
        if self._suspected == size:
            self._too_long = min(self._too_long, size)
        self._suspected = size

    def _begin_anew(self) -> None:
        self._losses = self._least = self._short = 0
