"""One UDP socket in the event loop: read in batches, written without waiting."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import struct
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from quicdist.carrier.addresses import Address
from quicdist.carrier.icmp import Report, ask_for_reports, take_reports
from quicdist.carrier.keepalive import KeepAlive
from quicdist.carrier.no_handler import NO_HANDLER
from quicdist.forking import close_in_children

#: What the socket module gives as an address: (host, port) or (host, port, flow info, scope).
SocketAddress = tuple[Any, ...]
Datagram = tuple[bytes, SocketAddress]

#: Datagrams handled in one turn of the loop: enough that a burst is answered by one transmit, few
#: enough that everything else in the loop gets its turn, and the socket is read again, within two
#: milliseconds or so.
BATCH = 32
#: Datagrams read and not yet handled, at most. What a small kernel buffer would drop waits here: to
#: read one costs a tenth of handling it.
MAX_BACKLOG = 16384
#: Datagrams read in one turn where they are sifted: in a flood there would be no end of it.
MAX_SIFTED = 512
#: Bytes of socket buffer asked for in each direction. A lost datagram costs a QUIC peer a round trip, and
#: up to quic_dist 1.3.1 possibly its connection.
BUFFER_SIZE = 8 * 1024 * 1024
#: Datagrams kept while the kernel takes none; what comes on top is dropped, and QUIC sends it again.
MAX_UNSENT = 1024

MAX_DATAGRAM = 65535

#: SO_RCVBUFFORCE and SO_SNDBUFFORCE of Linux's asm-generic/socket.h, which the socket module does not name:
#: they lift the system's bound for processes that may (CAP_NET_ADMIN).
_FORCE = {socket.SO_RCVBUF: 33, socket.SO_SNDBUF: 32}

#: Options that keep datagrams whole, by family: no fragments are made here or on the way (RFC 9000, section
#: 14), and what the kernel has heard of the path is left to QUIC. Of Linux's in.h and in6.h
#: (IP_MTU_DISCOVER, IPV6_MTU_DISCOVER with PMTUDISC_PROBE) and of Darwin's (DONTFRAG); the socket module
#: does not name them.
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

#: Linux's linux/udp.h: the level and the option that have the kernel cut what it is given into datagrams of
#: one size, the last of which may be shorter (UDP GSO, from 4.18 on). The socket module names neither.
_SOL_UDP, _UDP_SEGMENT = 17, 103
#: How many datagrams it makes of one buffer at most (UDP_MAX_SEGMENTS), and of how many bytes in all.
_MAX_SEGMENTS = 64
_MAX_SEGMENTED = 65000
_segment_size = struct.Struct("=H")

#: How the kernel says that the last datagrams found nobody at the other end.
REFUSED = frozenset({errno.ECONNREFUSED})
#: How it says that no way leads to the peer.
UNREACHABLE = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
)


class DatagramSocket(Protocol):
    """What is used of a UDP ``socket.socket``. Its descriptor is one that the event loop can watch."""

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
    """Opens UDP sockets as :func:`open_socket` does. Tests have others, of a simulated network."""

    def __call__(
        self,
        family: socket.AddressFamily,
        *,
        local: SocketAddress | None = None,
        remote: SocketAddress | None = None,
    ) -> DatagramSocket:
        """A non-blocking socket, bound to ``local`` or connected to ``remote``. Raises OSError."""


class DatagramReceiver(Protocol):
    """Who is told what happens at a socket."""

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        """All that could be read in this turn of the loop, at least one."""

    def socket_error(self, error: OSError) -> None:
        """The kernel reports an error of earlier sending (ICMP) or of the socket."""

    def too_long(self, size: int, address: SocketAddress) -> None:
        """A datagram of ``size`` bytes to ``address`` was longer than the system takes."""

    def socket_writable(self) -> None:
        """What was blocked can be sent again."""


@dataclass(frozen=True, slots=True)
class SocketBuffers:
    """The buffer sizes the system granted, in bytes."""

    receive: int
    send: int


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
    # Some systems clip what is asked for, others refuse it.
    size = BUFFER_SIZE
    while size >= 65536:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, option, size)
            return
        size //= 2


def _keep_whole(sock: DatagramSocket) -> bool:
    """Have no datagrams taken apart; whether that can be said of all that are sent."""
    options = _WHOLE.get(sys.platform, {})
    try:
        if sock.family == socket.AF_INET6:
            with contextlib.suppress(OSError):  # IPv4 by a socket of IPv6
                sock.setsockopt(*options[socket.AF_INET])
        sock.setsockopt(*options[socket.AddressFamily(sock.family)])
    except (KeyError, OSError):
        return False
    return True


def _cuts_datagrams(sock: DatagramSocket) -> bool:
    """Whether the kernel cuts datagrams. One that does not know how would send all in one."""
    if sys.platform != "linux":
        return False
    try:
        sock.getsockopt(_SOL_UDP, _UDP_SEGMENT)
    except OSError:
        return False
    return True


def _run(datagrams: Sequence[Datagram], start: int) -> int:
    """Where the run of datagrams ends that begins at ``start`` and that the kernel can cut."""
    data, address = datagrams[start]
    size = total = len(data)
    end = start + 1
    stop = min(len(datagrams), start + _MAX_SEGMENTS)
    while end < stop:
        data, to = datagrams[end]
        total += len(data)
        if len(data) > size or total > _MAX_SEGMENTED or to != address:
            break
        end += 1
        if len(data) < size:
            break
    return end


def to_address(address: SocketAddress) -> Address:
    """An :class:`Address` of what the socket module gives; IPv4 in IPv6 becomes plain IPv4."""
    host = str(address[0])
    if host.startswith("::ffff:"):
        mapped = ipaddress.IPv6Address(host).ipv4_mapped
        host = str(mapped) if mapped is not None else host
    return Address(host, int(address[1]))


class UdpSocket:
    """A socket of an :class:`OpenSocket` in the running event loop. Owns the socket."""

    #: Who is told what happens; set before the loop goes round.
    receiver: DatagramReceiver

    def __init__(self, sock: DatagramSocket) -> None:
        self._sock = sock
        self.loop = asyncio.get_running_loop()
        self._lock = KeepAlive.of(self.loop).lock
        self._unsent: deque[Datagram] = deque()
        self._backlog: deque[Datagram] = deque()
        self._handling = False
        self._connected_to: SocketAddress | None = None
        with contextlib.suppress(OSError):
            self._connected_to = sock.getpeername()
        self._cuts = _cuts_datagrams(sock)
        self.closed = False
        #: Where more came than is handled in a turn: picks the datagrams that are to be handled here, and
        #: does what it likes with the others.
        self.sift: Callable[[Sequence[Datagram]], Sequence[Datagram]] | None = None
        #: The kernel takes no more for now; ``socket_writable`` follows.
        self.blocked = False
        self._on_report: Callable[[int, SocketAddress], None] | None = None
        #: Datagrams and bytes in and out, for reports.
        self.datagrams_in = self.datagrams_out = self.dropped = 0
        self.buffers = SocketBuffers(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        )
        self.local = to_address(sock.getsockname())
        #: No datagram is taken apart on its way: one that is too long for it does not arrive.
        self.whole = _keep_whole(sock)
        self.loop.add_reader(sock.fileno(), self._readable)

    def read(self) -> None:
        """Read now what has come, and hand it over, or the first batch of it."""
        if not self.closed:
            self._readable()

    def _readable(self) -> None:
        # Everything is read before anything is handled; what is handled in later turns is asked for
        # there, and a socket with nothing to read does not call.
        backlog = self._backlog
        before = len(backlog)
        error = self._drain(MAX_BACKLOG if self.sift is None else min(MAX_BACKLOG, before + MAX_SIFTED))
        if len(backlog) == before and self._on_report is not None and self._take_reports():
            error = None
        if self.sift is not None and len(backlog) - before > BATCH:
            backlog.extend(self.sift(self._take_last(len(backlog) - before)))
            if not backlog:
                self.receiver.datagrams_received(())
        if not self._handling:
            self._handle()
        if error is not None and not self.closed:
            self.receiver.socket_error(error)

    def report_to(self, on_report: Callable[[int, SocketAddress], None]) -> None:
        """Have ``on_report`` told, for an unconnected socket, what the network says of single addresses: an
        errno and the address. See :mod:`quicdist.carrier.icmp`."""
        if ask_for_reports(self._sock):
            self._on_report = on_report

    def _take_reports(self) -> bool:
        """Hand on what the network has said, in a moment: it may be the receiver that is sending. Whether
        there was anything."""
        reports = take_reports(self._sock)
        if reports:
            self.loop.call_soon(self._report, reports)
        return bool(reports)

    def _report(self, reports: Sequence[Report]) -> None:
        for number, address in reports:
            if self._on_report is not None and not self.closed:
                self._on_report(number, address)

    def _drain(self, most: int) -> OSError | None:
        """Read until nothing is left, or the backlog has ``most`` datagrams."""
        backlog = self._backlog
        connected_to = self._connected_to
        sock = self._sock
        before = len(backlog)
        try:
            if connected_to is None:
                receive_from = sock.recvfrom
                while len(backlog) < most:
                    backlog.append(receive_from(MAX_DATAGRAM))
            else:
                receive = sock.recv
                while len(backlog) < most:
                    backlog.append((receive(MAX_DATAGRAM), connected_to))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            return error.with_traceback(None)  # Who holds it would be held by it.
        finally:
            self.datagrams_in += len(backlog) - before
        return None

    def _handle(self) -> None:
        """Hand over one batch, and come again for the next."""
        self._handling = False
        backlog = self._backlog
        if self.closed or not backlog:
            return
        batch = self._take(BATCH)
        if backlog:
            self._handling = True
            self.loop.call_soon(self._handle)
        if batch:  # else it was taken meanwhile
            self.receiver.datagrams_received(batch)

    def _take(self, most: int) -> list[Datagram]:
        # One by one: another thread may take some as well.
        next_datagram = self._backlog.popleft
        batch: list[Datagram] = []
        try:
            while len(batch) < most:
                batch.append(next_datagram())
        except IndexError:
            pass
        return batch

    def _take_last(self, count: int) -> list[Datagram]:
        """The ``count`` datagrams that came last, oldest first."""
        last_datagram = self._backlog.pop
        fresh: list[Datagram] = []
        with contextlib.suppress(IndexError):  # another thread may take some as well
            while len(fresh) < count:
                fresh.append(last_datagram())
        fresh.reverse()
        return fresh

    def take(self, most: int) -> list[Datagram]:
        """Up to ``most`` datagrams, in another thread and under the lock of
        :class:`~quicdist.carrier.keepalive.KeepAlive`: what the receiver has not been given."""
        if self.closed:
            return []
        if len(self._backlog) < most:
            self._drain(most)  # An error comes again when something is sent.
        return self._take(most)

    def send_now(self, datagrams: Sequence[Datagram]) -> None:
        """Send what the kernel takes now and drop the rest, in another thread."""
        for data, address in datagrams:
            for _ in range(2):  # the first error may be about an earlier one
                try:
                    if self._connected_to is None:
                        self._sock.sendto(data, address)
                    else:
                        self._sock.send(data)
                except BlockingIOError:
                    self.dropped += 1
                    break
                except OSError:
                    continue
                self.datagrams_out += 1
                break
            else:
                self.dropped += 1

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """Send now as much as the kernel takes, the rest when it takes more. Never raises: errors
        go to ``socket_error``."""
        if self.blocked:
            self._keep(datagrams)
            return
        sent = 0
        sock = self._sock
        connected = self._connected_to is not None
        try:
            while sent < len(datagrams):
                end = _run(datagrams, sent) if self._cuts else sent + 1
                if end - sent > 1 and self._send_run(datagrams[sent:end]):
                    sent = end
                    continue
                for data, address in datagrams[sent:end]:
                    if connected:
                        sock.send(data)
                    else:
                        sock.sendto(data, address)
                    sent += 1
        except (BlockingIOError, InterruptedError):
            self._block(datagrams[sent:])
        except OSError as error:
            self._failed(error, datagrams[sent:])
        self.datagrams_out += sent

    def _send_run(self, run: Sequence[Datagram]) -> bool:
        """Have the kernel cut datagrams; whether it did."""
        data, address = run[0]
        size = [(_SOL_UDP, _UDP_SEGMENT, _segment_size.pack(len(data)))]
        parts = [data for data, _ in run]
        try:
            if self._connected_to is None:
                self._sock.sendmsg(parts, size, 0, address)
            else:
                self._sock.sendmsg(parts, size)
        except (BlockingIOError, InterruptedError):
            raise
        except OSError as error:
            if error.errno in REFUSED or error.errno == errno.EMSGSIZE:
                raise  # It may be about an earlier one.
            # EIO: the device cannot do it. Otherwise each by itself may show what is wrong.
            self._cuts = error.errno != errno.EIO
            return False
        return True

    def _failed(self, error: OSError, unsent: Sequence[Datagram]) -> None:
        if error.errno == errno.ENOBUFS:
            # The same as EAGAIN, but nothing tells when it is over.
            self.dropped += len(unsent)
            return
        if error.errno == errno.EMSGSIZE:
            # That may be the network's word about an earlier datagram, and clears with this call.
            if not self.closed:
                if self.send_probe(unsent[0]):
                    self.receiver.socket_error(error)
                else:
                    self.receiver.too_long(len(unsent[0][0]), unsent[0][1])
            if len(unsent) > 1 and not self.closed:
                self._keep(unsent[1:])
                self.loop.call_soon(self._writable)
            return
        if self._on_report is not None and not self.closed and self._take_reports():
            # It was the network's word about an earlier datagram, to whichever address.
            self._keep(unsent)
            self.loop.call_soon(self._writable)
            return
        # On a connected socket the error is that of an earlier datagram, and clears with this
        # call; on others it concerns this one alone.
        remaining = unsent if self._connected_to is not None and error.errno in REFUSED else unsent[1:]
        if not self.closed:
            self.receiver.socket_error(error)
        if remaining and not self.closed and error.errno not in UNREACHABLE:
            self._keep(remaining)
            self.loop.call_soon(self._writable)

    def send_probe(self, datagram: Datagram) -> bool:
        """Send one datagram now or never; False if it is longer than the system takes."""
        data, address = datagram
        for _ in range(2):  # the first error may be about an earlier one
            try:
                if self._connected_to is None:
                    self._sock.sendto(data, address)
                else:
                    self._sock.send(data)
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    return True
            else:
                self.datagrams_out += 1
                return True
        return False

    def _block(self, datagrams: Sequence[Datagram]) -> None:
        self.blocked = True
        self._keep(datagrams)
        self.loop.add_writer(self._sock.fileno(), self._writable)

    def _keep(self, datagrams: Sequence[Datagram]) -> None:
        self._unsent.extend(datagrams)
        while len(self._unsent) > MAX_UNSENT:
            self._unsent.popleft()
            self.dropped += 1

    def _writable(self) -> None:
        if self.closed:
            return
        if self.blocked:
            self.blocked = False
            self.loop.remove_writer(self._sock.fileno())
        unsent = list(self._unsent)
        self._unsent.clear()
        if unsent:
            self.send(unsent)
        if not (self.blocked or self.closed):
            self.receiver.socket_writable()

    def close(self) -> None:
        """Leave the loop and close. What the kernel has been given still leaves."""
        if self.closed:
            return
        self.closed = True
        self._unsent.clear()
        self._backlog.clear()
        if not self.loop.is_closed():
            self.loop.remove_reader(self._sock.fileno())
            self.loop.remove_writer(self._sock.fileno())
        with self._lock:
            self._sock.close()
        # They hold their socket, most often.
        self.receiver = NO_HANDLER
        self.sift = self._on_report = None
