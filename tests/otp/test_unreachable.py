"""Whatever is asked of a node that cannot be reached: the error says why."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Node, NotConnected, Process, SpawnError
from quicdist.carrier import LinkLost, PeerUnreachable
from quicdist.discovery import NodeNotFound
from quicdist.errors import QuicDistError
from quicdist.node.errors import NetTickTimeout, NodeError
from quicdist.protocol import NotAllowed, WrongCookie
from tests.node.streams_peer import NAME as PEER
from tests.node.test_streams import peer
from tests.support.epmd import private_epmd
from tests.support.head_of_line import in_process
from tests.support.pairs import CARRIERS, LISTENER, pair
from tests.support.records import records_of

CLOSED = "closed@127.0.0.1"
NO_HOST = "nowhere@host.invalid"
UNKNOWN = "unknown@host.invalid"

SERVER = "mute"

Call = Callable[[Node, str], Awaitable[Any]]


async def multicall(node: Node, to: str) -> None:
    (result,) = await node.erpc.multicall([to], "py", "wait")
    raise result


#: All that waits for an answer of another node.
CALLS: dict[str, Call] = {
    "erpc": lambda node, to: node.call(to, "py", "wait"),
    "erpc:multicall": multicall,
    "rpc:block_call": lambda node, to: node.rpc.block_call(to, "py", "wait"),
    "rpc:server_call": lambda node, to: node.rpc.server_call(to, SERVER, "x", "question"),
    "gen_server:call": lambda node, to: node.gen_server.call((SERVER, to), "question", timeout=60),
    "gen_server:send_request": lambda node, to: node.gen_server.send_request((SERVER, to), "question"),
    "gen_server:stop": lambda node, to: node.gen_server.stop((SERVER, to)),
    "sys:get_state": lambda node, to: node.sys.get_state((SERVER, to), timeout=60),
    "sys:get_status": lambda node, to: node.sys.get_status((SERVER, to), timeout=60),
    "sys:suspend": lambda node, to: node.sys.suspend((SERVER, to), timeout=60),
    "io:put_chars": lambda node, to: node.io.put_chars((SERVER, to), "text"),
}
#: What needs a connection and no process that answers.
CONNECTS: dict[str, Call] = {
    "connect": lambda node, to: node.connect(to),
    "net_adm:ping": lambda node, to: node.is_auth(to),
    "net_kernel:is_auth": lambda node, to: node.net_kernel.is_auth(to, 10),
}


async def reason(call: Call, node: Node, to: str) -> QuicDistError:
    with pytest.raises(NotConnected) as caught:
        await call(node, to)
    assert caught.value.node == to
    (attempt,) = caught.value.attempts
    assert str(caught.value) == f"cannot reach node {to}: {attempt}"
    return attempt


class Case:
    """Why a node cannot be reached."""

    def __init__(
        self,
        to: str,
        error: type[QuicDistError],
        text: str,
        prepare: Callable[[Node, Node], None] | None = None,
    ) -> None:
        self.to = to
        self.error = error
        self.text = text
        self.prepare = prepare or (lambda dialler, listener: None)


CASES = {
    "wrong cookie": Case(
        LISTENER, WrongCookie, "wrong cookie for", lambda dialler, _: dialler.set_cookie(LISTENER, "another")
    ),
    "port closed": Case(CLOSED, PeerUnreachable, "onnection refused"),
    "no such host": Case(NO_HOST, PeerUnreachable, "not known"),
    "name not known": Case(UNKNOWN, NodeNotFound, "no address for"),
    "not allowed there": Case(
        LISTENER,
        NotAllowed,
        f"{LISTENER} does not allow this node to connect",
        lambda _, listener: listener.net_kernel.allow(["other@127.0.0.1"]),
    ),
    "not allowed here": Case(
        LISTENER,
        NodeError,
        "node not allowed (net_kernel:allow/1)",
        lambda dialler, _: dialler.net_kernel.allow(["other@127.0.0.1"]),
    ),
}


@pytest_asyncio.fixture(params=CARRIERS)
async def nodes(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Node, Node]]:
    others = {CLOSED: ("127.0.0.1", 1), NO_HOST: ("host.invalid", 4433)}
    async with pair(request.param, tmp_path, nodes=others) as (dialler, listener):
        yield dialler, listener


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_every_call_to_a_node_that_cannot_be_reached_says_why(
    nodes: tuple[Node, Node], case: Case
) -> None:
    dialler, listener = nodes
    if case.to == UNKNOWN and dialler.endpoints[0].carrier.address().protocol == "quic":
        pytest.skip("over QUIC a name that nobody knows is looked for at its host")
    case.prepare(dialler, listener)
    for call in [*CONNECTS.values(), *CALLS.values()]:
        attempt = await reason(call, dialler, case.to)
        assert isinstance(attempt, case.error)
        assert case.text in str(attempt)


@pytest.mark.beam
async def test_a_name_that_epmd_does_not_know_is_the_reason(tmp_path: Path) -> None:
    with private_epmd():
        async with pair("tcp", tmp_path, epmd=True) as (dialler, _):
            for call in [*CONNECTS.values(), *CALLS.values()]:
                attempt = await reason(call, dialler, "nobody@127.0.0.1")
                assert isinstance(attempt, NodeNotFound)
                assert "not registered" in str(attempt)


async def test_a_spawn_on_a_node_that_cannot_be_reached_says_why(nodes: tuple[Node, Node]) -> None:
    async def spawn(process: Process) -> None:
        with pytest.raises(SpawnError) as caught:
            await process.spawn_on(CLOSED, "m", "f", [])
        assert str(caught.value).startswith(
            f"cannot spawn m:f/0 on {CLOSED}: noconnection (cannot connect to"
        )
        assert isinstance(caught.value.attempts[0], PeerUnreachable)

    await in_process(nodes[0], spawn)


# -- a connection that is lost while a call waits --------------------------------------------------


async def waiting(dialler: Node, listener: Node, call: Call) -> asyncio.Future[Any]:
    """A call that has arrived at ``listener``, which does not answer it."""
    arrived = asyncio.Event()

    async def wait() -> None:
        arrived.set()
        await asyncio.Event().wait()

    listener.export("py", "wait")(wait)
    listener.process(SERVER)(lambda process, message: arrived.set())
    task = asyncio.ensure_future(call(dialler, LISTENER))
    await arrived.wait()
    return task


@pytest.mark.usefixtures("stops_soon")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_call_whose_connection_is_lost_says_how(nodes: tuple[Node, Node], call: Call) -> None:
    dialler, listener = nodes
    task = await waiting(dialler, listener, call)
    listener.disconnect(dialler.name)
    attempt = await reason(lambda *_: task, dialler, LISTENER)
    assert isinstance(attempt, LinkLost)
    assert str(attempt).startswith(f"connection to {LISTENER} lost: ")


@pytest.mark.usefixtures("stops_soon")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_call_whose_connection_this_node_closes_says_so(nodes: tuple[Node, Node], call: Call) -> None:
    dialler, listener = nodes
    task = await waiting(dialler, listener, call)
    dialler.disconnect(LISTENER)
    attempt = await reason(lambda *_: task, dialler, LISTENER)
    assert str(attempt) == "this node closed the connection"


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_net_tick_timeout_is_the_reason(carrier: str, tmp_path: Path) -> None:
    async with peer(carrier, tmp_path, net_ticktime=0.4) as (node, other):
        other.send_signal(signal.SIGSTOP)
        calls = [call for name, call in CALLS.items() if not name.startswith("rpc")]
        with records_of("quicdist.node.connections", logging.WARNING) as records:
            attempts = await asyncio.gather(*(reason(call, node, PEER) for call in calls))
        text = f"node {PEER} has sent nothing for 0.4 s (net_tick_timeout)"
        assert {(type(attempt), str(attempt)) for attempt in attempts} == {(NetTickTimeout, text)}
        assert [line.getMessage() for line in records.take()] == [f"disconnected from {PEER}: {text}"]


async def test_a_new_connection_has_no_reason_of_the_old_one(nodes: tuple[Node, Node]) -> None:
    dialler, _ = nodes
    await dialler.connect(LISTENER)
    dialler.disconnect(LISTENER)
    assert (
        str(dialler._local.connections.not_connected(LISTENER).attempts[0])
        == "this node closed the connection"
    )
    await dialler.connect(LISTENER)
    assert dialler._local.connections.not_connected(LISTENER).attempts == ()


# -- lines -------------------------------------------------------------------------------------


async def lines_of(node: Node, to: str, *, send: bool) -> list[logging.LogRecord]:
    down = asyncio.Event()
    with records_of("quicdist.node.connections") as records:
        if send:
            process = node.spawn(lambda *_: down.set())
            process.monitor(("anyone", to))
            node.send(("anyone", to), "a message")
            await down.wait()
        else:
            with pytest.raises(NotConnected):
                await node.connect(to)
        return records.take()


@pytest.mark.parametrize("send", [True, False], ids=["send", "connect"])
async def test_a_node_with_another_cookie_leaves_a_warning(nodes: tuple[Node, Node], send: bool) -> None:
    dialler, _ = nodes
    dialler.set_cookie(LISTENER, "another")
    (record,) = await lines_of(dialler, LISTENER, send=send)
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"cannot reach node {LISTENER}: wrong cookie for {LISTENER}: ")
    assert record.getMessage().endswith("; 2 signals to it were dropped") is send
    assert record.__dict__["node"] == LISTENER
    assert isinstance(record.__dict__["attempts"][0], WrongCookie)


@pytest.mark.parametrize("send", [True, False], ids=["send", "connect"])
async def test_a_node_that_is_down_leaves_a_line(nodes: tuple[Node, Node], send: bool) -> None:
    """A warning where a message was lost; who connects is told by the error."""
    (record,) = await lines_of(nodes[0], CLOSED, send=send)
    assert record.levelno == (logging.WARNING if send else logging.INFO)
    assert record.getMessage().startswith(f"cannot reach node {CLOSED}: cannot connect to {CLOSED}")


async def test_lines_about_one_node_are_limited(nodes: tuple[Node, Node]) -> None:
    lines = [await lines_of(nodes[0], CLOSED, send=False) for _ in range(7)]
    assert [len(each) for each in lines] == [1, 1, 1, 1, 1, 0, 0]
    assert "(more like it are left out for" in lines[4][0].getMessage()
    assert len(await lines_of(nodes[0], NO_HOST, send=False)) == 1


async def test_a_cancelled_dial_is_no_warning(nodes: tuple[Node, Node]) -> None:
    dialler, _ = nodes
    with records_of("quicdist.node.connections") as records:
        task = asyncio.ensure_future(dialler.connect(LISTENER))
        await asyncio.sleep(0)
        dialler.disconnect(LISTENER)
        with pytest.raises(NotConnected, match="the attempt was cancelled"):
            await task
    assert [record.levelno for record in records.take()] == [logging.INFO]


async def test_lines_about_connections_refused_are_limited_for_each_host(nodes: tuple[Node, Node]) -> None:
    dialler, _ = nodes
    dialler.set_cookie(LISTENER, "another")
    carrier = dialler.endpoints[0].carrier.address().protocol
    with records_of(f"quicdist.carrier.{carrier}", logging.WARNING) as records:
        for _ in range(7):
            with pytest.raises(NotConnected):
                await dialler.connect(LISTENER)
        lines = [record.getMessage() for record in records.take()]
    assert len(lines) == 5
    assert all("refused: wrong cookie for" in line for line in lines)
    assert "(more like it are left out for" in lines[-1]
