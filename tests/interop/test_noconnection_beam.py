"""A connection that is lost: ``noconnection`` for every link, monitor and request that crossed it,
exactly once, on both sides of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, Node, NodeDown, Pid, Process, make_development_certificates
from quicdist.node import NodeEvent
from tests.interop.carriers import CARRIERS, COOKIE
from tests.interop.cluster import Cluster, names
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, two_beams
from tests.interop.scripted_process import SCRIPTED_PROCESS_ERL, offer_scripted_processes
from tests.support.beam import Beam, quic_args

NOCONNECTION = Atom("noconnection")
#: Seconds. A BEAM takes whole ones, and looks four times within them.
TICKTIME = 2


class Watcher:
    """One of our processes with every tie there is to processes of a BEAM."""

    def __init__(self, pair: Cluster) -> None:
        self.pair = pair
        self.messages: list[Any] = []
        self.process = pair.node.spawn(self._received)
        self.arrived = asyncio.Event()
        self.process.trap_exit = True
        self.events: asyncio.Queue[NodeEvent] = asyncio.Queue()

    def _received(self, _: Process, message: Any) -> None:
        self.messages.append(message)
        self.arrived.set()

    async def tie(self) -> Counter[Any]:
        """Tie it; the messages it is to get when the connection is lost."""
        node, process = self.pair.beam_name, self.process
        linked = await process.spawn_on(node, "timer", "sleep", [Atom("infinity")], link=True)
        spawned, reference = await process.spawn_monitor_on(node, "timer", "sleep", [Atom("infinity")])
        # As the BEAM makes one, not as we do.
        await self.pair.eval(
            "register(named, spawn(fun() -> receive P -> link(P), P ! {tied, self()} end,"
            " receive never -> ok end end))"
        )
        process.send(("named", node), process.pid)
        await self.arrived.wait()
        ((_, tied),) = self.messages
        assert isinstance(tied, Pid)
        self.messages.clear()
        down: Counter[Any] = Counter()
        for target, monitored in (
            (linked, linked),
            (tied, tied),
            (("named", node), (Atom("named"), Atom(node))),
            (spawned, spawned),
        ):
            down[Atom("DOWN"), process.monitor(target), Atom("process"), monitored, NOCONNECTION] += 1
        down[Atom("DOWN"), reference, Atom("process"), spawned, NOCONNECTION] += 1
        # One that was taken back tells nothing.
        process.demonitor(process.monitor(tied))
        process.link(spawned)
        process.unlink(spawned)
        for pid in (linked, tied):
            down[Atom("EXIT"), pid, NOCONNECTION] += 1
        # All of these have arrived when a call that comes behind them is answered.
        await self.pair.node.call(node, "erlang", "node")
        assert self.messages == []
        self.pair.node.subscribe(self.events.put_nowait)
        return down

    async def lost(self) -> NodeDown:
        event = await self.events.get()
        assert isinstance(event, NodeDown)
        return event


class TestWeSee:
    async def test_a_beam_that_is_killed(self, pair: Cluster) -> None:
        if pair.carrier == "quic":
            pytest.skip("a killed BEAM says no goodbye over QUIC: see test_a_killed_beam_within_net_ticktime")
        watcher = Watcher(pair)
        due = await watcher.tie()
        pair.beam.kill()
        await watcher.lost()
        assert Counter(watcher.messages) == due
        assert (watcher.process.links, watcher.process.monitors) == ([], [])

    async def test_our_own_disconnect(self, pair: Cluster) -> None:
        watcher = Watcher(pair)
        due = await watcher.tie()
        assert pair.node.disconnect(pair.beam_name)
        assert Counter(watcher.messages) == due
        assert (await watcher.lost()).error is None
        assert not pair.node.disconnect(pair.beam_name)
        # And once only: the next connection brings nothing of the last one.
        await pair.node.connect(pair.beam_name)
        await pair.node.call(pair.beam_name, "erlang", "node")
        assert Counter(watcher.messages) == due

    async def test_a_request_that_is_not_answered(self, pair: Cluster) -> None:
        messages: asyncio.Queue[Any] = asyncio.Queue()
        process = pair.node.spawn(lambda _, message: messages.put_nowait(message))
        await pair.node.connect(pair.beam_name)
        reference = process.spawn_request(pair.beam_name, "erlang", "self", link=True, monitor=True)
        pair.node.disconnect(pair.beam_name)
        assert await messages.get() == (Atom("spawn_reply"), reference, Atom("error"), NOCONNECTION)
        assert messages.empty()
        assert process.alive

    async def test_a_node_that_was_never_there(self, pair: Cluster) -> None:
        nobody = Pid("nobody@127.0.0.1", 1, 0, 1)
        messages: asyncio.Queue[Any] = asyncio.Queue()
        process = pair.node.spawn(lambda _, message: messages.put_nowait(message))
        process.trap_exit = True
        process.link(nobody)
        references = {process.monitor(nobody), process.monitor(("name", "nobody@127.0.0.1"))}
        got = [await messages.get() for _ in range(3)]
        assert (Atom("EXIT"), nobody, NOCONNECTION) in got
        assert {
            message[1] for message in got if len(message) == 5 and message[4] == NOCONNECTION
        } == references
        assert messages.empty()

    @pytest.mark.quic_dist
    async def test_a_killed_beam_within_net_ticktime(
        self, tmp_path: Path, free_port: Callable[[], int]
    ) -> None:
        async with ticking(tmp_path, free_port) as pair:
            watcher = Watcher(pair)
            due = await watcher.tie()
            loop = asyncio.get_running_loop()
            pair.beam.kill()
            killed = loop.time()
            down = await watcher.lost()
            # OTP's own bound: the last sign of life may be a quarter younger than the last look.
            assert loop.time() - killed <= TICKTIME * 1.25 + 0.5
            assert down.error is not None
            assert pair.beam_name in str(down.error)
            assert Counter(watcher.messages) == due


@contextlib.asynccontextmanager
async def ticking(directory: Path, free_port: Callable[[], int]) -> AsyncIterator[Cluster]:
    """Our node and a BEAM over QUIC, both with a short ``net_ticktime``."""
    ours, theirs = names()
    files = make_development_certificates(directory / "certs")
    table = {name: ("127.0.0.1", free_port()) for name in (ours, theirs)}
    args = quic_args(
        theirs,
        table[theirs][1],
        directory,
        table,
        cert=files.cert,
        key=files.key,
        cookie=COOKIE,
        more=("-kernel", "net_ticktime", str(TICKTIME)),
    )
    with Beam(args) as beam:
        await beam.eval("{ok, _} = application:ensure_all_started(quic)")
        async with Node(
            ours,
            cookie=COOKIE,
            host="127.0.0.1",
            port=table[ours][1],
            nodes=table,
            cert=files.cert,
            key=files.key,
            verify=False,
            net_ticktime=TICKTIME,
        ) as node:
            yield Cluster(node, beam, theirs, "quic")


# -- what the BEAM sees ------------------------------------------------------------------------


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(request.param, tmp_path_factory.mktemp("beams"), [SCRIPTED_PROCESS_ERL]) as both:
        for beam in (both.asking, both.model):
            beam.eval_now("scripted:start()")
        yield both


@pytest_asyncio.fixture
async def conformance(beams: Beams) -> AsyncIterator[ConformancePair]:
    async with conformance_pair(beams) as both:
        offer_scripted_processes(both.node)
        yield both


#: Ties A to processes of PEER in every way, has Lose end the connection, and says what A got.
TIES = """scripted:apart(fun() ->
Do = fun scripted:do/2, A = scripted:new(node()), B = scripted:new(PEER), C = scripted:new(PEER),
Do(A, {trap, true}), Do(B, {trap, true}), Do(B, {register, tied}), Do(A, {link, B}), Do(C, {link, A}),
R1 = Do(A, {monitor, B}), R2 = Do(A, {monitor, {tied, PEER}}), R3 = Do(A, {monitor, B, [{alias, demonitor}]}),
{D, R4} = Do(A, {spawn_monitor, PEER, child, [A]}), {child, D} = Do(A, take),
Do(A, {demonitor, Do(A, {monitor, C})}), scripted:sync(C, A), scripted:sync(A, B), scripted:sync(A, C),
monitor_node(PEER, true), LOSE, receive {nodedown, PEER} -> ok end,
Got = Do(A, {all, lists:duplicate(6, take)}), [] = Do(A, drain),
Names = #{B => b, C => c, D => d, R1 => r1, R2 => r2, R3 => r3, R4 => r4},
Name = fun(X) -> maps:get(X, Names, X) end,
{lists:sort([list_to_tuple([Name(X) || X <- tuple_to_list(M)]) || M <- Got]),
 Do(A, links), Do(A, monitors), Do(A, {unalias, R3})} end)"""


class TestTheBeamSees:
    async def test_our_disconnect(self, conformance: ConformancePair) -> None:
        # Only now is there a process on our side that can be asked to end the connection.
        def disconnect(_: Process, __: Any) -> None:
            conformance.node.disconnect(conformance.beam_name)

        conformance.node.spawn(disconnect, name="loser")
        got = await conformance.eval(TIES.replace("LOSE", "{loser, PEER} ! now"))
        model = await self.of_two_beams(conformance)
        assert got.replace(conformance.node.name, "PEER") == model.replace(conformance.model_name, "PEER")
        assert got.count("noconnection") == 6

    async def of_two_beams(self, conformance: ConformancePair) -> str:
        # disconnect_node by the BEAM that asks: over QUIC another is not told of it.
        source = TIES.replace("LOSE", "erlang:disconnect_node(PEER)").replace(
            "PEER", f"'{conformance.model_name}'"
        )
        got = await conformance.beam.eval(source)
        await conformance.model.eval("unregister(tied)")
        if conformance.carrier == "quic":
            await conformance.model.eval(
                f"monitor_node('{conformance.beam_name}', true), "
                f"erlang:disconnect_node('{conformance.beam_name}'),"
                f"receive {{nodedown, '{conformance.beam_name}'}} -> ok end"
            )
        return got

    async def test_our_end(self, beams: Beams) -> None:
        """The node stops, as a BEAM that halts: its processes are no more, and the connection was
        lost before they ended."""
        async with conformance_pair(beams) as conformance:
            offer_scripted_processes(conformance.node)
            stopping = asyncio.get_running_loop().create_future()
            conformance.node.spawn(lambda *_: stopping.set_result(None), name="loser")
            asked = asyncio.create_task(conformance.eval(TIES.replace("LOSE", "{loser, PEER} ! now")))
            await stopping
            await conformance.node.stop()
            got = await asked
            assert got.count("noconnection") == 6
