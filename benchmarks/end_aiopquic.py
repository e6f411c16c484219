"""aiopquic (picoquic, a QUIC engine in C with a network thread) with its asyncio client and server: the peer
for rows against an engine in C. It needs Python 3.12.

The options name the server's certificate and key, or the port of the server to connect to. All
else is as aiopquic comes.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import statistics
import struct
import sys
from time import perf_counter
from typing import Any

from aiopquic.asyncio.client import connect
from aiopquic.asyncio.protocol import QuicConnectionProtocol
from aiopquic.asyncio.server import serve
from aiopquic.quic import events
from aiopquic.quic.configuration import QuicConfiguration

from benchmarks import control

#: Large messages in flight, as in end_aioquic.py.
AHEAD = 4
LARGE = 65536

_HEADER = struct.Struct(">III")  # operation, number, size
ECHO, SINK = 0, 1


class Server(QuicConnectionProtocol):
    """Each stream begins with its operation: echo, or sink with a confirmation at the end."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._wanted: dict[int, tuple[int, int]] = {}
        self._came: dict[int, int] = {}

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if not isinstance(event, events.StreamDataReceived) or not len(event.data):
            return
        stream, data = event.stream_id, memoryview(event.data)
        if stream not in self._wanted:
            kind, count, size = _HEADER.unpack_from(data)
            self._wanted[stream] = kind, count * size
            self._came[stream] = 0
            data = data[_HEADER.size :]
        kind, total = self._wanted[stream]
        if kind == ECHO:
            if len(data):
                self._quic.send_stream_data(stream, bytes(data))
            return
        before = self._came[stream]
        after = self._came[stream] = before + len(data)
        # A confirmation for every MiB, so that the client can continue, and one for all.
        words = (after >> 20) - (before >> 20) + (after == total)
        if words:
            self._quic.send_stream_data(stream, b"." * words)


class Client(QuicConnectionProtocol):
    """Counts the received bytes of its open stream."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._came = 0
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.StreamDataReceived):
            self._came += len(event.data)
            if self._waiter is not None and self._came >= self._wanted and not self._waiter.done():
                self._waiter.set_result(None)

    async def open(self, kind: int, count: int, size: int) -> int:
        stream: int = self._quic.get_next_available_stream_id()
        self._came = 0
        await self.write(stream, _HEADER.pack(kind, count, size))
        return stream

    async def write(self, stream: int, data: bytes) -> None:
        await self._quic.send_stream_data_drained(stream, data)

    async def came(self, wanted: int) -> None:
        if self._came < wanted:
            self._wanted = wanted
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def echo(self, node: str, count: int, size: int) -> float:
        stream = await self.open(ECHO, count, size)
        data = bytes(size)
        times = []
        for number in range(1, count + 1):
            start = perf_counter()
            await self.write(stream, data)
            await self.came(number * size)
            times.append(perf_counter() - start)
        return statistics.median(times)

    async def push(self, node: str, count: int, size: int) -> float:
        data = bytes(size)
        start = perf_counter()
        stream = await self.open(SINK, count, size)
        for number in range(1, count + 1):
            await self.write(stream, data)
            if size >= LARGE:
                await self.came(number - AHEAD)
        await self.came((count * size >> 20) + 1)
        return perf_counter() - start


def free_port() -> int:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::", 0))
        port: int = probe.getsockname()[1]
        return port


async def main(options: dict[str, Any]) -> None:
    if "cert" in options:
        configuration = QuicConfiguration(is_client=False, alpn_protocols=["bench"])
        configuration.load_cert_chain(options["cert"], options["key"])
        port = free_port()
        server = await serve("127.0.0.1", port, configuration=configuration, create_protocol=Server)
        await control.serve({"usage": control.usage}, {"port": port})
        server.close()
        return
    configuration = QuicConfiguration(alpn_protocols=["bench"], verify_mode=ssl.CERT_NONE)
    async with connect(
        "127.0.0.1", options["port"], configuration=configuration, create_protocol=Client
    ) as client:
        assert isinstance(client, Client)
        commands: dict[str, control.Do] = {
            "echo": client.echo,
            "push": client.push,
            "usage": control.usage,
        }
        await control.serve(commands, {})


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
