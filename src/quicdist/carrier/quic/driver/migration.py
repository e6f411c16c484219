"""Migration of a dialled connection to another local address (RFC 9000, section 9).

An error of the socket shows that its address is gone, and a new connected socket shows which address the
kernel would use now. The connection then moves to the new socket: the peer recognises it by its connection
id, and validates the new path. When a NAT rebinds the connection, nothing is done here: the peer follows."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Final, Protocol

from quicdist.carrier.datagram_socket import Datagram, DatagramSocket, OpenSocket, SocketAddress, to_address
from quicdist.carrier.no_handler import NO_HANDLER
from quicdist.carrier.udp import UNREACHABLE, UdpSocket
from quicdist.logs import get_logger

log = get_logger("quicdist.carrier.quic")

#: The errnos for a socket whose address is no longer one of this machine; EINVAL is Linux's.
ADDRESS_GONE = frozenset({errno.EINVAL, errno.EADDRNOTAVAIL})
#: The errnos after which the route to the peer is checked.
MAYBE_MOVED = ADDRESS_GONE | UNREACHABLE
#: Seconds between two checks, while nothing comes in answer, or the peer is unreachable.
CHECK_INTERVAL: Final = 1.0
#: Seconds for which the old socket is still read after a migration.
OLD_SOCKET_TIME: Final = 1.0


class Moving(Protocol):
    """The connection that migrates."""

    @property
    def socket(self) -> UdpSocket:
        """The socket that it sends from."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""

    @property
    def heard(self) -> int:
        """Grows with every packet received."""

    @property
    def waiting(self) -> bool:
        """Whether packets are in flight."""

    def use(self, udp: UdpSocket) -> None:
        """Send from another socket."""

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        """Datagrams that came to an old socket."""


class Migration:
    """Keeps one connection to ``remote`` on a local address that routes there."""

    def __init__(self, moving: Moving, remote: SocketAddress, sockets: OpenSocket) -> None:
        self._moving = moving
        self._open_socket = sockets
        self._remote = remote
        self._family = socket.AF_INET6 if ":" in str(remote[0]) else socket.AF_INET
        self._loop = asyncio.get_running_loop()
        self._heard = 0
        #: The address is gone; the route has to be checked; the peer was unreachable at the last check.
        self._gone = self._suspect = self._unreachable = False
        self._old: list[UdpSocket] = []
        self._checked_at = 0.0
        self._stopped = False
        self._timer = self._loop.call_later(CHECK_INTERVAL, self._check)

    def socket_error(self, error: OSError) -> bool:
        """The socket of an established connection reports ``error``: whether the route may have changed; then
        it is checked."""
        if error.errno not in MAYBE_MOVED:
            return False
        self._suspect = True
        self._gone = self._gone or error.errno in ADDRESS_GONE
        # Not at once: the error may come from within send(), and errors may be many.
        self._check_at(max(self._loop.time(), self._checked_at + CHECK_INTERVAL / 5))
        return True

    def migrate(self) -> None:
        """Move to a new socket, whatever its address. Raises OSError if the peer is unreachable."""
        self._use(self._open_socket(self._family, remote=self._remote))

    def stop(self) -> None:
        """The connection is over."""
        self._timer.cancel()
        for old in self._old:
            old.close()
        self._moving = NO_HANDLER
        self._stopped = True

    def _check_at(self, when: float) -> None:
        if when < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(when, self._check)

    def _check(self) -> None:
        if self._stopped or self._moving.closed:
            return
        self._checked_at = self._loop.time()
        moving = self._moving
        silent, self._heard = moving.heard == self._heard, moving.heard
        suspect, self._suspect = self._suspect, False
        self._timer = self._loop.call_later(CHECK_INTERVAL, self._check)
        if self._gone or self._unreachable or suspect or (silent and moving.waiting):
            self._move()

    def _move(self) -> None:
        """Move to the address that the system would choose now, if it is another one."""
        try:
            sock = self._open_socket(self._family, remote=self._remote)
        except OSError as error:
            log.debug("%s is unreachable: %s", to_address(self._remote), error)
            self._unreachable = True
            return
        same = to_address(sock.getsockname()).host == self._moving.socket.local.host
        if same and not (self._gone or self._unreachable):
            sock.close()
        else:
            self._use(sock)

    def _use(self, sock: DatagramSocket) -> None:
        self._gone = self._unreachable = False
        old, new = self._moving.socket, UdpSocket(sock)
        self._old.append(old)
        old.receiver = _OldSocket(self._moving)
        self._loop.call_later(OLD_SOCKET_TIME, self._close, old)
        log.info(
            "connection to %s moved to local address %s, was %s",
            to_address(self._remote),
            new.local,
            old.local,
        )
        self._moving.use(new)

    def _close(self, old: UdpSocket) -> None:
        old.close()
        if old in self._old:
            self._old.remove(old)


class _OldSocket:
    """The receiver of an old socket."""

    def __init__(self, moving: Moving) -> None:
        self._moving = moving

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        self._moving.datagrams_received(batch)

    def socket_error(self, error: OSError) -> None:
        """Errors of the old address do not matter."""

    def too_long(self, size: int, address: SocketAddress) -> None:
        """The old path does not matter."""

    def socket_writable(self) -> None:
        """Nothing is sent from the old socket."""
