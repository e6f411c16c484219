"""Every public coroutine keeps its time-out, whatever the other node does: say nothing at all, or connect
and say nothing then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from quicdist import Atom, CallTimeout, Global, Node, Via
from quicdist.protocol import DEFAULT_FLAGS, AliasSend, DistFlag
from quicdist.term import ImproperList, Reference
from tests.support.scripted_peer import PEER, ScriptedPeer, scripted_peer, tcp_node
from tests.support.virtual_time import in_virtual_time

TIMEOUT = 0.2
#: Seconds that the rest takes, in virtual time.
MARGIN = 0.1

SERVER = ("server", PEER)
ASK: dict[str, Callable[[Node, float], Awaitable[object]]] = {
    "is_auth": lambda node, limit: node.is_auth(PEER, timeout=limit),
    "net_kernel.is_auth": lambda node, limit: node.net_kernel.is_auth(PEER, limit),
    "call": lambda node, limit: node.call(PEER, "m", "f", timeout=limit),
    "gen_server_call": lambda node, limit: node.gen_server_call(SERVER, 1, timeout=limit),
    "gen_server.call": lambda node, limit: node.gen_server.call(SERVER, 1, timeout=limit),
    "gen_server.call, Via": lambda node, limit: node.gen_server.call(
        Via("syn", "x", node=PEER), 1, timeout=limit
    ),
    "gen_server.stop": lambda node, limit: node.gen_server.stop(SERVER, timeout=limit),
    "gen_server.stop, Via": lambda node, limit: node.gen_server.stop(
        Via("syn", "x", node=PEER), timeout=limit
    ),
    "erpc.call": lambda node, limit: node.erpc.call(PEER, "m", "f", timeout=limit),
    "erpc.send_request": lambda node, limit: node.erpc.send_request(PEER, "m", "f").receive_response(limit),
    "rpc.block_call": lambda node, limit: node.rpc.block_call(PEER, "m", "f", timeout=limit),
    "rpc.sbcast": lambda node, limit: node.rpc.sbcast([PEER], "name", 1, timeout=limit),
    "rpc.server_call": lambda node, limit: node.rpc.server_call(PEER, "name", "w", 1, timeout=limit),
    "rpc.multi_server_call": lambda node, limit: node.rpc.multi_server_call([PEER], "name", 1, timeout=limit),
    "sys.get_state": lambda node, limit: node.sys.get_state(SERVER, timeout=limit),
    "sys.get_status": lambda node, limit: node.sys.get_status(SERVER, timeout=limit),
    "sys.suspend": lambda node, limit: node.sys.suspend(SERVER, timeout=limit),
    "sys.resume": lambda node, limit: node.sys.resume(SERVER, timeout=limit),
    "sys.terminate": lambda node, limit: node.sys.terminate(SERVER, timeout=limit),
    "io.put_chars": lambda node, limit: node.io.put_chars(SERVER, "x", timeout=limit),
    "io.get_line": lambda node, limit: node.io.get_line(SERVER, timeout=limit),
    "io.request": lambda node, limit: node.io.request(SERVER, 1, timeout=limit),
}
#: Those that answer in place of raising.
TOLD: dict[str, tuple[Callable[[Node, float], Awaitable[object]], object]] = {
    "ping": (lambda node, limit: node.ping(PEER, timeout=limit), False),
    "rpc.multicall": (lambda node, limit: node.rpc.multicall([PEER], "m", "f", timeout=limit), ([], [PEER])),
    "gen_server.multi_call": (
        lambda node, limit: node.gen_server.multi_call([PEER], "name", 1, timeout=limit),
        ([], [PEER]),
    ),
}


@contextlib.asynccontextmanager
async def silent_listener() -> AsyncIterator[int]:
    """The port of somebody who accepts connections and says nothing."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def node_with(peer: str) -> AsyncIterator[Node]:
    if peer == "connected and silent":
        async with tcp_node() as node, scripted_peer(node):
            yield node
        return
    async with silent_listener() as port, tcp_node(nodes={PEER: ("127.0.0.1", port)}) as node:
        yield node


PEERS = pytest.mark.parametrize("peer", ["silent from the start", "connected and silent"])


@PEERS
@in_virtual_time
async def test_each_call_to_a_silent_node_raises_within_its_time_out(peer: str) -> None:
    async with node_with(peer) as node:
        loop = asyncio.get_running_loop()

        async def timed(name: str) -> None:
            begun = loop.time()
            try:
                async with asyncio.timeout(10):
                    await ASK[name](node, TIMEOUT)
            except CallTimeout:
                pass
            else:
                raise AssertionError(f"{name} returned")
            assert TIMEOUT * 0.9 < loop.time() - begun < TIMEOUT + MARGIN, name

        await asyncio.gather(*map(timed, ASK))


@PEERS
@in_virtual_time
async def test_what_answers_answers_in_time(peer: str) -> None:
    async with node_with(peer) as node:
        loop = asyncio.get_running_loop()

        async def timed(name: str) -> None:
            ask, expected = TOLD[name]
            begun = loop.time()
            async with asyncio.timeout(10):
                assert await ask(node, TIMEOUT) == expected, name
            assert loop.time() - begun < TIMEOUT + MARGIN, name

        await asyncio.gather(*map(timed, TOLD))


@in_virtual_time
async def test_names_of_the_cluster_are_asked_for_in_time() -> None:
    published = DEFAULT_FLAGS | DistFlag.PUBLISHED  # a hidden node asks published ones
    async with tcp_node() as node, scripted_peer(node, name=PEER, flags=published):
        for ask in (
            node.global_names.whereis_name("x", timeout=TIMEOUT),
            node.global_names.register_name("x", node.spawn(lambda process, message: None), timeout=TIMEOUT),
            node.global_names.unregister_name("x", timeout=TIMEOUT),
            node.gen_server_call(Global("x"), 1, timeout=TIMEOUT),
        ):
            async with asyncio.timeout(TIMEOUT + MARGIN):
                with pytest.raises(CallTimeout):
                    await ask


@in_virtual_time
async def test_a_state_whose_form_the_peer_never_tells_is_waited_for_in_time() -> None:
    """A node that answers ``sys:get_state`` and not which version it is."""
    async with tcp_node() as node, scripted_peer(node) as peer:
        asking = asyncio.ensure_future(node.sys.get_state(SERVER, timeout=TIMEOUT))
        reference = await asked(peer)
        tag = ImproperList([Atom("alias")], reference)
        peer.send(AliasSend(peer.pid(), reference), (tag, (Atom("ok"), 1)))
        async with asyncio.timeout(TIMEOUT + MARGIN):
            with pytest.raises(CallTimeout):
                await asking


async def asked(peer: ScriptedPeer) -> Reference:
    """The alias in the tag of the next system message."""
    while True:
        _, payload = await peer.inbox.get()
        if isinstance(payload, tuple) and payload[0] == Atom("system"):
            _, tag = payload[1]
            assert isinstance(tag.tail, Reference)
            return tag.tail
