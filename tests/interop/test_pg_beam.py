"""Process groups of a Python node and of BEAMs: each sees of the others what BEAMs see of each other."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, Pid, Process, binary_to_term
from quicdist.otp.pg import Scope
from tests.interop.carriers import CARRIERS
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, two_beams
from tests.interop.erlang_snippets import APART

#: What the one asked can be told to do, in Erlang; :func:`offer` is the same in Python.
MEMBERS_ERL = """
-module(members).
-compile([export_all, nowarn_export_all]).
new() -> spawn(fun() -> receive {stop, Why} -> exit(Why); {tell, Pid} -> Pid ! {told, self()} end end).
join(Scope, Group, Pids) -> pg:join(Scope, Group, Pids).
leave(Scope, Group, Pids) -> pg:leave(Scope, Group, Pids).
get(Scope, Group) -> pg:get_members(Scope, Group).
get_local(Scope, Group) -> pg:get_local_members(Scope, Group).
groups(Scope) -> pg:which_local_groups(Scope).
"""

#: Asked on a node whose scope S knows that of PEER. What happens to a group comes as messages; pids are
#: named by the order in which they were made, for the answers to be alike.
_BEFORE = f"""
{APART}
Do = fun(F, A) -> rpc:call(PEER, members, F, A) end,
New = fun() -> Do(new, []) end,
Next = fun(Ref) -> receive {{Ref, What, Group, Who}} -> {{What, Group, Who}} after 5000 -> nothing end end,
Own = fun(Pids) -> [P || P <- Pids, node(P) =:= PEER] end,
Apart(fun() -> {{Ref, _}} = pg:monitor(S, g), """

SEEN = {
    "join": "P = New(), ok = Do(join, [S, g, P]), {join, g, [P]} = Next(Ref),"
    " [P] = Own(pg:get_members(S, g)), {pg:get_local_members(S, g), pg:which_groups(S)}",
    "join, several": "Ps = [New(), New()], ok = Do(join, [S, g, Ps]), {join, g, Who} = Next(Ref),"
    " {Who =:= Ps, lists:sort(Own(pg:get_members(S, g))) =:= lists:sort(Ps)}",
    "join twice, leave once": "P = New(), Do(join, [S, g, P]), Do(join, [S, g, [P]]), Do(leave, [S, g, P]),"
    " [{What, Who =:= [P]} || {What, g, Who} <- [Next(Ref), Next(Ref), Next(Ref)]]"
    " ++ [length(Own(pg:get_members(S, g)))]",
    "leave": "P = New(), Do(join, [S, g, P]), {join, _, _} = Next(Ref), ok = Do(leave, [S, g, P]),"
    " {leave, g, [P]} = Next(Ref), {pg:get_members(S, g), pg:which_groups(S), Do(leave, [S, g, P])}",
    "leave, several": "[P, Q] = Ps = [New(), New()], Do(join, [S, g, [P, Q, Q]]), ok = Do(leave, [S, g, Ps]),"
    " {join, g, _} = Next(Ref), {leave, g, Who} = Next(Ref), {Who =:= Ps, Own(pg:get_members(S, g)) =:= [Q]}",
    "leave what one is not in": "P = New(), Do(join, [S, other, P]), Do(leave, [S, g, P])",
    "a member ends": "P = New(), [Do(join, [S, G, P]) || G <- [g, {other, 1}, g]],"
    " {join, g, [P]} = Next(Ref), {join, g, [P]} = Next(Ref),"
    " [g, {other, 1}] = lists:sort(pg:which_groups(S)), P ! {stop, normal},"
    " {leave, g, [P]} = Next(Ref), {leave, g, [P]} = Next(Ref),"
    " (fun F() -> case pg:which_groups(S) of [] -> gone; _ -> F() end end)()",
    "a member is killed": "P = New(), Do(join, [S, g, P]), exit(P, kill),"
    " [{What, Who =:= [P]} || {What, g, Who} <- [Next(Ref), Next(Ref)]]",
    "groups are terms": 'Groups = [1, 1.0, <<>>, [], "text", #{a => [b]}, {x, self()}, undefined, true],'
    " Ps = [begin P = New(), Do(join, [S, G, P]), P end || G <- Groups], Do(join, [S, g, hd(Ps)]),"
    " {join, g, _} = Next(Ref), {[Own(pg:get_members(S, G)) || G <- Groups] =:= [[P] || P <- Ps],"
    " Do(groups, [S]) -- [g | Groups], [g | Groups] -- Do(groups, [S])}",
    "a message to all": "Ps = [New(), New()], Do(join, [S, g, Ps]), {join, g, _} = Next(Ref),"
    " [P ! {tell, self()} || P <- pg:get_members(S, g)],"
    " Told = lists:sort([receive {told, P} -> P end || _ <- Ps]),"
    # They end then: a leave that came later would be seen by who is asked next.
    " [{leave, g, _}, {leave, g, _}] = [Next(Ref), Next(Ref)], Told =:= lists:sort(Ps)",
    "the one asked sees those who ask": "P = members:new(), ok = pg:join(S, g, [P, P]),"
    " A = (fun F() -> case Do(get, [S, g]) of [P, P] -> all; [] -> F() end end)(),"
    " pg:leave(S, g, P), B = (fun F() -> case Do(get, [S, g]) of [P] -> one; _ -> F() end end)(),"
    " exit(P, kill), C = (fun F() -> case Do(get, [S, g]) of [] -> none; _ -> F() end end)(),"
    " {A, B, C, Do(get_local, [S, g])}",
}

JOIN, LEAVE = Atom("join"), Atom("leave")
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(request.param, tmp_path_factory.mktemp("beams"), [MEMBERS_ERL]) as both:
        yield both


def offer(conformance: ConformancePair, scopes: dict[str, Scope]) -> None:
    """MEMBERS_ERL in Python."""
    node = conformance.node

    async def member(process: Process) -> None:
        what, argument = await process.receive()
        if what == Atom("tell"):
            process.send(argument, (Atom("told"), process.pid))
        process.stop(argument)

    @node.export("members")
    def new() -> Pid:
        return node.spawn(member).pid

    @node.export("members")
    def join(scope: Atom, group: Any, pids: Any) -> Atom:
        scopes[scope.name].join(group, pids)
        return Atom("ok")

    @node.export("members")
    def leave(scope: Atom, group: Any, pids: Any) -> Atom:
        return Atom("ok" if scopes[scope.name].leave(group, pids) else "not_joined")

    @node.export("members")
    def get(scope: Atom, group: Any) -> list[Pid]:
        return scopes[scope.name].get_members(group)

    @node.export("members")
    def get_local(scope: Atom, group: Any) -> list[Pid]:
        return scopes[scope.name].get_local_members(group)

    @node.export("members")
    def groups(scope: Atom) -> list[Any]:
        return scopes[scope.name].which_local_groups()


def _until(source: str, pattern: str) -> str:
    """Asks until it comes to that."""
    return f"(fun F() -> case {source} of {pattern} -> ok; _ -> F() end end)()"


class Scopes:
    """One scope on all three nodes."""

    def __init__(self, conformance: ConformancePair, name: str, ours: Scope) -> None:
        self.conformance, self.name, self.ours = conformance, name, ours

    def source(self, erlang: str) -> str:
        return f"S = {self.name}, {erlang}"

    async def eval(self, erlang: str) -> str:
        """On the BEAM that asks."""
        return await self.conformance.eval(self.source(erlang))

    async def on_model(self, erlang: str) -> str:
        return await self.conformance.model.eval(f"(fun() -> {self.source(erlang)} end)()")


@pytest_asyncio.fixture
async def scopes(beams: Beams) -> AsyncIterator[Scopes]:
    """A scope on each node, all of which know each other."""
    async with conformance_pair(beams) as conformance:
        name = f"scope{next(_numbers)}"
        ours = conformance.node.pg.start(name)
        offer(conformance, {name: ours})
        scopes = Scopes(conformance, name, ours)
        for beam in (conformance.beam, conformance.model):
            await beam.eval(f"{{ok, _}} = pg:start({name})")
        await conformance.eval(f"pong = net_adm:ping('{conformance.model_name}')")
        for name in (conformance.beam_name, conformance.model_name):
            await conformance.node.connect(name)
        for source in ("pg:get_members(S, ready)", "rpc:call(PEER, members, get, [S, ready])"):
            await scopes.on_model("pg:leave(S, ready, self()), pg:join(S, ready, self())")
            await scopes.eval(_until(source, "[_]"))
        await scopes.on_model("pg:leave(S, ready, self())")
        probe = conformance.node.spawn(lambda *_: None)
        ours.join("ready", probe)
        await scopes.eval(_until("[node(P) || P <- pg:get_members(S, ready)]", "[PEER]"))
        ours.leave("ready", probe)
        await scopes.eval(_until("pg:get_members(S, ready)", "[]"))
        yield scopes
        for beam in (conformance.beam, conformance.model):
            await beam.eval(f"gen_server:stop({scopes.name})")


@pytest.mark.parametrize("snippet", SEEN)
async def test_seen_by_a_beam(scopes: Scopes, snippet: str) -> None:
    got = await scopes.conformance.same(scopes.source(f"{_BEFORE} {SEEN[snippet]} end)"))
    assert "died" not in got
    assert "nothing" not in got


async def test_a_beam_is_seen_as_beams_see_it(scopes: Scopes) -> None:
    """What ``monitor_scope`` tells here is what it tells a BEAM, and so is what there is in the end."""
    came: asyncio.Queue[Any] = asyncio.Queue()
    watcher = scopes.conformance.node.spawn(lambda _, message: came.put_nowait(message))
    reference, before = scopes.ours.monitor_scope(watcher)
    assert before == {}
    await scopes.eval(
        "Me = self(), W = spawn(fun() -> {R, _} = pg:monitor_scope(S), Me ! go,"
        " (fun F(L) -> receive {R, _, last, _} -> receive {all, P} -> P ! {all, lists:reverse(L)} end;"
        " {R, A, G, P} -> F([{A, G, P} | L]) end end)([]) end),"
        " receive go -> put(watcher, W) end"
    )
    await scopes.on_model(
        "[P, Q] = [members:new(), members:new()], pg:join(S, g, P), pg:join(S, h, [Q, P, Q]),"
        " pg:leave(S, h, Q), pg:join(S, {1, 1.0}, P), not_joined = pg:leave(S, {1.0, 1}, P),"
        " M = monitor(process, P), exit(P, kill), receive {'DOWN', M, _, _, _} -> ok end,"
        f" {_until('pg:get_members(S, g)', '[]')}, pg:join(S, last, Q)"
    )
    theirs = binary_to_term(
        await scopes.conformance.beam.eval_bytes(
            "get(watcher) ! {all, self()}, receive {all, L} -> term_to_binary(L) end"
        )
    )
    ours = []
    while (message := await came.get())[2] != Atom("last"):
        assert message[0] == reference
        ours.append(message[1:])
    assert sorted(map(repr, ours)) == sorted(map(repr, theirs))
    assert len(ours) == 7
    members = binary_to_term(
        await scopes.conformance.beam.eval_bytes(
            "(fun() -> "
            + scopes.source("term_to_binary([{G, pg:get_members(S, G)} || G <- pg:which_groups(S)])")
            + " end)()"
        )
    )
    assert {group: scopes.ours.get_members(group) for group in scopes.ours.which_groups()} == dict(members)


async def test_a_connection_that_is_lost(scopes: Scopes) -> None:
    """Both sides let the other's members go, and have them again with the next connection."""
    conformance, node = scopes.conformance, scopes.conformance.node
    came: asyncio.Queue[Any] = asyncio.Queue()
    scopes.ours.join("g", process := node.spawn(lambda *_: None))
    await scopes.on_model("pg:join(S, g, whereis(beam_evaluator))")
    watcher = node.spawn(lambda _, message: came.put_nowait(message))
    reference, members = scopes.ours.monitor("g", watcher)
    if len(members) == 1:
        members += (await came.get())[3]
    (theirs,) = [pid for pid in members if pid != process.pid]
    node.disconnect(conformance.model_name)
    assert await came.get() == (reference, LEAVE, Atom("g"), [theirs])
    await scopes.on_model(_until("pg:get_members(S, g)", "[_]"))
    await node.connect(conformance.model_name)
    assert await came.get() == (reference, JOIN, Atom("g"), [theirs])
    await scopes.on_model(_until("pg:get_members(S, g)", "[_, _]"))


async def test_a_scope_that_starts_later_on_a_beam(beams: Beams) -> None:
    """A BEAM tells visible nodes only; a hidden one finds out by itself."""
    name = f"scope{next(_numbers)}"
    async with conformance_pair(beams) as conformance:
        ours = conformance.node.pg.start(name, rediscover=0.02)
        came: asyncio.Queue[Any] = asyncio.Queue()
        ours.monitor_scope(conformance.node.spawn(lambda _, message: came.put_nowait(message)))
        await conformance.node.connect(conformance.model_name)
        for _ in range(2):  # the second time it is one that was ended and has started again
            await conformance.model.eval(f"{{ok, _}} = pg:start({name}), pg:join({name}, g, self())")
            assert (await came.get())[1] == JOIN
            await conformance.model.eval(f"gen_server:stop({name})")
            assert (await came.get())[1] == LEAVE


async def test_a_visible_node_is_found_by_beams(beams: Beams) -> None:
    name = f"scope{next(_numbers)}"
    async with conformance_pair(beams, hidden=False) as conformance:
        await conformance.node.connect(conformance.model_name)
        ours = conformance.node.pg.start(name)
        ours.join("g", conformance.node.spawn(lambda *_: None))
        seen = _until(f"pg:get_members({name}, g)", "[_]")
        assert await conformance.model.eval(f"{{ok, _}} = pg:start({name}), {seen}") == "ok"
        await conformance.model.eval(f"gen_server:stop({name})")
