"""What an attack has at hand: where the victim is, sockets that count, and what else it may note."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.hostile.node import VICTIM
from tests.hostile.processes import NodeProcess

COOKIE = "hostile"
#: A remote host of the gateway under attack.
OTHER_HOST = "127.10.0.9"


class Closeable(Protocol):
    def close(self) -> None: ...


class CountingSocket(socket.socket):
    """Counts the bytes that are sent and received."""

    counts: Field

    def sendall(self, data: Any, flags: int = 0) -> None:
        super().sendall(data, flags)
        self.counts.sent += len(data)

    def send(self, data: Any, flags: int = 0) -> int:
        sent = super().send(data, flags)
        self.counts.sent += sent
        return sent

    def sendto(self, data: Any, address: Any) -> int:  # type: ignore[override]
        sent = super().sendto(data, address)
        self.counts.sent += sent
        return sent

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        self.counts.received += len(data)
        return data

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        data, address = super().recvfrom(size, flags)
        self.counts.received += len(data)
        return data, address


@dataclass
class Field:
    """One attack's view of the run."""

    victim: NodeProcess
    quic: tuple[str, int]
    #: Of a gateway its epmd for another host.
    tcp: tuple[str, int]
    tls: dict[str, str]
    #: A port of the address 127.0.0.1 that the victim dials for a name that is the attacker's.
    liar_port: int
    #: The port of a gateway's metrics page.
    metrics_port: int = 0
    name: str = VICTIM
    cookie: str = COOKIE
    #: Whether there are seconds to spend: the rows of ``make test`` are shorter.
    quick: bool = False
    sent: int = 0
    received: int = 0
    #: Goals of this attack's own that were missed, and what is worth saying.
    misses: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _held: list[Closeable] = field(default_factory=list)
    _sources: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _pool: list[CountingSocket] = field(default_factory=list)

    # -- sockets -----------------------------------------------------------------------------

    def _socket(self, kind: int, source: str) -> CountingSocket:
        sock = CountingSocket(socket.AF_INET, kind)
        sock.counts = self
        sock.bind((source, 0))
        return sock

    def udp(self, source: str = "127.0.0.1") -> CountingSocket:
        sock = self._socket(socket.SOCK_DGRAM, source)
        sock.setblocking(False)
        return sock

    def dial(self, source: str = "127.0.0.1", timeout: float = 5.0) -> CountingSocket:
        """A TCP connection to the victim; closed when the attack is over."""
        return self.dial_port(self.tcp, source, timeout)

    def dial_port(
        self, address: tuple[str, int], source: str = "127.0.0.1", timeout: float = 5.0
    ) -> CountingSocket:
        """The same to another port of it."""
        sock = self._socket(socket.SOCK_STREAM, source)
        sock.settimeout(timeout)
        try:
            sock.connect(address)
        except OSError:
            sock.close()
            raise
        self.hold(sock)
        return sock

    def source(self) -> str:
        """An address that nobody has come from."""
        number = next(self._sources)
        return f"127.{16 + number // 60000}.{number // 250 % 240}.{1 + number % 250}"

    def spoof(self, datagram: bytes, sockets: int = 64) -> None:
        """Send a datagram from one of many addresses and ports, in turn."""
        while len(self._pool) < sockets:
            self._pool.append(self.udp(self.source()))
            self.hold(self._pool[-1])
        sock = self._pool[self.sent % 9973 % sockets]
        with contextlib.suppress(OSError):
            sock.sendto(datagram, self.quic)

    def drain_pool(self) -> None:
        """Take what was answered to the addresses of :meth:`spoof`."""
        for sock in self._pool:
            with contextlib.suppress(OSError):
                while True:
                    sock.recvfrom(65536)

    def hold(self, closeable: Closeable) -> None:
        """Close it when the attack is over, and not before what it costs has been measured."""
        self._held.append(closeable)

    def close(self) -> None:
        for closeable in reversed(self._held):
            with contextlib.suppress(Exception):
                closeable.close()
        self._held.clear()
        self._pool.clear()

    # -- goals of its own --------------------------------------------------------------------

    def expect(self, holds: bool, text: str) -> None:
        """A goal of this attack's own: ``text`` says what was missed."""
        if not holds:
            self.misses.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def dialled(self, name: str, timeout: float) -> Future[dict[str, Any]]:
        """Have the victim dial a node; seconds and the error, if any."""
        return self.victim.ask("dial", name=name, timeout=timeout)


@dataclass(frozen=True)
class Attack:
    """One row. ``kind`` is ``stranger`` or ``peer`` (one that has the cookie)."""

    name: str
    what: str
    run: Callable[[Field], None]
    kind: str = "stranger"
    #: Options of a victim of its own, by name; see :mod:`tests.hostile.run`.
    variant: str = ""
    #: In ``make test`` too.
    quick: bool = False
    #: What the newcomers dial over meanwhile.
    carrier: str = "quic"


def at_rate(rate: float, seconds: float) -> Iterator[int]:
    """Numbers from 0 on, so many a second, for so long."""
    start = time.monotonic()
    for number in itertools.count():
        due = start + number / rate
        now = time.monotonic()
        if now - start >= seconds:
            return
        if due > now:
            time.sleep(due - now)
        yield number
