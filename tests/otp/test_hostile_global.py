"""A published peer that misbehaves in ``global``: the node goes on, and keeps bounded tables."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from quicdist import Atom, Export, ImproperList, Node, Pid, Process
from quicdist.otp import global_locks, global_table
from quicdist.otp.global_names import running_server
from quicdist.otp.global_protocol import GlobalProtocol
from quicdist.protocol import DEFAULT_FLAGS, DistFlag
from tests.support.scripted_peer import PEER, ScriptedPeer, scripted_peer, tcp_node

SERVER = "global_name_server"
CAST, CALL = Atom("$gen_cast"), Atom("$gen_call")
METHOD = Export("global", "random_exit_name", 3)


@asynccontextmanager
async def published_pair() -> AsyncIterator[tuple[Node, ScriptedPeer]]:
    flags = DEFAULT_FLAGS | DistFlag.PUBLISHED
    async with tcp_node(hidden=False) as node, scripted_peer(node, flags=flags) as peer:
        yield node, peer


def protocol(node: Node) -> GlobalProtocol:
    return running_server(node._local.runtime).protocol


def cast(peer: ScriptedPeer, *message: Any) -> None:
    kind, *fields = message
    peer.tell(SERVER, (CAST, (Atom(kind), *fields)))


async def called(peer: ScriptedPeer, request: Any, asker: Pid | None = None) -> Any:
    """The reply to a call; what came before it is read, and dropped."""
    asker, reference = asker or peer.pid(), peer.reference()
    tag = ImproperList([Atom("alias")], reference)
    peer.tell(SERVER, (CALL, (asker, tag), request), asker)
    async with asyncio.timeout(30):
        while True:
            _, payload = await peer.inbox.get()
            if isinstance(payload, tuple) and len(payload) == 2 and payload[0] == tag:
                return payload[1]


async def my_tag(peer: ScriptedPeer) -> int:
    """The tag in the ``init_connect`` of the node."""
    async with asyncio.timeout(10):
        while True:
            _, payload = await peer.inbox.get()
            match payload:
                case (_, (Atom(name="init_connect"), (8, int() as tag), _, _)):
                    return tag


def offer(peer: ScriptedPeer, tag: int, locker: Pid) -> None:
    parts: tuple[Any, ...] = (Atom("locker"), Atom("no_longer_a_pid"), {}, locker)
    cast(peer, "init_connect", (8, tag), Atom(PEER), parts)


def holder(node: Node) -> Process:
    async def hold(process: Process) -> None:
        await process.receive()

    return node.spawn(hold)


async def test_ten_thousand_messages_of_every_kind_in_wrong_shapes() -> None:
    chance = random.Random(14)
    kinds = [
        *("init_connect", "exchange", "resolved", "new_nodes", "in_sync", "lock_set", "lock_is_set"),
        *("exchange_ops", "async_del_name", "init_connect_ack", "cancel_connect", "lost_connection"),
        *("nodeup", "nodedown", "whereis", "timeout", "EXIT", "DOWN", "prepare_shutdown"),
    ]
    calls = ("set_lock", "del_lock", "register", "register_ext", "unregister", "sync", "registrar", "info")
    async with published_pair() as (node, peer):
        process = holder(node)
        await node.global_names.register_name("kept", process)
        fields = [Atom(PEER), Atom(node.name), Atom("no@where"), 1, -1, 1.5, True, b"x", [], {}, (), (8, 1)]
        fields += [peer.pid(), Pid("no@where", 1, 0, 1), peer.reference(), METHOD, [(1, 2, 3)], (1, 2), None]
        for number in range(10_000):
            some = [chance.choice(fields) for _ in range(chance.randrange(7))]
            shape = chance.randrange(3)
            if shape == 0:
                cast(peer, chance.choice(kinds), *some)
            elif shape == 1:
                peer.tell(SERVER, (Atom(chance.choice(kinds)), *some))
            else:
                tag = (peer.pid(), number)
                peer.tell(SERVER, (CALL, tag, (Atom(chance.choice(calls)), *some)))
        assert await called(peer, Atom("get_protocol_version")) == 8
        assert process.alive
        assert len(protocol(node)._attempts) <= 2
        assert len(protocol(node).known.versions) <= 3
        await node.global_names.unregister_name("kept")


async def test_init_connect_again_and_again_keeps_one_attempt() -> None:
    async with published_pair() as (node, peer):
        for tag in range(2000):
            offer(peer, tag, peer.pid())
        assert await called(peer, Atom("get_known")) == []
        assert len(protocol(node)._attempts) == 1
        assert running_server(node._local.runtime)._locker.waiting_messages <= 2


async def test_a_locker_of_another_node_is_not_asked() -> None:
    async with published_pair() as (node, peer):
        await my_tag(peer)
        offer(peer, 1, Pid("no@where", 1, 0, 1))
        offer(peer, 1, node.spawn(lambda *_: None).pid)
        await called(peer, Atom("get_known"))
        assert protocol(node).known.pending == {}


async def test_an_exchange_with_too_many_names_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quicdist.otp.global_protocol.MAX_NAMES", 1000)
    async with published_pair() as (node, peer):
        tag = await my_tag(peer)
        pid = peer.pid()
        names = [((Atom("n"), number), pid, METHOD) for number in range(1001)]
        cast(peer, "exchange", Atom(PEER), names, [], tag)
        await peer.inbox.end()
        assert await node.global_names.registered_names() == []


async def test_names_and_locks_of_a_peer_are_bounded_and_go_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(global_table, "MAX_NAMES", 50)
    monkeypatch.setattr(global_locks, "MAX_LOCKS_OF_NODE", 40)
    async with published_pair() as (node, peer):
        registrar = peer.pid()
        answers = [
            await called(peer, (Atom("register"), number, peer.pid(), METHOD), registrar)
            for number in range(60)
        ]
        assert answers == [Atom("yes")] * 50 + [Atom("no")] * 10
        locks = [await called(peer, (Atom("set_lock"), (number, 1)), registrar) for number in range(50)]
        assert locks == [True] * 40 + [False] * 10
        assert await node.global_names.set_lock(("ours", 1), retries=0, nodes=[node.name])
        down = asyncio.Event()
        node.subscribe(lambda _: down.set())
        peer.link.close()
        await down.wait()
        async with asyncio.timeout(30):
            while protocol(node).registry.names.items():  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)
        assert len(protocol(node).registry.locks) == 1


async def test_nodes_that_a_peer_makes_up_are_not_kept() -> None:
    async with published_pair() as (node, peer):
        await my_tag(peer)
        cast(peer, "in_sync", Atom("made-up@nowhere.invalid"), True)
        nodes = [(Atom(f"n{number}@nowhere.invalid"), 8) for number in range(300)]
        cast(peer, "new_nodes", Atom(PEER), [], [], nodes, [])
        await called(peer, Atom("get_known"))
        assert list(protocol(node).syncers.synced) == []
        async with asyncio.timeout(20):
            while protocol(node).known.versions:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.05)


async def test_a_killed_locker_is_started_again_and_the_peer_may_connect_anew() -> None:
    async with published_pair() as (node, peer):
        await my_tag(peer)
        locker = running_server(node._local.runtime).locker
        node._local.runtime.send_exit(peer.pid(), locker, Atom("kill"))
        await peer.inbox.end()
        async with scripted_peer(node, flags=DEFAULT_FLAGS | DistFlag.PUBLISHED) as again:
            await my_tag(again)
            assert running_server(node._local.runtime).locker != locker
            assert await node.global_names.register_name("again", holder(node))
