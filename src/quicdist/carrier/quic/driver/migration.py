"""A dialled connection that goes on from another address (RFC 9000, section 9).

The kernel tells when the address that was sent from is gone, by an error of the socket; and which
address it would send from now, when a new socket is connected. There is a new socket then, and the
connection goes on from it: the peer knows it by its connection id, and checks the new path itself.
A NAT that gives the connection another address needs nothing done here: the peer follows.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Protocol

from quicdist.carrier.no_handler import NO_HANDLER
from quicdist.carrier.udp import (
    UNREACHABLE,
    Datagram,
    DatagramSocket,
    OpenSocket,
    SocketAddress,
    UdpSocket,
    to_address,
)
from quicdist.logs import get_logger

log = get_logger("quicdist.carrier.quic")

#: How the kernel says that the address of a socket is no longer one of this machine's: EINVAL is Linux's
#: word for it.
ADDRESS_GONE = frozenset({errno.EINVAL, errno.EADDRNOTAVAIL})
#: What makes one look where the way goes now.
MAYBE_MOVED = ADDRESS_GONE | UNREACHABLE
#: Seconds between two looks, where nothing comes in answer to what was sent, or no way leads to the peer.
LOOK = 1.0
#: Seconds for which what comes to the old address is still taken, after a move.
LATE = 1.0


class Moving(Protocol):
    """The connection that moves."""

    @property
    def socket(self) -> UdpSocket:
        """Where it sends from."""

    @property
    def closed(self) -> bool:
        """It is over."""

    @property
    def heard(self) -> int:
        """Grows with whatever is received."""

    @property
    def waiting(self) -> bool:
        """Something was sent and has not been acknowledged."""

    def use(self, udp: UdpSocket) -> None:
        """Go on from another socket."""

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        """What came to a socket used before."""


class Migration:
    """Sees to it that one connection to ``remote`` is sent from an address that leads there."""

    def __init__(self, moving: Moving, remote: SocketAddress, sockets: OpenSocket) -> None:
        self._moving = moving
        self._open_socket = sockets
        self._remote = remote
        self._family = socket.AF_INET6 if ":" in str(remote[0]) else socket.AF_INET
        self._loop = asyncio.get_running_loop()
        self._heard = 0
        #: The address is gone; there is a reason to look; there was no way at the last look.
        self._gone = self._doubtful = self._no_way = False
        self._old: list[UdpSocket] = []
        self._looked_at = 0.0
        self._stopped = False
        self._timer = self._loop.call_later(LOOK, self._look)

    def socket_error(self, error: OSError) -> bool:
        """The socket of an established connection reports ``error``: whether it may be that the way
        has changed, and is looked after."""
        if error.errno not in MAYBE_MOVED:
            return False
        self._doubtful = True
        self._gone = self._gone or error.errno in ADDRESS_GONE
        # Not from inside of the socket's own sending, nor again and again.
        self._look_at(max(self._loop.time(), self._looked_at + LOOK / 5))
        return True

    def migrate(self) -> None:
        """Go on from a new socket, whatever its address. Raises OSError if no way leads to the peer."""
        self._use(self._open_socket(self._family, remote=self._remote))

    def stop(self) -> None:
        """The connection is over."""
        self._timer.cancel()
        for old in self._old:
            old.close()
        self._moving = NO_HANDLER
        self._stopped = True

    def _look_at(self, when: float) -> None:
        if when < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(when, self._look)

    def _look(self) -> None:
        if self._stopped or self._moving.closed:
            return
        self._looked_at = self._loop.time()
        moving = self._moving
        silent, self._heard = moving.heard == self._heard, moving.heard
        doubtful, self._doubtful = self._doubtful, False
        self._timer = self._loop.call_later(LOOK, self._look)
        if self._gone or self._no_way or doubtful or (silent and moving.waiting):
            self._move()

    def _move(self) -> None:
        """Go on from the address the system would now choose, if that is another one."""
        try:
            sock = self._open_socket(self._family, remote=self._remote)
        except OSError as error:
            log.debug("no way to %s: %s", to_address(self._remote), error)
            self._no_way = True
            return
        same = to_address(sock.getsockname()).host == self._moving.socket.local.host
        if same and not (self._gone or self._no_way):
            sock.close()
        else:
            self._use(sock)

    def _use(self, sock: DatagramSocket) -> None:
        self._gone = self._no_way = False
        old, new = self._moving.socket, UdpSocket(sock)
        self._old.append(old)
        old.receiver = _Late(self._moving)
        self._loop.call_later(LATE, self._close, old)
        log.info("on to %s from %s instead of %s", to_address(self._remote), new.local, old.local)
        self._moving.use(new)

    def _close(self, old: UdpSocket) -> None:
        old.close()
        if old in self._old:
            self._old.remove(old)


class _Late:
    """The receiver of a socket that is not sent from any more."""

    def __init__(self, moving: Moving) -> None:
        self._moving = moving

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        self._moving.datagrams_received(batch)

    def socket_error(self, error: OSError) -> None:
        """Whatever ails the old address."""

    def too_long(self, size: int, address: SocketAddress) -> None:
        """That was the old way."""

    def socket_writable(self) -> None:
        """Nothing is sent from here."""
