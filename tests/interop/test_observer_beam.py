"""What the observer, ``etop`` and ``c:ni`` ask a node: a Python node answers in the shapes of a BEAM."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from quicdist import ChildSpec, GenServer, Supervisor
from quicdist.term import Atom
from tests.interop.carriers import CARRIERS, over_tcp
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, two_beams
from tests.interop.erlang_snippets import APART, COUNTER_ERL
from tests.support.beam import erl_facts

pytestmark = pytest.mark.otp_application("runtime_tools")

#: The shape of a term: its type, of a property list the keys with the shapes of the values.
SHAPE = """
Shape = fun S([{K, _} | _] = L) when is_atom(K) -> [{N, S(V)} || {N, V} <- L];
  S(L) when is_list(L) -> list; S(T) when is_tuple(T) -> [S(E) || E <- tuple_to_list(T)];
  S(I) when is_integer(I) -> integer; S(B) when is_boolean(B) -> boolean; S(A) when is_atom(A) -> atom;
  S(P) when is_pid(P) -> pid; S(P) when is_port(P) -> port; S(_) -> other end,
Call = fun(M, F, A) -> rpc:call(PEER, M, F, A) end,
"""

#: Items of ``erlang:statistics/1`` and ``system_info/1`` with a true answer.
STATISTICS = (
    "[context_switches, exact_reductions, garbage_collection, io, reductions, run_queue, run_queue_lengths,"
    " runtime, total_run_queue_lengths, total_active_tasks, active_tasks, wall_clock]"
)
SYSTEM_INFO = (
    "[alloc_util_allocators, atom_count, creation, dirty_cpu_schedulers, dist_buf_busy_limit, ets_count,"
    " kernel_poll, logical_processors, logical_processors_available, logical_processors_online, machine,"
    " multi_scheduling, otp_release, port_count, port_limit, process_count, process_limit, schedulers,"
    " schedulers_online, smp_support, start_time, system_architecture, system_version, thread_pool_size,"
    " threads, version, wordsize, {wordsize, internal}, {wordsize, external}]"
)

#: What the tabs of the observer do, and similar tools. Limits that a Python node does not have are left out.
SNIPPETS = {
    "System": "Shape([I || {K, _} = I <- Call(observer_backend, sys_info, []),"
    " not lists:member(K, [atom_limit, ets_limit, alloc_info])])",
    "Memory Allocators": "I = Call(observer_backend, sys_info, []), [{Type, [{instance, N, Kinds} | _]}"
    " | _] ="
    " proplists:get_value(alloc_info, I), {_, Sizes} = lists:keyfind(mbcs, 1, Kinds),"
    " {_, Size, _, _} = lists:keyfind(carriers_size, 1, Sizes), {is_atom(Type), N, is_integer(Size)}",
    "Load Charts": "Me = self(), P = spawn_link(PEER, observer_backend, fetch_stats, [Me, 100]),"
    " Next = fun() -> receive {stats, 1, T, Io, M} -> {lists:usort([Shape(E) || E <- T]), Shape(Io),"
    " Shape(M)}"
    " after 5000 -> late end end, Two = [Next(), Next()], Ref = monitor(process, P), P ! exit,"
    " {Two, receive {'DOWN', Ref, _, _, R} -> R end, Shape(Call(erlang, system_info,"
    " [dirty_cpu_schedulers]))}",
    "Load Charts, the observer ends": "{W, M} = spawn_monitor(fun() -> put(p, spawn_link(PEER,"
    " observer_backend, fetch_stats, [self(), 100])), receive {stats, 1, _, _, _} -> exit(get(p)) end end),"
    " receive {'DOWN', M, _, W, P} -> Ref = monitor(process, P),"
    " receive {'DOWN', Ref, _, _, R} when R =:= normal; R =:= noproc -> ended end end",
    "Processes": "process_flag(trap_exit, true), P = spawn_link(PEER, observer_backend, procs_info,"
    " [self()]),"
    " L = receive {procs_info, P, I} -> I end, Mine = Call(erlang, whereis, [counter]),"
    " {lists:usort([{element(1, E), tuple_size(E), Shape(element(3, E)), Shape(element(4, E))} || E <- L]),"
    " element(5, lists:keyfind(Mine, 2, L)), lists:keymember(P, 2, L),"
    " receive {'EXIT', P, R} -> R end}",
    "etop's process": "P = spawn_link(PEER, observer_backend, etop_collect, [self()]),"
    " receive {P, I} -> {element(1, I), tuple_size(I), Shape(element(2, I)), is_integer(element(3, I)),"
    " is_integer(element(6, I)), Shape(lists:sort(element(8, I))), length(element(9, I)) == element(3,"
    " I)} end",
    "availability": "[Call(code, ensure_loaded, [observer_backend]) | [Call(erlang, function_exported,"
    " [observer_backend, F, A]) || {F, A} <- [{procs_info, 1}, {get_port_list, 0}, {get_socket_list, 0},"
    " {fetch_stats, 2}, {nothing, 0}, {fetch_stats, 3}]]]",
    "version": "Shape(Call(observer_backend, vsn, []))",
    "Table Viewer": "[is_list(Call(observer_backend, get_table_list, [ets, [{sys_hidden, true}]])),"
    " Shape(Call(observer_backend, get_table_list, [mnesia, []])), Call(ets, info, [nothing]),"
    " begin P = Call(observer_backend, get_table, [self(), nothing, ets]), receive {P, E} -> E end end]",
    "Sockets": "[lists:sort([K || {K, _} <- Call(observer_backend, socket_info, [])]) --"
    " [iov_max, num_cnt_bits], is_list(Call(observer_backend, get_socket_list, []))]",
    "Applications": "{ok, P} = appmon_info:start_link(PEER, self(), []), appmon_info:app_ctrl(P, PEER,"
    " true, []),"
    " Apps = receive {delivery, P, app_ctrl, PEER, A} -> A end, {_, Name, _} = hd(Apps),"
    " appmon_info:app(P, Name, true, []), {Root, Ps, Ls, _} = receive {delivery, P, app, Name, T} -> T end,"
    " appmon_info:app(P, no_application, true, []),"
    " Ref = monitor(process, P), None = receive {delivery, P, app, no_application, N} -> N end,"
    " exit(P, normal), {lists:usort([Shape(E) || E <- Apps]), lists:keymember(Root, 2, Ps),"
    " lists:usort([Shape(E) || E <- Ps]), lists:usort([Shape(E) || E <- Ls]), None,"
    " receive {'DOWN', Ref, _, _, R} -> R end}",
    "memory": "[Shape(Call(erlang, memory, A)) || A <- [[], [total], [[total, ets]], [[]]]]",
    "memory, what is not": "{badrpc, {'EXIT', {R, _}}} = Call(erlang, memory, [nothing]), R",
    "statistics": f"[{{I, Shape(Call(erlang, statistics, [I]))}} || I <- {STATISTICS}]",
    "statistics, what is not": "{badrpc, {'EXIT', {R, _}}} = Call(erlang, statistics, [nothing]), R",
    "system_info": f"[{{I, Shape(Call(erlang, system_info, [I]))}} || I <- {SYSTEM_INFO}]",
    "system_info, what is not": "{badrpc, {'EXIT', {R, _}}} = Call(erlang, system_info, [nothing]), R",
    "which_applications": "lists:usort([Shape(A) || A <- Call(application, which_applications, [])])",
    "ports": "lists:usort([Shape(P) || P <- Call(erlang, ports, [])])",
    "garbage_collect": "Call(erlang, garbage_collect, [Call(erlang, whereis, [counter])])",
    "ni": "P = Call(erlang, whereis, [counter]), c:i([P])",
    "ancestors": "P = Call(erlang, whereis, [supervised]),"
    " {_, D} = Call(erlang, process_info, [P, dictionary]), hd(proplists:get_value('$ancestors', D))",
}

#: Shows the port of the connection between the two.
THE_PORT = """
Ports = rpc:call(PEER, observer_backend, get_port_list, []),
lists:usort([[K || {K, _} <- P] || P <- Ports, Inet <- [proplists:get_value(inet, P)], is_list(Inet),
  lists:keymember(remote_port, 1, Inet)])
"""

#: Runs ``etop`` with an I/O device of its own, and returns the first screen.
ETOP = """
Me = self(),
Device = spawn(fun() -> (fun Loop(Text) ->
  receive {io_request, From, Ref, Request} ->
    Chars = case Request of
      {put_chars, _, M, F, A} -> apply(M, F, A);
      {put_chars, _, C} -> C;
      _ -> none
    end,
    From ! {io_reply, Ref, case Request of getopts -> [{encoding, unicode}]; _ when Chars == none ->
      {error, enotsup}; _ -> ok end},
    More = Text ++ case Chars of none -> ""; _ -> unicode:characters_to_list(Chars) end,
    case length(string:split(More, "=\\n", all)) of 3 -> Me ! {screen, More}; _ -> ok end,
    Loop(More)
  end
end)("") end),
{Etop, Ref} = spawn_monitor(fun() -> group_leader(Device, self()),
  etop:start([{node, PEER}, {output, text}, {tracing, off}, {interval, 5}, {lines, 30}]) end),
Screen = receive {screen, S} -> S; {'DOWN', Ref, _, _, Why} -> exit({etop, Why})
  after 20000 -> exit(late) end,
etop:stop(), receive {'DOWN', Ref, _, _, _} -> exit(Device, kill) end,
unicode:characters_to_binary(Screen)
"""


class Counter(GenServer):
    """COUNTER_ERL, as far as it is asked here."""

    def __init__(self) -> None:
        self.count = 0


SUPERVISED_ERL = """
-module(supervised).
-export([init/1, start/0]).
init([]) -> {ok, {#{}, [#{id => child,
  start => {gen_server, start_link, [{local, supervised}, counter, [], []]}}]}}.
start() -> Pid = spawn(fun() -> {ok, _} = supervisor:start_link({local, the_sup}, supervised, []),
  receive stop -> ok end end), Pid.
"""


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(request.param, tmp_path_factory.mktemp("beams"), [COUNTER_ERL, SUPERVISED_ERL]) as both:
        both.model.eval_now("{counter:start(), supervised:start()}")
        yield both


@pytest_asyncio.fixture
async def pair(beams: Beams) -> AsyncIterator[ConformancePair]:
    async with conformance_pair(beams) as both:
        both.node.exports.introspection()
        both.node.serve(Counter(), name="counter")
        supervisor = Supervisor([ChildSpec("child", Counter, name="supervised")])
        await both.node.gen_server.start(supervisor, name="the_sup")
        yield both


@pytest.mark.parametrize("snippet", SNIPPETS)
async def test_a_tool_gets_the_shapes_of_a_beam(pair: ConformancePair, snippet: str) -> None:
    got = await pair.same(f"{APART} Apart(fun() -> {SHAPE} {SNIPPETS[snippet]} end)")
    assert "died" not in got


async def test_the_port_of_a_connection_has_the_items_of_a_beam(pair: ConformancePair) -> None:
    if over_tcp(pair.carrier):
        assert await pair.same(THE_PORT) != "[]"
    else:
        # quic_dist shares a socket that knows no peer.
        assert await pair.eval(THE_PORT) != "[]"


async def test_the_bytes_of_ended_connections_are_counted(pair: ConformancePair) -> None:
    total = "{{_, I}, {_, O}} = rpc:call(PEER, erlang, statistics, [io]), {I, O}"
    before = await pair.eval(total)
    assert (
        await pair.eval(
            "true = erlang:monitor_node(PEER, true), erlang:disconnect_node(PEER), "
            "receive {nodedown, PEER} -> down end"
        )
        == "down"
    )
    after = await pair.eval(total)
    assert all(int(now) > int(then) for then, now in zip(numbers(before), numbers(after), strict=True))


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+", text)


@pytest.mark.otp_application("observer")
async def test_etop_shows_the_processes_of_a_python_node(pair: ConformancePair) -> None:
    if erl_facts()[0] == 27:
        pytest.skip("etop of OTP 27 traces other nodes in spite of {tracing, off}")
    waiting = pair.node.spawn(waits, name="waiting")
    for _ in range(7):
        waiting.send(waiting.pid, Atom("message"))
    screen = (
        await pair.beam.eval_bytes(f"(fun() -> {ETOP} end)()".replace("PEER", f"'{pair.node.name}'"))
    ).decode()
    assert pair.node.name in screen
    line = next(line for line in screen.splitlines() if " waiting " in line)
    assert re.search(r" 7 +'asyncio\.locks':'Eve", line), screen
    assert re.search(r"counter .* gen_server:loop/7", screen), screen
    total = re.search(r"total +(\d+)", screen)
    assert total is not None
    assert int(total[1]) > 1000  # kB


async def waits(process: object) -> None:
    await asyncio.Event().wait()


async def test_a_node_without_introspection_refuses_the_observer(beams: Beams) -> None:
    """By what the observer of each OTP shows as an error; ``undef`` ends that of OTP 29."""
    async with conformance_pair(beams) as both:
        assert await both.eval("rpc:call(PEER, observer_backend, sys_info, [])") == "{badrpc,notsup}"
        ask = "try erpc:call(PEER, observer_backend, sys_info, []) catch error:{erpc, R} -> R end"
        assert await both.eval(ask) == "notsup"
        assert "undef" in await both.eval("rpc:call(PEER, erlang, memory, [])")
