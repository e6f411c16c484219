"""A node of quicdist that echoes, sinks and sends, and drives others that do."""

from __future__ import annotations

import asyncio
import logging
import statistics
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any

from benchmarks import control
from quicdist import ANY, Atom, ConnectOptions, Node, Pid, Process, UserStream, run

#: Messages sent before the loop gets its turn, and bytes, whichever is reached first: what a program
#: that sends as it reads or computes would do.
BURST = 100
BURST_BYTES = 1 << 20

#: The size in bytes up to which each message differs from all others.
DISTINCT = 1024

DONE = Atom("done")
OTHER = Atom("other")
ID = Atom("id")
OK = Atom("ok")

#: Sizes of the concurrent transfers of ``mixed``, in bytes.
MIXED = (4 << 20, 64 << 10)
#: Seconds between two calls of ``mixed``.
CALL_EVERY = 0.005


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

    @node.process("mailbox")
    async def mailbox(process: Process) -> None:
        async for to, count in process:
            for _ in range(count):
                await process.receive()
            process.send(to, DONE)

    @node.process("bulk")
    async def bulk(process: Process) -> None:
        """Confirms large messages, and sends those of the size that is asked for."""
        async for to, request in process:
            await process.send_wait(to, OK if type(request) is bytes else bytes(request))

    missing: list[Any] = [None, 0]  # as above; maps of other senders may overtake the count

    @node.process("maps")
    def maps(process: Process, message: Any) -> None:
        if type(message) is tuple:
            missing[0] = message[0]
            missing[1] += message[1]
        else:
            missing[1] -= bool(message[ID])
        if not missing[1]:
            process.send(missing[0], DONE)

    @node.process("source")
    async def source(process: Process) -> None:
        async for to, count, size in process:
            await give(node, process, to, to.node.name, count, size)


async def give(node: Node, process: Process, to: Any, to_node: str, count: int, size: int) -> None:
    """Send ``count`` messages, no faster than the connection takes them.

    Small messages differ from each other: a receiver cannot decode one and reuse it.
    """
    send = process.send
    burst = max(1, min(BURST, BURST_BYTES // size))
    data, rest = bytes(size), bytes(max(size - 8, 0))
    while count > 0:
        if size > DISTINCT:
            for _ in range(min(burst, count)):
                send(to, data)
        else:
            for number in range(min(burst, count)):
                send(to, (count - number).to_bytes(8, "big") + rest)
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

    async def connect_all(self, nodes: Sequence[str]) -> None:
        for node in nodes:
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

        async def asks(process: Process) -> float:
            for number in range(backlog):
                process.send(process, (OTHER, number))
            times = []
            for _ in range(count):
                start = perf_counter()
                reference = process.make_ref()
                process.send(to, (process.pid, (reference, data)))
                await process.receive((reference, ANY))
                times.append(perf_counter() - start)
            return statistics.median(times)

        return float(await self._run(asks))

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

    async def mixed(
        self, node: str, seconds: float, sizes: Sequence[int] = (), calls: bool = False
    ) -> dict[str, Any]:
        """Transfers of each of ``sizes`` bytes in both directions, each confirmed before the next of its
        kind, and ``calls`` (echoes of 64 bytes), all at the same time.

        The result has the transferred bytes a second, and the seconds of each call.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds

        async def transfer(process: Process, size: int, request: Any) -> float:
            start = now = loop.time()
            moved = 0
            while now < until:
                process.send(("bulk", node), (process.pid, request))
                await process.receive()
                moved += size
                now = loop.time()
            return moved / (now - start)

        async def call(process: Process) -> list[float]:
            data = bytes(64)
            times = []
            at = loop.time()
            while at < until:
                await asyncio.sleep(at - loop.time())
                start = perf_counter()
                process.send(("echo", node), (process.pid, data))
                await process.receive()
                times.append(perf_counter() - start)
                at = max(at + CALL_EVERY, loop.time())
            return times

        transfers = [self._run(transfer, size, what) for size in sizes for what in (bytes(size), size)]
        calling = self._run(call) if calls else None
        rate = sum(await asyncio.gather(*transfers))
        return {"rate": rate, "calls": [] if calling is None else await calling}

    def _run(self, body: Callable[..., Awaitable[Any]], *arguments: Any) -> asyncio.Future[Any]:
        """Spawn a process; the future has what its body returns or raises."""
        result = asyncio.get_running_loop().create_future()

        async def process(process: Process) -> None:
            try:
                result.set_result(await body(process, *arguments))
            except Exception as error:
                result.set_exception(error)

        self.process.spawn(process)
        return result

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
                "connect_all": driver.connect_all,
                "echo": driver.echo,
                "push": driver.push,
                "pull": driver.pull,
                "receive": driver.receive,
                "mixed": driver.mixed,
                "stream": driver.stream,
                "usage": control.usage,
            }
            await control.serve(commands, ready)
            ended.set_result(None)

        node.spawn(body)
        await ended


if __name__ == "__main__":
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    run(main(control.options()))
