"""A UDP socket and its QUIC connections. They are closed when the event loop or the process ends."""

from __future__ import annotations

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from enum import Enum
from typing import Final
from weakref import WeakKeyDictionary, WeakSet

from quicdist.carrier.clock import clock_of
from quicdist.carrier.keepalive import KeepAlive
from quicdist.carrier.process_exit import at_exit
from quicdist.carrier.quic.driver.connection import QuicConnection
from quicdist.carrier.udp import UdpSocket

#: While the event loop is blocked: the datagrams taken from a socket before they are acknowledged, and the
#: seconds for which further ones are taken.
MAX_KEPT: Final = 64
KEPT_TIME: Final = 0.1


class EndpointState(Enum):
    """The state of an endpoint::

    OPEN ── no longer accepting ──> FINISHING ── last connection is over ──> CLOSED
      └──────────── shut, or the dialled connection is over ──────────────────┘
    """

    #: The socket is open; a listener accepts connections.
    OPEN = "open"
    #: No new connection is accepted; existing ones stay.
    FINISHING = "finishing"
    #: The socket is closed.
    CLOSED = "closed"


#: The states that may follow each state.
TRANSITIONS: Final = {
    EndpointState.OPEN: {EndpointState.FINISHING, EndpointState.CLOSED},
    EndpointState.FINISHING: {EndpointState.CLOSED},
    EndpointState.CLOSED: frozenset[EndpointState](),
}


class Endpoint(ABC):
    """A UDP socket and the QUIC connections on it.

    Registered with the event loop and the process (:func:`register`), so that peers get a CONNECTION_CLOSE
    even if the program just stops, and are served while the event loop is blocked.
    """

    socket: UdpSocket

    def __init__(self) -> None:
        self.state = EndpointState.OPEN
        self._loop = asyncio.get_running_loop()
        #: The time for engines, in seconds.
        self._clock = clock_of(self._loop)
        self._keeper = KeepAlive.of(self._loop)

    def _enter(self, state: EndpointState) -> None:
        assert state in TRANSITIONS[self.state], f"{self.socket.local}: {self.state.name} to {state.name}"
        self.state = state

    @property
    @abstractmethod
    def connections(self) -> Sequence[QuicConnection]:
        """The connections on this socket."""

    def keep_alive(self, now: float) -> None:
        """See :class:`~quicdist.carrier.keepalive.Kept`."""
        while self._keep_alive(time.monotonic()) >= MAX_KEPT and time.monotonic() - now < KEPT_TIME:
            pass

    @abstractmethod
    def _keep_alive(self, now: float) -> int:
        """One round of :meth:`keep_alive`; the number of datagrams taken from the socket."""

    def _close(self) -> None:
        """Close the socket; nothing is left to serve."""
        if self.state is not EndpointState.CLOSED:
            self._enter(EndpointState.CLOSED)
            self.socket.close()
            _endpoints.discard(self)
            self._keeper.discard(self)

    def shut(self, reason: str = "") -> None:
        """Close all connections and the socket now."""
        for connection in self.connections:
            connection.close(reason=reason)
        self._close()

    def socket_writable(self) -> None:
        for connection in self.connections:
            connection.transmit()


# -- closed with the loop and the process ----------------------------------------------------

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
    """Have ``endpoint`` shut when the event loop or the process ends, and served while the loop is
    blocked."""
    loop = asyncio.get_running_loop()
    if endpoint.state is not EndpointState.CLOSED:
        _endpoints.add(endpoint)
        KeepAlive.of(loop).add(endpoint)
    if loop not in _watchers:
        # asyncio closes its asynchronous generators as the last thing in a loop: the only notice of the
        # loop's end that needs no task.
        watcher = _watchers[loop] = _loop_watcher(loop)
        await anext(watcher)


at_exit(_shut_all)
