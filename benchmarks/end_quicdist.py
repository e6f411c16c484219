"""A node of quicdist that echoes, sinks and sends, and drives others that do."""

from __future__ import annotations

import asyncio
import json
import logging
import statistics
import sys
from time import perf_counter
from typing import Any

from benchmarks import control
from quicdist import ANY, Atom, ConnectOptions, Node, Pid, Process, UserStream

#: Messages sent before the loop gets its turn, and bytes, whichever is reached first: what a program
#: that sends as it reads or computes would do.
BURST = 100
BURST_BYTES = 1 << 20

DONE = Atom("done")
OTHER = Atom("other")


def offer(node: Node) -> None:
    """Register the processes that the drivers use."""

    @node.process("echo")
    def echo(process: Process, message: tuple[Pid, Any]) -> None:
        process.send(*message)

    async def count(stream: UserStream) -> None:
        came = 0
        async for chunk in stream:
            came += len(chunk)
        await stream.send(came.to_bytes(8, "big"))

    node.accept_streams(count)

    expected: list[Any] = []  # who is to be told, and how many messages are missing

    @node.process("sink")
    def sink(process: Process, message: Any) -> None:
        if type(message) is tuple:
            expected[:] = message
            return
        expected[1] -= 1
        if not expected[1]:
            process.send(expected[0], DONE)

    @node.process("source")
    async def source(process: Process) -> None:
        async for to, count, size in process:
            await give(node, process, to, to.node.name, count, size)


async def give(node: Node, process: Process, to: Any, to_node: str, count: int, size: int) -> None:
    """Send ``count`` messages, no faster than the connection takes them."""
    data = bytes(size)
    send = process.send
    burst = max(1, min(BURST, BURST_BYTES // size))
    while count > 0:
        for _ in range(min(burst, count)):
            send(to, data)
        count -= burst
        await node.drain(to_node)


class Driver:
    """Measures against another node, from a process of its own."""

    def __init__(self, node: Node, process: Process) -> None:
        self.node = node
        self.process = process

    async def connect(self, node: str, max_datagram_size: int | None = None) -> None:
        self.node.quic_dist.set_connect_options(node, ConnectOptions(max_datagram_size=max_datagram_size))
        await self.node.connect(node)

    async def echo(self, node: str, count: int, size: int) -> float:
        process = self.process
        to, message = ("echo", node), (process.pid, bytes(size))
        times = []
        for _ in range(count):
            start = perf_counter()
            process.send(to, message)
            await process.receive()
            times.append(perf_counter() - start)
        return statistics.median(times)

    async def receive(self, node: str, count: int, size: int, backlog: int) -> float:
        """An echo that is received by a new reference, behind ``backlog`` other messages."""
        to, data = ("echo", node), bytes(size)
        median = asyncio.get_running_loop().create_future()

        async def asks(process: Process) -> None:
            for number in range(backlog):
                process.send(process, (OTHER, number))
            times = []
            for _ in range(count):
                start = perf_counter()
                reference = process.make_ref()
                process.send(to, (process.pid, (reference, data)))
                await process.receive((reference, ANY))
                times.append(perf_counter() - start)
            median.set_result(statistics.median(times))

        self.process.spawn(asks)
        return float(await median)

    async def push(self, node: str, count: int, size: int) -> float:
        process = self.process
        start = perf_counter()
        process.send(("sink", node), (process.pid, count))
        await give(self.node, process, ("sink", node), node, count, size)
        await process.receive()
        return perf_counter() - start

    async def stream(self, node: str, mebibytes: int) -> float:
        """Send so much as one stream of bytes; until the other end says that it had all."""
        data = bytes(BURST_BYTES)
        start = perf_counter()
        async with await self.node.open_stream(node) as stream:
            for _ in range(mebibytes):
                await stream.send(data)
            stream.write_eof()
            came = int.from_bytes(await stream.read(), "big")
        if came != mebibytes * len(data):
            raise RuntimeError(f"of {mebibytes} MiB {came} bytes came")
        return perf_counter() - start

    async def pull(self, node: str, count: int, size: int) -> float:
        process = self.process
        start = perf_counter()
        process.send(("source", node), (process.pid, count, size))
        for _ in range(count):
            await process.receive()
        return perf_counter() - start


async def main(options: dict[str, Any]) -> None:
    node = Node(**options)
    offer(node)
    async with node:
        address = node.addresses[0] if node.addresses else None
        ready = {"name": node.name, "port": address.port if address else None}
        ended = asyncio.get_running_loop().create_future()

        async def body(process: Process) -> None:
            driver = Driver(node, process)
            commands: dict[str, control.Do] = {
                "connect": driver.connect,
                "echo": driver.echo,
                "push": driver.push,
                "pull": driver.pull,
                "receive": driver.receive,
                "stream": driver.stream,
                "usage": control.usage,
            }
            await control.serve(commands, ready)
            ended.set_result(None)

        node.spawn(body)
        await ended


if __name__ == "__main__":
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    asyncio.run(main(json.loads(sys.argv[1])))
