"""What the network says of datagrams sent by an unconnected UDP socket.

Of a connected socket the kernel tells with the next call that nobody listens at the other end. Of others it
tells nothing unless it is asked to (Linux: IP_RECVERR, ip(7)); then each report waits in a queue of its own,
with the address it is about, and the next call fails once for all addresses.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from typing import Any, Final, Protocol

#: An errno, and the address the datagram was sent to as the socket module gives it.
Report = tuple[int, tuple[Any, ...]]


class ReportingSocket(Protocol):
    """What is used of a socket."""

    @property
    def family(self) -> int: ...
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...
    def recvmsg(
        self, size: int, ancillary: int = ..., flags: int = ..., /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]: ...


#: Of Linux's in.h and in6.h; the socket module names neither.
IP_RECVERR: Final = (socket.IPPROTO_IP, 11)
IPV6_RECVERR: Final = (socket.IPPROTO_IPV6, 25)
#: struct sock_extended_err of Linux's errqueue.h, and its origins: ICMP and ICMPv6.
EXTENDED_ERROR = struct.Struct("=IBBBBII")
_FROM_NETWORK: Final = frozenset({2, 3})

#: Reports taken at once.
_MOST: Final = 64


def ask_for_reports(sock: ReportingSocket) -> bool:
    """Have reports kept for :func:`take_reports`; whether the system does."""
    if sys.platform != "linux":
        return False
    try:
        if sock.family == socket.AF_INET6:
            with contextlib.suppress(OSError):  # IPv4 by a socket of IPv6
                sock.setsockopt(*IP_RECVERR, 1)
            sock.setsockopt(*IPV6_RECVERR, 1)
        else:
            sock.setsockopt(*IP_RECVERR, 1)
    except OSError:
        return False
    return True


def take_reports(sock: ReportingSocket) -> list[Report]:
    """The reports that wait, the oldest first."""
    reports: list[Report] = []
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # none is left
            for _ in range(_MOST):
                _, ancillary, _, address = sock.recvmsg(0, 256, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
                for level, kind, data in ancillary:
                    if (level, kind) in (IP_RECVERR, IPV6_RECVERR) and len(data) >= EXTENDED_ERROR.size:
                        number, origin, *_ = EXTENDED_ERROR.unpack_from(data)
                        if origin in _FROM_NETWORK:
                            reports.append((number, address))
    return reports
