"""What another node sees of one that stops: ours beside a BEAM that was told ``init:stop()``.

The table of docs/how-to/shutting-down.md is made of this.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from quicdist import (
    Atom,
    ChildSpec,
    GenServer,
    Node,
    Pid,
    Process,
    Supervisor,
    current_call,
    format_term,
    parse_term,
)
from quicdist.node import shutdown
from tests.interop.carriers import CARRIERS, over_tcp
from tests.interop.cluster import names
from tests.interop.conformance_pair import Beams, two_beams

#: Milliseconds that no test waits for.
TOO_LONG = 50_000

#: An application with a supervisor and its servers, for the BEAM that stops; and who sees it stop.
STOPPING = r"""
-module(stopping).
-export([boot/0, go/0, answer/1, unsupervised/1, observe/3]).
-export([start/2, stop/1, init/1, start_server/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

start(_, _) -> supervisor:start_link({local, stopping_sup}, stopping, sup).
stop(_) -> ok.
init(sup) ->
    Child = fun(Name, Traps) ->
        #{id => Name, start => {stopping, start_server, [Name, Traps]}, shutdown => 3000}
    end,
    {ok, {#{}, [Child(trapping, true), Child(plain, false), Child(busy, true), Child(busy_plain, false)]}};
init([Traps]) -> process_flag(trap_exit, Traps), {ok, none}.
start_server(Name, Traps) -> gen_server:start_link({local, Name}, stopping, [Traps], []).
handle_call({tell, Pid}, _, _) -> {reply, ok, Pid};
handle_call({sleep, Ms}, {Pid, _}, State) -> begun(node(Pid)), timer:sleep(Ms), {reply, slept, State}.
handle_cast(_, State) -> {noreply, State}.
handle_info(_, State) -> {noreply, State}.
terminate(Reason, Pid) when is_pid(Pid) ->
    Pid ! {terminate, Reason},
    timer:sleep(100),
    Pid ! {terminated, rpc:call(node(Pid), erlang, abs, [-1])};
terminate(_, _) -> ok.

boot() ->
    Application = {application, stopping, [{mod, {stopping, []}}, {applications, [kernel, stdlib]}]},
    ok = application:load(Application),
    ok = application:start(stopping).
go() -> init:stop(), ok.
answer(Ms) -> begun(node(group_leader())), timer:sleep(Ms), answered.
begun(Node) -> {beam_evaluator, Node} ! begun.
unsupervised(server) -> {ok, Pid} = gen_server:start(stopping, [false], []), Pid;
unsupervised(process) -> spawn(fun() -> receive stop -> ok end end).

%% All that is seen until Node is down and all calls are over, for Ms milliseconds at most. The call of
%% busy_plain takes Plain milliseconds.
observe(Node, Ms, Plain) ->
    process_flag(trap_exit, true),
    net_kernel:monitor_nodes(true, [{node_type, all}]),
    Self = self(),
    Named = [{Name, rpc:call(Node, erlang, whereis, [Name])} || Name <- [trapping, plain]],
    Kinds = [{list_to_atom("unsupervised_" ++ atom_to_list(Kind)),
        rpc:call(Node, stopping, unsupervised, [Kind])} || Kind <- [server, process]],
    ok = gen_server:call({trapping, Node}, {tell, Self}),
    Monitors = [{monitor(process, Pid), {down, Name}} || {Name, Pid} <- Named ++ Kinds],
    [link(Pid) || {_, Pid} <- Named ++ Kinds],
    Links = [{Pid, {exit, Name}} || {Name, Pid} <- Named ++ Kinds],
    Calls = [spawn_call(Self, Name, Fun) || {Name, Fun} <- [
        {call_busy, fun() -> gen_server:call({busy, Node}, {sleep, 400}, 10000) end},
        {call_busy_plain, fun() -> gen_server:call({busy_plain, Node}, {sleep, Plain}, 60000) end},
        {erpc, fun() -> erpc:call(Node, stopping, answer, [2500]) end},
        {rpc, fun() -> rpc:call(Node, stopping, answer, [2500]) end}]],
    [receive begun -> ok end || _ <- Calls],
    ok = rpc:call(Node, stopping, go, []),
    seen(Node, maps:from_list(Monitors ++ Links), length(Calls), erlang:monotonic_time(millisecond) + Ms, []).

spawn_call(Self, Name, Fun) ->
    spawn(fun() -> Self ! {call, Name, try Fun() catch Class:Reason -> {Class, Reason} end} end).

seen(Node, Names, Calls, End, Seen) ->
    receive
        {'DOWN', Ref, process, _, Reason} ->
            seen(Node, Names, Calls, End, [{maps:get(Ref, Names), Reason} | Seen]);
        {'EXIT', Pid, Reason} -> seen(Node, Names, Calls, End, [{maps:get(Pid, Names), Reason} | Seen]);
        {call, Name, Result} -> seen(Node, Names, Calls - 1, End, [{Name, Result} | Seen]);
        {nodedown, Node, _} -> seen(Node, Names, Calls, End, [nodedown | Seen]);
        {nodeup, _, _} -> seen(Node, Names, Calls, End, Seen);
        {nodedown, _, _} -> seen(Node, Names, Calls, End, Seen);
        Other -> seen(Node, Names, Calls, End, [Other | Seen])
    after case Calls =:= 0 andalso lists:member(nodedown, Seen) of
        true -> 0;
        false -> max(0, End - erlang:monotonic_time(millisecond))
    end ->
        lists:reverse(Seen)
    end.
"""


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(request.param, tmp_path_factory.mktemp("stopping"), [STOPPING]) as both:
        yield both


class Server(GenServer):
    def __init__(self, traps: bool) -> None:
        self._traps = traps
        self._told: Pid | None = None

    def init(self) -> None:
        self.process.trap_exit = self._traps

    async def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case (Atom(name="tell"), Pid() as told):
                self._told = told
                return Atom("ok")
            case (Atom(name="sleep"), int() as milliseconds):
                self.process.send(("beam_evaluator", sender[0].node), Atom("begun"))
                await asyncio.sleep(milliseconds / 1000)
                return Atom("slept")

    async def terminate(self, reason: Any) -> None:
        told = self._told
        if told is not None:
            node = self.process.node
            self.process.send(told, (Atom("terminate"), reason))
            await asyncio.sleep(0.1)
            self.process.send(
                told, (Atom("terminated"), await node.call(told.node.name, "erlang", "abs", [-1]))
            )


async def offer(node: Node) -> None:
    """What the module does on the BEAM."""
    children = [("trapping", True), ("plain", False), ("busy", True), ("busy_plain", False)]
    await node.gen_server.start(
        Supervisor(
            [ChildSpec(name, Server, args=(traps,), name=name, shutdown=3.0) for name, traps in children]
        )
    )
    node.exports.introspection()

    @node.export("stopping")
    async def go() -> Atom:
        await node.stop()
        return Atom("ok")

    @node.export("stopping")
    async def answer(milliseconds: int) -> Atom:
        call = current_call()
        assert call.caller is not None
        call.process.send(("beam_evaluator", call.caller.node), Atom("begun"))
        await asyncio.sleep(milliseconds / 1000)
        return Atom("answered")

    @node.export("stopping")
    def unsupervised(kind: Atom) -> Pid:
        return (node.serve(Server(False)) if kind == Atom("server") else node.spawn(idle)).pid


async def idle(process: Process) -> None:
    await process.receive()


@pytest.fixture
async def node(beams: Beams) -> AsyncIterator[Node]:
    """Our node, which is stopped from the BEAM that looks on."""
    node = Node(beams.node_name or names()[0], **beams.node_options)
    await node.start()
    await offer(node)
    yield node
    await node.stop()


async def observed(
    beams: Beams, node: str, seconds: float = 20, busy_plain: int = TOO_LONG
) -> dict[str, str]:
    """What the BEAM that looks on has seen of ``node``, with ``NODE`` for its name. The call of busy_plain
    takes so many milliseconds."""
    observe = f"stopping:observe('{node}', {round(seconds * 1000)}, {busy_plain})"
    seen = (await beams.asking.eval(observe)).replace(f"'{node}'", "'NODE'")
    events = [event if isinstance(event, tuple) else (event,) for event in parse_term(seen)]
    return {format_term(what): format_term(*come or [True]) for what, *come in events}


#: What both show alike: children of a supervisor.
SUPERVISED = {
    "terminate": "shutdown",
    "terminated": "1",
    "{down,trapping}": "shutdown",
    "{exit,trapping}": "shutdown",
    "{down,plain}": "shutdown",
    "{exit,plain}": "shutdown",
    "call_busy": "slept",
    "nodedown": "true",
}
UNSUPERVISED = [
    f"{{{what},unsupervised_{kind}}}" for what in ("down", "exit") for kind in ("server", "process")
]
#: Here a server ends with shutdown also where no supervisor ends it.
OURS = {what: "shutdown" if "server" in what else "noconnection" for what in UNSUPERVISED}
NOT_ANSWERED = {"erpc": "{error,{erpc,noconnection}}", "rpc": "{badrpc,nodedown}"}
BROKEN_OFF = {
    "call_busy_plain": "{exit,{shutdown,{gen_server,call,"
    f"[{{busy_plain,'NODE'}},{{sleep,{TOO_LONG}}},60000]}}}}}}"
}


async def test_a_node_of_ours(beams: Beams, node: Node) -> None:
    """Calls that run are answered, that to a server which does not trap exits among them: the server
    is ended after them."""
    assert await observed(beams, node.name, busy_plain=400) == {
        **SUPERVISED,
        **OURS,
        "call_busy_plain": "slept",
        "erpc": "answered",
        "rpc": "answered",
    }


async def test_a_node_of_ours_with_calls_that_take_too_long(
    beams: Beams, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutdown, "SHUTDOWN_TIME", 0.05)
    assert await observed(beams, node.name) == {
        **SUPERVISED,
        **BROKEN_OFF,
        **OURS,
        **NOT_ANSWERED,
    }


async def test_what_is_queued_is_sent(beams: Beams, node: Node) -> None:
    """A reply of more than the buffers of any connection hold."""

    @node.export("stopping")
    def much(size: int) -> bytes:
        stopping.append(asyncio.ensure_future(node.stop()))
        return bytes(size)

    stopping: list[Any] = []
    asked = f"byte_size(rpc:call('{node.name}', stopping, much, [{16 << 20}]))"
    assert await beams.asking.eval(asked) == str(16 << 20)
    await asyncio.gather(*stopping)


async def test_a_peer_that_does_not_read_holds_nothing_up(beams: Beams, node: Node) -> None:
    await node.connect(beams.model_name)
    process = beams.model.process
    process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(16):
            node.send(("nobody", beams.model_name), bytes(4 << 20))
        async with asyncio.timeout(15):
            await node.stop()
    finally:
        process.send_signal(signal.SIGCONT)


async def test_a_beam(beams: Beams) -> None:
    """The last one: it ends the BEAM."""
    beams.model.eval_now("stopping:boot()")
    expected = {
        **SUPERVISED,
        **BROKEN_OFF,
        **dict.fromkeys(UNSUPERVISED, "noconnection"),
        **NOT_ANSWERED,
    }
    if beams.carrier == "quic":
        # quic_dist 1.8 closes no connection when the BEAM halts: others find out by net_ticktime.
        late = ["nodedown", "erpc", "rpc", *UNSUPERVISED]
        expected = {what: come for what, come in expected.items() if what not in late}
    assert await observed(beams, beams.model_name, 20 if over_tcp(beams.carrier) else 5) == expected
