"""What comes from strangers waits for what comes on links, and for a share of the time.

A stranger's datagram can cost milliseconds: the first one of a connection makes the node sign a TLS
handshake. So these wait in a queue and are taken after those of links, for a short time in each turn of the
event loop, and then not for as long as that took. Each address and port has its turn: a flood from one of
them delays nobody else by more than its share, and the queue does not grow with it.

The time is that of the processor: what other programs took of it is not counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final

from quicdist.carrier.rate_limits import EvictingTable, source_of
from quicdist.carrier.udp import Datagram, SocketAddress

#: Seconds of work for strangers in one turn of the loop; the last piece of it may take longer.
SLICE: Final = 0.001
#: After it there is a rest for as long as it took, times this.
REST: Final = 1.0
#: Addresses that wait at each stage, in all and of one source; the oldest of those gives way.
MAX_ADDRESSES: Final = 128
MAX_OF_SOURCE: Final = 64
#: Datagrams of one address: a ClientHello may take two, and early data may follow; to go on with a handshake
#: takes a dozen where the chain of certificates is long.
MAX_NEW: Final = 4
MAX_KNOWN: Final = 16
#: Bytes of one address, which those datagrams have where their size is that of handshakes. There is no bound
#: for all together but this one times the addresses: it would leave no room for who comes next.
MAX_BYTES: Final = 24 * 1024


class Stage(IntEnum):
    """How far a stranger has come."""

    #: It sends its first packets.
    NEW = 0
    #: It goes on with the handshake of QUIC.
    HANDSHAKE = 1
    #: Its address is validated; the distribution handshake follows.
    VALIDATED = 2


class UnauthenticatedQueue:
    """The queue of one socket, one for each :class:`Stage`, which take turns: those who have come far do not
    wait for those who are new, however many these are. ``handle`` takes the datagrams of one address,
    ``later`` has :meth:`work_later` called in so many seconds."""

    def __init__(
        self,
        handle: Callable[[SocketAddress, Sequence[Datagram]], None],
        later: Callable[[float], None],
    ) -> None:
        self._handle = handle
        self._later = later
        self._stages = {
            Stage.VALIDATED: _Waiting(MAX_KNOWN),
            Stage.HANDSHAKE: _Waiting(MAX_KNOWN),
            Stage.NEW: _Waiting(MAX_NEW),
        }
        self._rest_until = float("-inf")
        self._asked = False

    def __len__(self) -> int:
        """How many addresses wait, at each stage."""
        return sum(map(len, self._stages.values()))

    @property
    def dropped(self) -> int:
        """Datagrams that found no room."""
        return sum(waiting.dropped for waiting in self._stages.values())

    def put(self, datagram: Datagram, stage: Stage = Stage.NEW) -> bool:
        """Have a datagram wait; False if there is no room for it."""
        return self._stages[stage].put(datagram)

    def work(self, now: float) -> None:
        """Handle what waits, if it is time for that. ``now`` is the loop's time, in seconds."""
        if not len(self):
            return
        if now >= self._rest_until:
            began = time.thread_time()
            spent = 0.0
            while len(self) and spent < SLICE:
                for waiting in self._stages.values():
                    if len(waiting):
                        self._handle(*waiting.take())
                spent = time.thread_time() - began
            self._rest_until = now + spent + REST * spent
        if len(self) and not self._asked:
            self._asked = True
            self._later(max(0.0, self._rest_until - now))

    def work_later(self, now: float) -> None:
        """What ``later`` was asked for."""
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
        loser = self._places.enter(address, source_of(str(address[0])), validated=False)
        if loser is not None:
            self.dropped += len(self._datagrams.pop(loser))
        self._datagrams[address] = [datagram]
        return True

    def take(self) -> tuple[SocketAddress, list[Datagram]]:
        """The address that has waited longest, and what waits of it."""
        address = next(iter(self._datagrams))
        self._places.leave(address)
        return address, self._datagrams.pop(address)
