"""A peer that does not read: its connection is ended when the buffer is full, with the reason told, and
nothing else on this node ends, waits or grows."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from quicdist import (
    Atom,
    GenServer,
    Node,
    NodeDown,
    NotConnected,
    Process,
    SendBufferFull,
    make_development_certificates,
)
from quicdist.carrier import QuicCarrier, TcpCarrier
from quicdist.carrier.link import BufferLimits
from quicdist.otp.gen_messages import From
from quicdist.protocol import UNUSED, LocalIdentity, RegSend, SpawnRequest
from quicdist.term import Pid, Reference
from tests.node import flooder
from tests.node.streams_peer import NAME
from tests.node.test_streams import peer, resident
from tests.protocol.raw_node import dial
from tests.support.head_of_line import in_process

MIB = 1024 * 1024
MOST = 4 * MIB
LIMITS = BufferLimits(high_water=MIB, low_water=MIB // 4, max_pending=MOST)
LARGE = bytes(MIB)

NOCONNECTION = Atom("noconnection")


def bounded(node: Node) -> None:
    """Let the links of a node hold little."""
    for endpoint in node.endpoints:
        if isinstance(endpoint.carrier, TcpCarrier):
            endpoint.carrier._limits = LIMITS
        else:
            assert isinstance(endpoint.carrier, QuicCarrier)
            endpoint.carrier.settings = dataclasses.replace(endpoint.carrier.settings, buffers=LIMITS)


class Server(GenServer):
    def handle_call(self, request: Any, sender: From) -> Any:
        return LARGE if request == Atom("large") else request


@contextlib.asynccontextmanager
async def flooded(carrier: str, kind: str, directory: Path) -> AsyncIterator[tuple[Node, Node]]:
    """A node that a flooder asks much of, and another that it is connected to."""
    files = make_development_certificates(directory / "certs")
    options: dict[str, Any] = {"epmd": False}
    if carrier == "quic":
        options = {"cert": files.cert, "key": files.key, "verify": False}
    options |= {"cookie": flooder.COOKIE, "carrier": carrier, "host": "127.0.0.1", "port": 0}
    node = Node(flooder.FLOODED, **options)
    bounded(node)
    async with node:
        port = node.addresses[0].port
        nodes = {node.name: ("127.0.0.1", port)}
        async with Node("other@127.0.0.1", nodes=nodes, **options) as other:
            await other.connect(node.name)
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.node.flooder"),
                *(carrier, str(files.cert), str(files.key), str(port), kind),
            )
            try:
                yield node, other
            finally:
                process.kill()
                await process.wait()


class Events:
    """What the node tells of other nodes."""

    def __init__(self, node: Node) -> None:
        self._came: asyncio.Queue[Any] = asyncio.Queue()
        node.subscribe(self._came.put_nowait)

    async def down(self, name: str) -> NodeDown:
        async with asyncio.timeout(60):
            while True:
                event = await self._came.get()
                if isinstance(event, NodeDown) and event.node == name:
                    return event


def services(node: Node) -> dict[str, Any]:
    return {name: node._local.runtime.whereis(name) for name in ("net_kernel", "rex", "user", "logger_proxy")}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.startswith("quicdist.carrier")
    ]


@pytest.mark.parametrize("carrier", ["tcp", "quic"])
@pytest.mark.parametrize("kind", flooder.ASKED)
async def test_a_process_that_answers_a_peer_that_does_not_read_survives(
    carrier: str, kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with flooded(carrier, kind, tmp_path) as (node, other):
        before, events = services(node), Events(node)
        node.export("m", "large")(lambda: LARGE)
        server = node.serve(Server(), name="server")
        handler = node.spawn(lambda process, sender: process.send(sender, LARGE), name="handler")

        @node.exports.process("m")
        def die(process: Process) -> None:
            process.stop(LARGE)

        @node.process("coroutine")
        async def coroutine(process: Process) -> None:
            async for sender in process:
                process.send(sender, LARGE)

        held = resident()
        down = await events.down(flooder.NAME)
        assert isinstance(down.error, SendBufferFull)
        assert down.error.node == flooder.NAME
        assert MOST < down.error.pending <= MOST + 2 * MIB
        assert resident() - held < 32 * MIB
        assert services(node) == before
        assert all(process.alive for process in before.values())
        assert server.alive
        assert handler.alive
        waiting = node.whereis("coroutine")
        assert waiting is not None
        assert waiting.alive
        # Others are answered as before.
        assert await other.ping(node.name)
        assert await other.call(node.name, "m", "large") == LARGE
        assert await other.gen_server.call(("server", node.name), 1) == 1
        (line,) = warnings(caplog)
        assert line.startswith(f"connection to {flooder.NAME} (")
        assert f"{down.error.pending} bytes are queued for {flooder.NAME}, {MOST} are allowed" in line


@pytest.mark.parametrize("carrier", ["tcp", "quic"])
async def test_a_sender_that_does_not_wait_loses_the_connection_and_sees_it(
    carrier: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with peer(carrier, tmp_path, prepare=bounded) as (node, other):
        events = Events(node)

        async def send(process: Process) -> None:
            process.trap_exit = True
            process.send(("pid", NAME), process.pid)
            there = await process.receive()
            process.link(there)
            monitor = process.monitor(("size", NAME))
            asked = node.gen_server.send_request(("size", NAME), "never answered")
            other.send_signal(signal.SIGSTOP)
            for _ in range(64):
                process.send(("size", NAME), (process.pid, LARGE))  # never raises
            with pytest.raises(NotConnected) as raised:
                await asked
            assert isinstance(raised.value.attempts[0], SendBufferFull)
            assert [await process.receive(), await process.receive()] == [
                (Atom("EXIT"), there, NOCONNECTION),
                (Atom("DOWN"), monitor, Atom("process"), (Atom("size"), Atom(NAME)), NOCONNECTION),
            ]

        await in_process(node, send)
        down = await events.down(NAME)
        assert isinstance(down.error, SendBufferFull)
        other.send_signal(signal.SIGCONT)
        await node.connect(NAME)
        (line,) = warnings(caplog)
        assert f"bytes are queued for {NAME}" in line


@pytest.mark.parametrize("carrier", ["tcp", "quic"])
async def test_one_message_larger_than_all_that_may_wait_is_sent(carrier: str, tmp_path: Path) -> None:
    async with peer(carrier, tmp_path, prepare=bounded) as (node, _):

        async def send(process: Process) -> None:
            for _ in range(3):
                process.send(("size", NAME), (process.pid, bytes(4 * MOST)))
                for size in range(100):  # no more than may wait behind it
                    process.send(("size", NAME), (process.pid, bytes(size)))
                assert await process.receive() == 4 * MOST
                assert [await process.receive() for _ in range(100)] == list(range(100))

        await in_process(node, send)


@pytest.mark.parametrize("carrier", ["tcp", "quic"])
async def test_a_second_one_ends_the_connection(carrier: str, tmp_path: Path) -> None:
    async with peer(carrier, tmp_path, prepare=bounded) as (node, other):
        other.send_signal(signal.SIGSTOP)
        events, held = Events(node), resident()

        async def send(process: Process) -> None:
            data = bytes(2 * MOST)
            for _ in range(64):
                process.send(("size", NAME), (process.pid, data))

        await in_process(node, send)
        assert isinstance((await events.down(NAME)).error, SendBufferFull)
        assert resident() - held < 48 * MIB


#: What a peer asks with a term of its own, which comes back in the answer.
ECHOED: dict[str, Any] = {
    "net_kernel": lambda pid, data: (Atom("$gen_call"), (pid, data), (Atom("is_auth"), Atom("a@b"))),
    "rex": lambda pid, data: (Atom("$gen_call"), (pid, data), (Atom("call"), Atom("m"), Atom("f"), [], pid)),
    "user": lambda pid, data: (Atom("io_request"), pid, data, Atom("getopts")),
    "server": lambda pid, data: (Atom("$gen_call"), (pid, data), 1),
}


@pytest.mark.parametrize("asked", [*ECHOED, "spawn"])
async def test_memory_is_bounded_when_a_peer_asks_and_does_not_read(
    asked: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    node = Node("flooded@127.0.0.1", cookie="secret", carrier="tcp", epmd=False, host="127.0.0.1", port=0)
    bounded(node)
    async with node:
        node.serve(Server(), name="server")
        before, events, held = services(node), Events(node), resident()
        local = LocalIdentity("raw@127.0.0.1", 7)
        link = await asyncio.to_thread(dial, node.addresses[0].port, node.name, local)
        pid, data = Pid(local.name, 1, 0, 7), bytes(100 * 1024)

        def flood() -> None:
            with contextlib.suppress(OSError):  # the connection is ended meanwhile
                for number in range(1000):
                    if asked == "spawn":
                        # As from a shell with a wrong name: the arguments come back in the reason.
                        reference = Reference(local.name, (number, 1, 1), 7)
                        mfa = (Atom("no"), Atom("function"), 1)
                        link.send(SpawnRequest(reference, pid, pid, mfa, [Atom("monitor")]), [data])
                    else:
                        link.send(RegSend(pid, UNUSED, Atom(asked)), ECHOED[asked](pid, data))

        flooding = asyncio.ensure_future(asyncio.to_thread(flood))
        other = asyncio.ensure_future(pings(node))
        down = await events.down(local.name)
        assert isinstance(down.error, SendBufferFull)
        assert resident() - held < 32 * MIB
        assert services(node) == before
        assert all(process.alive for process in before.values())
        assert await node.gen_server.call("server", 1) == 1
        await flooding
        link.close()
        assert not other.done()
        other.cancel()
        assert len(warnings(caplog)) == 1


async def pings(node: Node) -> None:
    """Another peer asks all the time, and is answered in time."""
    nodes = {node.name: ("127.0.0.1", node.addresses[0].port)}
    options: dict[str, Any] = {"carrier": "tcp", "epmd": False, "listen": False, "nodes": nodes}
    async with Node("other@127.0.0.1", cookie="secret", **options) as other:
        while True:
            start = perf_counter()
            assert await other.ping(node.name)
            assert perf_counter() - start < 2
