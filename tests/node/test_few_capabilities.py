"""Peers with the mandatory flags only, such as nodes of ei and Jinterface: what they do not offer is not
sent, and what a BEAM does instead is done (``tests/interop/test_foreign_nodes.py`` compares with one)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, Node, Process, RemoteError, SpawnError
from quicdist.protocol import (
    MANDATORY,
    NO_PAYLOAD,
    UNUSED,
    Exit,
    Exit2,
    Link,
    RegSend,
    Send,
    UnlinkId,
)
from quicdist.term import ImproperList, Reference
from tests.support.scripted_peer import PEER, ScriptedPeer, scripted_peer, tcp_node

NAME = Atom("echo")
DOWN, PROCESS, NOCONNECTION = Atom("DOWN"), Atom("process"), Atom("noconnection")


@pytest_asyncio.fixture
async def node() -> AsyncIterator[Node]:
    async with tcp_node() as one:
        yield one


@pytest_asyncio.fixture
async def peer(node: Node) -> AsyncIterator[ScriptedPeer]:
    async with scripted_peer(node, flags=MANDATORY) as one:
        yield one


class Receiver:
    """A process that keeps its messages in a queue."""

    def __init__(self, node: Node) -> None:
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.process = node.spawn(lambda process, message: self.messages.put_nowait(message))
        self.process.trap_exit = True

    async def get(self) -> Any:
        async with asyncio.timeout(10):
            return await self.messages.get()


async def comes(peer: ScriptedPeer, process: Process) -> None:
    """Nothing has been sent to the peer before this message."""
    process.send((NAME, PEER), 1)
    assert await peer.inbox.get() == (RegSend(process.pid, UNUSED, NAME), 1)


async def gen_call(peer: ScriptedPeer, name: str, request: Any) -> None:
    """Answer the next message, a call, as such nodes do: to the pid of the caller."""
    control, message = await peer.inbox.get()
    assert isinstance(control, RegSend)
    assert control.to_name == Atom(name)
    label, (pid, tag), came = message
    assert (label, came) == (Atom("$gen_call"), request)
    assert isinstance(tag, ImproperList)
    assert isinstance(tag.tail, Reference)
    peer.send(Send(UNUSED, pid), (tag, Atom("yes")))


@pytest.mark.parametrize("by_name", [True, False])
async def test_a_monitor_watches_the_connection_only(node: Node, peer: ScriptedPeer, by_name: bool) -> None:
    receiver, pid = Receiver(node), peer.pid()
    target: Any = (NAME, PEER) if by_name else pid
    reference = receiver.process.monitor(target)
    await comes(peer, receiver.process)
    assert receiver.messages.empty()
    assert node.nodes("connected") == [PEER]
    peer.link.close()
    monitored = (NAME, Atom(PEER)) if by_name else pid
    assert await receiver.get() == (DOWN, reference, PROCESS, monitored, NOCONNECTION)


async def test_the_end_of_a_monitor_is_not_sent(node: Node, peer: ScriptedPeer) -> None:
    receiver = Receiver(node)
    receiver.process.demonitor(receiver.process.monitor(peer.pid()))
    await comes(peer, receiver.process)
    peer.link.close()
    await peer.link.wait_closed()
    assert receiver.messages.empty()


async def test_a_ping_is_answered_to_the_pid(node: Node, peer: ScriptedPeer) -> None:
    ping = asyncio.ensure_future(node.ping(PEER))
    await gen_call(peer, "net_kernel", (Atom("is_auth"), Atom(node.name)))
    assert await ping


async def test_a_call_of_a_server_is_answered_to_the_pid(node: Node, peer: ScriptedPeer) -> None:
    call = asyncio.ensure_future(node.gen_server_call((NAME, PEER), 7))
    await gen_call(peer, "echo", 7)
    assert await call == Atom("yes")


async def test_a_function_call_is_notsup_at_once(node: Node, peer: ScriptedPeer) -> None:
    with pytest.raises(RemoteError, match="notsup") as caught:
        await node.call(PEER, "erlang", "abs", [-1])
    assert (caught.value.kind, caught.value.reason) == ("error", (Atom("erpc"), Atom("notsup")))
    badrpc = (Atom("badrpc"), Atom("notsup"))
    assert await node.rpc.multicall([PEER], "erlang", "abs", [-1]) == ([badrpc], [])
    node.cast(PEER, "erlang", "abs", [-1])
    await comes(peer, Receiver(node).process)


async def test_spawning_is_notsup(node: Node, peer: ScriptedPeer) -> None:
    receiver = Receiver(node)
    with pytest.raises(SpawnError, match="notsup"):
        await receiver.process.spawn_on(PEER, "m", "f", link=True)
    reference = receiver.process.spawn_request(PEER, "m", "f")
    assert await receiver.get() == (Atom("spawn_reply"), reference, Atom("error"), Atom("notsup"))
    await comes(peer, receiver.process)


async def test_links_and_exits_have_their_reason_in_the_control_message(
    node: Node, peer: ScriptedPeer
) -> None:
    process, pid = Receiver(node).process, peer.pid()
    process.link(pid)
    assert await peer.inbox.get() == (Link(process.pid, pid), NO_PAYLOAD)
    process.unlink(pid)
    control, _ = await peer.inbox.get()
    assert isinstance(control, UnlinkId)
    process.exit(pid, Atom("boom"))
    assert await peer.inbox.get() == (Exit2(process.pid, pid, Atom("boom")), NO_PAYLOAD)
    process.link(pid)
    await peer.inbox.get()
    process.exit(process, Atom("kill"))
    assert await peer.inbox.get() == (Exit(process.pid, pid, Atom("killed")), NO_PAYLOAD)


async def test_messages_and_exits_by_an_alias_of_the_peer_are_dropped(node: Node, peer: ScriptedPeer) -> None:
    process, alias = Receiver(node).process, peer.reference()
    process.send(alias, 1)
    process.exit(alias, Atom("boom"))
    await comes(peer, process)


async def test_a_large_message_is_one_frame(node: Node, peer: ScriptedPeer) -> None:
    process, data = Receiver(node).process, bytes(200_000)
    process.send((NAME, PEER), data)
    assert await peer.inbox.get() == (RegSend(process.pid, UNUSED, NAME), data)
    assert peer.link.stats.messages_in == 1
