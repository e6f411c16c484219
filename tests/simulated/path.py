"""What happens to datagrams on their way from one host to another, one direction of it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

#: Bytes of the IP and UDP headers before the payload.
IPV4_HEADERS = 28
IPV6_HEADERS = 48


@dataclass
class Path:
    """One direction. Everything may be changed while datagrams are on their way. Times are in seconds,
    sizes in bytes, chances from 0 to 1."""

    #: The chance that a datagram is lost, arrives twice, or with one bit turned over.
    loss: float = 0.0
    doubled: float = 0.0
    corrupted: float = 0.0
    #: Every datagram takes ``delay``, and by chance up to ``jitter`` more, so that it may overtake others.
    delay: float = 0.001
    jitter: float = 0.0
    #: The chance that a datagram is late by ``late_by``, so that others overtake it.
    late: float = 0.0
    late_by: float = 0.0
    #: Nothing gets through: the cable is out.
    cut: bool = False
    #: The longest packet, headers included; what is longer is dropped without a word, or with ``tells`` the
    #: sender hears of it (ICMP: fragmentation needed).
    mtu: int = 1500
    tells: bool = False
    #: Bytes in a second, and how many may queue for it; what is more is dropped. None: unlimited.
    bandwidth: float | None = None
    queue: int = 256 * 1024
    #: An error of the sender's own system when it sends here, such as ENETUNREACH.
    error: int | None = None
    #: Counted: datagrams that were sent, lost by whatever cause, late, doubled.
    sent: int = 0
    lost: int = 0
    overtaken: int = 0
    twice: int = 0
    _free_at: float = 0.0

    def no_way(self) -> None:
        """The sender's system knows no route any more."""
        self.error = errno.ENETUNREACH

    def arrivals(self, size: int, now: float, random: Random) -> Iterator[float]:
        """When the copies of a packet of ``size`` bytes, headers included, arrive that do."""
        self.sent += 1
        # As many draws for each datagram, whatever the path is like: changing one thing leaves the rest.
        lost, doubled, late, spread = random.random(), random.random(), random.random(), random.random()
        if self.bandwidth is not None:
            starts = max(now, self._free_at)
            if (starts - now) * self.bandwidth + size > self.queue:
                self.lost += 1
                return
            self._free_at = now = starts + size / self.bandwidth
        if self.cut or lost < self.loss or size > self.mtu:
            self.lost += 1
            return
        at = now + self.delay + spread * self.jitter
        if late < self.late:
            self.overtaken += 1
            at += self.late_by
        yield at
        if doubled < self.doubled:
            self.twice += 1
            yield at + self.delay / 2 + spread * self.jitter
