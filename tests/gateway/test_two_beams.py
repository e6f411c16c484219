"""Two stock BEAMs over two gateways: each check gives what it gives over TCP."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.gateway.gateways import A, B, Pair

pytestmark = pytest.mark.beam

BYTES_OUT = 'quicdist_gateway_bytes_total{direction="to_remote"}'

#: Each is evaluated on A, where 'Peer' is B.
CHECKS = {
    "ping": "{net_adm:ping(Peer), nodes(), erpc:call(Peer, erlang, nodes, [])}",
    "rpc": """{rpc:call(Peer, lists, reverse, [[1, 2, 3]]), rpc:call(Peer, erlang, node, []),
        rpc:call(Peer, lists, nonsense, []), rpc:multicall([node(), Peer], erlang, node, [])}""",
    "erpc raises": "try erpc:call(Peer, erlang, error, [oops]) catch Class:Reason -> {Class, Reason} end",
    "links": """begin
        process_flag(trap_exit, true),
        Linked = [spawn_link(Peer, fun() -> exit(R) end) || R <- [normal, kill, {shutdown, 1}]],
        Reasons = [receive {'EXIT', P, R} -> R end || P <- Linked],
        Other = spawn_link(Peer, timer, sleep, [infinity]),
        exit(Other, bye),
        Last = receive {'EXIT', Other, W} -> W end,
        Unlinked = spawn_link(Peer, timer, sleep, [infinity]),
        unlink(Unlinked), exit(Unlinked, kill),
        Silence = receive {'EXIT', Unlinked, _} -> told after 100 -> silent end,
        {Reasons, Last, Silence} end""",
    "monitors": """begin
        {_, M1} = spawn_monitor(Peer, fun() -> exit(done) end),
        M2 = monitor(process, {no_such_name, Peer}),
        P3 = spawn(Peer, timer, sleep, [infinity]),
        M3 = monitor(process, P3), exit(P3, kill),
        P4 = spawn(Peer, timer, sleep, [infinity]),
        M4 = monitor(process, P4), demonitor(M4, [flush]), exit(P4, kill),
        {[receive {'DOWN', M, _, _, R} -> R end || M <- [M1, M2, M3]],
         receive {'DOWN', M4, _, _, _} -> told after 100 -> silent end} end""",
    "spawn_request": """begin
        Id = spawn_request(Peer, erlang, exit, [oops], [monitor]),
        Started = receive {spawn_reply, Id, ok, Pid} -> Pid end,
        receive {'DOWN', Id, process, Started, Why} -> Why end end""",
    "order of one pair, small and large": """begin
        Self = self(),
        Sizes = [case N rem 40 of 0 -> 300000; 7 -> 70000; _ -> N rem 100 end || N <- lists:seq(1, 400)],
        Echo = spawn(Peer, fun Loop() -> receive {N, Bin} -> Self ! {N, byte_size(Bin)}, Loop() end end),
        [Echo ! {N, <<0:(S * 8)>>} || {N, S} <- lists:zip(lists:seq(1, 400), Sizes)],
        Got = [receive {_, _} = M -> M end || _ <- Sizes],
        exit(Echo, kill),
        Got =:= lists:zip(lists:seq(1, 400), Sizes) end""",
    "many pairs at once": """begin
        Self = self(),
        [spawn(fun() -> Self ! {N, erpc:call(Peer, lists, sum, [lists:seq(1, N)])} end)
         || N <- lists:seq(1, 200)],
        [receive {N, Sum} -> Sum end || N <- lists:seq(1, 200)] end""",
    "a reply before the end of a server": """begin
        Code = fun() -> register(short_lived, self()),
            receive {'$gen_call', From, stop} -> gen_server:reply(From, stopped) end end,
        lists:usort([begin
            P = erpc:call(Peer, fun() -> Parent = self(),
                spawn(fun() -> register(short_lived, self()), Parent ! ready,
                    receive {'$gen_call', From, stop} -> gen_server:reply(From, stopped) end end),
                receive ready -> whereis(short_lived) end end),
            Answer = case N rem 2 of
                0 -> catch gen_server:call(P, stop);
                1 -> catch gen_server:call({short_lived, Peer}, stop) end,
            M = monitor(process, P), receive {'DOWN', M, _, _, _} -> ok end,
            Answer end || N <- lists:seq(1, 60)]) end""",
    "user code loading": """begin
        Folder = filename:join("/tmp", "quicdist_nl_" ++ os:getpid()), ok = filelib:ensure_path(Folder),
        Forms = [begin {ok, T, _} = erl_scan:string(S), {ok, F} = erl_parse:parse_form(T), F end
            || S <- ["-module(carried).", "-export([value/0]).", "value() -> {carried, node()}."]],
        {ok, carried, Binary} = compile:forms(Forms),
        ok = file:write_file(filename:join(Folder, "carried.beam"), Binary),
        true = code:add_patha(Folder),
        Loaded = c:nl(carried),
        Result = {Loaded, rpc:call(Peer, carried, value, [])},
        ok = file:del_dir_r(Folder), code:del_path(Folder), Result end""",
    "global": """begin
        ok = global:sync(),
        Server = spawn(fun() -> receive stop -> ok end end),
        yes = global:register_name(carried, Server),
        Seen = rpc:call(Peer, global, whereis_name, [carried]) =:= Server,
        No = rpc:call(Peer, global, register_name, [carried, whereis(init)]),
        Locked = global:trans({carried_lock, self()}, fun() ->
            rpc:call(Peer, global, set_lock, [{carried_lock, other}, [node(), Peer], 0]) end),
        Server ! stop,
        (fun Wait(0) -> exit(still_there); Wait(N) ->
            case rpc:call(Peer, global, whereis_name, [carried]) of
                undefined -> ok; _ -> timer:sleep(20), Wait(N - 1) end end)(250),
        {Seen, No, Locked} end""",
    "pg": """begin
        {ok, Scope} = pg:start(carried_scope),
        {ok, Other} = erpc:call(Peer, fun() -> {ok, P} = pg:start(carried_scope), unlink(P), {ok, P} end),
        {_, []} = pg:monitor(carried_scope, group),
        ok = erpc:call(Peer, pg, join, [carried_scope, group, Other]),
        Joined = receive {_, join, group, [Other]} -> joined end,
        Members = pg:get_members(carried_scope, group) =:= [Other],
        exit(Other, kill),
        Left = receive {_, leave, group, [Other]} -> left end,
        unlink(Scope), exit(Scope, kill),
        {Joined, Members, Left} end""",
    "output of the other node": """begin
        Self = self(),
        Leader = spawn(fun Loop() -> receive {io_request, From, As, {put_chars, _, M, F, Args}} ->
            Self ! {out, unicode:characters_to_list(apply(M, F, Args))}, From ! {io_reply, As, ok}, Loop()
            end end),
        Old = group_leader(), group_leader(Leader, self()),
        ok = rpc:call(Peer, io, format, ["~p says ~s", [Peer, "hello"]]),
        group_leader(Old, self()),
        receive {out, Text} -> Text end end""",
    "disconnect and connect again": """begin
        net_kernel:monitor_nodes(true, [nodedown_reason]),
        true = net_kernel:disconnect(Peer),
        Down = receive {nodedown, Peer, Info} -> Info end,
        pong = net_adm:ping(Peer),
        Up = receive {nodeup, Peer, _} -> up end,
        net_kernel:monitor_nodes(false, [nodedown_reason]),
        {Down, Up} end""",
    "a wrong cookie": """begin
        net_kernel:disconnect(Peer),
        erlang:set_cookie(Peer, wrong), Wrong = net_adm:ping(Peer),
        erlang:set_cookie(Peer, secret), {Wrong, net_adm:ping(Peer)} end""",
    "a name that nobody has": """begin
        [_, Host] = string:split(atom_to_list(Peer), "@"),
        {net_adm:ping(list_to_atom("nobody@" ++ Host)),
         rpc:call(list_to_atom("nobody@" ++ Host), erlang, node, [])} end""",
    "both dial at once": """begin
        Rounds = [begin
            net_kernel:disconnect(Peer),
            {Mine, Ref} = {self(), make_ref()},
            erlang:send_after(0, Mine, Ref), receive Ref -> ok end,
            net_adm:ping(Peer) end || _ <- lists:seq(1, 5)],
        lists:usort(Rounds) end""",
}


#: Evaluated on A only: these take long.
LONG_CHECKS = {
    "a message of 64 MiB there": """begin
        Big = binary:copy(<<"0123456789abcdef">>, 4 * 1024 * 1024),
        {Size, Digest} = erpc:call(Peer, fun() -> {byte_size(Big), erlang:md5(Big)} end),
        {Size, Digest =:= erlang:md5(Big)} end""",
    "a message of 64 MiB back": """begin
        {Digest, Big} = erpc:call(Peer, fun() ->
            Big = binary:copy(<<"0123456789abcdef">>, 4 * 1024 * 1024), {erlang:md5(Big), Big} end),
        {byte_size(Big), Digest =:= erlang:md5(Big)} end""",
}


@pytest.mark.parametrize("check", CHECKS)
def test_two_beams_over_gateways_behave_as_over_tcp(check: str, over_gateways: Pair, over_tcp: Pair) -> None:
    source = f"(fun(Peer) -> {CHECKS[check]} end)('{B}')"
    expected = over_tcp.a.eval_now(source)
    assert over_gateways.a.eval_now(source) == expected, over_gateways.logged()
    # And from the node that was dialled.
    back = f"(fun(Peer) -> {CHECKS[check]} end)('{A}')"
    assert over_gateways.b.eval_now(back) == over_tcp.b.eval_now(back), over_gateways.logged()


@pytest.mark.parametrize("check", LONG_CHECKS)
def test_a_long_check_over_gateways_gives_what_it_gives_over_tcp(
    check: str, over_gateways: Pair, over_tcp: Pair
) -> None:
    source = f"(fun(Peer) -> {LONG_CHECKS[check]} end)('{B}')"
    assert over_gateways.a.eval_now(source) == over_tcp.a.eval_now(source), over_gateways.logged()


def memory(pid: int) -> int:
    """The resident memory of a process, in MiB."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS"))


@pytest.mark.gateway
def test_a_node_that_takes_nothing_holds_the_sender_back_with_bounded_memory(over_gateways: Pair) -> None:
    pair, total = over_gateways, 100
    loop = """fun Loop() -> receive
        {size, P} -> P ! {got, get(n)}, Loop();
        <<_/binary>> -> put(n, case get(n) of undefined -> 1; N -> N + 1 end), Loop() end end"""
    pair.a.eval_now(f"Sink = spawn('{B}', {loop}), pong = net_adm:ping('{B}')")
    before = [memory(gateway.process.pid) for gateway in pair.gateways]
    # Not its parent, which is another process of erl.
    beam = int(pair.b.eval_now("list_to_integer(os:getpid())"))
    os.kill(beam, signal.SIGSTOP)
    try:
        send = f"[Sink ! <<0:8388608>> || _ <- lists:seq(1, {total})]"
        pair.a.eval_now(f"Asking = self(), Sender = spawn(fun() -> {send}, Sink ! {{size, Asking}} end), ok")
        taken, now = -1.0, 0.0
        while now != taken:
            time.sleep(1)
            taken, now = now, pair.gateways[0].metrics()[BYTES_OUT]
        assert now < total * 2**20 / 2
        assert pair.a.eval_now("is_process_alive(Sender)") == "true"
        after = [memory(gateway.process.pid) for gateway in pair.gateways]
        grown = [now - then for now, then in zip(after, before, strict=True)]
        assert max(grown) < 64, grown
    finally:
        os.kill(beam, signal.SIGCONT)
    got = pair.a.eval_now("receive {got, Count} -> Count end", timeout=100)
    assert got == str(total)
