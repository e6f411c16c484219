"""Event managers of a Python node, asked by a BEAM: what it sees is what a BEAM shows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, CallTimeout, GenEvent, Node, NodeError, NoSuchProcess, Process
from tests.interop.carriers import CARRIERS
from tests.interop.cluster import Cluster
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, load, two_beams
from tests.interop.event_manager_erl import TALLY_ERL, Tally
from tests.interop.test_crash_reports_beam import skeleton
from tests.support.beam_log import printed, watch_printed

#: To a manager ``M`` without handlers.
SNIPPETS = {
    "add and which": '[gen_event:add_handler(M, H, x) || H <- [tally, {tally, 1}, {tally, "two"}]]'
    " ++ gen_event:which_handlers(M)",
    "the same twice": "[gen_event:add_handler(M, tally, N) || N <- [1, 2]] ++"
    " [gen_event:which_handlers(M), gen_event:call(M, tally, get), gen_event:delete_handler(M, tally, a),"
    " gen_event:call(M, tally, get)]",
    "refused": "[gen_event:add_handler(M, tally, A) || A <- [{exit, no}, {refuse, {error, no}}, {refuse,"
    " no}]]"
    " ++ gen_event:which_handlers(M)",
    "unknown module": "{'EXIT', {undef, [{no_mod, init, [x], []} | _]}} = gen_event:add_handler(M,"
    " no_mod, x), ok",
    "notify": "Add(tally), Add({tally, 1}), ok = gen_event:notify(M, one), ok = gen_event:sync_notify(M,"
    " two),"
    " States()",
    "info": "Add(tally), M ! hello, M ! {not_a_pid, x}, States()",
    "call": "Add(tally), [gen_event:call(M, tally, get), gen_event:call(M, tally, sleep, 5000)]",
    "call of no handler": "Add({tally, 1}), [gen_event:call(M, H, get) || H <- [tally, {tally, 2}, other]]",
    "call, no answer": "Add(tally), sys:suspend(M), R = try gen_event:call(M, tally, get, 20)"
    " catch C:{X, {F, G, _}} -> {C, X, F, G} end, sys:resume(M), R",
    "send_request": "Add(tally), gen_event:receive_response(gen_event:send_request(M, tally, get), 5000)",
    "send_request of no handler": "gen_event:receive_response(gen_event:send_request(M, tally, get), 5000)",
    "delete": "Add(tally), [gen_event:delete_handler(M, tally, X) || X <- [bye, again]]",
    "delete whose terminate fails": "Add(tally), [gen_event:delete_handler(M, tally, {exit, oops}),"
    " gen_event:which_handlers(M)]",
    "remove_handler": "Add(tally), Add({tally, 1}), gen_event:sync_notify(M, {only, {tally, 1}, remove}),"
    " gen_event:which_handlers(M)",
    "remove_handler from a call": "Add(tally), [gen_event:call(M, tally, {remove, bye}),"
    " gen_event:which_handlers(M)]",
    "a handler that exits": "Add(tally), Add({tally, 1}), gen_event:sync_notify(M, {only, tally, {exit,"
    " oops}}),"
    " gen_event:sync_notify(M, after_it), States()",
    "a wrong return value": "Add(tally), gen_event:sync_notify(M, {return, wrong}),"
    " gen_event:which_handlers(M)",
    "a call that exits": "Add(tally), [gen_event:call(M, tally, {exit, oops}), gen_event:which_handlers(M)]",
    "hibernate": "Add(tally), gen_event:sync_notify(M, sleep), gen_event:sync_notify(M, awake), States()",
    "swap": "Add(tally), Add({tally, 1}), [gen_event:swap_handler(M, {tally, bye}, {{tally, new}, args}),"
    " States()]",
    "swap of one that is not": "[gen_event:swap_handler(M, {tally, bye}, {{tally, new}, args}), States()]",
    "swap whose terminate fails": "Add(tally), [gen_event:swap_handler(M, {tally, {exit, oops}},"
    " {{tally, new}, args}), States()]",
    "swap itself": "Add(tally), Add({tally, 1}), Add({tally, 2}),"
    " gen_event:sync_notify(M, {only, {tally, 1}, {swap, bye, {tally, new}, args}}), States()",
    "swap itself in a call": "Add(tally), Add({tally, 1}), [gen_event:call(M, tally, {swap, done, bye,"
    " {tally, new},"
    " args}), States()]",
    "swap itself with no module": "Add(tally), gen_event:sync_notify(M, {swap, bye, no_mod, args}),"
    " gen_event:which_handlers(M)",
    "add_sup_handler": "ok = gen_event:add_sup_handler(M, {tally, 1}, x), gen_event:delete_handler(M,"
    " {tally, 1}, bye),"
    " Mail()",
    "add_sup_handler, removed": "ok = gen_event:add_sup_handler(M, tally, x), gen_event:sync_notify(M,"
    " remove), Mail()",
    "add_sup_handler, exit": "ok = gen_event:add_sup_handler(M, tally, x), gen_event:sync_notify(M,"
    " {exit, oops}),"
    " Mail()",
    "add_sup_handler, wrong value": "ok = gen_event:add_sup_handler(M, tally, x),"
    " gen_event:sync_notify(M, {return, wrong}), Mail()",
    "add_sup_handler, swapped": "ok = gen_event:add_sup_handler(M, tally, x),"
    " ok = gen_event:swap_handler(M, {tally, bye}, {{tally, new}, args}), One = Mail(),"
    " gen_event:delete_handler(M, {tally, new}, x), {is_swap(One), Mail()}",
    "add_sup_handler, stopped": "ok = gen_event:add_sup_handler(M, tally, x), ok = gen_event:stop(M), Mail()",
    "swap_sup_handler": "Add(tally), ok = gen_event:swap_sup_handler(M, {tally, bye}, {{tally, new},"
    " args}),"
    " gen_event:delete_handler(M, {tally, new}, x), Mail()",
    "a supervising process that ends": "P = spawn(fun() -> ok = gen_event:add_sup_handler(M, {tally, 1},"
    " x),"
    " ok = gen_event:add_handler(M, tally, y), receive go -> exit(gone) end end),"
    " (fun F() -> case gen_event:which_handlers(M) of [_, _] -> ok; _ -> F() end end)(),"
    " W = monitor(process, P), P ! go, receive {'DOWN', W, _, _, _} -> ok end,"
    " (fun F() -> case gen_event:which_handlers(M) of [_] -> ok; _ -> F() end end)(), States()",
    "terminate": "U = rpc:call(PEER, tally, undertaker, [self()]), Add(tally), Add({tally, 1}),"
    " Add({tally, 2}),"
    " gen_event:delete_handler(M, tally, bye), gen_event:sync_notify(M, {only, {tally, 1}, {exit, oops}}),"
    " ok = gen_event:stop(M), R = [receive {terminated, A, S} -> {A,"
    " S} after 5000 -> silent end || _ <- [1, 2, 3]],"
    " exit(U, kill), R",
    "stop": "W = monitor(process, M), ok = gen_event:stop(M), Down(W)",
    "stop with a reason": "W = monitor(process, M), ok = gen_event:stop(M, enough, 5000), Down(W)",
    "killed": "W = monitor(process, M), exit(M, kill), Down(W)",
    "an exit signal is an info": "Add(tally), exit(M, gone), gen_event:which_handlers(M), States()",
    "to no manager": "[try F({nobody, PEER}) of X -> X catch C:R -> {C, element(1, R)} end || F <-"
    " [fun(N) -> gen_event:notify(N, x) end, fun(N) -> gen_event:call(N, tally, get) end]]",
    "replace_state": "Add(tally), Add({tally, 1}), {sys:replace_state(M, fun({tally, 1, S}) -> {tally, 1,"
    " [new | S]} end),"
    " States()}",
    "change_code": "Add(tally), ok = sys:suspend(M), ok = sys:change_code(M, tally, 1, more),"
    " ok = sys:resume(M), States()",
    "get_status": "Add(tally), ok = gen_event:add_sup_handler(M, {tally, 1}, x), {status, M, {module, G},"
    " [_, S, _, D, [{header, H}, {data, L}, {items, Items}]]} = sys:get_status(M),"
    " gen_event:delete_handler(M, {tally, 1}, x), Mail(),"
    " {G, S, D, is_list(H), [K || {K, _} <- L], element(1, Items), [setelement(5, R, is_pid(element(5, R)))"
    " || R <- element(2, Items)]}",
    "where it waits": "rpc:call(PEER, erlang, process_info, [M, current_function])",
    "a name": 'N = list_to_atom("e" ++ pid_to_list(M)), {ok, P} = rpc:call(PEER, tally, start, [N]),'
    " ok = gen_event:add_handler({N, PEER}, tally, x), R = gen_event:call({N, PEER}, tally, get),"
    " ok = gen_event:stop({N, PEER}), R",
}

#: Around each snippet; it runs in a process of its own, which traps exits.
SCOPE = """
    Me = self(), {Runner, Ref} = spawn_monitor(fun() ->
      process_flag(trap_exit, true),
      {ok, M} = rpc:call(PEER, tally, start, []),
      Add = fun(H) -> ok = gen_event:add_handler(M, H, H) end,
      States = fun() -> [{I, S} || {tally, I, S} <- sys:get_state(M)] end,
      Mail = fun() -> receive {gen_event_EXIT, _, _} = Exit -> Exit after 2000 -> silent end end,
      Down = fun(W) -> receive {'DOWN', W, process, M, R} -> R after 5000 -> silent end end,
      Result = (fun() -> BODY end)(),
      _ = {Add, States, Mail, Down},
      exit(M, kill),
      Me ! {result, self(), Result}
    end),
    receive {result, Runner, R} -> demonitor(Ref, [flush]), R; {'DOWN', Ref, _, _, Why} -> {failed, Why} end
"""


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(request.param, tmp_path_factory.mktemp("beams"), [TALLY_ERL]) as both:
        yield both


def offer(node: Node) -> None:
    """What ``tally:start`` does on a BEAM."""

    @node.export("tally")
    async def start(*name: Any) -> Any:
        process = await node.gen_event.start(GenEvent({"tally": Tally}), name=name[0] if name else None)
        assert process is not None
        return (Atom("ok"), process.pid)

    @node.exports.child("tally")
    def start_link() -> GenEvent:
        return GenEvent({"tally": Tally})

    @node.export("tally")
    def undertaker(pid: Any) -> Any:
        return node.spawn(lambda process, message: process.send(pid, message), name="undertaker").pid


@pytest_asyncio.fixture
async def conformance(beams: Beams) -> AsyncIterator[ConformancePair]:
    """Our node and the model, where ``tally:start/0,1`` start a manager."""
    async with conformance_pair(beams) as both:
        offer(both.node)
        both.node.exports.introspection()
        yield both


@pytest.mark.parametrize("name", SNIPPETS)
async def test_a_snippet_gives_the_same_as_with_a_manager_of_a_beam(
    conformance: ConformancePair, name: str
) -> None:
    body = SNIPPETS[name].replace("is_swap(One)", "element(1, element(3, One)) =:= swapped")
    assert "failed" not in await conformance.same(SCOPE.replace("BODY", body))


async def test_python_uses_a_manager_of_a_beam(conformance: ConformancePair) -> None:
    node, events = conformance.node, conformance.node.gen_event
    _, manager = await node.call(conformance.model_name, "tally", "start", [])
    await events.add_handler(manager, "tally", 0)
    await events.add_handler(manager, ("tally", 1), 1)
    assert await events.which_handlers(manager) == [(Atom("tally"), 1), Atom("tally")]
    events.notify(manager, 2)
    await events.sync_notify(manager, 3)
    assert await events.call(manager, "tally", Atom("get")) == [3, 2, 0]
    assert await events.send_request(manager, ("tally", 1), Atom("get")) == [3, 2, 1]
    assert await events.call(manager, "other", 1) == (Atom("error"), Atom("bad_module"))
    with pytest.raises(NodeError, match="no_mod"):
        await events.add_handler(manager, "no_mod", 0)
    await events.swap_handler(manager, "tally", 4, ("tally", 2), 5)
    swapped = (Atom("swapped"), 5, (Atom("ended"), 4))
    assert await events.call(manager, ("tally", 2), Atom("get")) == [swapped]
    assert await events.delete_handler(manager, ("tally", 2), 6) == (Atom("ended"), 6)

    async def supervise(process: Process) -> None:
        process.trap_exit = True
        await events.add_sup_handler(manager, "tally", 7, process=process)
        await events.sync_notify(manager, (Atom("only"), 7, (Atom("exit"), Atom("oops"))))
        got.append(await process.receive())

    got: list[Any] = []
    await node.spawn(supervise).finished()
    assert got == [(Atom("gen_event_EXIT"), Atom("tally"), (Atom("EXIT"), Atom("oops")))]
    await node.sys.suspend(manager)
    with pytest.raises(CallTimeout) as late:
        await events.call(manager, "tally", Atom("get"), timeout=0.02)
    assert late.value.exit_reason[1][:2] == (Atom("gen_event"), Atom("call"))
    await node.sys.resume(manager)
    await events.stop(manager)
    with pytest.raises(NoSuchProcess):
        await events.which_handlers(manager)


async def test_a_handler_that_fails_is_printed_as_a_beams(pair: Cluster) -> None:
    offer(pair.node)
    load(pair.beam, TALLY_ERL)
    await pair.node.connect(pair.beam_name)
    await watch_printed(pair.beam)
    texts = {}
    for where in ("node()", "PY"):
        await pair.eval(
            "(fun(Node) -> Self = self(), spawn(fun() ->"
            " {ok, M} = erpc:call(Node, tally, start_link, []), ok = gen_event:add_handler(M, {tally, 1}, x),"
            " ok = gen_event:sync_notify(M, {exit, oops}), Self ! done, receive never -> ok end end),"
            " receive done -> ok end end)(NODE)".replace("NODE", where)
        )
        texts[where] = await printed(pair.beam)
    ours, theirs = texts["PY"], texts["node()"]
    assert skeleton(ours) == skeleton(theirs)
    for line in (
        "** gen_event handler {tally,1} crashed.",
        "** Last event was: {exit,oops}",
        "** Reason == oops",
    ):
        assert line in theirs
        assert line in ours
