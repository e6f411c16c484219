"""The reason a process ends with that lets the failure of a call out: it is the BEAM's.

A process of our node, and one of a BEAM, make the same call; a third node monitors them.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from quicdist import (
    ANY,
    Atom,
    ChildSpec,
    GenServer,
    Global,
    NoReply,
    Process,
    ProcessExit,
    QuicDistError,
    Stop,
    Supervisor,
)
from tests.interop.carriers import CARRIERS
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, two_beams
from tests.interop.erlang_snippets import APART

#: What makes calls, and a server that does not answer them. ``callers:shape/1`` takes out of a reason what
#: differs from node to node: pids, references, and where stack traces lead.
CALLERS_ERL = """
-module(callers).
-compile([export_all, nowarn_export_all]).
call(To, Request, T) -> gen_server:call(To, Request, T).
to_itself(T) -> gen_server:call(self(), hello, T).
to_own_name(T) -> register(me, self()), gen_server:call(me, hello, T).
stop(To, Reason, T) -> gen_server:stop(To, Reason, T).
sys(F, To, T) -> sys:F(To, T).
terminate(To, Reason, T) -> sys:terminate(To, Reason, T).
erpc(Node, F, Args, T) -> erpc:call(Node, callers, F, Args, T).
put_chars(To) -> io:put_chars(To, "text").
join(Pid) -> pg:start(pg), pg:join(group, Pid).
caught(To, Request) -> try gen_server:call(To, Request) catch error:_ -> ok end, exit(not_this).

leave(R) -> exit(R).
fail(R) -> error(R).
throws(R) -> throw(R).
waits() -> receive never -> ok end.
own_end(R) -> exit(self(), R), waits().

shape(P) when is_pid(P) -> pid;
shape(R) when is_reference(R) -> ref;
shape({R, [{M, F, A, L} | _]}) when is_atom(M), is_atom(F), is_list(L), (is_integer(A) orelse is_list(A)) ->
  {shape(R), stack};
shape({R, []}) -> {shape(R), stack};
shape({callback_failed, Where, {C, _}}) -> {callback_failed, Where, C};
shape(T) when is_tuple(T) -> list_to_tuple(shape(tuple_to_list(T)));
shape([H | T]) -> [shape(H) | shape(T)];
shape(T) -> T.

%% The servers on this node, which Node is to know of.
servers(Node) ->
  pong = net_adm:ping(Node), global:sync(),
  [catch callee:start(Name) || Name <- [{local, remote}, {global, everywhere}]], ok.
pid_of(Name) -> whereis(Name).

dead() -> {P, M} = spawn_monitor(fun() -> ok end), receive {'DOWN', M, _, _, _} -> P end.

%% The reason that a process on Node ends with.
reason(Node, F, Args) ->
  {_, M} = spawn_monitor(Node, callers, F, Args),
  receive {'DOWN', M, _, _, R} -> shape(R) after 8000 -> goes_on end.

%% The same on this node, kept until it is asked for.
kept(F, Args) ->
  register(keeper, self()),
  {Pid, M} = spawn_monitor(callers, F, Args),
  receive {ready, From} -> From ! {ready, Pid} end,
  receive {'DOWN', M, _, _, R} -> ok end,
  receive {kept, To} -> To ! {kept, shape(R)} end.
"""

CALLEE_ERL = """
-module(callee).
-behaviour(gen_server).
-compile([export_all, nowarn_export_all]).
start(Name) -> {ok, Pid} = gen_server:start(Name, callee, [], []), Pid.
start_supervisor() ->
  Child = #{id => child, start => {callee, start_link, [callee]}, restart => transient},
  {ok, Pid} = supervisor:start_link({local, supervisor}, callee, {#{}, [Child]}), unlink(Pid), Pid.
start_link(Partner) -> gen_server:start_link(callee, Partner, []).
init(State) -> {ok, State}.
handle_call({stop, R}, _, S) -> {stop, R, S};
handle_call({leave, _, R}, _, _) -> exit(R);
handle_call(hang, _, S) -> {noreply, S}.
handle_cast(ask, Partner) -> gen_server:call(Partner, {stop, normal}, 5000), {noreply, Partner}.
handle_info(_, S) -> {noreply, S}.
terminate({bad, R}, _) -> exit(R);
terminate(_, _) -> ok.
code_change(_, S, _) -> {ok, S}.
system_get_state(_) -> exit(not_told).
"""


class Callee(GenServer):
    def __init__(self, partner: Any = None) -> None:
        self._partner = partner

    def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case (Atom(name="stop"), reason):
                return Stop(reason)
            case (Atom(name="leave"), _, reason):
                raise ProcessExit(reason)
        return NoReply()

    async def handle_cast(self, request: Any) -> Any:
        await self.process.node.gen_server.call(self._partner, (Atom("stop"), Atom("normal")))

    def terminate(self, reason: Any) -> None:
        if isinstance(reason, tuple) and reason[0] == Atom("bad"):
            raise ProcessExit(reason[1])


def offer(conformance: ConformancePair) -> None:
    """CALLERS_ERL in Python: bodies of processes."""
    node = conformance.node

    def to(term: Any) -> Any:
        match term:
            case (Atom(name="global"), name):
                return Global(name)
            case (Atom(name=name), Atom(name=at)):
                return (name, at)
            case Atom(name=name):
                return name
        return term

    def seconds(timeout: Any) -> float | None:
        return timeout / 1000 if isinstance(timeout, int) else None

    @node.export("callers")
    def pid_of(name: Atom) -> Any:
        process = node.whereis(name.name)
        return process and process.pid

    @node.exports.process("callers")
    async def call(_: Process, server: Any, request: Any, timeout: Any) -> None:
        await node.gen_server.call(to(server), request, timeout=seconds(timeout))

    @node.exports.process("callers")
    async def to_itself(process: Process, timeout: Any) -> None:
        await node.gen_server.call(process.pid, Atom("hello"), timeout=seconds(timeout))

    @node.exports.process("callers")
    async def to_own_name(process: Process, timeout: Any) -> None:
        node._local.runtime.register("me", process)
        await node.gen_server.call("me", Atom("hello"), timeout=seconds(timeout))

    @node.exports.process("callers")
    async def stop(_: Process, server: Any, reason: Any, timeout: Any) -> None:
        await node.gen_server.stop(to(server), reason, timeout=seconds(timeout))

    @node.exports.process("callers")
    async def sys(_: Process, function: Atom, server: Any, timeout: Any) -> None:
        await getattr(node.sys, function.name)(to(server), timeout=seconds(timeout))

    @node.exports.process("callers")
    async def terminate(_: Process, server: Any, reason: Any, timeout: Any) -> None:
        await node.sys.terminate(to(server), reason, timeout=seconds(timeout))

    @node.exports.process("callers")
    async def erpc(_: Process, at: Atom, function: Atom, arguments: list[Any], timeout: Any) -> None:
        await node.call(at.name, "callers", function.name, arguments, timeout=seconds(timeout))

    @node.exports.process("callers")
    async def put_chars(_: Process, device: Any) -> None:
        await node.io.put_chars(to(device), "text")

    @node.exports.process("callers")
    async def join(_: Process, pid: Any) -> None:
        node.pg.start().join("group", pid)

    @node.exports.process("callers")
    async def caught(_: Process, server: Any, request: Any) -> None:
        """What ends a process is no error that a program catches by the way."""
        with contextlib.suppress(QuicDistError):
            await node.gen_server.call(to(server), request)
        raise ProcessExit(Atom("not_this"))

    @node.exports.process("callers")
    async def own_end(process: Process, reason: Any) -> None:
        process.exit(process, reason)
        with contextlib.suppress(Exception):
            await process.receive()
        raise ProcessExit(Atom("not_this"))

    @node.exports.process("callers")
    async def kept(process: Process, function: Atom, arguments: list[Any]) -> None:
        node._local.runtime.register("keeper", process)
        body = node._local.runtime.spawning.functions._bodies["callers", function.name]
        child, _ = process.spawn_monitor(body, *arguments)
        _, sender = await process.receive((Atom("ready"), ANY))
        process.send(sender, (Atom("ready"), child.pid))
        *_, reason = await process.receive((Atom("DOWN"), ANY, ANY, ANY, ANY))
        _, sender = await process.receive((Atom("kept"), ANY))
        process.send(sender, (Atom("kept"), reason))


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(request.param, tmp_path_factory.mktemp("beams"), [CALLERS_ERL, CALLEE_ERL]) as both:
        yield both


@pytest_asyncio.fixture
async def conformance(beams: Beams) -> AsyncIterator[ConformancePair]:
    async with conformance_pair(beams) as both:
        offer(both)
        yield both


@pytest_asyncio.fixture
async def local(conformance: ConformancePair) -> AsyncIterator[ConformancePair]:
    """With a server ``callee`` on our node and the model, and ``remote`` on the node that asks."""
    conformance.node.serve(Callee(), name="callee")
    await conformance.model.eval("callee:start({local, callee})")
    yield conformance
    await conformance.model.eval("catch exit(whereis(callee), kill)")
    await conformance.eval("[catch exit(P, kill) || P <- [whereis(remote), global:whereis_name(everywhere)]]")


async def with_servers(conformance: ConformancePair, source: str) -> str:
    """What it comes to with the servers on the node that asks, of our node as of the model."""
    return await conformance.same(f"callers:servers(PEER), {source}")


REASONS = ["normal", "shutdown", "{shutdown, why}", "gone"]
TARGETS = ["callee", "{callee, PEER}", "remote@", "{global, everywhere}", "pid", "remote pid"]


def _target(name: str) -> str:
    return {
        "remote@": "{remote, node()}",
        "pid": "rpc:call(PEER, callers, pid_of, [callee])",
        "remote pid": "whereis(remote)",
    }.get(name, name)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("reason", REASONS)
async def test_a_call_whose_server_ends(local: ConformancePair, target: str, reason: str) -> None:
    got = await with_servers(
        local, f"callers:reason(PEER, call, [{_target(target)}, {{stop, {reason}}}, infinity])"
    )
    assert got.startswith(f"{{{reason.replace(' ', '')},{{gen_server,call,[")


@pytest.mark.parametrize("target", [*TARGETS[:2], "{nobody, node()}", "{global, nobody}", "dead"])
async def test_a_call_to_nobody(conformance: ConformancePair, target: str) -> None:
    target = "callers:dead()" if target == "dead" else target
    got = await conformance.same(f"callers:reason(PEER, call, [{target}, hello, 5000])")
    assert got.startswith("{noproc,{gen_server,call,[")


async def test_a_call_that_takes_too_long(local: ConformancePair) -> None:
    for target in TARGETS:
        got = await with_servers(local, f"callers:reason(PEER, call, [{_target(target)}, hang, 20])")
        assert got.startswith("{timeout,{gen_server,call,[")


async def test_a_call_to_oneself(conformance: ConformancePair) -> None:
    for function in ("to_itself", "to_own_name"):
        got = await conformance.same(f"callers:reason(PEER, {function}, [5000])")
        assert got.startswith("{calling_self,{gen_server,call,[")


async def test_a_call_to_a_node_that_is_not_there(conformance: ConformancePair) -> None:
    got = await conformance.same("callers:reason(PEER, call, [{callee, 'nobody@127.0.0.1'}, hello, 5000])")
    assert got == "{{nodedown,'nobody@127.0.0.1'},{gen_server,call,[{callee,'nobody@127.0.0.1'},hello,5000]}}"


@pytest.mark.parametrize("target", ["{remote, node()}", "whereis(remote)"])
async def test_a_call_whose_node_goes(local: ConformancePair, target: str) -> None:
    got = await local.same(
        f"{APART} Apart(fun() -> callers:servers(PEER),"
        f" spawn(PEER, callers, kept, [call, [{target}, hang, infinity]]),"
        " F = fun F() -> {keeper, PEER} ! {ready, self()}, receive {ready, _} -> ok after 20 -> F() end end,"
        " F(), (fun W() -> case process_info(whereis(remote), monitored_by) of"
        " {_, []} -> erlang:yield(), W(); _ -> ok end end)(),"
        " erlang:monitor_node(PEER, true), erlang:disconnect_node(PEER), receive {nodedown, PEER} -> ok end,"
        " G = fun G() -> {keeper, PEER} ! {kept, self()}, receive {kept, R} -> callers:shape(R)"
        " after 100 -> G() end end, G() end)"
    )
    assert got.startswith("{{nodedown,")


@pytest.mark.parametrize(
    "call",
    [
        *(f"stop, [callee, {reason}, infinity]" for reason in ("normal", "{bad, worse}", "{bad, normal}")),
        *("stop, [nobody, normal, 100]", "stop, [{nobody, PEER}, normal, infinity]"),
        *("stop, [{global, nobody}, normal, infinity]", "stop, [{callee, 'nobody@127.0.0.1'}, normal, 5000]"),
        *("sys, [get_status, nobody, 100]", "sys, [suspend, {nobody, PEER}, infinity]"),
        *("sys, [resume, {callee, 'nobody@127.0.0.1'}, 5000]", "terminate, [nobody, gone, 1000]"),
        *("put_chars, [nobody]", "put_chars, [callers:dead()]", "join, [whereis(remote)]"),
        *("erpc, ['nobody@127.0.0.1', leave, [gone], 5000]", "erpc, [node(), waits, [], 20]"),
    ],
)
async def test_other_calls_that_fail(local: ConformancePair, call: str) -> None:
    got = await with_servers(local, f"callers:reason(PEER, {call})")
    assert "python_error" not in got
    assert "goes_on" not in got


@pytest.mark.parametrize("reason", ["normal", "gone"])
async def test_an_error_of_a_call_can_be_caught_and_an_exit_is_none(
    local: ConformancePair, reason: str
) -> None:
    """Other than on a BEAM, where it is an exit, a failed call is an error in Python: it is caught as
    such. What ends the process itself is not."""
    source = f"callers:reason(PEER, caught, [callee, {{stop, {reason}}}])"
    assert await local.eval(source) == "not_this"
    got = await local.same("callers:reason(PEER, own_end, [gone])")
    assert got == "gone"


async def test_a_transient_child_whose_call_finds_a_server_that_stops_is_restarted(
    local: ConformancePair,
) -> None:
    """``normal`` is the end of the server that was called, not of the child."""
    child = ChildSpec("child", lambda: Callee("callee"), restart="transient")
    supervisor = local.node.serve(Supervisor([child]), name="supervisor")
    await local.model.eval("callee:start_supervisor()")
    got = await local.same(
        "S = {supervisor, PEER}, [{_, P, _, _}] = supervisor:which_children(S), M = monitor(process, P),"
        " gen_server:cast(P, ask), receive {'DOWN', M, _, _, R} -> R end, (fun F() ->"
        " case supervisor:which_children(S) of [{_, Q, _, _}] when is_pid(Q), Q =/= P ->"
        " {callers:shape(R), restarted}; _ -> F() end end)()"
    )
    assert got == "{{normal,{gen_server,call,[callee,{stop,normal},5000]}},restarted}"
    supervisor.stop(Atom("shutdown"))
