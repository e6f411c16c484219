"""A socket with the QUIC connections on it, and its end with that of the loop and of the process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from weakref import WeakKeyDictionary, WeakSet

from quicdist.carrier.keepalive import KeepAlive
from quicdist.carrier.process_exit import at_exit
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.udp import UdpSocket

#: Datagrams taken from a socket at once while the loop stands still: then they are acknowledged. More are
#: taken for so many seconds.
MAX_KEPT = 64
KEPT_TIME = 0.1


class Endpoint(ABC):
    """A socket and the connections on it, known to the event loop and to the end of the process,
    so that peers get a CONNECTION_CLOSE even if the program just stops, and are kept alive while the
    loop stands still."""

    socket: UdpSocket

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._keeper = KeepAlive.of(self._loop)

    @property
    @abstractmethod
    def connections(self) -> Sequence[QuicConnection]:
        """The connections on this socket."""

    def keep_alive(self, now: float) -> None:
        """See :class:`~quicdist.carrier.keepalive.Kept`."""
        while self._keep_alive(time.monotonic()) == MAX_KEPT and time.monotonic() - now < KEPT_TIME:
            pass

    @abstractmethod
    def _keep_alive(self, now: float) -> int:
        """One round of that; how many datagrams were taken from the socket."""

    def gone(self) -> None:
        """Nothing is left to shut or to keep alive."""
        _endpoints.discard(self)
        self._keeper.discard(self)

    def shut(self, reason: str = "") -> None:
        """Close all connections and the socket now."""
        for connection in self.connections:
            connection.close(reason=reason)
        self.socket.close()

    def socket_writable(self) -> None:
        for connection in self.connections:
            connection.transmit()


# -- the end of the loop and of the process ----------------------------------------------------

_endpoints: WeakSet[Endpoint] = WeakSet()
_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncIterator[None]] = WeakKeyDictionary()


async def _loop_watcher(loop: asyncio.AbstractEventLoop) -> AsyncIterator[None]:
    try:
        yield
    finally:
        _shut_all(loop)


def _shut_all(loop: asyncio.AbstractEventLoop | None = None) -> None:
    for endpoint in list(_endpoints):
        if loop is None or endpoint.socket.loop is loop:
            with contextlib.suppress(Exception):
                endpoint.shut("the program ends")


async def register(endpoint: Endpoint) -> None:
    """Have ``endpoint`` shut when the loop or the process ends, and kept alive in its standstills."""
    loop = asyncio.get_running_loop()
    if not endpoint.socket.closed:
        _endpoints.add(endpoint)
        KeepAlive.of(loop).add(endpoint)
    if loop not in _watchers:
        # asyncio closes the asynchronous generators it knows as the last thing it does in a loop:
        # the one notice of its end there is without a task.
        watcher = _watchers[loop] = _loop_watcher(loop)
        await anext(watcher)


at_exit(_shut_all)
