"""Bare aioquic with its stock asyncio client and server, without Erlang: the peer for QUIC rows.

The options name the server's certificate and key, or the port of the server to connect to. All
else is as aioquic comes.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import statistics
from time import perf_counter
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.asyncio.server import serve
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration

from benchmarks import control
from benchmarks.quic_streams import AHEAD, ECHO, HEADER, LARGE, SINK, Answers, Arrivals
from quicdist.node.event_loop import new_event_loop

#: Messages between two turns of the event loop, as in end_quicdist.py.
BURST = 100


class Server(QuicConnectionProtocol):
    """Each stream begins with its operation: echo, or sink with a confirmation at the end."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._answers = Answers()

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.StreamDataReceived) and event.data:
            answer = self._answers.to(event.stream_id, event.data)
            if answer:
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

    def open(self, kind: int, count: int, size: int) -> int:
        stream = self._quic.get_next_available_stream_id()
        self._arrivals.restart()
        self.write(stream, HEADER.pack(kind, count, size))
        return stream

    def write(self, stream: int, data: bytes) -> None:
        self._quic.send_stream_data(stream, data)

    async def echo(self, node: str, count: int, size: int) -> float:
        stream = self.open(ECHO, count, size)
        data = bytes(size)
        times = []
        for number in range(1, count + 1):
            start = perf_counter()
            self.write(stream, data)
            self.transmit()
            await self._came(number * size)
            times.append(perf_counter() - start)
        return statistics.median(times)

    async def push(self, node: str, count: int, size: int) -> float:
        data = bytes(size)
        start = perf_counter()
        stream = self.open(SINK, count, size)
        for number in range(1, count + 1):
            self.write(stream, data)
            if size >= LARGE:
                self.transmit()
                await self._came(number - AHEAD)
            elif not number % BURST:
                self.transmit()
                await asyncio.sleep(0)
        self.transmit()
        await self._came((count * size >> 20) + 1)
        return perf_counter() - start


async def main(options: dict[str, Any]) -> None:
    if "cert" in options:
        configuration = QuicConfiguration(is_client=False, alpn_protocols=["bench"])
        configuration.load_cert_chain(options["cert"], options["key"])
        server = await serve("127.0.0.1", 0, configuration=configuration, create_protocol=Server)
        assert server._transport is not None
        port = server._transport.get_extra_info("sockname")[1]
        await control.serve({"usage": control.usage}, {"port": port})
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
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:  # as the end of quicdist has it
        runner.run(main(control.options()))
