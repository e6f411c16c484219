"""Who says a name, and who has proved the cookie: dials of this node, and attempts of others beside them.

OTP: ``net_kernel``'s ``accept_pending``, ``dist_util``'s ``mark_pending``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from quicdist import Node, NotConnected
from quicdist.discovery import StaticDiscovery
from quicdist.node.pending_accept import PendingAccept
from quicdist.protocol import DEFAULT_FLAGS
from quicdist.protocol.handshake_messages import (
    decode_challenge,
    encode_challenge,
    encode_name_message,
    encode_reply,
    gen_digest,
)

PEER = "peer@127.0.0.1"
COOKIE = "secret"
PATIENCE = 30.0


class Dialled:
    """Listens where the peer is said to be, and says nothing."""

    def __init__(self) -> None:
        self.times = 0
        self.again = asyncio.Event()
        self._readers: list[asyncio.StreamReader] = []
        self._writers: list[asyncio.StreamWriter] = []

    async def name(self) -> bytes:
        """What the last dial says."""
        async with asyncio.timeout(PATIENCE):
            await self.again.wait()
            size = int.from_bytes(await self._readers[-1].readexactly(2), "big")
            return await self._readers[-1].readexactly(size)

    def say(self, message: bytes) -> None:
        self._writers[-1].write(len(message).to_bytes(2, "big") + message)

    async def everything(self) -> bytes:
        """All that comes until the end."""
        async with asyncio.timeout(PATIENCE):
            return await self._readers[-1].read()

    async def still_there(self) -> bool:
        """Whether the last dial goes on: its end would be read by now, or within a moment."""
        try:
            async with asyncio.timeout(0.2):
                while await self._readers[-1].read(1000):
                    pass
        except TimeoutError:
            return True
        except ConnectionResetError:
            pass
        return False

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()

    async def __aenter__(self) -> Dialled:
        self.server = await asyncio.start_server(self._came, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def _came(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.times += 1
        self._readers.append(reader)
        self._writers.append(writer)
        self.again.set()

    async def __aexit__(self, *_: object) -> None:
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionResetError):
                await writer.wait_closed()
        self.server.close()
        await self.server.wait_closed()


class Attempt:
    """The peer's attempt, by hand."""

    def __init__(self, node: Node) -> None:
        self._port = node.addresses[0].port

    def say(self, message: bytes) -> None:
        self.writer.write(len(message).to_bytes(2, "big") + message)

    async def let_in(self, name: str = PEER) -> bytes:
        """Say the name; the status."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.say(encode_name_message(DEFAULT_FLAGS, 1, name))
        return await self.message()

    async def message(self) -> bytes:
        async with asyncio.timeout(PATIENCE):
            size = int.from_bytes(await self.reader.readexactly(2), "big")
            return await self.reader.readexactly(size)

    async def reply(self) -> None:
        """Answer the challenge, as one that knows the cookie."""
        challenge = decode_challenge(await self.message(), "the node").challenge
        self.say(encode_reply(1, gen_digest(challenge, COOKIE)))

    async def prove(self) -> None:
        """Go through with the handshake."""
        await self.reply()
        assert (await self.message())[:1] == b"a"

    async def anything(self, seconds: float) -> bool:
        """Whether something more comes within so long."""
        try:
            async with asyncio.timeout(seconds):
                await self.reader.readexactly(1)
        except TimeoutError:
            return False
        return True

    async def is_closed(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.read() == b""

    async def end(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionResetError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def node_and_peer(dialled: Dialled, name: str = "one@127.0.0.1") -> AsyncIterator[Node]:
    """A node over TCP whose peer, it believes, is at ``dialled``."""
    table = StaticDiscovery({PEER: ("127.0.0.1", dialled.port)})
    async with Node(name, cookie=COOKIE, carrier="tcp", host="127.0.0.1", port=0, discovery=table) as node:
        yield node


async def connecting_to(node: Node) -> asyncio.Task[None]:
    return asyncio.ensure_future(node.connect(PEER))


async def given_up(connecting: asyncio.Task[None]) -> None:
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting


#: Names below and above the peer's, which decide who gives way.
NAMES = ["one@127.0.0.1", "xone@127.0.0.1"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("first", ["the name", "the dial"])
async def test_a_stranger_that_sends_a_name_does_not_delay_a_dial_to_that_node(name: str, first: str) -> None:
    async with Dialled() as dialled, node_and_peer(dialled, name) as node:
        attempts = [Attempt(node) for _ in range(3)]
        if first == "the dial":
            connecting = await connecting_to(node)
        for attempt in attempts:
            await attempt.let_in()
        if first == "the name":
            connecting = await connecting_to(node)
        async with asyncio.timeout(1.0):
            await dialled.again.wait()
        # The stranger comes and goes; the dial goes on.
        for attempt in attempts:
            await attempt.end()
        again = Attempt(node)
        await again.let_in()
        assert dialled.times == 1
        assert await dialled.still_there()
        await again.end()
        await given_up(connecting)


async def test_a_dial_waits_briefly_for_an_incoming_attempt() -> None:
    async with Dialled() as dialled, node_and_peer(dialled) as node:
        attempt = Attempt(node)
        assert await attempt.let_in() == b"sok"
        connecting = await connecting_to(node)
        await attempt.prove()
        await asyncio.wait_for(connecting, PATIENCE)
        assert dialled.times == 0
        assert node.nodes("connected") == [PEER]
        await attempt.end()


async def test_a_proved_cookie_ends_a_dial_that_has_not_sent_its_name() -> None:
    """The node with the smaller name gives way, OTP's rule, once it knows with whom it has to do."""
    async with Dialled() as dialled, node_and_peer(dialled) as node:
        connecting = await connecting_to(node)
        async with asyncio.timeout(PATIENCE):
            await dialled.again.wait()
        attempt = Attempt(node)
        assert await attempt.let_in() == b"sok_simultaneous"
        await attempt.prove()
        await asyncio.wait_for(connecting, PATIENCE)
        assert node.nodes("connected") == [PEER]
        assert not await dialled.still_there()
        await attempt.end()


async def test_the_dial_of_the_greater_name_is_kept_once_its_name_is_sent() -> None:
    async with Dialled() as dialled, node_and_peer(dialled, NAMES[1]) as node:
        attempt = Attempt(node)
        assert await attempt.let_in() == b"sok"
        connecting = await connecting_to(node)
        async with asyncio.timeout(PATIENCE):
            await dialled.again.wait()
        await dialled.name()
        await attempt.reply()
        # Not acknowledged while our dial is under way; when that fails, it is.
        assert not await attempt.anything(0.3)
        dialled.hang_up()
        assert (await attempt.message())[:1] == b"a"
        await asyncio.wait_for(connecting, PATIENCE)
        assert node.nodes("connected") == [PEER]
        await attempt.end()


async def test_a_failed_dial_waits_for_an_incoming_attempt() -> None:
    async with Dialled() as dialled, node_and_peer(dialled) as node:
        connecting = await connecting_to(node)
        async with asyncio.timeout(PATIENCE):
            await dialled.again.wait()
        attempt = Attempt(node)
        await attempt.let_in()
        dialled.hang_up()
        await attempt.prove()
        await asyncio.wait_for(connecting, PATIENCE)
        assert node.nodes("connected") == [PEER]
        await attempt.end()


async def test_an_attempt_that_nobody_waits_for_leaves_nothing() -> None:
    async with Dialled() as dialled, node_and_peer(dialled) as node:
        attempt = Attempt(node)
        assert await attempt.let_in() == b"sok"
        assert not node._local.connections.has(PEER)
        over = asyncio.Event()
        accept_over = node._local.connections._accept_over

        def hook(accepting: PendingAccept) -> None:
            accept_over(accepting)
            over.set()

        node._local.connections._accept_over = hook  # type: ignore[method-assign]
        await attempt.end()
        async with asyncio.timeout(PATIENCE):
            await over.wait()
        assert not node._local.connections.has(PEER)
        assert not node._local.connections.arrivals._attempts
        assert dialled.times == 0


async def test_a_peer_that_sends_the_name_of_this_node_is_not_allowed() -> None:
    async with Dialled() as dialled, node_and_peer(dialled) as node:
        attempt = Attempt(node)
        assert await attempt.let_in(node.name) == b"snot_allowed"
        await attempt.end()


async def test_a_stranger_with_the_name_of_a_connected_node_leaves_the_connection() -> None:
    async with Dialled() as dialled, node_and_peer(dialled) as node:
        attempt = Attempt(node)
        await attempt.let_in()
        await attempt.prove()
        stranger = Attempt(node)
        assert await stranger.let_in() == b"salive"
        stranger.say(b"strue")
        assert (await stranger.message())[:1] == b"N"
        stranger.say(b"r" + bytes(20))
        assert await stranger.is_closed()
        assert node.nodes("connected") == [PEER]
        await attempt.end()
        await stranger.end()


async def test_the_challenge_of_a_node_handed_back_to_it_authenticates_nobody() -> None:
    """A peer without the cookie dials the node, is dialled by it, and passes the challenge on."""
    async with Dialled() as dialled, node_and_peer(dialled) as node:
        attempt = Attempt(node)
        assert await attempt.let_in() == b"sok"
        challenge = decode_challenge(await attempt.message(), "the node").challenge
        connecting = await connecting_to(node)
        await dialled.name()
        dialled.say(b"sok")
        dialled.say(encode_challenge(DEFAULT_FLAGS, challenge, 1, PEER))
        assert await dialled.everything() == b""
        attempt.say(encode_reply(1, bytes(16)))
        assert await attempt.is_closed()
        with pytest.raises(NotConnected, match="sent a challenge of this node back to it"):
            await asyncio.wait_for(connecting, PATIENCE)
        assert node.nodes("connected") == []
        await attempt.end()
