"""UDP sockets of the system, and their options.

Tests use sockets of a simulated network: :class:`DatagramSocket` is the part of a socket that is used.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import sys
from collections.abc import Iterable
from typing import Any, Protocol

from quicdist.carrier.addresses import Address
from quicdist.forking import close_in_children

#: An address as in the socket module: (host, port) or (host, port, flow info, scope).
SocketAddress = tuple[Any, ...]
Datagram = tuple[bytes, SocketAddress]

#: The socket buffer requested for each direction, in bytes. A lost datagram costs a QUIC peer a round trip,
#: and quic_dist up to 1.3.1 possibly its connection.
BUFFER_SIZE = 8 * 1024 * 1024

#: SO_RCVBUFFORCE and SO_SNDBUFFORCE of Linux's asm-generic/socket.h, which the socket module does not have:
#: processes with CAP_NET_ADMIN exceed the limit of the system with them.
_FORCE = {socket.SO_RCVBUF: 33, socket.SO_SNDBUF: 32}

#: Options against fragmentation, by family (RFC 9000, section 14); path MTU discovery is left to QUIC. Of
#: Linux's in.h and in6.h (IP_MTU_DISCOVER, IPV6_MTU_DISCOVER with PMTUDISC_PROBE) and of Darwin's (DONTFRAG);
#: the socket module does not have them.
_WHOLE: dict[str, dict[socket.AddressFamily, tuple[int, int, int]]] = {
    "linux": {
        socket.AF_INET: (socket.IPPROTO_IP, 10, 3),
        socket.AF_INET6: (socket.IPPROTO_IPV6, 23, 3),
    },
    "darwin": {
        socket.AF_INET: (socket.IPPROTO_IP, 28, 1),
        socket.AF_INET6: (socket.IPPROTO_IPV6, 62, 1),
    },
}

#: Linux's linux/udp.h: the level and the option of UDP GSO (from 4.18 on), by which the kernel segments a
#: buffer into datagrams of one size, the last of which may be shorter. The socket module has neither.
SOL_UDP, UDP_SEGMENT = 17, 103
#: The option of UDP GRO (from 5.0 on), by which the kernel returns datagrams of one size and one address
#: together.
UDP_GRO = 104


class DatagramSocket(Protocol):
    """The part of a UDP ``socket.socket`` that is used. The event loop can watch its descriptor."""

    @property
    def family(self) -> int: ...
    def fileno(self) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def recvfrom(self, size: int, /) -> Datagram: ...
    def send(self, data: bytes, /) -> int: ...
    def sendto(self, data: bytes, address: Any, /) -> int: ...
    def sendmsg(
        self, parts: Iterable[bytes], ancillary: Iterable[Any] = ..., flags: int = ..., address: Any = ..., /
    ) -> int: ...
    def recvmsg(
        self, size: int, ancillary: int = ..., flags: int = ..., /
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]: ...
    def getpeername(self) -> Any: ...
    def getsockname(self) -> Any: ...
    def getsockopt(self, level: int, option: int, /) -> int: ...
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...
    def close(self) -> None: ...


class OpenSocket(Protocol):
    """Opens UDP sockets as :func:`open_socket` does."""

    def __call__(
        self,
        family: socket.AddressFamily,
        *,
        local: SocketAddress | None = None,
        remote: SocketAddress | None = None,
    ) -> DatagramSocket:
        """A non-blocking socket, bound to ``local`` or connected to ``remote``. Raises OSError."""


def open_socket(
    family: socket.AddressFamily, *, local: SocketAddress | None = None, remote: SocketAddress | None = None
) -> socket.socket:
    """A non-blocking UDP socket with large buffers, bound to ``local`` or connected to ``remote``."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    close_in_children(sock.fileno())
    try:
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            _ask_for_buffer(sock, option)
        if local is not None:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(local[0] != "::"))
            sock.bind(local)
        if remote is not None:
            sock.connect(remote)
    except OSError:
        sock.close()
        raise
    return sock


def _ask_for_buffer(sock: socket.socket, option: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, _FORCE[option], BUFFER_SIZE)
            return
    # Some systems grant less than requested, others refuse the request.
    size = BUFFER_SIZE
    while size >= 65536:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, size)
            return
        size //= 2


def keep_whole(sock: DatagramSocket) -> bool:
    """Prevent fragmentation; whether that works for all datagrams that are sent."""
    options = _WHOLE.get(sys.platform, {})
    try:
        if sock.family == socket.AF_INET6:
            with contextlib.suppress(OSError):  # IPv4 by a socket of IPv6
                sock.setsockopt(*options[socket.AF_INET])
        sock.setsockopt(*options[socket.AddressFamily(sock.family)])
    except (KeyError, OSError):
        return False
    return True


def cuts_datagrams(sock: DatagramSocket) -> bool:
    """Whether the kernel segments datagrams (GSO). Without it, it would send the buffer as one datagram."""
    if sys.platform != "linux":
        return False
    try:
        sock.getsockopt(SOL_UDP, UDP_SEGMENT)
    except OSError:
        return False
    return True


def to_address(address: SocketAddress) -> Address:
    """The :class:`Address` for an address of the socket module; IPv4-mapped IPv6 becomes IPv4."""
    host = str(address[0])
    if host.startswith("::ffff:"):
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
        host = str(mapped) if mapped is not None else host
    return Address(host, int(address[1]))
