"""Queues datagrams of peers that are not authenticated, behind those of links and within a share of the time.

A datagram of an unknown peer can cost milliseconds: the first one of a connection makes this node sign a TLS
handshake. So these datagrams are queued and handled after those of links, for a short time in each turn of
the event loop, followed by a pause as long as that took. Addresses are served in turn: a flood from one
address and port delays the others by no more than its share, and the queue does not grow with it.

The time is processor time: what other programs used is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final

from quicdist.carrier.addresses import source_of
from quicdist.carrier.datagram_socket import Datagram, SocketAddress
from quicdist.carrier.evicting_table import EvictingTable

#: Seconds of work in one turn of the event loop; the last datagram may take longer.
SLICE: Final = 0.001
#: The pause after it, as a multiple of the time that it took.
PAUSE: Final = 1.0
#: Queued addresses at each stage, in all and of one source; beyond that the oldest is evicted.
MAX_ADDRESSES: Final = 128
MAX_OF_SOURCE: Final = 64
#: Datagrams of one address: a ClientHello may take two, and early data may follow; a handshake with a long
#: certificate chain takes a dozen.
MAX_NEW: Final = 4
MAX_KNOWN: Final = 16
#: Bytes of one address: enough for so many datagrams of a handshake. There is no separate limit for all
#: addresses together: a flood would use it up, and the next address could queue nothing.
MAX_BYTES: Final = 24 * 1024


class Stage(IntEnum):
    """How far the handshake of a peer has come."""

    #: First packets.
    NEW = 0
    #: In the QUIC handshake.
    HANDSHAKE = 1
    #: The address is validated; the distribution handshake follows.
    VALIDATED = 2


class UnauthenticatedQueue:
    """The queues of one socket, one for each :class:`Stage`, served in turn: handshakes under way do not wait
    behind new ones. ``handle`` receives the datagrams of one address, ``later`` schedules a call of
    :meth:`work_later` in so many seconds."""

    def __init__(
        self,
        handle: Callable[[SocketAddress, Sequence[Datagram]], None],
        later: Callable[[float], None],
    ) -> None:
        #: Queued addresses, of all stages.
        self.size = 0
        self._handle = handle
        self._later = later
        self._stages = {
            Stage.VALIDATED: _Waiting(MAX_KNOWN),
            Stage.HANDSHAKE: _Waiting(MAX_KNOWN),
            Stage.NEW: _Waiting(MAX_NEW),
        }
        self._paused_until = float("-inf")
        self._asked = False

    @property
    def dropped(self) -> int:
        """Datagrams dropped because the queue was full."""
        return sum(waiting.dropped for waiting in self._stages.values())

    def put(self, datagram: Datagram, stage: Stage = Stage.NEW) -> bool:
        """Queue a datagram; False if the queue of its address is full."""
        waiting = self._stages[stage]
        before = len(waiting)
        queued = waiting.put(datagram)
        self.size += len(waiting) - before
        return queued

    def work(self, now: float) -> None:
        """Handle queued datagrams, unless in a pause. ``now`` is the loop's time, in seconds."""
        if not self.size:
            return
        if now >= self._paused_until:
            began = time.thread_time()
            spent = 0.0
            while self.size and spent < SLICE:
                for waiting in self._stages.values():
                    if len(waiting):
                        self.size -= 1
                        self._handle(*waiting.take())
                spent = time.thread_time() - began
            self._paused_until = now + spent + PAUSE * spent
        if self.size and not self._asked:
            self._asked = True
            self._later(max(0.0, self._paused_until - now))

    def work_later(self, now: float) -> None:
        """Called by what ``later`` has scheduled."""
        self._asked = False
        self.work(now)


class _Waiting:
    """Datagrams by address, oldest first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._datagrams: dict[SocketAddress, list[Datagram]] = {}
        self._places: EvictingTable[SocketAddress] = EvictingTable(MAX_ADDRESSES, MAX_OF_SOURCE)
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._datagrams)

    def put(self, datagram: Datagram) -> bool:
        data, address = datagram
        waiting = self._datagrams.get(address, ())
        if len(waiting) >= self._most or sum(len(other) for other, _ in waiting) + len(data) > MAX_BYTES:
            self.dropped += 1
            return False
        if waiting:
            self._datagrams[address].append(datagram)
            return True
        evicted = self._places.enter(address, source_of(str(address[0])), validated=False)
        if evicted is not None:
            self.dropped += len(self._datagrams.pop(evicted))
        self._datagrams[address] = [datagram]
        return True

    def take(self) -> tuple[SocketAddress, list[Datagram]]:
        """The address that was queued first, and its datagrams."""
        address = next(iter(self._datagrams))
        self._places.leave(address)
        return address, self._datagrams.pop(address)
