"""Who sees the packets of others, and sends as if he were one of them: with raw sockets, where the system
lets this process have them."""

from __future__ import annotations

import collections
import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable

from tests.hostile import raw_quic as raw
from tests.hostile.field import Attack, Field, at_rate

_LOOPBACK = "127.0.0.1"
_ALL = 0x0003
_IP, _UDP = 14, 34


class Wire:
    """The loopback interface: what passes there, and datagrams of any source."""

    def __init__(self, field: Field) -> None:
        self._field = field
        self._port = field.quic[1]
        self.raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        field.hold(self.raw)

    def listen(self, seconds: float) -> list[tuple[int, bytes]]:
        """Datagrams to the victim by their port."""
        came: list[tuple[int, bytes]] = []
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as tap:
            tap.bind(("lo", 0))
            tap.settimeout(0.1)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    frame = tap.recv(70_000)
                    if frame[_IP - 2 : _IP] == b"\x08\0" and frame[_IP + 9] == socket.IPPROTO_UDP:
                        source, target = struct.unpack_from(">HH", frame, _UDP)
                        if target == self._port:
                            came.append((source, frame[_UDP + 8 :]))
        return came

    def good_peer(self) -> tuple[int, bytes, list[bytes]]:
        """The port of the good peer, the connection id that it sends to, and what it sent."""
        came = [(port, data) for port, data in self.listen(0.5) if not data[0] & 0x80]
        port = collections.Counter(port for port, _ in came).most_common(1)[0][0]
        sent = [data for other, data in came if other == port]
        return port, sent[-1][1:9], sent

    def send(self, data: bytes, port: int, source: str = _LOOPBACK, target: int | None = None) -> None:
        udp = struct.pack(">HHHH", port, target or self._port, 8 + len(data), 0) + data
        ip = struct.pack(
            ">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0,
            socket.inet_aton(source), socket.inet_aton(_LOOPBACK),
        )  # fmt: skip
        with contextlib.suppress(OSError):
            self.raw.sendto(ip + udp, (_LOOPBACK, 0))
            self._field.sent += len(data)


def _with_wire(run: Callable[[Field, Wire], None]) -> Callable[[Field], None]:
    def wrapped(field: Field) -> None:
        try:
            wire = Wire(field)
        except PermissionError:
            field.note("this process may have no raw sockets")
            return
        run(field, wire)

    return wrapped


@_with_wire
def forged(field: Field, wire: Wire) -> None:
    """Packets in the good peer's name, from its address, that open with no key."""
    port, cid, _ = wire.good_peer()
    for number in at_rate(4000, 1.5):
        wire.send(bytes([0x40 | number & 0x27]) + cid + os.urandom(30 + number % 1000), port)


@_with_wire
def forged_elsewhere(field: Field, wire: Wire) -> None:
    """The same from other addresses."""
    _, cid, _ = wire.good_peer()
    for number in at_rate(4000, 1.5):
        data = bytes([0x40 | number & 0x27]) + cid + os.urandom(30 + number % 1000)
        wire.send(data, 1024 + number, f"127.9.{number % 200}.7")


@_with_wire
def lookalikes(field: Field, wire: Wire) -> None:
    """What could be stateless resets, from the good peer's address and, to it, from the victim's."""
    port, cid, _ = wire.good_peer()
    for number in at_rate(3000, 1.0):
        wire.send(bytes([0x40 | number & 0x3F]) + os.urandom(22 + number % 50), port)
        wire.send(bytes([0x40 | number & 0x3F]) + cid + os.urandom(16), port)
        wire.send(os.urandom(40), field.quic[1], target=port)


@_with_wire
def long_headers(field: Field, wire: Wire) -> None:
    """Initial, Handshake, Retry and Version Negotiation packets in the name of either side."""
    port, cid, _ = wire.good_peer()
    for number in at_rate(800, 1.5):
        close = raw.connection_close(0, b"bye\n")
        wire.send(raw.initial(close, destination=cid, source=os.urandom(8)), port)
        wire.send(raw.initial(raw.PING, destination=os.urandom(8), source=cid), port)
        head = bytes([0xE0 | number & 3]) + raw.V1.to_bytes(4, "big") + bytes([8]) + cid + bytes([8]) + cid
        wire.send(head + raw.var(200) + os.urandom(1200), port)
        versions = (
            bytes([0x80 | number & 0x7F]) + bytes(4) + bytes([8]) + cid + bytes([8]) + cid + b"\xfa" * 8
        )
        wire.send(versions, port)
        wire.send(versions, field.quic[1], target=port)
        retry = b"\xf0" + raw.V1.to_bytes(4, "big") + bytes([8]) + cid + bytes([8]) + cid + os.urandom(60)
        wire.send(retry, field.quic[1], target=port)


@_with_wire
def replayed(field: Field, wire: Wire) -> None:
    """What the good peer has sent, again, from its own address and from others, and with bits changed."""
    port, _, sent = wire.good_peer()
    for number in at_rate(3000, 1.5):
        data = sent[number % len(sent)]
        if number % 3 == 0:
            wire.send(data, port)
        elif number % 3 == 1:
            wire.send(data, 2000 + number, f"127.8.{number % 200}.9")
        else:
            at = 9 + number % (len(data) - 9)
            wire.send(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], port)


@_with_wire
def coalesced(field: Field, wire: Wire) -> None:
    """Packets of several connections in one datagram, the good peer's behind them."""
    port, cid, sent = wire.good_peer()
    for number in at_rate(500, 1.0):
        first = raw.initial(raw.PING, size=1200)
        wire.send(first + sent[number % len(sent)] + first, port)
        wire.send((bytes([0x40]) + cid + os.urandom(40) + first) * 20, port)


@_with_wire
def everywhere(field: Field, wire: Wire) -> None:
    """ClientHellos of so many made-up addresses."""
    for number in at_rate(1000, 2.0):
        wire.send(raw.client_hello(field) if number % 20 == 0 else raw.initial(raw.PING), 1024 + number,
                  f"127.{number % 100 + 20}.{number // 100}.3")  # fmt: skip


ATTACKS = [
    Attack("forged-good", "6000 packets in the good peer's name, from its address", forged),
    Attack(
        "forged-elsewhere", "6000 packets in the good peer's name, from other addresses", forged_elsewhere
    ),
    Attack(
        "lookalikes", "9000 packets that could be stateless resets of the good peer or the victim", lookalikes
    ),
    Attack(
        "long-headers", "Initial, Retry and Version Negotiation packets in the name of either", long_headers
    ),
    Attack("replayed", "4500 datagrams of the good peer again, some changed", replayed),
    Attack("coalesced", "packets of several connections in a datagram", coalesced),
    Attack("everywhere", "2000 Initial packets of as many addresses, some of them ClientHellos", everywhere),
]
