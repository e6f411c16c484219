"""aiopquic (picoquic, a QUIC engine in C with a network thread) with its asyncio client and server: the peer
for rows against an engine in C. It needs Python 3.12.

The options name the server's certificate and key, or the port of the server to connect to. All
else is as aiopquic comes.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import statistics
from time import perf_counter
from typing import Any

from aiopquic.asyncio.client import connect
from aiopquic.asyncio.protocol import QuicConnectionProtocol
from aiopquic.asyncio.server import serve
from aiopquic.quic import events
from aiopquic.quic.configuration import QuicConfiguration

from benchmarks import control
from benchmarks.quic_streams import AHEAD, ECHO, HEADER, LARGE, SINK, Answers, Arrivals


class Server(QuicConnectionProtocol):
    """Each stream begins with its operation: echo, or sink with a confirmation at the end."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._answers = Answers()

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.StreamDataReceived) and len(event.data):
            answer = self._answers.to(event.stream_id, memoryview(event.data))
            if len(answer):
                self._quic.send_stream_data(event.stream_id, bytes(answer))


class Client(QuicConnectionProtocol):
    """Sends on one stream at a time, and waits for its answers."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._arrivals = Arrivals()
        self._came = self._arrivals.came

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.StreamDataReceived):
            self._arrivals.add(len(event.data))

    async def open(self, kind: int, count: int, size: int) -> int:
        stream: int = self._quic.get_next_available_stream_id()
        self._arrivals.restart()
        await self.write(stream, HEADER.pack(kind, count, size))
        return stream

    async def write(self, stream: int, data: bytes) -> None:
        await self._quic.send_stream_data_drained(stream, data)

    async def echo(self, node: str, count: int, size: int) -> float:
        stream = await self.open(ECHO, count, size)
        data = bytes(size)
        times = []
        for number in range(1, count + 1):
            start = perf_counter()
            await self.write(stream, data)
            await self._came(number * size)
            times.append(perf_counter() - start)
        return statistics.median(times)

    async def push(self, node: str, count: int, size: int) -> float:
        data = bytes(size)
        start = perf_counter()
        stream = await self.open(SINK, count, size)
        for number in range(1, count + 1):
            await self.write(stream, data)
            if size >= LARGE:
                await self._came(number - AHEAD)
        await self._came((count * size >> 20) + 1)
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
    asyncio.run(main(control.options()))
