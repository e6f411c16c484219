"""State machines of a Python node, asked by a BEAM: what it sees is what a BEAM shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from quicdist import (
    Atom,
    CallTimeout,
    NameRegistered,
    NoSuchProcess,
    Process,
    ProcessEnded,
    ProcessExit,
    Reference,
    format_term,
)
from tests.interop.carriers import CARRIERS
from tests.interop.cluster import Cluster
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, load, two_beams
from tests.interop.random_machines import Script
from tests.interop.state_machine_erl import MACHINE_ERL, SUPERVISOR_ERL, Machine
from tests.interop.test_crash_reports_beam import skeleton
from tests.support.beam_log import printed, watch_printed

A, B, KEEP, NEXT, REPLY = map(Atom, ("a", "b", "keep", "next", "reply"))

#: To a machine ``M`` in the state ``a``. ``S``, ``K`` are steps: change to a state, keep it.
SNIPPETS = {
    "call": "gen_statem:call(M, {t, [{keep, [{reply, {ok, 1}}]}]})",
    "call with timeout": "gen_statem:call(M, {t, [{keep, [{reply, 1}]}]}, 5000)",
    "call of gen_server": "gen_server:call(M, {t, [{keep, [{reply, 1}]}]})",
    "call, no answer": "try gen_statem:call(M, {t, [{keep, []}]}, 20) catch C:{R, {F, G, _}} -> {C, R, F,"
    " G} end",
    "call, a dirty time-out": "try gen_statem:call(M, {t, [{keep, []}]}, {dirty_timeout, 20})"
    " catch C:{R, {F, G, _}} -> {C, R, F, G} end",
    "cast and info": "gen_statem:cast(M, {one, [K]}), M ! {two, [K]}, Log()",
    "a call that is postponed": "R = gen_statem:send_request(M, {t, [{keep, [postpone]}, {keep, [{reply,"
    " later}]}]}),"
    " timeout = gen_statem:wait_response(R, 10), gen_statem:cast(M, {go, [{next, b, []}]}),"
    " {gen_statem:receive_response(R, 5000), Log()}",
    "a reply by reply/2": "gen_statem:call(M, {t, [{answer, 7}]})",
    "send_request": "gen_statem:receive_response(gen_statem:send_request(M, {t, [{keep, [{reply, 1}]}]}),"
    " 5000)",
    "wait_response": "gen_statem:wait_response(gen_statem:send_request(M, {t, [{keep, [{reply, 1}]}]}),"
    " 5000)",
    "check_response": "R = gen_statem:send_request(M, {t, [{keep, [{reply, 1}]}]}),"
    " receive X -> gen_statem:check_response(X, R) end",
    "reqids": "C0 = gen_statem:reqids_new(), C1 = gen_statem:send_request(M, {t, [{keep, [{reply, 1}]}]},"
    " one, C0),"
    " C2 = gen_statem:send_request(M, {u, [{keep, [{reply, 2}]}]}, two, C1),"
    " {A, LA, C3} = gen_statem:receive_response(C2, 5000, true),"
    " {B, LB, C4} = gen_statem:receive_response(C3, 5000, true),"
    " {lists:sort([{LA, A}, {LB, B}]), gen_statem:reqids_size(C4)}",
    "stop": "W = monitor(process, M), ok = gen_statem:stop(M), Down(W)",
    "stop with a reason": "W = monitor(process, M), ok = gen_statem:stop(M, {shutdown, x}, 5000), Down(W)",
    "stop from a callback": "W = monitor(process, M), gen_statem:cast(M, {t, [{stop, enough}]}), Down(W)",
    "stop_and_reply": "W = monitor(process, M), {gen_statem:call(M, {t, [{stop, {shutdown, x}, bye}]}),"
    " Down(W)}",
    "exit in a callback": "W = monitor(process, M), gen_statem:cast(M, {t, [{exit, gone}]}), Down(W)",
    "a call to one that ends": "try gen_statem:call(M, {t, [{stop, enough}]}) catch C:{R, {F, G,"
    " _}} -> {C, R, F, G} end",
    "a call to one that is not": "try gen_statem:call({nobody, PEER}, x) catch C:{{R, N}, {F, G,"
    " _}} -> {C, R, N, F, G};"
    " C:{R, {F, G, _}} -> {C, R, F, G} end",
    "killed": "W = monitor(process, M), exit(M, kill), Down(W)",
    "an exit signal": "W = monitor(process, M), exit(M, gone), Down(W)",
    "a trapped exit signal": "gen_statem:cast(M, {t, [{trap}]}), Log(), exit(M, gone), Log()",
    "terminate gets reason and state": "P = rpc:call(PEER, machine, undertaker, [self()]),"
    " gen_statem:cast(M, {t, [{next, b, []}]}), gen_statem:cast(M, {t, [{stop, normal}]}),"
    " receive {terminated, R, S} -> {R, S, is_pid(P)} end",
    "an update of a running time-out": "gen_statem:cast(M, {t, [{keep, [{state_timeout, 60, {x, [K]}}]}]}),"
    " gen_statem:cast(M, {u, [{keep, [{state_timeout, update, {y, [K]}}]}]}), Later()",
    "a time-out that is cancelled": "gen_statem:cast(M, {t, [{keep, [{state_timeout, 30, {x, [K]}}]}]}),"
    " gen_statem:cast(M, {u, [{keep, [{state_timeout, cancel}]}]}), Later()",
    "a time-out of infinity": "gen_statem:cast(M, {t, [{keep, [{{timeout, n}, 30, {x, [K]}}]}]}),"
    " gen_statem:cast(M, {u, [{keep, [{{timeout, n}, infinity, {x, [K]}}]}]}), Later()",
    "a bare time-out": "gen_statem:cast(M, {t, [{keep, [{timeout, 30, {x, [K]}}]}]}), Later()",
    "inserted call": "gen_statem:call(M, {t, [{keep, [{inserted_call, {u, [{keep, [{reply,"
    " inserted}]}]}}]}]})",
    "get_state": "gen_statem:cast(M, {t, [{next, b, []}]}), sys:get_state(M)",
    "replace_state": "{a, D} = sys:get_state(M), {c, _} = sys:replace_state(M, fun({a, _}) -> {c,"
    " D#{log := []}} end),"
    " gen_statem:cast(M, {t, [K]}), Log()",
    "change_code": "ok = sys:suspend(M), A = [sys:change_code(M, machine, 1, X) || X <- [{to, c}, 7]],"
    " ok = sys:resume(M), gen_statem:cast(M, {t, [K]}), {A, Log()}",
    "suspend and resume": "ok = sys:suspend(M), gen_statem:cast(M, {t, [{next, b, []}]}), M ! {u, [K]},"
    " {a, _} = sys:get_state(M),"
    " ok = sys:resume(M), Log()",
    "get_status": "gen_statem:cast(M, {t, [{keep, [postpone, {{timeout, n}, 5000, {x, [K]}}]}]}),"
    " {status, M, {module, G}, [_, S, _, D, Misc]} = sys:get_status(M), [{header, H}, {data, L}, {data,"
    " [{T, State}]}] = Misc,"
    ' {G, S, D, is_list(H), [K2 || {K2, _} <- L], [proplists:get_value(X, L) || X <- ["Status",'
    ' "Time-outs",'
    ' "Logged Events", "Postponed"]], T, State}',
    "the observer's way to a state": "{X, _, _} = rpc:call(PEER, proc_lib, translate_initial_call, [M]),"
    " {behaviour, B} = lists:keyfind(behaviour, 1, rpc:call(PEER, X, module_info, [attributes])),"
    " {current_function, {Module, _, _}} = rpc:call(PEER, erlang, process_info, [M, current_function]),"
    " {B, Module}",
    "sys:terminate": "W = monitor(process, M), ok = sys:terminate(M, enough), Down(W)",
    "init": "[case rpc:call(PEER, machine, start, [I]) of {ok, P} -> exit(P, kill), ok; X -> X end"
    " || I <- [{ok, a, [], #{}}, {ignore}, {stop, no}, {exit, no}]]",
    "a name": 'N = list_to_atom("m" ++ pid_to_list(M)), {ok, P} = rpc:call(PEER, machine, start, [N, {ok,'
    " a, [], #{}}]),"
    " {error, {already_started, P}} = rpc:call(PEER, machine, start, [N, {ok, a, [], #{}}]),"
    " X = gen_statem:call({N, PEER}, {t, [{keep, [{reply, 1}]}]}), ok = gen_statem:stop({N, PEER}), X",
}

#: Around each snippet.
SCOPE = """
    {ok, M} = rpc:call(PEER, machine, start, [{ok, a, [], #{}}]),
    K = {keep, []},
    Log = fun() -> gen_statem:cast(M, {log, [{tell, self()}]}),
      receive {log, L} -> L after 5000 -> silent end end,
    Later = fun() -> gen_statem:cast(M, {log, [{keep, [{{timeout, later}, 120, {last, [{tell, self()}]}}]}]}),
      receive {log, L} -> L after 5000 -> silent end end,
    Down = fun(W) -> receive {'DOWN', W, process, M, R} -> R after 5000 -> silent end end,
    Result = (fun() -> BODY end)(),
    exit(M, kill),
    _ = {K, Log, Later, Down},
    Result
"""

#: The end of a machine whose callback is wrong: the reason without the value and the stack.
BAD = {
    "return": "keep",
    "enter returns another state": "{next, bad_return, []}",
    "postpone in an enter call": "{next, bad_postpone, []}",
    "insert in an enter call": "{next, bad_insert, []}",
    "action": "{keep, [nonsense]}",
    "time": "{keep, [{state_timeout, -1, x}]}",
    "reply to no call": "{keep, [{reply, 1}]}",
}
BAD_ENTER = (
    "#{bad_return => {next, a, []}, bad_postpone => {keep, [postpone]},"
    " bad_insert => {keep, [{next_event, cast, x}]}}"
)


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(request.param, tmp_path_factory.mktemp("beams"), [MACHINE_ERL, SUPERVISOR_ERL]) as both:
        yield both


@pytest_asyncio.fixture
async def conformance(beams: Beams) -> AsyncIterator[ConformancePair]:
    """Our node and the model, where ``machine:start/1,2`` start a machine."""
    async with conformance_pair(beams) as both:
        node = both.node
        node.exports.child("machine", "start_link")(Machine)
        node.exports.introspection()

        @node.export("machine")
        async def start(*arguments: Any) -> Any:
            *name, script = arguments
            return await answered(node, Machine(script), name[0] if name else None)

        @node.export("machine")
        def undertaker(pid: Any) -> Any:
            return node.spawn(lambda process, message: process.send(pid, message), name="undertaker").pid

        yield both


async def answered(node: Any, machine: Machine, name: Any) -> Any:
    """What ``gen_statem:start`` returns."""
    try:
        process = await node.gen_statem.start(machine, name=name)
    except NameRegistered:
        return (Atom("error"), (Atom("already_started"), node.whereis(name).pid))
    except (ProcessExit, ProcessEnded) as error:
        return (Atom("error"), error.reason)
    return Atom("ignore") if process is None else (Atom("ok"), process.pid)


@pytest.mark.parametrize("name", SNIPPETS)
async def test_a_snippet_gives_the_same_as_with_a_machine_of_a_beam(
    conformance: ConformancePair, name: str
) -> None:
    await conformance.same(SCOPE.replace("BODY", SNIPPETS[name]))


async def test_what_a_callback_may_not_return_ends_the_machine_with_the_reason_of_otp(
    conformance: ConformancePair,
) -> None:
    ends = [
        f"begin {{ok, M}} = rpc:call(PEER, machine, start, [{{ok, a, [], {BAD_ENTER}}}]),"
        f" W = monitor(process, M),"
        f" gen_statem:cast(M, {{t, [{step}]}}), receive {{'DOWN', W, _, _, {{R, _}}}} -> element(1,"
        f" R) end end"
        for step in BAD.values()
    ]
    await conformance.same(f"[{', '.join(f'(fun() -> {end} end)()' for end in ends)}]")


async def test_random_scripts_of_actions_give_the_same_order_of_events(conformance: ConformancePair) -> None:
    scripts = [Script(seed).source for seed in range(60)]
    await conformance.same(f"machine:run_all(PEER, [{', '.join(scripts)}])")


async def test_a_supervisor_of_a_beam_starts_and_restarts_a_machine(conformance: ConformancePair) -> None:
    reasons = await conformance.eval(
        "{ok, S} = supervisor:start_link(machine_sup, PEER), unlink(S),"
        " [{m, One, worker, _}] = supervisor:which_children(S), W = monitor(process, One),"
        " gen_statem:cast(One, {t, [{exit, gone}]}), receive {'DOWN', W, _, _, R} -> ok end,"
        " Again = fun F() -> case supervisor:which_children(S) of [{m, P, _, _}] when is_pid(P),"
        " P =/= One -> P;"
        " _ -> F() end end,"
        " {a, _} = sys:get_state(Again()), V = monitor(process, Again()), exit(S, shutdown),"
        " receive {'DOWN', V, _, _, R2} -> {R, R2} end"
    )
    assert reasons == "{gone,shutdown}"


async def test_python_calls_a_machine_of_a_beam(conformance: ConformancePair) -> None:
    node, model = conformance.node, conformance.model_name
    script: Any = (Atom("ok"), A, [], {})
    _, machine = await node.call(model, "machine", "start", [script])
    replied = (Atom("t"), [(KEEP, [(REPLY, 1)])])
    assert await node.gen_statem.call(machine, replied) == 1
    assert await node.gen_statem.send_request(machine, replied) == 1
    node.gen_statem.cast(machine, (Atom("u"), [(NEXT, B, [])]))
    state, _ = await node.sys.get_state(machine)
    assert state == B
    with pytest.raises(CallTimeout) as late:
        await node.gen_statem.call(machine, (Atom("v"), [(KEEP, [])]), timeout=0.02)
    assert late.value.exit_reason[1][:2] == (Atom("gen_statem"), Atom("call"))
    with pytest.raises(ProcessEnded) as ended:
        await node.gen_statem.call(machine, (Atom("w"), [(Atom("stop"), Atom("enough"))]))
    assert ended.value.reason == Atom("enough")
    with pytest.raises(NoSuchProcess):
        await node.gen_statem.call(machine, replied)
    _, machine = await node.call(model, "machine", "start", [script])
    await node.gen_statem.stop(machine)
    assert not await node.call(model, "erlang", "is_process_alive", [machine])


async def test_a_machine_that_terminates_is_printed_as_a_beams(pair: Cluster) -> None:
    pair.node.exports.child("machine", "start_link")(Machine)
    load(pair.beam, MACHINE_ERL)
    await pair.node.connect(pair.beam_name)
    await watch_printed(pair.beam)
    printed_by = {}
    for where in ("node()", "PY"):
        await pair.eval(
            "(fun(Node) -> Self = self(), spawn(fun() -> process_flag(trap_exit, true),"
            " {ok, P} = erpc:call(Node, machine, start_link, [{ok, a, [], #{}}]),"
            " gen_statem:cast(P, {one, [{keep, [postpone, {state_timeout, 9000, x}]}]}),"
            " gen_statem:cast(P, {two, [{exit, oops}]}),"
            " receive {'EXIT', P, _} -> Self ! ended end end), receive ended -> ok end end)(NODE)".replace(
                "NODE", where
            )
        )
        printed_by[where] = [await printed(pair.beam) for _ in range(2)]
    ours, theirs = printed_by["PY"], printed_by["node()"]
    assert [skeleton(text) for text in ours] == [skeleton(text) for text in theirs]
    assert ours[0].splitlines()[1].startswith("** State machine <")
    for line in (
        "** Last event = {cast,{two,[{exit,oops}]}}",
        "** Reason for termination = exit:oops",
        "** Postponed = [{cast,{one,[{keep,[postpone,{state_timeout,9000,x}]}]}}]",
        "** Time-outs: {1,[{state_timeout,x}]}",
        "** Callback mode = [handle_event_function,state_enter]",
    ):
        assert line in ours[0]
        assert line in theirs[0]


#: What timers do, in Erlang; the test does the same in Python.
TIMERS = """
    Me = self(),
    Next = fun() -> receive {x, M} -> M; {timeout, _, M} -> {timeout, M} after 2000 -> none end end,
    R1 = erlang:send_after(50000, Me, {x, 1}), A = erlang:cancel_timer(R1) > 49000,
    B = [erlang:cancel_timer(R1), erlang:read_timer(R1), erlang:cancel_timer(make_ref())],
    Dead = spawn(fun() -> ok end), W = monitor(process, Dead), receive {'DOWN', W, _, _, _} -> ok end,
    C = erlang:read_timer(erlang:send_after(50000, Dead, x)),
    erlang:send_after(0, no_such_name, x), erlang:start_timer(20, Me, 2), D = Next(),
    erlang:send_after(30, Me, {x, late}), erlang:send_after(5, Me, {x, early}), E = [Next(), Next()],
    spawn(fun() -> erlang:send_after(10, Me, {x, outlived}) end), F = Next(),
    Bad = fun(T, To) -> try erlang:send_after(T, To, x) of _ -> ok catch error:Why -> Why end end,
    G = [Bad(-1, Me), Bad(1, {a, b}), Bad(1, 7)],
    {A, B, C, D, E, F, G}
"""


async def test_timers_of_a_process_do_what_those_of_a_beam_do(conformance: ConformancePair) -> None:
    async def body(process: Process) -> Any:
        async def following() -> Any:
            match await process.receive(timeout=2.0):
                case (Atom(name="timeout") as tag, Reference(), message):
                    return (tag, message)
                case message:
                    return message

        def bad(seconds: float, to: Any) -> Any:
            try:
                process.send_after(seconds, to, 1)
            except (TypeError, ValueError):
                return Atom("badarg")

        first = process.send_after(50, process, 1)
        cancelled = (process.cancel_timer(first) or 0) > 49
        gone = [
            process.cancel_timer(first),
            process.read_timer(first),
            process.cancel_timer(process.make_ref()),
        ]
        dead = process.spawn(lambda process, message: None)
        dead.stop()
        of_dead = process.read_timer(process.send_after(50, dead.pid, 1))
        process.send_after(0, "no_such_name", 1)
        process.start_timer(0.02, process, 2)
        tagged = await following()
        process.send_after(0.03, process, Atom("late"))
        process.send_after(0.005, process, Atom("early"))
        order = [await following(), await following()]

        async def starts(starter: Process) -> None:
            starter.send_after(0.01, process, Atom("outlived"))

        process.spawn(starts)
        outlived = await following()
        wrong = [bad(-1, process), bad(1, (Atom("a"), Atom("b"))), bad(1, 7)]
        return (cancelled, gone, of_dead, tagged, order, outlived, wrong)

    result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def run(process: Process) -> None:
        result.set_result(await body(process))

    conformance.node.spawn(run)
    ours = format_term(await result).replace("undefined", "false")
    assert ours == (await conformance.eval(TIMERS))
