"""A node whose attempt was let in is not dialled meanwhile: ``net_kernel``'s ``accept_pending``."""

from __future__ import annotations

import asyncio

import pytest

from quicdist import Node
from quicdist.discovery import StaticDiscovery
from quicdist.node.accepting import Accepting
from quicdist.protocol import DEFAULT_FLAGS
from quicdist.protocol.handshake_messages import encode_name_message

PEER = "peer@127.0.0.1"
PATIENCE = 30.0


class Dialled:
    """Listens where the peer is said to be, and says nothing."""

    def __init__(self) -> None:
        self.times = 0
        self.again = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Dialled:
        self.server = await asyncio.start_server(self._came, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.times += 1
        self._writers.append(writer)
        self.again.set()

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.close()
            await writer.wait_closed()
        self.server.close()
        await self.server.wait_closed()


class Attempt:
    """The peer's attempt, by hand."""

    def __init__(self, node: Node) -> None:
        self._port = node.addresses[0].port

    async def let_in(self) -> bytes:
        """Say the name; the status."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        name = encode_name_message(DEFAULT_FLAGS, 1, PEER)
        self.writer.write(len(name).to_bytes(2, "big") + name)
        return await self.message()

    async def message(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            size = int.from_bytes(await self.reader.readexactly(2), "big")
            return await self.reader.readexactly(size)

    async def end(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


async def test_who_was_let_in_is_not_dialled() -> None:
    async with Dialled() as dialled:
        table = StaticDiscovery({PEER: ("127.0.0.1", dialled.port)})
        async with Node(
            "one@127.0.0.1", cookie="secret", carrier="tcp", host="127.0.0.1", port=0, discovery=table
        ) as node:
            attempt = Attempt(node)
            assert await attempt.let_in() == b"sok"
            connecting = asyncio.ensure_future(node.connect(PEER))
            assert (await attempt.message())[:1] == b"N"  # the challenge
            assert dialled.times == 0
            # It comes to nothing: now it is.
            await attempt.end()
            async with asyncio.timeout(PATIENCE):
                await dialled.again.wait()
            assert dialled.times == 1
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting


async def test_an_attempt_that_nobody_waits_for_leaves_nothing() -> None:
    async with Dialled() as dialled:
        table = StaticDiscovery({PEER: ("127.0.0.1", dialled.port)})
        async with Node(
            "one@127.0.0.1", cookie="secret", carrier="tcp", host="127.0.0.1", port=0, discovery=table
        ) as node:
            attempt = Attempt(node)
            assert await attempt.let_in() == b"sok"
            assert node.connections.has(PEER)
            over = asyncio.Event()
            accept_over = node.connections._accept_over

            def hook(accepting: Accepting) -> None:
                accept_over(accepting)
                over.set()

            node.connections._accept_over = hook  # type: ignore[method-assign]
            await attempt.end()
            async with asyncio.timeout(PATIENCE):
                await over.wait()
            assert not node.connections.has(PEER)
            assert dialled.times == 0
