"""Dynamic names, over TCP: our node gives names to BEAMs and is given its name by one, as BEAMs do it among
themselves. The steps run once with a BEAM and once with our node in each place."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, Node, Pid, Process, make_development_certificates
from quicdist.node import NodeEvent
from tests.support.beam import Beam, quic_args, tcp_args
from tests.support.epmd import private_epmd

COOKIE = "dynamic"
BEAM, PY = "beam@127.0.0.1", "py@127.0.0.1"
UNDEFINED = "undefined@127.0.0.1"
#: As ``net_kernel`` makes them.
NAME = r"[0-9A-Z]{1,13}@127\.0\.0\.1"


@pytest.fixture(scope="module")
def epmd() -> Iterator[None]:
    with private_epmd():
        yield


@pytest.fixture(scope="module")
def beam(epmd: None) -> Iterator[Beam]:
    """A BEAM with a name, which gives names."""
    with Beam(tcp_args(BEAM, COOKIE)) as one:
        one.eval_now("register(srv, spawn(fun F() -> receive {From, M} -> From ! {self(), M}, F() end end))")
        yield one


@pytest.fixture(scope="module")
def nameless(epmd: None) -> Iterator[Beam]:
    """A BEAM that asks for a name."""
    with Beam(tcp_args(UNDEFINED, COOKIE)) as one:
        yield one


@pytest_asyncio.fixture
async def node(epmd: None) -> AsyncIterator[Node]:
    """Our node with a name, which gives names."""
    async with Node(PY, cookie=COOKIE, carrier="tcp", host="127.0.0.1") as one:

        @one.process("srv")
        async def srv(process: Process) -> None:
            async for sender, message in process:
                process.send(sender, (process.pid, message))

        yield one


def asking(**options: Any) -> Node:
    """A node of ours that asks for a name."""
    return Node(UNDEFINED, cookie=COOKIE, carrier="tcp", **options)


#: Steps of a BEAM that asks for a name, with TO in place of the node that it connects to.
NAMELESS = (
    "(fun Wait() -> case {node(), catch net_kernel:get_state()} of"
    " {nonode@nohost, #{name := undefined}} -> ok; _ -> receive after 1 -> Wait() end end end)()"
)
ANSWER = "{srv, TO} ! {self(), get(ref)}, receive {_, Ref} -> Ref =:= get(ref) after 9000 -> nothing end"
ERLANG = {
    "before": "put(ref, make_ref()), {node(), node(self()), node(get(ref)), nodes(connected), is_alive()}",
    "not connected by a message": "{srv, TO} ! 1, nodes(connected)",
    "connected": "net_kernel:connect_node(TO)",
    "named": "re:run(atom_to_list(node()), NAME, [{capture, none}])",
    "state": "maps:with([name_type, started], net_kernel:get_state())",
    "hidden": "rpc:call(TO, erlang, nodes, [hidden]) =:= [node()]",
    "sees": "nodes(connected)",
    "pid from before": ANSWER,
    "pid to itself": "{beam_evaluator, node()} ! mine, receive mine -> own end",
    "call of itself": "rpc:call(node(), erlang, abs, [-7])",
    "disconnected": "put(was, {node(), erts_internal:get_creation()}), erlang:disconnect_node(TO),"
    f"{NAMELESS}, {{node(), nodes(connected), is_process_alive(self())}}",
    "connected again": "net_kernel:connect_node(TO)",
    "next incarnation": "{Name, Creation} = get(was),"
    " {node() =:= Name, erts_internal:get_creation() - Creation}",
    "the same pid": ANSWER,
    "the end": f"erlang:disconnect_node(TO), {NAMELESS}",
}


@pytest.mark.beam
async def test_we_give_a_name_as_a_beam_does(beam: Beam, nameless: Beam, node: Node) -> None:
    @node.export("erlang", "nodes")
    def nodes(kind: Atom) -> list[Atom]:
        return [Atom(name) for name in node.nodes(kind)]

    answers: list[dict[str, str]] = []
    for giver in (BEAM, PY):
        words = {"TO": f"'{giver}'", "NAME": f'"^{NAME}$"'.replace("\\", "\\\\")}
        answers.append({})
        for step, source in ERLANG.items():
            for word, text in words.items():
                source = source.replace(word, text)
            source = f"(fun() -> {source} end)()"  # no variable stays bound
            answers[-1][step] = (await nameless.eval(source)).replace(giver, "GIVER")
    assert answers[0] == answers[1]
    assert answers[1]["named"] == "match"
    assert answers[1]["next incarnation"] == "{true,1}"


class Asker:
    """The same steps of our node that asks for a name."""

    def __init__(self, node: Node, to: str) -> None:
        self.node = node
        self.to = to
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.process = node.spawn(lambda process, message: self.messages.put_nowait(message))
        self.reference = node._local.runtime.new_reference()
        self.events: asyncio.Queue[NodeEvent] = asyncio.Queue()
        node.subscribe(self.events.put_nowait)
        node.export("erlang", "abs")(abs_)

    def is_alone(self) -> tuple[str, list[str]]:
        return (self.node.name, self.node.nodes("connected"))

    async def next(self) -> Any:
        async with asyncio.timeout(10):
            return await self.messages.get()

    async def answer(self) -> bool:
        self.process.send(("srv", self.to), (self.process.pid, self.reference))
        return bool((await self.next())[1] == self.reference)


def abs_(number: int) -> int:
    return abs(number)


@pytest.mark.beam
@pytest.mark.parametrize("giver", [BEAM, PY])
async def test_we_are_given_a_name_as_a_beam_is(beam: Beam, node: Node, giver: str) -> None:
    async with asking() as ours:
        asker = Asker(ours, giver)
        assert asker.is_alone() == ("nonode@nohost", [])
        asker.process.send(("srv", giver), 1)
        assert asker.is_alone() == ("nonode@nohost", [])
        asker.process.monitor(("srv", giver))
        assert (await asker.next())[4] == Atom("noconnection")

        await ours.connect(giver)
        name = ours.name
        assert re.fullmatch(NAME, name)
        assert ours.nodes("connected") == [giver]
        assert await hidden_nodes(giver, beam, node) == [name]
        assert await asker.answer()
        asker.process.send((own_name(asker.process), name), Atom("mine"))
        assert await asker.next() == Atom("mine")
        assert await ours.call(name, "erlang", "abs", [-7]) == 7

        ours.disconnect(giver)
        assert asker.is_alone() == ("nonode@nohost", [])
        assert asker.process.alive
        await ours.connect(giver)
        assert ours.name == name
        assert await asker.answer()


#: What a BEAM does with a process of our node that it named: NAMED is the node's name.
ASKS_US = """(fun() ->
    Pid = rpc:call(NAMED, py, pid, []),
    Ref = monitor(process, Pid), Pid ! {self(), Pid},
    Echoed = receive {Pid, Same} -> Same =:= Pid after 9000 -> nothing end,
    Spawned = spawn(NAMED, py, lives, [self()]),
    Told = receive {Spawned, told} -> told after 9000 -> nothing end,
    exit(Pid, boom),
    Down = receive {'DOWN', Ref, process, Pid, Reason} -> Reason after 9000 -> nothing end,
    {node(Pid) =:= NAMED, Echoed, node(Spawned) =:= NAMED, Told, Down, net_adm:ping(NAMED)}
end)()"""


@pytest.mark.beam
async def test_a_beam_uses_the_processes_of_a_node_that_it_named(beam: Beam) -> None:
    async with asking() as node:

        @node.process("echo")
        async def echo(process: Process) -> None:
            async for sender, message in process:
                process.send(sender, (process.pid, message))

        @node.export("py")
        def pid() -> Pid:
            process = node.whereis("echo")
            assert process is not None
            return process.pid

        @node.exports.process("py")
        async def lives(process: Process, told: Pid) -> None:
            process.send(told, (process.pid, Atom("told")))

        await node.connect(BEAM)
        expected = "{true,true,true,told,boom,pong}"
        assert await beam.eval(ASKS_US.replace("NAMED", f"'{node.name}'")) == expected


@pytest.mark.beam
@pytest.mark.parametrize("options", [[], ["-R"]], ids=["its own name", "a dynamic name"])
async def test_erl_call_calls_us(node: Node, options: list[str]) -> None:
    program = shutil.which("erl_call")
    if program is None:
        pytest.skip("there is no erl_call (Debian, Ubuntu: erlang-base)")
    node.export("erlang", "abs")(abs_)
    command = [program, *options, "-c", COOKIE, "-name", PY, "-a", "erlang abs [-5]"]
    called = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)
    assert (called.stdout, called.stderr, called.returncode) == ("5", "", 0)


@pytest.mark.quic_dist
async def test_names_are_given_and_asked_for_over_quic_dist(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    files = make_development_certificates(tmp_path / "certs")
    nodes = {name: ("127.0.0.1", free_port()) for name in (BEAM, PY)}
    ours: dict[str, Any] = {"cookie": COOKIE, "carrier": "quic", "nodes": nodes, "verify": False}
    ours |= {"cert": files.cert, "key": files.key}
    for role in (BEAM, UNDEFINED):
        port = nodes[role][1] if role in nodes else free_port()
        theirs = quic_args(role, port, tmp_path, nodes, cert=files.cert, key=files.key, cookie=COOKIE)
        with Beam(theirs) as beam:
            await beam.eval("{ok, _} = application:ensure_all_started(quic)")
            if role == BEAM:
                async with Node(UNDEFINED, **ours) as node:
                    await node.connect(BEAM)
                    assert re.fullmatch(NAME, node.name)
                    assert await beam.eval(f"net_adm:ping('{node.name}')") == "pong"
            else:
                async with Node(PY, host="127.0.0.1", port=nodes[PY][1], **ours) as node:
                    assert await beam.eval(f"net_kernel:connect_node('{PY}')") == "true"
                    (name,) = node.nodes("connected")
                    assert re.fullmatch(NAME, name)
                    assert await beam.eval("node()") == f"'{name}'"
                    assert await node.ping(name)


def own_name(process: Process) -> str:
    process.runtime.register("own", process)  # type: ignore[attr-defined]
    return "own"


async def hidden_nodes(giver: str, beam: Beam, node: Node) -> list[str]:
    if giver == PY:
        return node.nodes("hidden")
    return (await beam.eval("nodes(hidden)")).strip("[]").replace("'", "").split(",")
