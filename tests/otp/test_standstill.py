"""Program code that blocks the event loop costs no connection to another Python node, and no message."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from quicdist import Atom, CallTimeout, GenServer, Node, NodeDown, Pid, Process, UserStream
from quicdist.carrier import keepalive
from quicdist.carrier.keepalive import KeepAlive
from quicdist.node import NodeEvent
from quicdist.node.event_loop import new_event_loop as uvloop
from tests.support.pairs import CARRIERS, carrier_options
from tests.support.records import records_of
from tests.support.standstill import WAYS, sleep
from tests.support.threads import Elsewhere, elsewhere

#: Seconds, on both sides.
TICKTIME = 4.0
LONG = 1.5 * TICKTIME
#: For what shows sooner.
SHORT = TICKTIME / 2

needs_uvloop = pytest.mark.skipif(uvloop is None, reason="uvloop is not installed")
LOOPS = [
    pytest.param(asyncio.new_event_loop, id="asyncio"),
    pytest.param(uvloop, id="uvloop", marks=needs_uvloop),
]
LOOPS_AND_WAYS = [
    *(pytest.param(asyncio.new_event_loop, way, id=f"asyncio-{way}") for way in WAYS),
    pytest.param(uvloop, "compute", id="uvloop-compute", marks=needs_uvloop),
]


class Pair:
    """``node`` runs in the test's event loop, ``there`` in that of another thread, which is the one that
    stands still. They are connected."""

    def __init__(self, node: Node, there: Elsewhere[Node]) -> None:
        self.node = node
        self.there = there
        self.name = there.value.name
        self.downs: list[NodeEvent] = []
        node.subscribe(lambda event: self.downs.append(event) if isinstance(event, NodeDown) else None)


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
async def pair(
    carrier: str, tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> AsyncIterator[Pair]:
    options: dict[str, Any] = {"cookie": "pair", "net_ticktime": TICKTIME}
    options |= carrier_options(carrier, tmp_path)
    if carrier == "quic":
        options |= {"quic": {"keep_alive_interval": TICKTIME / 4}}

    def make() -> Node:
        return Node("there@127.0.0.1", host="127.0.0.1", port=0, **options)

    async with elsewhere(make, new_event_loop=loop_factory) as there:
        nodes = {"there@127.0.0.1": ("127.0.0.1", there.value.addresses[0].port)}
        async with Node("here@127.0.0.1", listen=False, nodes=nodes, **options) as node:
            await node.connect("there@127.0.0.1")
            yield Pair(node, there)


@pytest.fixture(params=LOOPS[:1])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    """Of the loop that stands still."""
    factory: Callable[[], asyncio.AbstractEventLoop] = request.param
    return factory


@pytest.mark.parametrize(("loop_factory", "way"), LOOPS_AND_WAYS, indirect=["loop_factory"])
async def test_a_loop_that_stands_still_loses_no_connection_and_no_message(pair: Pair, way: str) -> None:
    taken: list[object] = []
    all_taken = asyncio.Event()

    def offer(there: Node) -> None:
        @there.process("taker")
        def take(process: Process, message: Any) -> None:
            if isinstance(message, Pid):
                process.send(message, Atom("last"))
            else:
                taken.append(message)

        there.export("work", "run")(WAYS[way])

    await pair.there.call(offer)
    asker = pair.node.spawn(lambda process, message: all_taken.set())
    running = asyncio.create_task(pair.node.call(pair.name, "work", "run", [LONG], timeout=60))
    sent = 0
    while not running.done():
        pair.node.send(("taker", pair.name), sent)
        sent += 1
        await asyncio.sleep(0.01)
    await running
    pair.node.send(("taker", pair.name), asker.pid)
    async with asyncio.timeout(10):
        await all_taken.wait()
    assert sent > 100
    assert taken == list(range(sent))
    assert pair.downs == []
    link, other = (
        pair.node._local.connections.link(pair.name),
        pair.there.value._local.connections.link(pair.node.name),
    )
    assert link is not None
    assert other is not None
    ticks_in = link.stats.ticks_in
    # Asked in its own loop: that counts what was sent while it stood still once it goes on.
    ticks_out = await pair.there.call(lambda there: other.stats.ticks_out)
    assert ticks_out >= LONG - 2
    # Over QUIC a tick is a PING where the one before is not acknowledged.
    assert 0 < ticks_in <= ticks_out


async def test_what_was_sent_before_the_loop_blocks_arrives_meanwhile(pair: Pair) -> None:
    def offer(there: Node) -> None:
        class Early(GenServer):
            def handle_cast(self, request: object) -> object:
                there.send(request, Atom("begun"))
                sleep(2 * SHORT)
                there.send(request, Atom("over"))
                return None

        there.serve(Early(), name="early")

    await pair.there.call(offer)
    times: dict[object, float] = {}
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    def take(process: Process, message: object) -> None:
        times[message] = loop.time()
        if len(times) == 2:
            over.set()

    asker = pair.node.spawn(take)
    begun = loop.time()
    pair.node.gen_server_cast(("early", pair.name), asker.pid)
    async with asyncio.timeout(60):
        await over.wait()
    assert times[Atom("begun")] - begun < SHORT
    assert times[Atom("over")] - times[Atom("begun")] > SHORT
    assert pair.downs == []


async def test_a_loop_that_is_dead_is_given_up(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keepalive, "MAX_BLOCKED", SHORT)
    down = asyncio.Event()
    pair.node.subscribe(lambda event: down.set() if isinstance(event, NodeDown) else None)
    loop = asyncio.get_running_loop()
    with records_of("quicdist.carrier") as records:
        blocked = asyncio.create_task(pair.there.call(lambda there: sleep(SHORT + LONG)))
        since = loop.time()
        async with asyncio.timeout(30):
            await down.wait()
        assert TICKTIME < loop.time() - since < SHORT + LONG + 1
        await blocked
    (said,) = [record for record in records.take() if "no longer kept alive" in record.getMessage()]
    assert said.levelno == logging.WARNING


async def test_a_logging_handler_that_blocks_costs_no_connection(pair: Pair) -> None:
    """What the other threads log waits for its lock: the report of the standstill, for one."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.msg == "block":
                sleep(LONG)

    logger, handler = logging.getLogger(), Handler()

    def block() -> str:
        logger.warning("block")
        return "went on"

    await pair.there.call(lambda there: there.export("work", "block")(block))
    logger.addHandler(handler)
    try:
        assert await pair.node.call(pair.name, "work", "block", timeout=60) == b"went on"
    finally:
        logger.removeHandler(handler)
    assert pair.downs == []


@pytest.mark.slow
async def test_an_extension_that_holds_the_interpreter_now_and_then_costs_no_connection(pair: Pair) -> None:
    """For most of the time, but never for as long as a peer waits."""
    extension = ctypes.PyDLL(None)  # a PyDLL does not let other threads run

    def compute() -> None:
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            extension.usleep(900_000)

    await pair.there.call(lambda there: there.export("work", "compute")(compute))
    await pair.node.call(pair.name, "work", "compute", timeout=60)
    assert pair.downs == []


async def test_a_call_is_answered_late_or_times_out_and_others_go_on(pair: Pair) -> None:
    begun, go_on = asyncio.Event(), threading.Event()

    def blocks() -> None:
        pair.node.call_soon_threadsafe(begun.set)
        go_on.wait(60)

    def offer(there: Node) -> None:
        there.export("work", "run")(blocks)
        there.export("work", "ask")(lambda: "still here")

    await pair.there.call(offer)
    running = asyncio.create_task(pair.node.call(pair.name, "work", "run", timeout=60))
    await begun.wait()
    with pytest.raises(CallTimeout):
        await pair.node.call(pair.name, "work", "ask", timeout=0.5)
    go_on.set()
    assert await pair.node.call(pair.name, "work", "ask", timeout=30) == b"still here"
    await running
    assert pair.downs == []


async def test_bulk_and_small_messages_to_a_loop_that_stands_still(pair: Pair) -> None:
    """More than the windows of a connection hold, beside what is small."""
    bulk = [bytes([number]) * (8 << 20) for number in range(6)]
    taken: list[Any] = []
    all_taken = asyncio.Event()

    def offer(there: Node) -> None:
        for name in ("bulk", "small"):

            @there.process(name)
            def take(process: Process, message: Any) -> None:
                taken.append(message)
                if len(taken) == len(bulk) + 1000:
                    pair.node.call_soon_threadsafe(all_taken.set)

        there.export("work", "run")(sleep)

    await pair.there.call(offer)
    running = asyncio.create_task(pair.node.call(pair.name, "work", "run", [SHORT], timeout=60))
    await asyncio.sleep(0.1)
    for number in range(1000):
        pair.node.send(("small", pair.name), number)
        if number % 200 == 0:
            pair.node.send(("bulk", pair.name), bulk[number // 200])
    pair.node.send(("bulk", pair.name), bulk[5])
    await running
    async with asyncio.timeout(60):
        await all_taken.wait()
    assert [message for message in taken if isinstance(message, int)] == list(range(1000))
    assert [message for message in taken if isinstance(message, bytes)] == bulk
    assert pair.downs == []


@pytest.mark.slow
@pytest.mark.parametrize("loop_factory", LOOPS, indirect=True)
@pytest.mark.parametrize("seed", range(3))
async def test_random_standstills_with_traffic_both_ways(pair: Pair, seed: int) -> None:
    """For half a minute each loop stands still now and then, the other one for longer than a ticktime, while
    twenty processes on each side send to the other."""
    dice = random.Random(seed)
    came: dict[str, dict[int, list[int]]] = {"here": {}, "there": {}}
    sent: dict[str, dict[int, int]] = {"here": {}, "there": {}}
    ends = {"here": pair.node, "there": pair.there.value}
    stop = False

    def offer(side: str) -> None:
        node = ends[side]

        @node.process("taker")
        def take(process: Process, message: tuple[int, int, bytes]) -> None:
            sender, number, _ = message
            came[side].setdefault(sender, []).append(number)
            if dice.random() < 0.0003:
                WAYS[dice.choice(list(WAYS))](dice.uniform(0, 1.5))

    def start(side: str, other: str) -> None:
        node = ends[side]

        async def send(process: Process, sender: int) -> None:
            number = 0
            while not stop:
                size = dice.choice([10, 10, 10, 1000, 100_000])
                process.send(("taker", ends[other].name), (sender, number, bytes(size)))
                number += 1
                sent[side][sender] = number
                await asyncio.sleep(dice.uniform(0, 0.05))
                await node.drain(ends[other].name)

        for sender in range(20):
            node.spawn(send, sender)

    offer("here")
    await pair.there.call(lambda _: offer("there"))
    start("here", "there")
    await pair.there.call(lambda _: start("there", "here"))
    loop = asyncio.get_running_loop()
    end = loop.time() + 30
    while loop.time() < end:
        await asyncio.sleep(dice.uniform(0, 1))
        blocks = WAYS[dice.choice(list(WAYS))]
        seconds = dice.uniform(0.5, LONG)
        await pair.there.call(lambda _, blocks=blocks, seconds=seconds: blocks(seconds))  # type: ignore[misc]
    stop = True
    expected = {"here": sent["there"], "there": sent["here"]}
    async with asyncio.timeout(60):
        while {s: {n: len(m) for n, m in came[s].items()} for s in came} != expected:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    for side in came.values():
        for numbers in side.values():
            assert numbers == list(range(len(numbers)))
    assert pair.downs == []


async def test_all_kinds_of_program_code_run_without_the_lock(pair: Pair) -> None:
    """What holds it while it stands still is not kept alive."""
    owned: dict[str, bool] = {}

    def offer(there: Node) -> None:
        keeper = KeepAlive.of(pair.there.loop)

        def look(kind: str) -> None:
            # Only the thread that has it can release it.
            try:
                keeper.lock.release()
            except RuntimeError:
                owned[kind] = False
            else:
                keeper.lock.acquire()
                owned[kind] = True

        @there.export("look")
        def plain() -> None:
            look("export")

        @there.export("look")
        async def waits() -> None:
            look("async export")

        @there.process("handler")
        def handle(process: Process, message: Pid) -> None:
            look("handler")
            process.send(message, 1)

        @there.process("body")
        async def body(process: Process) -> None:
            sender = await process.receive(Pid)
            look("body")
            process.send(sender, 1)

        class Server(GenServer):
            def init(self) -> None:
                look("init")

            def handle_call(self, request: object, sender: object) -> object:
                look("handle_call")
                return 1

            def handle_info(self, message: object) -> None:
                look("handle_info")
                there.send(message, 1)

        there.serve(Server(), name="server")
        there.subscribe(lambda event: look("event"))

        def accept(stream: UserStream) -> None:
            look("stream")
            stream.close()

        there.accept_streams(accept)

    await pair.there.call(offer)
    answers: asyncio.Queue[object] = asyncio.Queue()
    asker = pair.node.spawn(lambda process, message: answers.put_nowait(message))
    await pair.node.call(pair.name, "look", "plain")
    await pair.node.call(pair.name, "look", "waits")
    for name in ("handler", "body", "server"):
        pair.node.send((name, pair.name), asker.pid)
        await answers.get()
    assert await pair.node.gen_server_call(("server", pair.name), 1) == 1
    if pair.node._local.connections.link(pair.name).carrier_name == "quic":  # type: ignore[union-attr]
        stream = await pair.node.open_stream(pair.name)
        await stream.send(b"x")
        await stream.read()
    pair.node.disconnect(pair.name)
    await pair.node.call(pair.name, "look", "plain")
    assert set(owned) >= {"export", "async export", "handler", "body", "init", "handle_call", "handle_info"}
    assert not any(owned.values()), owned
