"""An in-memory network of hosts with UDP sockets, in a :class:`~tests.simulated.loop.SimulatedLoop`.

Every datagram goes over the :class:`~tests.simulated.path.Path` from its sender's host to the other one.
All chances come from the seed.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import random
import socket
import sys
import time
import zlib
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any

from quicdist.carrier import icmp
from quicdist.carrier.datagram_socket import SOL_UDP
from quicdist.protocol import streams
from tests.simulated.loop import SimulatedLoop
from tests.simulated.path import IPV4_HEADERS, IPV6_HEADERS, Path

Endpoint = tuple[str, int]

#: The first port that the system gives, and the first descriptor: no real one.
FIRST_PORT = 40_000
FIRST_DESCRIPTOR = 1 << 20
#: Bytes that a socket keeps which nobody reads.
RECEIVE_BUFFER = 8 * 1024 * 1024


class Network:
    """Hosts by their addresses, and the paths between them."""

    def __init__(self, seed: int) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        self.loop = loop
        self.seed = seed
        #: For what happens to datagrams; and for whatever else a test wants to draw.
        self.random = Random(f"path {seed}")
        self.chance = Random(f"test {seed}")
        #: Called with every datagram that is sent: source, destination, data. False drops it.
        self.watch: Callable[[Endpoint, Endpoint, bytes], bool | None] | None = None
        self._hosts: dict[str, Host] = {}
        self._paths: dict[tuple[str, str], Path] = {}
        self._ports = itertools.count(FIRST_PORT)
        self._descriptors = itertools.count(FIRST_DESCRIPTOR)
        #: NAT: what others see of an endpoint, and the other way round.
        self._outside: dict[Endpoint, Endpoint] = {}
        self._inside: dict[Endpoint, Endpoint] = {}

    def host(self, address: str) -> Host:
        """The host at an address, which is made if there is none."""
        host = self._hosts.get(address)
        if host is None:
            host = self._hosts[address] = Host(self, address)
        return host

    def path(self, source: str, destination: str) -> Path:
        """The path in this direction."""
        key = source, destination
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = Path()
        return path

    def paths(self, one: str, other: str) -> tuple[Path, Path]:
        """Both directions between two hosts."""
        return self.path(one, other), self.path(other, one)

    def set(self, one: str, other: str, **properties: Any) -> None:
        """Set properties of both directions between two hosts."""
        for path in self.paths(one, other):
            for name, value in properties.items():
                assert hasattr(path, name), name
                setattr(path, name, value)

    def rebind(self, host: str, seen: str | None = None) -> None:
        """A NAT before ``host`` forgets: what leaves its sockets from now on comes from other ports, of
        the address ``seen`` if given, and what is sent to the ports before goes nowhere."""
        for sock in list(self.host(host).sockets.values()):
            inside = sock.address
            outside = (seen or host, next(self._ports))
            self._inside.pop(self._outside.get(inside, inside), None)
            self._inside[outside] = inside
            self._outside[inside] = outside

    # -- datagrams on their way -------------------------------------------------------------

    def descriptor(self) -> int:
        return next(self._descriptors)

    def port(self) -> int:
        return next(self._ports)

    def send(self, sock: SimulatedSocket, destination: Endpoint, data: bytes) -> None:
        """Called by a socket. Raises OSError as the sender's system would."""
        address = sock.address
        path = self.path(address[0], destination[0])
        if path.error is not None:
            raise OSError(path.error, os.strerror(path.error))
        size = len(data) + (IPV6_HEADERS if ":" in destination[0] else IPV4_HEADERS)
        if size > sock.host.mtu:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        source = self._outside.get(address, address)
        if self.watch is not None and self.watch(source, destination, data) is False:
            path.lost += 1
            return
        if size > path.mtu and path.tells and not path.cut:
            self.loop.call_later(path.delay, sock.fail, errno.EMSGSIZE)
        now = self.loop.time()
        for at in path.arrivals(size, now, self.random):
            corrupted = path.corrupted and self.random.random() < path.corrupted
            came = _turned(data, self.random) if corrupted else data
            self.loop.call_at(at, self._arrive, sock, source, destination, came)

    def _arrive(self, sender: SimulatedSocket, source: Endpoint, destination: Endpoint, data: bytes) -> None:
        inside = self._inside.get(destination)
        if inside is None:
            if destination in self._outside:
                return  # behind a NAT that has forgotten this
            inside = destination
        host = self._hosts.get(inside[0])
        if host is None or not host.up:
            return  # nobody answers for it
        found = host.socket_for(inside, source)
        if found is not None:
            found.arrived(data, source)
        elif host.tells:
            # ICMP: port unreachable.
            back = self.path(inside[0], sender.address[0])
            for at in back.arrivals(100, self.loop.time(), self.random):
                self.loop.call_at(at, sender.fail, errno.ECONNREFUSED, destination)


class Host:
    """One address and the sockets there. What a :class:`~quicdist.carrier.udp.OpenSocket` is asked for is
    opened here."""

    def __init__(self, network: Network, address: str) -> None:
        self.network = network
        self.address = address
        #: The longest packet of its link, headers included: more the system refuses.
        self.mtu = 65535
        #: Whether it answers with ICMP where nobody listens; whether it is there at all.
        self.tells = True
        self.up = True
        #: By port and peer, None for those that are not connected.
        self.sockets: dict[tuple[int, Endpoint | None], SimulatedSocket] = {}

    def __call__(
        self,
        family: socket.AddressFamily,
        *,
        local: tuple[Any, ...] | None = None,
        remote: tuple[Any, ...] | None = None,
    ) -> SimulatedSocket:
        if (":" in self.address) != (family == socket.AF_INET6):
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        if local is not None and local[0] not in (self.address, "0.0.0.0", "::"):
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
        port = (local[1] if local else 0) or self.network.port()
        peer: Endpoint | None = None
        if remote is not None:
            peer = remote[0], remote[1]
            error = self.network.path(self.address, peer[0]).error
            if error is not None:
                raise OSError(error, os.strerror(error))
        if (port, None) in self.sockets:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return SimulatedSocket(self, family, port, peer)

    def move(self, address: str) -> None:
        """From now on it is at another address. Its sockets of before can send nothing any more."""
        hosts = self.network._hosts
        assert address not in hosts
        del hosts[self.address]
        self.address = address
        hosts[address] = self

    def socket_for(self, local: Endpoint, source: Endpoint) -> SimulatedSocket | None:
        found = self.sockets.get((local[1], source)) or self.sockets.get((local[1], None))
        return found if found is not None and found.address == local else None


class SimulatedSocket:
    """A non-blocking UDP socket, as :class:`~quicdist.carrier.udp.DatagramSocket` wants it."""

    def __init__(self, host: Host, family: socket.AddressFamily, port: int, peer: Endpoint | None) -> None:
        self.host = host
        self.family = int(family)
        self.address: Endpoint = host.address, port
        self.peer = peer
        #: Datagrams dropped because nobody read those before.
        self.dropped = 0
        self._network = host.network
        self._selector = host.network.loop.selector
        self._number = host.network.descriptor()
        self._inbox: deque[tuple[bytes, Any]] = deque()
        self._waiting = 0
        self._error: int | None = None
        self._reports: deque[tuple[int, Endpoint]] | None = None
        host.sockets[port, peer] = self

    # -- what the network does ---------------------------------------------------------------

    def arrived(self, data: bytes, source: Endpoint) -> None:
        if self._waiting + len(data) > RECEIVE_BUFFER:
            self.dropped += 1
            return
        self._waiting += len(data)
        self._inbox.append((data, source if self.family == socket.AF_INET else (*source, 0, 0)))
        self._selector.readable[self._number] = None

    def fail(self, error: int, destination: Endpoint | None = None) -> None:
        """An ICMP error came: whoever is connected is told by the next call, and others that have asked for
        reports (Linux: IP_RECVERR)."""
        if self.peer is None and self._reports is not None and destination is not None and self._number >= 0:
            self._error = error
            self._reports.append((error, destination))
            self._selector.readable[self._number] = None
        if self.peer is not None and destination in (None, self.peer) and self._number >= 0:
            self._error = error
            self._selector.readable[self._number] = None

    # -- the socket ----------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._number

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            raise OSError(error, os.strerror(error))

    def recvfrom(self, size: int, /) -> tuple[bytes, Any]:
        self._raise_error()
        if not self._inbox:
            self._selector.readable.pop(self._number, None)
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        datagram = self._inbox.popleft()
        self._waiting -= len(datagram[0])
        return datagram

    def recv(self, size: int, /) -> bytes:
        return self.recvfrom(size)[0]

    def sendto(self, data: bytes, address: Any, /) -> int:
        self._raise_error()
        if self._number < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self.address[0] != self.host.address:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._network.send(self, (address[0], address[1]), bytes(data))
        return len(data)

    def send(self, data: bytes, /) -> int:
        if self.peer is None:
            raise OSError(errno.EDESTADDRREQ, os.strerror(errno.EDESTADDRREQ))
        return self.sendto(data, self.peer)

    def sendmsg(
        self, parts: Iterable[bytes], ancillary: Iterable[Any] = (), flags: int = 0, address: Any = None, /
    ) -> int:
        raise OSError(errno.EIO, "no segmentation here")

    def getpeername(self) -> Any:
        if self.peer is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return self.peer if self.family == socket.AF_INET else (*self.peer, 0, 0)

    def getsockname(self) -> Any:
        return self.address if self.family == socket.AF_INET else (*self.address, 0, 0)

    def getsockopt(self, level: int, option: int, /) -> int:
        if level == socket.SOL_SOCKET:
            return RECEIVE_BUFFER
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """Nothing is taken apart on its way, asked for or not."""
        if level == SOL_UDP:
            raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
        if (level, option) in (icmp.IP_RECVERR, icmp.IPV6_RECVERR) and self._reports is None:
            self._reports = deque()

    def recvmsg(self, size: int, ancillary: int = 0, flags: int = 0, /) -> tuple[bytes, list[Any], int, Any]:
        """What is kept for MSG_ERRQUEUE. As in Linux, the last one takes the error along."""
        if not self._reports:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        error, about = self._reports.popleft()
        if not self._reports:
            self._error = None
        data = icmp.EXTENDED_ERROR.pack(error, 2, 3, 3, 0, 0, 0)
        return (
            b"",
            [(*icmp.IP_RECVERR, data)],
            flags,
            about if self.family == socket.AF_INET else (*about, 0, 0),
        )

    def close(self) -> None:
        if self._number >= 0:
            self._selector.readable.pop(self._number, None)
            self._number = -1
            self._inbox.clear()
            key = self.address[1], self.peer
            if self.host.sockets.get(key) is self:
                del self.host.sockets[key]


def _turned(data: bytes, chance: Random) -> bytes:
    """The same with one bit turned over."""
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _crc(pair: Hashable) -> int:
    return zlib.crc32(repr(pair).encode())


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """What the engine and the node draw of the system's randomness, such as connection ids, challenges and
    creations, is drawn from the seed. The streams of messages, and the order in which a simulated quic_dist
    serves them (aioquic keeps them in a set), do not depend on hashes of this process; and nothing costs time
    of the processor, by which a listener holds back strangers. Keys are not drawn: they come from OpenSSL,
    and change no size or time."""
    drawn = Random(f"system {seed}")
    with ExitStack() as stack:

        def replace(owner: Any, name: str, value: Any) -> None:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)

        replace(os, "urandom", drawn.randbytes)
        replace(random, "_urandom", drawn.randbytes)
        replace(time, "thread_time", lambda: 0.0)
        replace(streams, "_steady_hash", _crc)
        if "aioquic" in sys.modules:
            from aioquic.quic.stream import QuicStream

            replace(QuicStream, "__hash__", lambda stream: stream.stream_id or 0)
        yield
