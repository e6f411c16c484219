"""ICMP errors about datagrams of an unconnected UDP socket.

For a connected socket the kernel reports ICMP port unreachable with the next call. For an unconnected one it
reports nothing unless asked to (Linux: IP_RECVERR, ip(7)); then each report is queued with the address it is
about, and the next call fails once for all addresses.
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
    """The part of a socket that is used."""

    @property
    def family(self) -> int: ...
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...
    def recvmsg(
        self, size: int, ancillary: int = ..., flags: int = ..., /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]: ...


#: Of Linux's in.h and in6.h; the socket module has neither.
IP_RECVERR: Final = (socket.IPPROTO_IP, 11)
IPV6_RECVERR: Final = (socket.IPPROTO_IPV6, 25)
#: struct sock_extended_err of Linux's errqueue.h, and its origins: ICMP and ICMPv6.
EXTENDED_ERROR = struct.Struct("=IBBBBII")
_FROM_NETWORK: Final = frozenset({2, 3})

#: Reports taken at once.
_MOST: Final = 64


def ask_for_reports(sock: ReportingSocket) -> bool:
    """Ask the kernel to queue reports for :func:`take_reports`; whether it does."""
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
    """The queued reports, the oldest first."""
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
