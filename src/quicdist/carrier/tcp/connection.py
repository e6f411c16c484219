"""One TCP connection during the distribution handshake, read chunk by chunk."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import ClassVar, cast

from quicdist.carrier.addresses import Address
from quicdist.carrier.datagram_socket import to_address
from quicdist.forking import close_in_children
from quicdist.protocol import HandshakeFraming

#: Bytes that a peer may send ahead of the handshake; above that, reading is paused until some were read.
READ_AHEAD = 64 * 1024


class TcpConnection(asyncio.Protocol):
    """A TCP connection whose chunks are awaited one after the other."""

    #: How messages of the distribution's handshake are delimited.
    framing: ClassVar[HandshakeFraming] = HandshakeFraming.PACKET_2

    def __init__(self, on_made: Callable[[TcpConnection], None] | None = None) -> None:
        self._on_made = on_made
        self._transport: asyncio.Transport | None = None
        self._held = bytearray()
        self._ended = False
        #: asyncio has called :meth:`connection_lost`; ``error`` is its error.
        self.lost = False
        self.error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        #: The message that the peer has to send next, for errors; empty before the handshake.
        self.expected = ""
        self.local_address = self.remote_address = Address("", 0)

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None, "no connection was made yet"
        return self._transport

    # -- called by asyncio -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop are not subclasses of asyncio's.
        self._transport = transport = cast(asyncio.Transport, transport)
        # A closed socket has no addresses any more.
        self.local_address = to_address(transport.get_extra_info("sockname") or ("", 0))
        self.remote_address = to_address(transport.get_extra_info("peername") or ("", 0))
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None:
            close_in_children(sock.fileno())
            with contextlib.suppress(OSError):  # closed already: connection_lost follows
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._on_made is not None:
            self._on_made(self)

    def data_received(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > READ_AHEAD:
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._ended = True
        self._wake()
        return True  # a refusal can still be sent

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = self.lost = True
        self.error = self.error or error
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # -- called by the handshake -----------------------------------------------------------

    async def secured(self) -> None:
        """Wait until the distribution's handshake can begin: at once over TCP."""

    async def read(self) -> bytes:
        """The bytes that have come; waits for some. Empty once the peer has closed the connection.

        Raises :class:`OSError` if the connection broke.
        """
        while not self._held:
            if self.error is not None:
                raise self.error
            if self._ended:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = bytes(self._held)
        self._held.clear()
        self.transport.resume_reading()
        return data

    async def ends_within(self, seconds: float) -> bool:
        """Wait until the connection ends, for ``seconds`` at most. Returns whether it has ended. Nothing is
        read meanwhile."""
        loop = asyncio.get_running_loop()
        self.transport.pause_reading()
        over: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, over.set_result, None)
        try:
            return await self.ends_before(over)
        finally:
            timer.cancel()

    async def ends_before(self, other: asyncio.Future[None]) -> bool:
        """Wait until ``other`` is done or the connection has ended. Returns whether it has ended."""
        while not self._ended and not other.done():
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait({self._reader, other}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._reader = None
        return self._ended

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def take_held(self) -> bytes:
        """The bytes that have come and were not read."""
        data = bytes(self._held)
        self._held.clear()
        return data

    def fail(self, error: Exception) -> None:
        """Close at once; :meth:`read` raises ``error``."""
        self.error = error
        self._ended = True
        self._held.clear()
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    def close(self) -> None:
        """Close; a few bytes that were written just before still leave, as the kernel takes them at once."""
        # The error holds the frames of its reader, which hold this connection.
        self.error = None
        if self._transport is not None:
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._transport.abort()
