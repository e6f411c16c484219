"""What the ends with bare QUIC engines do on a stream: echo, or count and confirm. It needs no engine.

Each stream begins with a header: its operation, the number of messages and their size.
"""

from __future__ import annotations

import asyncio
import struct

#: Large messages in flight: aioquic buffers without a limit, and becomes slower with the size.
AHEAD = 4
LARGE = 65536

HEADER = struct.Struct(">III")  # operation, number, size
ECHO, SINK = 0, 1


class Answers:
    """The server's side: what to send for what came."""

    def __init__(self) -> None:
        self._wanted: dict[int, tuple[int, int]] = {}
        self._came: dict[int, int] = {}

    def to(self, stream: int, data: bytes | memoryview) -> bytes | memoryview:
        """The bytes to send on ``stream`` for ``data``, which came there; none for most of a sink."""
        if stream not in self._wanted:
            kind, count, size = HEADER.unpack_from(data)
            self._wanted[stream] = kind, count * size
            self._came[stream] = 0
            data = data[HEADER.size :]
        kind, total = self._wanted[stream]
        if kind == ECHO:
            return data
        before = self._came[stream]
        after = self._came[stream] = before + len(data)
        # A confirmation for every MiB, so that the client can continue, and one for all.
        return b"." * ((after >> 20) - (before >> 20) + (after == total))


class Arrivals:
    """The client's side: counts the received bytes of its open stream."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Count from 0: another stream is opened."""
        self._came = 0
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None

    def add(self, count: int) -> None:
        self._came += count
        if self._waiter is not None and self._came >= self._wanted and not self._waiter.done():
            self._waiter.set_result(None)

    async def came(self, wanted: int) -> None:
        """Wait until ``wanted`` bytes have come."""
        if self._came < wanted:
            self._wanted = wanted
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
