"""Dynamic names between nodes of ours; ``tests/interop/test_dynamic_names_beam.py`` compares with BEAMs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, Node, NodeDown, NodeError, NotConnected, Process, make_development_certificates
from quicdist.carrier import Address
from quicdist.carrier.tcp.carrier import TcpCarrier
from quicdist.node import NodeEvent
from quicdist.node.dynamic_names import MAX_FREE, GivenNames
from quicdist.node.pending_accept import PendingAccept
from quicdist.protocol import (
    DEFAULT_FLAGS,
    DistFlag,
    GivenName,
    HandshakeError,
    LocalIdentity,
    PeerNamed,
)
from tests.carrier.nodes import FakeNode
from tests.support.scripted_peer import COOKIE, tcp_node

UNDEFINED = "undefined@127.0.0.1"
NAME = r"[0-9A-Z]{1,13}@127\.0\.0\.1"
NONODE = "nonode@nohost"


async def echo(process: Process) -> None:
    async for sender, message in process:
        process.send(sender, (process.pid, message))


@pytest_asyncio.fixture
async def giver() -> AsyncIterator[Node]:
    async with tcp_node("giver@127.0.0.1") as one:
        one.process("echo")(echo)
        yield one


@pytest_asyncio.fixture
async def other() -> AsyncIterator[Node]:
    async with tcp_node("other@127.0.0.1") as one:
        one.process("echo")(echo)
        yield one


def asking(*known: Node, **options: Any) -> Node:
    nodes = {node.name: ("127.0.0.1", node.addresses[0].port) for node in known}
    return Node(UNDEFINED, cookie=COOKIE, carrier="tcp", epmd=False, nodes=nodes, **options)


class Receiver:
    def __init__(self, node: Node) -> None:
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.process = node.spawn(lambda process, message: self.messages.put_nowait(message))
        self.process.trap_exit = True

    async def get(self) -> Any:
        async with asyncio.timeout(10):
            return await self.messages.get()


# -- asked for -----------------------------------------------------------------------------------


async def test_the_first_connection_gives_the_name(giver: Node) -> None:
    async with asking(giver) as node:
        assert (node.name, node.addresses) == (NONODE, [])
        await node.connect(giver.name)
        assert re.fullmatch(NAME, node.name)
        assert giver.nodes("hidden") == [node.name]
        assert repr(node).startswith(f"<Node {node.name} running")


@pytest.mark.parametrize("carrier", ["tls", "quic"])
async def test_a_name_is_given_over_other_carriers(carrier: str, tmp_path: Path) -> None:
    files = make_development_certificates(tmp_path)
    options: dict[str, Any] = {
        "cookie": COOKIE,
        "carrier": carrier,
        "epmd": False,
        "cert": files.cert,
        "key": files.key,
        "verify": False,
    }
    async with Node("giver@127.0.0.1", host="127.0.0.1", port=0, **options) as giver:
        nodes = {giver.name: ("127.0.0.1", giver.addresses[0].port)}
        async with Node(UNDEFINED, nodes=nodes, **options) as node:
            assert await node.ping(giver.name)
            assert re.fullmatch(NAME, node.name)
            assert await giver.ping(node.name)
            name, down = node.name, asyncio.Event()
            node.subscribe(lambda event: down.set())
            giver.disconnect(name)
            await down.wait()
            assert node.name == NONODE
            assert await node.ping(giver.name)
            assert node.name == name


async def test_a_call_gives_the_name_too(giver: Node) -> None:
    @giver.export("py")
    def add(one: int, two: int) -> int:
        return one + two

    async with asking(giver) as node:
        assert await node.call(giver.name, "py", "add", [1, 2]) == 3
        assert giver.nodes("hidden") == [node.name]


async def test_a_message_and_a_monitor_connect_nothing(giver: Node) -> None:
    async with asking(giver) as node:
        receiver = Receiver(node)
        receiver.process.send(("echo", giver.name), (receiver.process.pid, 1))
        reference = receiver.process.monitor(("echo", giver.name))
        down = await receiver.get()
        assert (down[1], down[4]) == (reference, Atom("noconnection"))
        assert (node.name, giver.nodes("hidden")) == (NONODE, [])


async def test_what_is_sent_while_the_name_is_asked_for_arrives_in_its_name(giver: Node) -> None:
    async with asking(giver) as node:
        receiver = Receiver(node)
        mine = node._local.runtime.new_reference()
        connecting = asyncio.ensure_future(node.connect(giver.name))
        await asyncio.sleep(0)  # it dials now
        receiver.process.send(("echo", giver.name), (receiver.process.pid, [receiver.process.pid, mine]))
        answer = await receiver.get()
        assert answer[1] == [receiver.process.pid, mine]
        await connecting


async def test_pids_and_references_are_the_same_after_any_way_to_others_and_back(
    giver: Node, other: Node
) -> None:
    seen: list[Any] = []
    keeper = giver.spawn(lambda process, message: seen.append(message), name="keeper")
    async with asking(giver, other) as node:
        receiver = Receiver(node)
        own = [receiver.process.pid, node._local.runtime.new_reference()]
        terms: list[Any] = [own, {own[0]: own[1]}, tuple(own), [1, own, [[own]], b"x" * 100], own * 40]
        for name in (giver.name, other.name):
            await node.connect(name)
            for term in terms:
                receiver.process.send(("echo", name), (receiver.process.pid, term))
                assert (await receiver.get())[1] == term
        node.send(keeper.pid, receiver.process.pid)
        await node.ping(giver.name)
        assert [pid.node.name for pid in seen] == [node.name]
        giver.send(seen[0], Atom("to the pid"))
        assert await receiver.get() == Atom("to the pid")


async def test_links_monitors_and_calls_cross_in_both_directions(giver: Node) -> None:
    @giver.exports.process("m")
    async def lives(process: Process) -> None:
        await process.receive(Atom("end"))

    async with asking(giver) as node:
        await node.connect(giver.name)
        ours, theirs = Receiver(node), Receiver(giver)
        pid = await ours.process.spawn_on(giver.name, "m", "lives", [], link=True)
        reference = ours.process.monitor(pid)
        ours.process.send(pid, Atom("end"))
        ends = [await ours.get(), await ours.get()]
        assert sorted(ends, key=len) == [
            (Atom("EXIT"), pid, Atom("normal")),
            (Atom("DOWN"), reference, Atom("process"), pid, Atom("normal")),
        ]

        node.process("echo")(echo)
        theirs.process.send(("echo", node.name), (theirs.process.pid, 1))
        echoing, _ = await theirs.get()
        assert echoing.node.name == node.name
        theirs.process.link(echoing)
        reference = theirs.process.monitor(("echo", node.name))
        theirs.process.exit(echoing, Atom("boom"))
        ends = [await theirs.get(), await theirs.get()]
        assert sorted(ends, key=len) == [
            (Atom("EXIT"), echoing, Atom("boom")),
            (Atom("DOWN"), reference, Atom("process"), (Atom("echo"), Atom(node.name)), Atom("boom")),
        ]
        assert await giver.ping(node.name)


async def test_the_node_is_reached_by_its_own_name(giver: Node) -> None:
    async with asking(giver) as node:
        node.export("py")(abs_)
        await node.connect(giver.name)
        await node.connect(node.name)
        receiver = Receiver(node)
        node._local.runtime.register("me", receiver.process)
        receiver.process.send(("me", node.name), 1)
        assert await receiver.get() == 1
        reference = receiver.process.monitor(("nobody", node.name))
        assert (await receiver.get())[1:2] == (reference,)
        assert await node.call(node.name, "py", "abs_", [-1]) == 1
        assert await node.ping(node.name)
        pid, reference = await receiver.process.spawn_monitor_on(node.name, "nomodule", "f")
        assert (await receiver.get())[1:4] == (reference, Atom("process"), pid)


def abs_(number: int) -> int:
    return abs(number)


async def test_the_name_is_lost_with_the_connection_that_gave_it(giver: Node, other: Node) -> None:
    async with asking(giver, other) as node:
        events: asyncio.Queue[NodeEvent] = asyncio.Queue()
        await node.connect(giver.name)
        await node.connect(other.name)
        name = node.name
        assert sorted(node.nodes("connected")) == [giver.name, other.name]
        receiver = Receiver(node)
        node.subscribe(events.put_nowait)
        giver.disconnect(name)
        down = [await events.get(), await events.get()]
        assert [event.node for event in down if isinstance(event, NodeDown)] == [giver.name, other.name]
        assert "gave this node its name" in str(down[1].error)  # type: ignore[union-attr]
        assert (node.name, node.nodes("connected")) == (NONODE, [])
        # Another one gives another name, and the processes are the same.
        await node.connect(other.name)
        assert node.name != name
        receiver.process.send(("echo", other.name), (receiver.process.pid, 1))
        assert (await receiver.get())[1] == 1


async def test_the_end_of_another_connection_changes_nothing(giver: Node, other: Node) -> None:
    async with asking(giver, other) as node:
        await node.connect(giver.name)
        await node.connect(other.name)
        name = node.name
        node.disconnect(other.name)
        assert (node.name, node.nodes("connected")) == (name, [giver.name])


async def test_two_connections_at_once_have_one_name(giver: Node, other: Node) -> None:
    async with asking(giver, other) as node:
        await asyncio.gather(node.connect(giver.name), node.connect(other.name))
        assert [*giver.nodes("hidden"), *other.nodes("hidden")] == [node.name] * 2


async def test_a_dial_that_fails_leaves_the_next_one_to_ask(giver: Node) -> None:
    async with asking(giver) as node:
        with pytest.raises(NotConnected):
            await node.connect("nobody@127.0.0.1")
        assert node.name == NONODE
        await node.connect(giver.name)
        assert giver.nodes("hidden") == [node.name]


@pytest.mark.parametrize("options", [{"hidden": False}, {"listen": True}])
def test_such_a_node_is_hidden_and_only_dials(options: dict[str, Any]) -> None:
    with pytest.raises(NodeError, match="hidden and does not listen"):
        Node(UNDEFINED, cookie=COOKIE, carrier="tcp", **options)


async def test_net_kernel_tells_the_state_as_otp(giver: Node) -> None:
    async with asking(giver) as node:
        for name in (Atom("undefined"), None):
            state = await node.gen_server_call("net_kernel", Atom("get_state"))
            assert state[Atom("name_type")] == Atom("dynamic")
            assert state[Atom("name_domain")] == Atom("longnames")
            assert state[Atom("name")] == (name or Atom(node.name))
            await node.connect(giver.name)


# -- given ---------------------------------------------------------------------------------------


def names_at(host: str, count: int, names: GivenNames) -> list[Any]:
    return [names.give(host, lambda name: False) for _ in range(count)]


def test_a_name_is_given_again_with_the_next_creation() -> None:
    names = GivenNames()
    one, two = names_at("h", 2, names)
    assert one.name != two.name
    names.connection_ended(one.name)
    names.connection_ended(two.name)
    again = names_at("h", 2, names)
    assert [(given.name, given.creation) for given in again] == [
        (given.name, (given.creation + 1) % (1 << 32) or 4) for given in (two, one)
    ]
    assert names_at("h", 1, names)[0].name not in (one.name, two.name)


def test_the_creation_after_the_last_is_4() -> None:
    names = GivenNames()
    (given,) = names_at("h", 1, names)
    names._creations[given.name] = (1 << 32) - 1
    names.connection_ended(given.name)
    assert names_at("h", 1, names)[0].creation == 4


def test_a_name_of_a_failed_handshake_is_not_kept() -> None:
    names = GivenNames()
    for given in names_at("h", 5, names):
        names.not_connected(given.name)
    assert (names._creations, names._free) == ({}, {})


def test_free_names_of_any_hosts_are_bounded() -> None:
    names = GivenNames()
    for number in range(MAX_FREE + 50):
        (given,) = names_at(f"h{number}", 1, names)
        names.connection_ended(given.name)
    assert sum(map(len, names._free.values())) == names._free_names == MAX_FREE


def test_a_host_that_leaves_no_room_for_a_name_gets_none() -> None:
    assert names_at("h" * 250, 1, GivenNames()) == [None]


async def test_handshakes_that_fail_after_the_name_leave_nothing(giver: Node) -> None:
    carrier, address = TcpCarrier(), Address("127.0.0.1", giver.addresses[0].port)
    for _ in range(3):
        stranger = FakeNode("x@h", cookie="wrong")
        stranger.identity = LocalIdentity("h", 0, DEFAULT_FLAGS | DistFlag.NAME_ME)
        with pytest.raises(HandshakeError):
            await carrier.setup(giver.name, address, stranger, setup_time=10)
    names = giver._local.connections._given_names
    await giver.stop()  # it ends its handshakes, whose answers to a wrong cookie are delayed
    assert (names._creations, names._free) == ({}, {})


async def test_a_flood_of_nodes_that_ask_and_prove_nothing_leaves_nothing(giver: Node) -> None:
    table = giver._local.connections
    for number in range(10_000):
        accepting = PendingAccept(giver._local, table)
        asked = PeerNamed(f"h{number}", DistFlag.NAME_ME, 0)
        assert isinstance(accepting.connection_requested(asked), GivenName)
        table._accept_over(accepting)
    names = table._given_names
    assert (names._creations, names._free, table._connections) == ({}, {}, {})


async def test_where_only_some_nodes_are_allowed_no_name_is_given(giver: Node) -> None:
    giver.net_kernel.allow(["a@127.0.0.1"])
    async with asking(giver) as node:
        with pytest.raises(NotConnected, match="not_allowed"):
            await node.connect(giver.name)
        assert node.name == NONODE
