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
from typing import Final

#: What the socket module gives as an address: (host, port) or (host, port, flow info, scope).
SocketAddress = tuple[object, ...]
#: An errno, and the address the datagram was sent to.
Report = tuple[int, SocketAddress]

#: Of Linux's in.h and in6.h; the socket module names neither.
_IP_RECVERR: Final = (socket.IPPROTO_IP, 11)
_IPV6_RECVERR: Final = (socket.IPPROTO_IPV6, 25)
#: struct sock_extended_err of Linux's errqueue.h, and its origins: ICMP and ICMPv6.
_ERROR = struct.Struct("=IBBBBII")
_FROM_NETWORK: Final = frozenset({2, 3})

#: Reports taken at once.
_MOST: Final = 64


def ask_for_reports(sock: socket.socket) -> bool:
    """Have reports kept for :func:`take_reports`; whether the system does."""
    if sys.platform != "linux":
        return False
    try:
        if sock.family == socket.AF_INET6:
            with contextlib.suppress(OSError):  # IPv4 by a socket of IPv6
                sock.setsockopt(*_IP_RECVERR, 1)
            sock.setsockopt(*_IPV6_RECVERR, 1)
        else:
            sock.setsockopt(*_IP_RECVERR, 1)
    except OSError:
        return False
    return True


def take_reports(sock: socket.socket) -> list[Report]:
    """The reports that wait, the oldest first."""
    reports: list[Report] = []
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # none is left
            for _ in range(_MOST):
                _, ancillary, _, address = sock.recvmsg(0, 256, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
                for level, kind, data in ancillary:
                    if (level, kind) in (_IP_RECVERR, _IPV6_RECVERR) and len(data) >= _ERROR.size:
                        number, origin, *_ = _ERROR.unpack_from(data)
                        if origin in _FROM_NETWORK:
                            reports.append((number, address))
    return reports
