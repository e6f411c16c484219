"""Reads datagrams from a UDP socket until there are no more.

A peer that has its kernel segment datagrams (UDP GSO), or a network interface that has received several in a
row, leave datagrams of one size that the kernel returns in one call if it is asked for that (UDP GRO, Linux
5.0). That takes a quarter of the time, but a datagram that comes alone takes a fifth more. So the kernel is
asked only while long datagrams come in bursts.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections import deque
from typing import Final

from quicdist.carrier.datagram_socket import (
    SOL_UDP,
    UDP_GRO,
    Datagram,
    DatagramSocket,
    SocketAddress,
)

MAX_DATAGRAM: Final = 65535
#: A burst: at least so many datagrams in one reading, the last two of one size and of at least so many bytes.
BURST: Final = 16
LONG: Final = 1000
#: After so many datagrams in a row that came alone the kernel is no longer asked.
ALONE: Final = 256
#: The number of datagrams for which it is not asked again if none came together; it doubles each time, up to
#: ``MAX_PAUSE``.
PAUSE: Final = 1024
MAX_PAUSE: Final = 1 << 20

_segment_size = struct.Struct("=i")
_ANCILLARY: Final = socket.CMSG_SPACE(_segment_size.size) if hasattr(socket, "CMSG_SPACE") else 0


class DatagramReader:
    """Reads from one socket; ``connected_to``: the address of all its datagrams, if it is connected."""

    __slots__ = (
        "_alone",
        "_came_together",
        "_can_coalesce",
        "_connected_to",
        "_next_pause",
        "_pause",
        "_sock",
        "coalesces",
    )

    def __init__(self, sock: DatagramSocket, connected_to: SocketAddress | None) -> None:
        self._sock = sock
        self._connected_to = connected_to
        #: The kernel returns several datagrams in one call.
        self.coalesces = False
        self._can_coalesce = sys.platform == "linux"
        #: Datagrams in a row that came alone; whether others came together since the kernel was asked.
        self._alone = 0
        self._came_together = False
        self._pause = 0
        self._next_pause = PAUSE

    def read(self, backlog: deque[Datagram], most: int) -> None:
        """Append datagrams to ``backlog`` until it has ``most``, or up to 63 more of those that the kernel
        returns together. Raises BlockingIOError when there are no more, and other OSErrors of the system."""
        connected_to = self._connected_to
        if self.coalesces:
            receive_message = self._sock.recvmsg
            while len(backlog) < most:
                data, ancillary, _, address = receive_message(MAX_DATAGRAM, _ANCILLARY)
                if connected_to is not None:
                    address = connected_to
                if not ancillary:
                    self._alone += 1
                    backlog.append((data, address))
                    continue
                self._alone, self._came_together = 0, True
                (size,) = _segment_size.unpack_from(ancillary[0][2])
                backlog.extend([(data[at : at + size], address) for at in range(0, len(data), size)])
        elif connected_to is None:
            receive_from = self._sock.recvfrom
            while len(backlog) < most:
                backlog.append(receive_from(MAX_DATAGRAM))
        else:
            receive = self._sock.recv
            while len(backlog) < most:
                backlog.append((receive(MAX_DATAGRAM), connected_to))

    def should_adapt(self, came: int) -> bool:
        """Whether to call :meth:`adapt`, after all datagrams were read, ``came`` of them."""
        if self.coalesces:
            return self._alone > ALONE
        if not self._can_coalesce:
            return False
        if self._pause > 0:
            self._pause -= came
            return False
        return came >= BURST

    def adapt(self, backlog: deque[Datagram], most: int) -> None:
        """Ask the kernel for datagrams together, or no longer. Reads and raises as :meth:`read` does, if
        there may be some that the kernel has already put together. No other thread may read meanwhile."""
        self._alone = 0
        if not self.coalesces:
            if len(backlog) < 2 or not LONG <= len(backlog[-1][0]) == len(backlog[-2][0]):
                return
        else:
            self._next_pause = PAUSE if self._came_together else min(2 * self._next_pause, MAX_PAUSE)
            self._pause = self._next_pause
        try:
            self._sock.setsockopt(SOL_UDP, UDP_GRO, not self.coalesces)
        except OSError:
            self._can_coalesce = self.coalesces  # This system does not have it.
            return
        if not self.coalesces:
            self.coalesces, self._came_together = True, False
            return
        try:
            self.read(backlog, most)
        except BlockingIOError:
            self.coalesces = False
            raise
