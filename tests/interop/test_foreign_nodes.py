"""Nodes that are no BEAMs, over TCP: what our node sees of one, and one of our node, is what a BEAM sees and
what is seen of a BEAM. They offer neither monitors nor aliases nor spawning."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, CallTimeout, Node, Pid, Process, RemoteError, format_term
from quicdist.term import BitString, Export, ImproperList, Port, Reference
from tests.interop.foreign_nodes import KINDS, ForeignNode, compiled
from tests.support.beam import Beam, tcp_args
from tests.support.epmd import private_epmd

pytestmark = pytest.mark.beam

COOKIE = "foreign"
BEAM, PEER = "beam@127.0.0.1", "peer@127.0.0.1"

#: A process that answers {From, Message} with {self(), Message}, as ours does, and what the steps use.
PREPARED = f"""process_flag(trap_exit, true), P = '{PEER}',
    register(srv, spawn(fun F() -> receive {{From, Said}} -> From ! {{self(), Said}}, F() end end)),
    Next = fun() -> receive Any -> Any after 10000 -> nothing end end,
    Ask = fun(Asked) -> {{echo, P}} ! Asked, Next() end"""


@dataclass
class Network:
    beam: Beam
    peer: ForeignNode
    kind: str


@pytest.fixture(scope="module", params=KINDS)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    command = compiled(request.param, tmp_path_factory.mktemp(request.param))
    with private_epmd(), Beam(tcp_args(BEAM, COOKIE)) as beam, ForeignNode(command, PEER, COOKIE) as peer:
        beam.eval_now(PREPARED)
        yield Network(beam, peer, request.param)


@pytest_asyncio.fixture
async def node(network: Network) -> AsyncIterator[Node]:
    async with Node("py@127.0.0.1", cookie=COOKIE, carrier="tcp", host="127.0.0.1") as one:

        @one.process("srv")
        async def srv(process: Process) -> None:
            async for sender, message in process:
                process.send(sender, (process.pid, message))

        @one.export("erlang", "abs")
        def absolute(number: int) -> int:
            return abs(number)

        yield one


class Program:
    """Our node's side of the script."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.process = node.spawn(lambda process, message: None)
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.process = node.spawn(lambda process, message: self.messages.put_nowait(message))
        self.process.trap_exit = True
        self.echo: Pid

    async def next(self) -> Any:
        async with asyncio.timeout(10):
            return await self.messages.get()

    async def ask(self, *message: Any) -> Any:
        """Send a message to ``echo``; the next one that comes."""
        self.process.send(("echo", PEER), message)
        return await self.next()

    async def ping(self) -> Any:
        return Atom("pong" if await self.node.ping(PEER) else "pang")

    async def message(self) -> Any:
        self.echo, message = await self.ask(self.process.pid, Atom("hi"))
        return (self.echo.node, message)

    async def monitor(self) -> Any:
        reference = self.process.monitor(("echo", PEER))
        self.process.monitor(self.echo)
        await self.message()
        self.process.demonitor(reference)
        return self.messages.qsize()

    async def call(self) -> Any:
        return await self.node.gen_server_call(("echo", PEER), Atom("request"))

    async def call_of_nobody(self) -> Any:
        with contextlib.suppress(CallTimeout):
            return await self.node.gen_server_call(("nobody", PEER), 1, timeout=0.1)
        return Atom("timeout")

    async def erpc(self) -> Any:
        with pytest.raises(RemoteError) as caught:
            await self.node.call(PEER, "erlang", "abs", [-7], timeout=10)
        return (Atom(caught.value.kind), caught.value.reason)

    async def multicall(self) -> Any:
        return await self.node.rpc.multicall([PEER], "erlang", "abs", [-7], timeout=10)

    async def casts(self) -> Any:
        self.node.cast(PEER, "erlang", "abs", [-7])
        self.node.rpc.abcast([PEER], "nobody", 1)
        return await self.message()

    async def spawn(self) -> Any:
        self.process.spawn_request(PEER, "erlang", "abs", [-7])
        return (await self.next())[2:]

    async def link(self) -> Any:
        self.process.link(self.echo)
        linked = self.process.links == [self.echo]
        self.process.unlink(self.echo)
        await self.message()
        return (linked, self.process.links)

    async def is_up(self) -> Any:
        return PEER in self.node.nodes("hidden")

    async def linked_by_it(self) -> Any:
        answers = [await self.ask(Atom("link"), self.process.pid), self.process.links == [self.echo]]
        answers.append(await self.ask(Atom("unlink"), self.process.pid))
        await self.message()
        return [*answers, self.process.links]

    async def end_of_linked(self) -> Any:
        exited, _, reason = await self.ask(Atom("leave"), self.process.pid, Atom("bye"))
        return (exited, reason, self.process.links)

    async def exit_from_it(self) -> Any:
        exited, pid, reason = await self.ask(Atom("kill"), self.process.pid, Atom("boom"))
        return (exited, pid == self.echo, reason)

    async def exit_to_it(self) -> Any:
        victim = await self.ask(Atom("victim"), self.process.pid)
        self.process.exit(victim, Atom("boom"))
        return await self.next()

    async def monitor_until_the_end(self) -> None:
        self.process.monitor(self.echo)

    async def down(self) -> Any:
        # One of them is the monitor that another step left.
        return sorted([(await self.next())[4] for _ in range(2)])


LINKED = "[Linked || Linked <- element(2, process_info(self(), links)), is_pid(Linked)]"
#: The same for the BEAM. Each step is evaluated on its own, by one process.
ERLANG = {
    "ping": "net_adm:ping(P)",
    "message": "put(echo, element(1, Ask({self(), hi}))), {node(get(echo)), hi}",
    "monitor": "R = monitor(process, {echo, P}), monitor(process, get(echo)),"
    " Ask({self(), hi}), demonitor(R), element(2, process_info(self(), message_queue_len))",
    "call": "gen_server:call({echo, P}, request)",
    "call_of_nobody": "try gen_server:call({nobody, P}, 1, 100) catch exit:{Why, _} -> Why end",
    "erpc": "try erpc:call(P, erlang, abs, [-7], 10000) catch Class:Reason -> {Class, Reason} end",
    "multicall": "rpc:multicall([P], erlang, abs, [-7], 10000)",
    "casts": "erpc:cast(P, erlang, abs, [-7]), rpc:abcast([P], nobody, 1), Ask({self(), hi}), {P, hi}",
    "spawn": "spawn_request(P, erlang, abs, [-7]), {_, _, E1, E2} = Next(), {E1, E2}",
    "link": f"link(get(echo)), L1 = {LINKED} =:= [get(echo)], unlink(get(echo)), Ask({{self(), hi}}),"
    f" {{L1, {LINKED}}}",
    "is_up": "lists:member(P, nodes(hidden))",
    "linked_by_it": f"L2 = [Ask({{link, self()}}), {LINKED} =:= [get(echo)],"
    f" Ask({{unlink, self()}})], Ask({{self(), hi}}), L2 ++ [{LINKED}]",
    "end_of_linked": f"{{X1, _, X2}} = Ask({{leave, self(), bye}}), {{X1, X2, {LINKED}}}",
    "exit_from_it": "{Y1, Y2, Y3} = Ask({kill, self(), boom}), {Y1, Y2 =:= get(echo), Y3}",
    "exit_to_it": "exit(Ask({victim, self()}), boom), Next()",
    "monitor_until_the_end": "monitor(process, get(echo)), undefined",
    "down": "[element(5, Next()) || _ <- [1, 2]]",
}
#: ei gives links and exits to the program, which here does nothing with them.
JINTERFACE_ONLY = {"linked_by_it", "end_of_linked", "exit_from_it", "exit_to_it"}


#: What a foreign node is told to do with another node, and the answer. ei has no ping.
COMMANDS = {("rpc", "erlang", "abs"): r"7", ("send", "srv"): r"\{.+, ?hi\}", ("ping",): r"pong"}


async def test_we_are_to_a_foreign_node_as_a_beam(network: Network, node: Node) -> None:
    for (word, *words), expected in COMMANDS.items():
        for name in (BEAM, node.name):
            if word != "ping" or network.kind == "jinterface":
                answer = await asyncio.to_thread(network.peer.ask, word, name, *words)
                assert re.fullmatch(expected, answer), (word, name, answer)


OTHER = "other@h"
TERMS: list[Any] = [
    *(0, -1, 255, 256, 1 << 31, -(1 << 31), 1 << 63, 1 << 64, -(1 << 100), 1 << 3000, 1.5, -0.0),
    *(Atom("a"), Atom("\u00e9"), Atom("\u03bb" * 255), True, None, b"", b"x" * 70_000, [], (), {}),
    *([1, 2, 3], [300, 1], [1.5] * 5, list(range(70_000)), [Atom("a")] * 70_000, tuple(range(300))),
    *({1: 2, b"k": [1, {}]}, ImproperList([1], 2), BitString(b"\xa0", 3), Export("lists", "map", 2)),
    *(Pid(OTHER, 1, 2, 3), Port(OTHER, 1 << 40, 3), Reference(OTHER, (1, 2, 3, 4, 5), 7)),
]


async def test_terms_come_back_from_a_foreign_node_unchanged(network: Network, node: Node) -> None:
    program = Program(node)
    for term in TERMS:
        assert (await program.ask(program.process.pid, term))[1] == term


async def test_a_foreign_node_is_to_us_as_to_a_beam(network: Network, node: Node) -> None:
    program = Program(node)
    for step, erlang in ERLANG.items():
        if network.kind != "jinterface" and step in JINTERFACE_ONLY:
            continue
        if step == "down":
            network.peer.kill()  # so this test is the last
        expected = await network.beam.eval(erlang)
        value = await getattr(program, step)()
        assert (step, format_term(value)) == (step, expected)
