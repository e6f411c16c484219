"""How long the datagrams of one connection may be: path MTU discovery by probes (DPLPMTUD, RFC 8899;
RFC 9000, section 14.3).

A connection starts with :data:`BASE_SIZE`. Where its peer takes longer datagrams, probes that hold
nothing find out what the path takes: first the longest there may be, then the sizes that common links
have, then halves of what is left between the longest that got through and the shortest that did not. Where
datagrams of a size that was believed in no longer get through, it goes on below, and asks for that size
again.

Nothing here reads a clock or sends: the owner asks what is :meth:`~PathMtu.due`, and tells what became of
it. A path is asked while there is more to send than fits one datagram, so an idle connection does nothing.
"""

from __future__ import annotations

from typing import Final

#: What every path of QUIC takes (RFC 9000, section 14).
MIN_SIZE: Final = 1200
#: Fits IPv4 and IPv6 over Ethernet; what quic_dist sends.
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
#: So many datagrams lost, each sent when the fate of the one before was known, and none come through.
MAX_LOSSES: Final = 3


class PathMtu:
    """The datagrams of one connection on one path, none to be longer than ``limit`` bytes."""

    __slots__ = (
        "_agreed",
        "_asked",
        "_limit",
        "_losses",
        "_most",
        "_quiet_until",
        "_suspected",
        "_too_long",
        "_tries",
        "_under_way",
        "_watched",
        "size",
    )

    def __init__(self, limit: int = MAX_SIZE) -> None:
        self._limit = self._most = min(limit, MAX_SIZE)
        #: The peer is one to send probes to.
        self._agreed = False
        #: How long datagrams may be now.
        self.size = self._base
        #: The shortest that does not get through, as far as is known.
        self._too_long = self._most + 1
        #: The size last asked for, whether a probe of it is under way, and how many were lost.
        self._asked = 0
        self._under_way = False
        self._tries = 0
        #: Nothing is asked before, as there is nothing left to ask.
        self._quiet_until = 0.0
        #: The size of the datagram whose fate is waited for, and how many before it were lost in a row.
        self._watched = 0
        self._losses = 0
        #: The size that was given up and is to be asked for first, until such datagrams get through.
        self._suspected = 0

    @property
    def _base(self) -> int:
        return min(BASE_SIZE, self._most)

    def peer_takes(self, size: int, *, probes: bool) -> None:
        """The handshake is over: the peer takes datagrams of up to ``size`` bytes
        (``max_udp_payload_size``), and ``probes``."""
        self._most = min(self._limit, max(size, MIN_SIZE))
        self._agreed = probes
        self._too_long = min(self._too_long, self._most + 1)
        # What was too long for the handshake was perhaps a slow peer.
        self.size = self._base if self._base < self._too_long else MIN_SIZE

    def anew(self) -> PathMtu:
        """The same connection on another path, of which nothing is known."""
        other = PathMtu(self._limit)
        other.peer_takes(self._most, probes=self._agreed)
        return other

    # -- probes ------------------------------------------------------------------------------

    def due(self, now: float) -> int:
        """The size of a probe to send now, or 0. One is under way then, until it is told what became of
        it."""
        if now < self._quiet_until or self._under_way:
            return 0
        if self._quiet_until:
            # It was long ago that the path was asked; a peer without probes is asked by what it is sent.
            self._quiet_until = 0.0
            self._too_long = self._most + 1
            if not self._agreed:
                self.size = self._base
        size = self._next() if self._agreed else 0
        if not size:
            self._quiet_until = now + RAISE_TIME
            return 0
        if size != self._asked:
            self._asked, self._tries = size, 0
        self._under_way = True
        return size

    def _next(self) -> int:
        low, high = self.size, self._too_long
        for size in (self._suspected, self._most, *LIKELY):
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
        while self.size >= size and self.size > MIN_SIZE:
            self.size = self._below(self.size)

    # -- black holes -------------------------------------------------------------------------

    def _below(self, size: int) -> int:
        return self._base if size > self._base else min(MIN_SIZE, size)

    def _tells(self, size: int) -> bool:
        """Whether the loss of so many bytes speaks against the size there is now."""
        return self._below(self.size) < size <= self.size

    @property
    def to_watch(self) -> int:
        """A datagram longer than this is one whose fate says something."""
        return self.size if self._watched else self._below(self.size)

    def watch(self, size: int) -> None:
        """A datagram of ``size`` bytes was sent, of whose fate is told."""
        self._watched = size

    def _fate_known(self, size: int) -> None:
        if size == self._watched:  # and not one from before that is late
            self._watched = 0

    def delivered(self, size: int) -> None:
        """The peer has got a datagram that was watched."""
        self._fate_known(size)
        self._losses = 0
        if size > self._below(self._suspected):
            self._suspected = 0

    def undelivered(self, size: int) -> None:
        """A datagram that was watched is lost."""
        self._fate_known(size)
        if self._tells(size):
            self._losses += 1
            if self._losses >= MAX_LOSSES:
                self.suspect()

    def timed_out(self) -> None:
        """The peer is silent; if long datagrams were sent, it may be for their length."""
        if self._losses or self._tells(self._watched):
            self.suspect()

    def hinted(self) -> None:
        """The network says that a datagram was too long, and not which."""
        if not self._under_way:
            self.suspect()

    def suspect(self) -> None:
        """Go on below, and ask for the size there was. Where probes of it get through, and datagrams do
        not, it is not asked for a second time."""
        size = self.size
        if size <= MIN_SIZE:
            return
        self.size = self._below(size)
        # What is watched was as long as that: the fate of shorter ones is told by another.
        self._losses = self._tries = self._watched = 0
        self._quiet_until = 0.0
        if self._suspected == size:
            self._too_long = min(self._too_long, size)
        self._suspected = size
