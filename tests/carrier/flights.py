"""A UDP proxy that counts flights: for tests of round trips, and of paths that change or are narrow.

A datagram's flight is one more than the latest flight that had reached its sender: the depth of the
chain of datagrams that led to it, which no clock has a say in. The delay, the same for every datagram,
makes those that leave together arrive together, as they do over any distance.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator
from typing import cast

from quicdist.carrier import Address
from quicdist.carrier.datagram_socket import open_socket

#: Seconds each datagram is under way; more than an event loop's turn takes.
DELAY = 0.02


class _Side(asyncio.DatagramProtocol):
    """One socket of the proxy."""

    transport: asyncio.DatagramTransport

    def __init__(self, proxy: Proxy, *, inside: bool) -> None:
        self.proxy = proxy
        self.inside = inside
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        # With buffers that hold what its neighbours send in one go.
        sock = open_socket(socket.AF_INET, local=("127.0.0.1", 0))
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=sock)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self.proxy.forward(self, data, source)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(None)

    async def close(self) -> None:
        self.transport.close()
        await self.lost

    def error_received(self, error: Exception) -> None:
        """The far end may be gone: what the proxy would tell of it nobody asks."""


class Proxy:
    """Stands between one client and ``target``; ``address`` is where the client dials.

    Like a NAT it has an address of its own towards the target, and :meth:`forget` gives it another.
    """

    def __init__(self, target: Address, delay: float) -> None:
        self._target = (target.host, target.port)
        self._delay = delay
        self._client: tuple[str, int] | None = None
        self._front: _Side
        self._back: _Side
        self._forgotten: list[_Side] = []
        self._loop = asyncio.get_running_loop()
        #: The latest flight that reached the client, and the server.
        self.reached_client = 0
        self.reached_server = 0
        #: Datagrams of the client that are lost from now on, for want of a way.
        self.down = False
        #: The longest datagram that gets through, either way; how long those were that did, and that did not.
        self.longest = 65535
        self.passed: Counter[int] = Counter()
        self.dropped: Counter[int] = Counter()
        self.from_client: list[bytes] = []

    async def open(self) -> None:
        self._front, self._back = _Side(self, inside=True), _Side(self, inside=False)
        for side in (self._front, self._back):
            await side.open()

    @property
    def address(self) -> Address:
        host, port = self._front.transport.get_extra_info("sockname")[:2]
        return Address(host, port)

    @property
    def outer_port(self) -> int:
        """The port the target sees."""
        return int(self._back.transport.get_extra_info("sockname")[1])

    async def forget(self) -> None:
        """Take another port towards the target: what it sends to the old one is lost, without a word, as most
        NATs lose it. A closed port would be told (ICMP), which says that nobody is there."""
        self._forgotten.append(self._back)
        self._back = _Side(self, inside=False)
        await self._back.open()

    def forward(self, side: _Side, data: bytes, source: tuple[str, int]) -> None:
        if len(data) > self.longest:
            self.dropped[len(data)] += 1
            return
        self.passed[len(data)] += 1
        if side.inside:
            self._client = source
            self.from_client.append(data)
            if not self.down:
                self._loop.call_later(self._delay, self._to_server, data, self.reached_client + 1)
        elif side is self._back:
            self._loop.call_later(self._delay, self._to_client, data, self.reached_server + 1)

    def _to_server(self, data: bytes, flight: int) -> None:
        self.reached_server = max(self.reached_server, flight)
        if not self._back.transport.is_closing():
            self._back.transport.sendto(data, self._target)

    def _to_client(self, data: bytes, flight: int) -> None:
        self.reached_client = max(self.reached_client, flight)
        if self._client is not None and not self._front.transport.is_closing():
            self._front.transport.sendto(data, self._client)

    async def close(self) -> None:
        for side in (self._front, self._back, *self._forgotten):
            await side.close()


@contextlib.asynccontextmanager
async def proxied(target: Address, delay: float = DELAY) -> AsyncIterator[Proxy]:
    """A proxy to ``target``."""
    proxy = Proxy(target, delay)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()
