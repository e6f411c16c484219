"""Exported functions under the names by which a BEAM's ``spawn`` and ``erpc`` reach them, and in threads.

What a snippet of :data:`SNIPPETS` comes to is the same for a Python node and for a BEAM.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from quicdist import Atom, Process, ProcessExit, RemoteError, current_call
from quicdist.otp import dispatcher
from quicdist.otp.thread_pool import ThreadPool
from tests.interop.carriers import CARRIERS
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, load, two_beams

PY_ERL = """
-module(py).
-export([f/0, f/1, fails/0, leaves/0, throws/0, told/2, body/2, hang/1]).
f() -> zero.
f(X) -> {one, X}.
fails() -> error(oops).
leaves() -> exit(bye).
throws() -> throw(ball).
told(Pid, Term) -> Pid ! {self(), Term}, Term.
body(Pid, Term) -> Pid ! {self(), Term}, receive stop -> exit(stopped) end.
hang(X) -> receive X -> ok end.
"""

#: Loaded where the questions are asked, and nowhere else.
ELSEWHERE_ERL = """
-module(elsewhere).
-export([fun0/0, fun1/0]).
fun0() -> fun() -> ok end.
fun1() -> fun(X) -> X end.
"""

#: ``Down(Spawned)`` is how a process ended, ``Call(Fun)`` what a call came to. Of stacks only the
#: functions of the call itself are kept: where they stand in a file, and what of OTP lies under
#: them, is each node's own.
_HELPERS = """
Frame = fun({M, F, A, _}) -> {M, F, A}; (Other) -> Other end,
Stack = fun(S) -> [Frame(X) || X <- S, not lists:member(element(1, X), [erpc, proc_lib, erts_internal])] end,
Reason = fun({R, [T | _] = S}) when is_tuple(T) -> {R, Stack(S)}; (R) -> R end,
Down = fun({P, R}) -> receive {'DOWN', R, _, P, W} -> Reason(W) after 5000 -> none end end,
Exit = fun(P) -> receive {'EXIT', P, W} -> Reason(W) after 5000 -> none end end,
Call = fun(F) -> try F() of
    {badrpc, {'EXIT', W}} -> {badrpc, Reason(W)}; V -> {value, V}
    catch error:{exception, R, S} -> {error, R, Stack(S)}; C:R -> {C, R} end end,
"""
#: For links: a process of its own, which traps exits.
_APART = """
(fun(F) -> {P, R} = spawn_monitor(fun() -> process_flag(trap_exit, true), exit({is, F()}) end),
 receive {'DOWN', R, _, P, {is, V}} -> V; {'DOWN', R, _, P, W} -> {died, W} end end)(fun() -> %s end)
"""

SNIPPETS = {
    # -- what is called
    "erpc:call/2": "Call(fun() -> erpc:call(PEER, fun py:f/0) end)",
    "erpc:call/2 that fails": "Call(fun() -> erpc:call(PEER, fun py:fails/0) end)",
    "erpc:call/2 that exits": "Call(fun() -> erpc:call(PEER, fun py:leaves/0) end)",
    "erpc:call/2 that throws": "Call(fun() -> erpc:call(PEER, fun py:throws/0) end)",
    "erpc:call/2 of no function": "Call(fun() -> erpc:call(PEER, fun py:no/0) end)",
    "erpc:call/2 of a local fun": "Call(fun() -> erpc:call(PEER, elsewhere:fun0()) end)",
    "erpc:multicall/2": "erpc:multicall([PEER], fun py:f/0)",
    "erpc:send_request/2": "erpc:receive_response(erpc:send_request(PEER, fun py:f/0))",
    "erpc:cast/2": "erpc:cast(PEER, erlang, apply, [fun py:told/2, [self(), hello]]), "
    "receive {P, T} when node(P) == PEER -> T after 5000 -> none end",
    "apply/2": "rpc:call(PEER, erlang, apply, [fun py:f/1, [x]])",
    "apply/3": "rpc:call(PEER, erlang, apply, [py, f, [x]])",
    "apply of apply": "rpc:call(PEER, erlang, apply, [erlang, apply, [fun py:f/1, [x]]])",
    "apply/2 that fails": "Call(fun() -> rpc:call(PEER, erlang, apply, [fun py:fails/0, []]) end)",
    "apply/2 of no function": "Call(fun() -> rpc:call(PEER, erlang, apply, [fun py:no/1, [x]]) end)",
    "apply/3 of no function": "Call(fun() -> rpc:call(PEER, erlang, apply, [no, such, [x]]) end)",
    "apply/2, wrong arity": "Call(fun() -> rpc:call(PEER, erlang, apply, [fun py:f/1, []]) end)",
    "apply/2 of no fun": "Call(fun() -> rpc:call(PEER, erlang, apply, [7, [x]]) end)",
    "apply/2 of a pair": "Call(fun() -> rpc:call(PEER, erlang, apply, [{py, f}, [x]]) end)",
    "apply/2 of no list": "Call(fun() -> rpc:call(PEER, erlang, apply, [fun py:f/1, x]) end)",
    "apply/3 of no list": "Call(fun() -> rpc:call(PEER, erlang, apply, [py, f, x]) end)",
    "apply/3 of no module": "Call(fun() -> rpc:call(PEER, erlang, apply, [7, f, []]) end)",
    "apply/1": "Call(fun() -> rpc:call(PEER, erlang, apply, [7]) end)",
    "apply/2 of a local fun": "Call(fun() -> rpc:call(PEER, erlang, apply, [elsewhere:fun0(), []]) end)",
    "apply/2 of a local fun, wrong arity": (
        "Call(fun() -> rpc:call(PEER, erlang, apply, [elsewhere:fun1(), []]) end)"
    ),
    "by rex": "gen_server:call({rex, PEER}, {call, erlang, apply, [fun py:f/1, [x]], group_leader()})",
    "init_p/5": "rpc:call(PEER, proc_lib, init_p, [self(), [], py, f, [x]])",
    "init_p/3": "rpc:call(PEER, proc_lib, init_p, [self(), [], fun py:f/0])",
    # -- what is spawned
    "spawn/2": "P = spawn(PEER, fun py:f/0), {is_pid(P), node(P)}",
    "spawn_monitor/2": "Down(spawn_monitor(PEER, fun py:f/0))",
    "spawn_monitor/2 that fails": "Down(spawn_monitor(PEER, fun py:fails/0))",
    "spawn_monitor/2 that exits": "Down(spawn_monitor(PEER, fun py:leaves/0))",
    "spawn_monitor/2 that throws": "element(1, Down(spawn_monitor(PEER, fun py:throws/0)))",
    "spawn_monitor/2 of no function": "Down(spawn_monitor(PEER, fun py:no/0))",
    "spawn_monitor/2 of a local fun": "Down(spawn_monitor(PEER, elsewhere:fun0()))",
    "spawn_monitor/4 of apply/2": "Down(spawn_monitor(PEER, erlang, apply, [fun py:f/1, [x]]))",
    "spawn_monitor/4 of apply/3": "Down(spawn_monitor(PEER, erlang, apply, [py, f, [x]]))",
    "spawn_monitor/4 of apply/2, wrong arity": "Down(spawn_monitor(PEER, erlang, apply, [fun py:f/1, []]))",
    "spawn_monitor/4 of apply/3 of no list": "Down(spawn_monitor(PEER, erlang, apply, [py, f, x]))",
    "spawn_monitor/4 of apply/2 of no fun": "Down(spawn_monitor(PEER, erlang, apply, [7, []]))",
    "spawn_monitor/4 of apply/3 of no function": "Down(spawn_monitor(PEER, erlang, apply, [no, such, [x]]))",
    "spawn_monitor/4 of init_p/5 of no list": (
        "element(1, Down(spawn_monitor(PEER, proc_lib, init_p, [self(), [], py, f, x])))"
    ),
    "spawn_monitor/4 of init_p/3 of no fun": (
        "element(1, Down(spawn_monitor(PEER, proc_lib, init_p, [self(), [], py])))"
    ),
    "spawn_link/2 that fails": _APART % "Exit(spawn_link(PEER, fun py:fails/0))",
    "spawn_opt/3": _APART % "Exit(spawn_opt(PEER, fun py:fails/0, [link]))",
    "spawn_opt/3 with a monitor": "Down(spawn_opt(PEER, fun py:leaves/0, [monitor]))",
    "spawn_opt/5": _APART % "Exit(spawn_opt(PEER, py, fails, [], [link, {priority, high}]))",
    "spawn_request/3": (
        "R = spawn_request(PEER, fun py:f/0, [monitor]), "
        "receive {spawn_reply, R, ok, P} -> Down({P, R}) after 5000 -> none end"
    ),
    "proc_lib:spawn/2": (
        "proc_lib:spawn(PEER, erlang, apply, [fun py:told/2, [self(), hello]]), "
        "receive {P, T} when node(P) == PEER -> T after 5000 -> none end"
    ),
    "proc_lib:spawn_link/2": _APART % "Exit(proc_lib:spawn_link(PEER, fun py:fails/0))",
    "proc_lib:spawn_link/2 of a local fun": _APART % "Exit(proc_lib:spawn_link(PEER, elsewhere:fun0()))",
    "proc_lib:spawn_link/4": _APART % "Exit(proc_lib:spawn_link(PEER, py, f, [1]))",
    "proc_lib:spawn_link/4 that fails": _APART % "Exit(proc_lib:spawn_link(PEER, py, fails, []))",
    "proc_lib:spawn_link/4 that exits": _APART % "Exit(proc_lib:spawn_link(PEER, py, leaves, []))",
    "proc_lib:spawn_link/4 that throws": (
        _APART % "element(1, Exit(proc_lib:spawn_link(PEER, py, throws, [])))"
    ),
    "proc_lib:spawn_link/4 of no function": _APART % "Exit(proc_lib:spawn_link(PEER, py, no, []))",
    "proc_lib:spawn_opt/5": _APART % "Exit(proc_lib:spawn_opt(PEER, py, fails, [], [link]))",
    # -- the body of a process
    "spawn/4 of apply/2 of a body": (
        "{P, R} = spawn_monitor(PEER, erlang, apply, [fun py:body/2, [self(), hello]]), "
        "T = receive {P, X} -> X after 5000 -> none end, P ! stop, {T, Down({P, R})}"
    ),
    "proc_lib:spawn/4 of a body": (
        "P = proc_lib:spawn(PEER, py, body, [self(), hello]), R = monitor(process, P), "
        "T = receive {P, X} -> X after 5000 -> none end, P ! stop, {T, Down({P, R})}"
    ),
}


def offer(conformance: ConformancePair, release: threading.Event) -> None:
    """PY_ERL in Python."""
    node = conformance.node

    @node.export("py")
    def f(term: object = None) -> object:
        return (Atom("one"), term) if term else Atom("zero")

    @node.export("py")
    def fails() -> None:
        raise RemoteError("error", Atom("oops"), [(Atom("py"), Atom("fails"), 0, [])])

    @node.export("py")
    async def leaves() -> None:
        raise ProcessExit(Atom("bye"))

    @node.export("py", blocking=True)
    def throws() -> None:
        raise RemoteError("throw", Atom("ball"))

    @node.export("py")
    def told(pid: object, term: object) -> object:
        process = current_call().process
        process.send(pid, (process.pid, term))
        return term

    @node.exports.process("py")
    async def body(process: Process, pid: object, term: object) -> None:
        process.send(pid, (process.pid, term))
        await process.receive()
        raise ProcessExit(Atom("stopped"))

    @node.export("py", blocking=True)
    def hang(term: object) -> bool:
        return release.wait()


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(request.param, tmp_path_factory.mktemp("beams"), [PY_ERL]) as both:
        load(both.asking, ELSEWHERE_ERL)
        yield both


@pytest_asyncio.fixture
async def conformance(beams: Beams) -> AsyncIterator[ConformancePair]:
    """Our node with what PY_ERL has."""
    release = threading.Event()
    async with conformance_pair(beams) as both:
        offer(both, release)
        yield both
    release.set()


@pytest.mark.parametrize("snippet", SNIPPETS)
async def test_snippet(conformance: ConformancePair, snippet: str) -> None:
    got = await conformance.same(_HELPERS + SNIPPETS[snippet])
    assert got != "none"


@pytest.mark.usefixtures("stops_soon")
async def test_abandoned_calls_of_blocking_functions_keep_nobody_out(conformance: ConformancePair) -> None:
    got = await conformance.same(
        "S = self(), Ps = [spawn(fun() -> S ! {self(), rpc:call(PEER, py, hang, [x], 100)} end)"
        " || _ <- lists:seq(1, 40)], As = [receive {P, A} -> A after 5000 -> none end || P <- Ps],"
        "{lists:usort(As), rpc:call(PEER, py, f, [1]), rpc:call(PEER, py, throws, [])}"
    )
    assert got == "{[{badrpc,timeout}],{one,1},ball}"


@pytest.mark.beam
async def test_a_call_beyond_the_limit_is_answered_as_by_a_beam_with_all_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "ThreadPool", partial(ThreadPool, limit=0))
    calls = (
        "[try erpc:call(PEER, py, throws, []) catch C:R -> {C, R} end, rpc:call(PEER, py, throws, []),"
        " erpc:multicall([PEER], py, throws, [])]"
    )
    with two_beams("tcp", tmp_path, [PY_ERL], model_args=["+P", "1024"]) as beams:
        async with conformance_pair(beams) as conformance:
            offer(conformance, threading.Event())
            await conformance.same("net_adm:ping(PEER)")
            await conformance.model.eval(
                "[catch spawn(timer, sleep, [infinity]) || _ <- lists:seq(1, 1100)], full"
            )
            got = await conformance.same(calls)
    assert got == (
        "[{error,{erpc,system_limit}},{badrpc,{'EXIT',system_limit}},[{error,{erpc,system_limit}}]]"
    )
