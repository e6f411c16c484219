"""Program code that blocks the event loop costs the node no connection with a BEAM, as a computation of a
process on a BEAM does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quicdist import Atom, GenServer, Node, NodeDown, Pid, Process
from quicdist.node import NodeEvent
from tests.interop.carriers import CARRIERS
from tests.interop.cluster import Cluster, cluster
from tests.support.standstill import WAYS, sleep

#: Seconds, on both sides.
TICKTIME = 4
#: A BEAM closes a connection on which nothing came for five quarters of that, at the latest.
LONG = 1.5 * TICKTIME


@pytest.fixture(params=CARRIERS)
async def pair(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Connected, both with a short ``net_ticktime``."""
    more = ("-kernel", "net_ticktime", str(TICKTIME))
    async with cluster(request.param, tmp_path, beam_args=more, net_ticktime=TICKTIME) as both:
        await both.eval("ok = net_kernel:monitor_nodes(true, [{node_type, all}])")
        await both.node.connect(both.beam_name)
        assert await both.eval("receive {nodeup, Node, _} -> Node after 10000 -> none end") == (
            f"'{both.node.name}'"
        )
        yield both


def downs_of(node: Node) -> list[NodeEvent]:
    downs: list[NodeEvent] = []
    node.subscribe(lambda event: downs.append(event) if isinstance(event, NodeDown) else None)
    return downs


async def assert_same_connection(pair: Cluster, downs: list[NodeEvent]) -> None:
    """Neither end has seen the other go down."""
    assert await pair.node.ping(pair.beam_name)
    assert downs == []
    assert await pair.eval("receive {nodedown, N, Info} -> {N, Info} after 0 -> none end") == "none"


@pytest.mark.parametrize("way", WAYS)
async def test_an_export_that_blocks_costs_no_connection_and_no_message(pair: Cluster, way: str) -> None:
    downs = downs_of(pair.node)
    taken: list[object] = []
    all_taken = asyncio.Event()

    @pair.node.process("taker")
    def take(process: Process, message: object) -> None:
        if message == Atom("last"):
            all_taken.set()
        else:
            taken.append(message)

    @pair.node.export("work")
    def run(seconds: float) -> int:
        WAYS[way](seconds)
        return len(taken)

    # A BEAM that numbers its messages, and sends them before, while and after the export runs.
    await pair.eval(
        "Count = fun F(N) -> [{taker, PY} ! 10 * N + I || I <- lists:seq(0, 9)],"
        "  receive {stop, To} -> {taker, PY} ! last, To ! {sent, N} after 5 -> F(N + 1) end end,"
        "Counter = spawn(fun() -> Count(0) end), ok"
    )
    taken_before = int(await pair.eval(f"erpc:call(PY, work, run, [{LONG}])", timeout=60))
    sent = int(await pair.eval("Counter ! {stop, self()}, receive {sent, N} -> 10 * N + 10 end"))
    assert sent > taken_before + 50
    async with asyncio.timeout(10):
        await all_taken.wait()
    assert taken == list(range(sent))
    await assert_same_connection(pair, downs)


async def test_a_handler_a_callback_and_a_body_that_block_cost_no_connection(pair: Cluster) -> None:
    downs = downs_of(pair.node)

    class Slow(GenServer):
        def handle_call(self, request: object, sender: object) -> object:
            sleep(LONG)
            return Atom("callback")

    pair.node.serve(Slow(), name="callback")

    @pair.node.process("handler")
    def handle(process: Process, message: Pid) -> None:
        sleep(LONG)
        process.send(message, Atom("handler"))

    @pair.node.process("body")
    async def body(process: Process) -> None:
        sender = await process.receive(Pid)
        sleep(LONG)
        process.send(sender, Atom("body"))

    assert await pair.eval("gen_server:call({callback, PY}, go, 30000)") == "callback"
    for name in ("handler", "body"):
        answer = f"{{{name}, PY}} ! self(), receive {name} -> came after 30000 -> none end"
        assert await pair.eval(answer) == "came"
    await assert_same_connection(pair, downs)


async def test_what_was_sent_before_the_loop_blocks_arrives_meanwhile(pair: Cluster) -> None:
    """As on a BEAM, where a process that computes has sent what it has sent."""

    @pair.node.process("early")
    def early(process: Process, message: Pid) -> None:
        process.send(message, Atom("begun"))
        sleep(TICKTIME)
        process.send(message, Atom("over"))

    assert (
        await pair.eval(
            "T0 = erlang:monotonic_time(millisecond), {early, PY} ! self(),"
            "receive begun -> ok end, T1 = erlang:monotonic_time(millisecond),"
            "receive over -> ok end, T2 = erlang:monotonic_time(millisecond),"
            f"{{T1 - T0 < 2500, T2 - T0 >= {1000 * TICKTIME}}}"
        )
        == "{true,true}"
    )


async def test_a_beam_that_dies_meanwhile_is_noticed_afterwards(pair: Cluster) -> None:
    down: asyncio.Future[NodeDown] = asyncio.get_running_loop().create_future()
    pair.node.subscribe(lambda event: down.set_result(event) if isinstance(event, NodeDown) else None)
    pair.beam.process.kill()
    time.sleep(TICKTIME / 2)  # noqa: ASYNC251
    async with asyncio.timeout(2 * TICKTIME + 30):
        event = await down
    assert event.node == pair.beam_name


@pytest.mark.slow
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_minute_and_a_half_with_the_default_ticktime(carrier: str, tmp_path: Path) -> None:
    """Longer than OTP's ``net_ticktime`` of 60 s, and than the 16 s without an acknowledgement after which
    quic_dist closes a connection from 1.8.2 on."""
    async with cluster(carrier, tmp_path) as both:
        await both.eval("ok = net_kernel:monitor_nodes(true, [{node_type, all}])")
        await both.node.connect(both.beam_name)
        downs = downs_of(both.node)
        both.node.export("work", "sleep")(sleep)
        # What is in flight all the while: a message every 100 ms.
        await both.eval(
            "Send = fun F() -> {nobody, PY} ! tick, timer:sleep(100), F() end, Sender = spawn(Send), ok"
        )
        assert await both.eval("erpc:call(PY, work, sleep, [90])", timeout=110) == "undefined"
        await both.eval("exit(Sender, kill)")
        await assert_same_connection(both, downs)
