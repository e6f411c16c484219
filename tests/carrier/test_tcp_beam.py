"""The TCP carrier and a stock BEAM, in both roles."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from quicdist.carrier import Link, PeerClosed
from quicdist.carrier.tcp.carrier import TcpCarrier
from quicdist.errors import QuicDistError
from quicdist.protocol import (
    ConnectionAlive,
    DistFlag,
    FrameTooLong,
    HandshakeEnded,
    NotAllowed,
    RefusedPayload,
    Status,
    WrongCookie,
    WrongNodeName,
)
from quicdist.term import Atom
from tests.carrier.nodes import FakeNode
from tests.carrier.tcp_node import PATIENCE, SETUP_TIME, TcpNode, soon, tcp_node
from tests.support.beam import Beam, tcp_args
from tests.support.epmd import private_epmd

pytestmark = pytest.mark.beam

BEAM = "b@127.0.0.1"
PY = "py@127.0.0.1"
MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def epmd() -> Iterator[None]:
    with private_epmd():
        yield


@pytest.fixture(scope="module")
def b(epmd: None) -> Iterator[Beam]:
    """A node that all tests of this module share; each takes its connections down."""
    with Beam(tcp_args(BEAM)) as beam:
        beam.eval_now("net_kernel:monitor_nodes(true, [{node_type, all}])")
        yield beam


@pytest.fixture
def local() -> FakeNode:
    return FakeNode(PY)


async def run(beam: Beam, body: str, data: bytes = b"") -> str:
    """Evaluate ``body`` with names of its own; ``Patience`` is bound."""
    source = f"(fun() -> Patience = {int(PATIENCE * 1000)}, {body} end)()"
    return await beam.eval(source, data, timeout=PATIENCE * 2)


async def node_event(beam: Beam, event: str, node: str = PY) -> None:
    """Wait until the BEAM has told that ``node`` is up, or down."""
    assert await run(beam, f"receive {{{event}, '{node}', _}} -> ok after Patience -> none end") == "ok"


@pytest.fixture(params=["we dial", "it dials"])
async def joined(
    request: pytest.FixtureRequest, b: Beam, local: FakeNode
) -> AsyncIterator[tuple[TcpNode, Link]]:
    """A node of ours and its link to the BEAM, dialled from either side."""
    async with tcp_node(local) as node:
        if request.param == "we dial":
            link = await node.dial(BEAM)
        else:
            assert await b.eval(f"net_kernel:connect_node('{PY}')") == "true"
            link = await soon(node.accepted)
        await node_event(b, "nodeup")
        yield node, link
    await node_event(b, "nodedown")


# -- both roles --------------------------------------------------------------------------------


async def test_the_handshake_makes_both_known_to_each_other(b: Beam, joined: tuple[TcpNode, Link]) -> None:
    _, link = joined
    assert link.peer.name == BEAM
    assert str(link.peer.creation) == await b.eval("erts_internal:get_creation()")
    assert await b.eval("nodes(hidden)") == f"['{PY}']"
    assert await b.eval("nodes()") == "[]"
    assert link.peer.negotiated & DistFlag.FRAGMENTS


async def test_ping(b: Beam, joined: tuple[TcpNode, Link]) -> None:
    assert await b.eval(f"net_adm:ping('{PY}')") == "pong"


ECHO = f"""
    {{echo, '{PY}'}} ! {{self(), Out}},
    receive {{echoed, Back}} -> Back =:= Out after Patience -> none end
"""


@pytest.mark.parametrize("size", [0, 1, 65_000, 65_536, 70_000, MIB, 64 * MIB])
async def test_a_binary_there_and_back(b: Beam, joined: tuple[TcpNode, Link], size: int) -> None:
    assert await run(b, f"Out = rand:bytes({size}), {ECHO}") == "true"


async def test_messages_to_a_name_and_to_a_pid_both_ways_in_order(
    b: Beam, joined: tuple[TcpNode, Link]
) -> None:
    node, link = joined
    me, ours = Atom("beam_evaluator"), node.local.pid(7)
    # To a name there, which answers to a pid here.
    for number in range(100):
        node.send_to_name(link, str(me), (Atom("numbered"), ours, number))
    answer = "[receive {numbered, To, I} -> To ! {I, self()} end || I <- lists:seq(0, 99)], ok"
    assert await run(b, answer) == "ok"
    received = [await soon(node.sink) for _ in range(100)]
    assert [message[0] for _, message in received] == list(range(100))
    assert {pid for pid, _ in received} == {ours}
    # To that pid there, which answers to a name here.
    evaluator = received[0][1][1]
    for number in range(100):
        node.send(link, evaluator, (Atom("again"), number))
    again = f"[receive {{again, I}} -> {{sink, '{PY}'}} ! I end || I <- lists:seq(0, 99)], ok"
    assert await run(b, again) == "ok"
    assert [await soon(node.sink) for _ in range(100)] == list(range(100))


@pytest.mark.parametrize("size", [100_000, MIB, 64 * MIB])
async def test_large_binaries_of_ours_arrive_whole(b: Beam, joined: tuple[TcpNode, Link], size: int) -> None:
    node, link = joined
    data = os.urandom(MIB)[: min(size, MIB)] * max(1, size // MIB)
    node.send_to_name(link, "beam_evaluator", (Atom("large"), data))
    await link.drain()
    body = (
        "receive {large, Large} -> {byte_size(Large), erlang:md5(Large) =:= Data} after Patience -> none end"
    )
    assert await run(b, body, hashlib.md5(data).digest()) == f"{{{size},true}}"


async def test_fragments_of_several_senders_at_once(b: Beam, joined: tuple[TcpNode, Link]) -> None:
    node, _ = joined
    body = f"""
        Send = fun(I) -> {{sink, '{PY}'}} ! {{I, binary:copy(<<I>>, 3_000_000 + I)}} end,
        [spawn(fun() -> [Send(I) || _ <- [1, 2, 3]] end) || I <- lists:seq(1, 8)], ok
    """
    assert await run(b, body) == "ok"
    received = [await soon(node.sink) for _ in range(24)]
    for number in range(1, 9):
        of_one = [data for sender, data in received if sender == number]
        assert of_one == [bytes([number]) * (3_000_000 + number)] * 3


@pytest.mark.parametrize("size", [1, MIB])
@pytest.mark.parametrize("dialler", ["we", "it"])
async def test_without_fragments_it_is_pass_through(b: Beam, dialler: str, size: int) -> None:
    local = lacking(FakeNode(PY), DistFlag.FRAGMENTS)
    async with tcp_node(local) as node:
        if dialler == "we":
            await node.dial(BEAM)
        assert await run(b, f"Out = rand:bytes({size}), {ECHO}") == "true"
        await node_event(b, "nodeup")
    await node_event(b, "nodedown")


# -- the end -----------------------------------------------------------------------------------


async def test_a_beam_that_disconnects(b: Beam, local: FakeNode) -> None:
    async with tcp_node(local) as node:
        link = await node.dial(BEAM)
        await node_event(b, "nodeup")
        assert await b.eval(f"erlang:disconnect_node('{PY}')") == "true"
        gone, error = await soon(node.lost)
        assert gone is link
        assert isinstance(error, PeerClosed)
        assert error.node == BEAM
        await node_event(b, "nodedown")


async def test_a_beam_that_is_killed(local: FakeNode) -> None:
    async with tcp_node(local) as node:
        with Beam(tcp_args("killed@127.0.0.1")) as beam:
            link = await node.dial("killed@127.0.0.1")
            beam.process.kill()
            gone, error = await soon(node.lost)
        assert gone is link
        assert isinstance(error, PeerClosed)


async def test_a_message_longer_than_we_take_is_lost_alone(b: Beam, local: FakeNode) -> None:
    async with tcp_node(local, TcpCarrier(max_frame=MIB)) as node:
        link = await node.dial(BEAM)
        await node_event(b, "nodeup")
        await run(b, f"{{sink, '{PY}'}} ! rand:bytes({2 * MIB}), {{sink, '{PY}'}} ! next, ok")
        refused = await soon(node.sink)
        assert isinstance(refused, RefusedPayload)
        assert isinstance(refused.error, FrameTooLong)
        assert await soon(node.sink) == Atom("next")
        assert not link.closed
        assert await b.eval(f"net_adm:ping('{PY}')") == "pong"
    await node_event(b, "nodedown")


async def test_ticks_keep_a_link_and_none_lose_it(local: FakeNode) -> None:
    silent, ticking = FakeNode("silent@127.0.0.1"), local
    name = "ticker@127.0.0.1"
    async with (
        tcp_node(silent) as one,
        tcp_node(ticking) as other,
        Beam(tcp_args(name, more=["-kernel", "net_ticktime", "1"])) as beam,
    ):
        dropped = await one.dial(name)
        kept = await other.dial(name)
        losing = asyncio.create_task(soon(one.lost))
        while not losing.done():
            kept.send_tick()
            await asyncio.wait({losing}, timeout=0.1)
        assert isinstance(losing.result()[1], PeerClosed)
        assert dropped.stats.ticks_in > 0
        assert kept.stats.ticks_in > 0
        assert kept.stats.messages_in == 0
        assert not kept.closed
        assert await beam.eval(f"net_adm:ping('{PY}')") == "pong"


# -- handshakes that do not end well -----------------------------------------------------------


async def test_our_wrong_cookie(b: Beam) -> None:
    async with tcp_node(FakeNode(PY, cookie="wrong")) as node:
        with pytest.raises(WrongCookie) as caught:
            await node.dial(BEAM)
        assert caught.value.node == BEAM
    assert await b.eval("nodes(hidden)") == "[]"


async def test_its_wrong_cookie(b: Beam, caplog: pytest.LogCaptureFixture) -> None:
    async with tcp_node(FakeNode(PY, cookie="wrong")) as node:
        assert await b.eval(f"net_kernel:connect_node('{PY}')") == "false"
        error = await soon(node.refused)
        assert isinstance(error, WrongCookie)
        assert error.node == BEAM
        assert f"refused: wrong cookie for {BEAM}" in caplog.text
        # With the right one it is welcome.
        node.local.cookie = "secret"
        assert await b.eval(f"net_adm:ping('{PY}')") == "pong"
    await node_event(b, "nodeup")
    await node_event(b, "nodedown")


def lacking(node: FakeNode, flag: DistFlag) -> FakeNode:
    flags = node.identity.flags & ~flag & ~DistFlag.MANDATORY_25_DIGEST
    node.identity = dataclasses.replace(node.identity, flags=flags)
    return node


async def test_a_flag_of_ours_that_it_cannot_do_without(b: Beam) -> None:
    async with tcp_node(lacking(FakeNode(PY), DistFlag.BIG_CREATION)) as node:
        with pytest.raises(NotAllowed) as caught:
            await node.dial(BEAM)
        assert caught.value.node == BEAM
        # Dialled by it, we are the ones who hear that it will not.
        assert await b.eval(f"net_kernel:connect_node('{PY}')") == "false"
        ended: QuicDistError = await soon(node.refused)
        assert isinstance(ended, HandshakeEnded)


async def test_a_node_that_we_do_not_allow(b: Beam) -> None:
    async with tcp_node(FakeNode(PY, status=Status.NOT_ALLOWED)) as node:
        assert await b.eval(f"net_kernel:connect_node('{PY}')") == "false"
        error: QuicDistError = await soon(node.refused)
        assert f"{BEAM} was answered not_allowed" in str(error)


async def test_another_node_listens_where_we_dial(b: Beam, local: FakeNode) -> None:
    async with tcp_node(local) as node:
        address = await node.discovery.lookup(BEAM)
        with pytest.raises(WrongNodeName) as caught:
            await node.carrier.setup("other@127.0.0.1", address, local, setup_time=SETUP_TIME)
        assert (caught.value.node, caught.value.came) == ("other@127.0.0.1", BEAM)


async def test_a_name_that_is_connected_already(b: Beam, local: FakeNode) -> None:
    """A node that was started again before the BEAM has noticed that the first is gone."""
    async with tcp_node(local) as first:
        old = await first.dial(BEAM)
        await node_event(b, "nodeup")
        async with tcp_node(FakeNode(PY, go_on=False), register=False) as second:
            with pytest.raises(ConnectionAlive):
                await second.dial(BEAM)
        assert await b.eval(f"net_adm:ping('{PY}')") == "pong"
        assert not old.closed
        async with tcp_node(FakeNode(PY, creation=77), register=False) as third:
            await third.dial(BEAM)
            assert third.local.alive_asked == [BEAM]
            assert isinstance((await soon(first.lost))[1], PeerClosed)
            await node_event(b, "nodedown")
            await node_event(b, "nodeup")
            assert await run(b, f"Out = third, {ECHO}") == "true"
    await node_event(b, "nodedown")


async def test_a_beam_that_was_started_again_takes_its_old_connection_down(local: FakeNode) -> None:
    local.status = Status.ALIVE
    async with tcp_node(local) as node, Beam(tcp_args("c@127.0.0.1")) as c:
        assert await c.eval(f"net_kernel:connect_node('{PY}')") == "true"
        await soon(node.accepted)
        assert local.taken_down == ["c@127.0.0.1"]
        assert await c.eval(f"net_adm:ping('{PY}')") == "pong"
