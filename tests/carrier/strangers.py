"""Strangers at a listener: datagrams handed to it from made-up addresses, and what it sends there."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from aioquic.quic.connection import QuicConnection

from quicdist.carrier.datagram_socket import Datagram, SocketAddress
from quicdist.carrier.quic.driver.listen_endpoint import ListenEndpoint
from quicdist.carrier.quic.engine.aioquic.configuration import client_configuration
from quicdist.carrier.quic.engine.aioquic.dialled_connection import DialledConnection
from quicdist.carrier.quic.settings import QuicSettings

#: The networks of documentation (RFC 5737, RFC 3849): nothing is sent there.
MADE_UP = ("192.0.2.", "198.51.100.", "203.0.113.", "2001:db8:")


@dataclass
class Outside:
    """What an endpoint sent to made-up addresses, by address."""

    endpoint: ListenEndpoint
    sent: dict[SocketAddress, list[bytes]] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, data: bytes, address: SocketAddress) -> None:
        """The endpoint has sent a datagram."""
        self.sent.setdefault(address, []).append(data)
        self._news.set()

    def arrive(self, *datagrams: Datagram) -> None:
        """Hand datagrams to the endpoint, as one batch."""
        self.endpoint.datagrams_received(datagrams)

    async def answered(self, address: SocketAddress) -> None:
        """Wait until something was sent to an address."""
        async with asyncio.timeout(10):
            while address not in self.sent:
                self._news.clear()
                await self._news.wait()

    def bytes_sent(self, address: SocketAddress) -> int:
        return sum(map(len, self.sent.get(address, ())))


@contextmanager
def outside(endpoint: ListenEndpoint) -> Iterator[Outside]:
    """The world beyond ``endpoint``'s socket; sending to real addresses goes on."""
    world = Outside(endpoint)
    udp = endpoint.socket
    send = udp.send

    def hook(datagrams: Sequence[Datagram]) -> None:
        real = []
        for data, address in datagrams:
            if str(address[0]).startswith(MADE_UP):
                world.take(bytes(data), address)
            else:
                real.append((data, address))
        if real:
            send(real)

    udp.send = hook  # type: ignore[method-assign]
    try:
        yield world
    finally:
        for connection in endpoint.connections:
            if connection.remote_address.host.startswith(MADE_UP):
                connection.dismiss("the test is over")
        del udp.send


class Stranger:
    """A client somewhere, driven by hand. ``now`` is its clock in seconds."""

    def __init__(self, settings: QuicSettings, address: SocketAddress) -> None:
        self.address = address
        configuration = client_configuration(settings.for_dialling("127.0.0.1"))
        self.quic: QuicConnection = DialledConnection(configuration=configuration)
        self.now = 0.0
        self.quic.connect(("192.0.2.254", 4433), self.now)

    def datagrams(self) -> list[Datagram]:
        """What it sends now."""
        return [(data, self.address) for data, _ in self.quic.datagrams_to_send(self.now)]

    def take(self, world: Outside) -> int:
        """Take in what was sent to it; how many datagrams."""
        came = world.sent.pop(self.address, [])
        for data in came:
            self.quic.receive_datagram(data, ("192.0.2.254", 4433), self.now)
        return len(came)


def noise(size: int = 1200, *, version: int = 1, kind: int = 0xC3) -> bytes:
    """What begins like an Initial packet and cannot be decrypted."""
    header = bytes((kind,)) + version.to_bytes(4) + b"\x08" + os.urandom(8) + b"\x08" + os.urandom(8) + b"\0"
    filling = os.urandom(size - len(header) - 2)
    return header + (0x4000 | len(filling)).to_bytes(2) + filling


def kind_of(data: bytes) -> str:
    """What a datagram begins with."""
    if not data[0] & 0x80:
        return "short"
    if data[1:5] == bytes(4):
        return "version negotiation"
    return ("initial", "0-rtt", "handshake", "retry")[data[0] >> 4 & 3]
