"""Erlang snippets that call a Python node and a BEAM; ``PEER`` is the called node.

The modules are the services on the BEAM; ``test_services_beam`` has the same services in Python.
"""

from __future__ import annotations

#: Runs Body in its own process, so that no message is left for another test.
APART = "Apart = fun(Body) -> P = self(), {_, M} = spawn_monitor(fun() -> P ! {apart, Body()} end), "
APART += "receive {apart, R} -> demonitor(M, [flush]), R; {'DOWN', M, _, _, Why} -> {died, Why} end end, "

#: What a node of this module offers to be called, in Erlang; :func:`offer` is the same in Python.
PY_ERL = """
-module(py).
-compile([export_all, nowarn_export_all]).
add(A, B) -> A + B.
later(X) -> receive after 5 -> X end.
leaves() -> exit(gone).
throws() -> throw(ball).
fails() -> error(oops).
pid_of(Name) -> whereis(Name).
tell(Pid, X) -> Pid ! X.
hangs() -> receive never -> ok end.
"""

COUNTER_ERL = """
-module(counter).
-behaviour(gen_server).
-compile([export_all, nowarn_export_all]).
start() -> {ok, Pid} = gen_server:start({local, counter}, counter, [], []), Pid.
start_link() -> gen_server:start_link(counter, [], []).
init([]) -> {ok, #{count => 0, asked => []}}.
handle_call(get, _, #{count := N} = S) -> {reply, N, S};
handle_call({add, M}, _, #{count := N} = S) -> {reply, N + M, S#{count := N + M}};
handle_call(later, From, #{asked := A} = S) -> {noreply, S#{asked := [From | A]}};
handle_call({then, X}, _, S) -> {reply, first, S, {continue, X}};
handle_call({wait, T}, From, #{asked := A} = S) -> {noreply, S#{asked := [From | A]}, T};
handle_call({wait_replied, T}, _, S) -> {reply, ok, S, T};
handle_call({stop, R}, _, S) -> {stop, R, stopped, S};
handle_call({stop_silent, R}, _, S) -> {stop, R, S};
handle_call(sleep, _, S) -> {reply, slept, S, hibernate};
handle_call({leave, R}, _, _) -> exit(R).
handle_cast({add, M}, #{count := N} = S) -> {noreply, S#{count := N + M}};
handle_cast(answer, #{asked := A, count := N} = S) ->
  [gen_server:reply(F, {counted, N}) || F <- A], {noreply, S#{asked := []}};
handle_cast({monitor, What}, S) -> monitor(process, What), {noreply, S};
handle_cast({stop, R}, S) -> {stop, R, S}.
handle_info({add, M}, #{count := N} = S) -> {noreply, S#{count := N + M}};
handle_info(timeout, #{asked := A} = S) ->
  [gen_server:reply(F, timed_out) || F <- A], {noreply, S#{asked := [], count := -1}};
handle_info(_, S) -> {noreply, S}.
handle_continue(X, #{count := N} = S) -> {noreply, S#{count := {X, N}}}.
code_change(_, #{count := N} = S, M) when is_integer(M) -> {ok, S#{count := N + M}};
code_change(Vsn, _, _) -> exit({no, Vsn}).
terminate(R, _) -> case whereis(undertaker) of undefined -> ok; P -> P ! {terminated, R} end.
"""

SUPERVISOR_ERL = """
-module(one_sup).
-behaviour(supervisor).
-compile([export_all, nowarn_export_all]).
start(Args) -> {ok, Pid} = supervisor:start_link(one_sup, Args), unlink(Pid), Pid.
init({Flags, Children}) -> {ok, {Flags, Children}}.
"""

#: Calls of what PY_ERL has.
CALLS = {
    "rpc:call": "rpc:call(PEER, py, add, [1, 2])",
    "rpc:call of what waits": 'rpc:call(PEER, py, later, [{a, "b"}])',
    "rpc:call, exit": "rpc:call(PEER, py, leaves, [])",
    "rpc:call, throw": "rpc:call(PEER, py, throws, [])",
    "rpc:call, error": "{badrpc, {'EXIT', {R, [{M, F, A, _} | _]}}} = rpc:call(PEER, py, fails, []), {R,"
    " M, F, A}",
    "rpc:call, undef module": "rpc:call(PEER, nomodule, f, [1])",
    "rpc:call, undef function": "rpc:call(PEER, py, nofunction, [])",
    "rpc:call, undef arity": "rpc:call(PEER, py, add, [1])",
    "rpc:call, timeout": "rpc:call(PEER, py, hangs, [], 20)",
    "rpc:call with timeout": "rpc:call(PEER, py, add, [1, 2], 5000)",
    "rpc:block_call": "[rpc:block_call(PEER, py, F, A) || {F, A} <- [{add, [1, 2]}, {later, [x]},"
    " {leaves, []}]]",
    "rpc:block_call, undef": "rpc:block_call(PEER, py, nofunction, [])",
    "rpc:async_call": "Keys = [rpc:async_call(PEER, py, F, A) || {F, A} <- [{later, [x]}, {add, [1, 2]},"
    " {leaves, []}]],"
    " [rpc:yield(K) || K <- Keys]",
    "rpc:nb_yield": "K = rpc:async_call(PEER, py, hangs, []), rpc:nb_yield(K, 10)",
    "rpc:multicall": "rpc:multicall([node(), PEER], py, add, [1, 2])",
    "rpc:multicall, exit": "rpc:multicall([node(), PEER], py, leaves, [])",
    "rpc:multicall, a node that is not": "rpc:multicall(['nobody@127.0.0.1', PEER], py, later, [x], 10000)",
    "rpc:multicall, timeout": "rpc:multicall([PEER], py, hangs, [], 20)",
    "rpc:cast": "rpc:cast(PEER, py, tell, [self(), told]), receive told -> told end",
    "rpc:eval_everywhere": "rpc:eval_everywhere([PEER], py, tell, [self(), told]), receive told -> told end",
    "erpc:call": "erpc:call(PEER, py, add, [1, 2])",
    "erpc:call, exit": "try erpc:call(PEER, py, leaves, []) catch C:R -> {C, R} end",
    "erpc:call, throw": "try erpc:call(PEER, py, throws, []) catch C:R -> {C, R} end",
    "erpc:call, error": "try erpc:call(PEER, py, fails, []) "
    "catch C:{exception, R, [{M, F, A, _} | _]} -> {C, R, M, F, A} end",
    "erpc:call, undef": "try erpc:call(PEER, py, nofunction, [x]) catch C:R -> {C, R} end",
    "erpc:call, timeout": "try erpc:call(PEER, py, hangs, [], 20) catch C:R -> {C, R} end",
    "erpc:multicall": "erpc:multicall([node(), PEER], py, add, [1, 2])",
    "erpc:multicall, exit": "erpc:multicall([node(), PEER], py, leaves, [])",
    "erpc:multicall, throw": "erpc:multicall([PEER, 'nobody@127.0.0.1'], py, throws, [])",
    "erpc:cast": "erpc:cast(PEER, py, tell, [self(), told]), receive told -> told end",
    "erpc:multicast": "erpc:multicast([node(), PEER], py, tell, [self(), told]),"
    " receive told -> receive told -> both end end",
    "erpc:send_request": "erpc:receive_response(erpc:send_request(PEER, py, later, [x]))",
    "erpc:wait_response": "R = erpc:send_request(PEER, py, later, [x]),"
    " F = fun F(no_response) -> F(erpc:wait_response(R, 5)); F(Got) -> Got end, F(no_response)",
    "erpc:check_response": "R = erpc:send_request(PEER, py, add, [1, 2]), receive M ->"
    " erpc:check_response(M, R) end",
    "erpc:reqids": "C0 = erpc:reqids_new(), C1 = erpc:send_request(PEER, py, add, [1, 2], one, C0),"
    " C2 = erpc:send_request(PEER, py, add, [3, 4], two, C1),"
    " {A, LA, C3} = erpc:receive_response(C2, 5000, true), {B, LB, C4} = erpc:receive_response(C3,"
    " 5000, true),"
    " {lists:sort([{LA, A}, {LB, B}]), erpc:reqids_size(C4)}",
    "features_request": "{rex, PEER} ! {self(), features_request}, receive {features_reply, N, F} -> {N,"
    " F} end",
    "a C node's rex": "{rex, PEER} ! {self(), {call, py, add, [1, 2], user}}, receive {rex, R} -> R end",
    "gen_server:call to rex": "gen_server:call({rex, PEER}, {call, py, later, [x], group_leader()})",
}

#: To ``U``, the process ``user`` of a node; what is read is at its end there.
IO = {
    "format": 'io:format(U, "~p ~ts~n", [{a, "b"}, [229, 955]])',
    "format that fails": 'try io:format(U, "~p~n", []) catch error:badarg -> badarg end',
    "put_chars": '[io:put_chars(U, C) || C <- ["x\\n", <<"y\\n">>, [["z"], <<"w"/utf8>>, $\\n], []]]',
    "put_chars of no text": "try io:put_chars(U, [an_atom]) catch error:badarg -> badarg end",
    "nl, write": "[io:nl(U), io:write(U, {a, [1.0, $b]}), io:nl(U)]",
    "requests": 'io:requests(U, [{put_chars, unicode, "a"}, {format, "~w", [b]}, nl])',
    "setopts": "[io:setopts(U, O) || O <- [[], [binary], [{binary, false}], [{encoding, unicode}]]]",
    "getopts": "{lists:keyfind(encoding, 1, io:getopts(U)), lists:keymember(binary, 1, io:getopts(U))}",
    "without Unicode": "[begin R = make_ref(), U ! {io_request, self(), R, Q},"
    ' receive {io_reply, R, A} -> A end end || Q <- [{put_chars, "old\\n"},'
    " {put_chars, latin1, [229, <<229>>, $\\n]},"
    ' {put_chars, io_lib, format, ["~w~n", [1]]}, {put_chars, latin1, io_lib, nl, []}]]',
    "what is none": "[begin R = make_ref(), U ! {io_request, self(), R, Q},"
    " receive {io_reply, R, A} -> element(1, A) end end"
    " || Q <- [nonsense, {nonsense, 1}, {put_chars, latin1, [400]}]]",
}

#: To the server ``counter`` of COUNTER_ERL.
GEN_SERVER = {
    "call": "gen_server:call({counter, PEER}, {add, 2})",
    "two calls": "C = {counter, PEER}, [gen_server:call(C, {add, N}) || N <- [1, 2, 3]]",
    "cast": "C = {counter, PEER}, gen_server:cast(C, {add, 5}), gen_server:call(C, get)",
    "info": "C = {counter, PEER}, C ! {add, 5}, gen_server:call(C, get)",
    "abcast": "abcast = gen_server:abcast([PEER], counter, {add, 5}), gen_server:call({counter, PEER}, get)",
    "later replies": "C = {counter, PEER}, Asked = [gen_server:send_request(C, later) || _ <- [1, 2]],"
    " 7 = gen_server:call(C, {add, 7}), gen_server:cast(C, answer),"
    " [gen_server:receive_response(R, 5000) || R <- Asked]",
    "multi_call": "gen_server:multi_call([PEER], counter, {add, 1})",
    "multi_call with timeout": "gen_server:multi_call([PEER, 'nobody@127.0.0.1'], counter, {add, 1}, 5000)",
    "multi_call, no answer": "gen_server:multi_call([PEER], counter, later, 20)",
    "send_request": "gen_server:receive_response(gen_server:send_request({counter, PEER}, get), 5000)",
    "wait_response": "R = gen_server:send_request({counter, PEER}, later),"
    " timeout = gen_server:wait_response(R, 10),"
    " gen_server:cast({counter, PEER}, answer), gen_server:wait_response(R, 5000)",
    "check_response": "R = gen_server:send_request({counter, PEER}, get), receive M ->"
    " gen_server:check_response(M, R) end",
    "reqids": "C = gen_server:send_request({counter, PEER}, get, label, gen_server:reqids_new()),"
    " {A, L, D} = gen_server:receive_response(C, 5000, true), {A, L, gen_server:reqids_size(D)}",
    "continue": "C = {counter, PEER}, [gen_server:call(C, {then, more}), gen_server:call(C, get)]",
    "timeout": "C = {counter, PEER}, [gen_server:call(C, {wait, 5}), gen_server:call(C, get)]",
    "hibernate": "C = {counter, PEER}, [gen_server:call(C, R) || R <- [sleep, {add, 1}, sleep, get]]",
    "timeout called off": "C = {counter, PEER}, [gen_server:call(C, {wait_replied, 60000}),"
    " gen_server:call(C, get)]",
    "timeout of the call": "gen_server:call({counter, PEER}, later, 10)",
    "nobody": "gen_server:call({nobody, PEER}, get)",
    "pid": "P = rpc:call(PEER, py, pid_of, [counter]), gen_server:call(P, {add, 1})",
    "stop with reply": "C = {counter, PEER}, M = monitor(process, C), A = gen_server:call(C, {stop,"
    " {shutdown, x}}),"
    " receive {'DOWN', M, T, O, R} -> {A, T, O, R} end",
    "stop without": "gen_server:call({counter, PEER}, {stop_silent, normal})",
    "exit": "gen_server:call({counter, PEER}, {leave, {with, reason}})",
    "stop by cast": "C = {counter, PEER}, M = monitor(process, C), gen_server:cast(C, {stop, because}),"
    " receive {'DOWN', M, T, O, R} -> {T, O, R} end",
    "gen_server:stop": "C = {counter, PEER}, M = monitor(process, C), A = gen_server:stop(C),"
    " receive {'DOWN', M, _, _, R} -> {A, R} end",
    "gen_server:stop with reason": "C = {counter, PEER}, M = monitor(process, C), A = gen_server:stop(C,"
    " done, 5000),"
    " receive {'DOWN', M, _, _, R} -> {A, R} end",
    "killed": "P = rpc:call(PEER, py, pid_of, [counter]), M = monitor(process, P), exit(P, kill),"
    " receive {'DOWN', M, _, _, R} -> R end",
    "link": "process_flag(trap_exit, true), P = rpc:call(PEER, py, pid_of, [counter]), link(P),"
    " gen_server:cast(P, {stop, because}), receive {'EXIT', P, R} -> R end",
}

#: To the same, by the module ``sys``.
SYS = {
    "get_state": "sys:get_state({counter, PEER})",
    "get_status": "{status, P, {module, M}, [Dict, State, Parent, Debug,"
    " Misc]} = sys:get_status({counter, PEER}),"
    " {node(P), M, lists:sort([element(1, E) || E <- Dict, is_tuple(E)]) -- [rand_seed], State,"
    " Parent =:= P, Debug,"
    " [{T, [case E of {K, V} when is_pid(V) -> {K, pid}; _ -> E end || E <- D]} || {T, D} <- Misc,"
    " T =:= data]}",
    "header": "{status, _, _, [_, _, _, _, [{header, H} | _]]} = sys:get_status({counter, PEER}), H",
    "suspend": "C = {counter, PEER}, ok = sys:suspend(C), R = gen_server:send_request(C, {add, 3}),"
    " timeout = gen_server:wait_response(R, 20), #{count := 0} = sys:get_state(C),"
    " {status, _, _, [_, S | _]} = sys:get_status(C), ok = sys:resume(C), {S,"
    " gen_server:receive_response(R, 5000)}",
    "replace_state": "C = {counter, PEER}, S = sys:replace_state(C, fun(#{count := N} = S) ->"
    " S#{count := N + 9} end),"
    " {S, gen_server:call(C, get)}",
    "replace_state that fails": "sys:replace_state({counter, PEER}, fun(_) -> exit(no) end)",
    "terminate": "C = {counter, PEER}, M = monitor(process, C), ok = sys:terminate(C, {shutdown, x}),"
    " receive {'DOWN', M, _, _, R} -> R end",
    "no_debug": "sys:no_debug({counter, PEER})",
    "an unknown message": "{ok, R} = gen:call({counter, PEER}, system, what), R",
    "an unknown debug command": "{ok, R} = gen:call({counter, PEER}, system, {debug, what}), R",
    "change_code": "C = {counter, PEER}, ok = sys:suspend(C), R = sys:change_code(C, counter, 1, 5),"
    " ok = sys:resume(C), {R, gen_server:call(C, get)}",
    "change_code that fails": "C = {counter, PEER}, sys:suspend(C), R = sys:change_code(C, counter, 1, x),"
    " sys:resume(C), {R, gen_server:call(C, get)}",
    "change_code unless suspended": "sys:change_code({counter, PEER}, counter, undefined, [])",
    "debugging that is off": "C = {counter, PEER}, [sys:statistics(C, get), sys:statistics(C, false),"
    " sys:log(C, get), sys:log(C, false), sys:trace(C, false), sys:log_to_file(C, false)]",
}

#: To ``net_kernel``.
NET_KERNEL = {
    "net_adm:ping": "net_adm:ping(PEER)",
    "ticktime": "gen_server:call({net_kernel, PEER}, ticktime)",
    "longnames": "gen_server:call({net_kernel, PEER}, longnames)",
    "nodename": "gen_server:call({net_kernel, PEER}, nodename)",
    "allowed": "gen_server:call({net_kernel, PEER}, allowed)",
    "get_state": "gen_server:call({net_kernel, PEER}, get_state)",
    "unknown": "gen_server:call({net_kernel, PEER}, what, 20)",
}

#: The children of that supervisor, for a supervisor on a BEAM.
CHILD_SPECS = (
    "[#{id => Id, start => {counter, start_link, []}, restart => R, shutdown => S}"
    " || {Id, R, S} <- [{one, permanent, 5000}, {two, transient, brutal_kill}, {three, temporary,"
    " infinity}]]"
)

#: To a registered supervisor ``sup``.
SUPERVISOR = {
    "which_children": "[{Id, is_pid(P), T} || {Id, P, T, _} <- supervisor:which_children({sup, PEER})]",
    "count_children": "supervisor:count_children({sup, PEER})",
    "terminate_child": "S = {sup, PEER}, R = supervisor:terminate_child(S, two),"
    " {R, [{Id, is_pid(P)} || {Id, P, _, _} <- supervisor:which_children(S)],"
    " supervisor:count_children(S)}",
    "terminate a temporary child": "S = {sup, PEER}, R = supervisor:terminate_child(S, three),"
    " {R, supervisor:count_children(S)}",
    "restart_child": "S = {sup, PEER}, ok = supervisor:terminate_child(S, two), {ok,"
    " P} = supervisor:restart_child(S, two),"
    " {node(P), supervisor:restart_child(S, two), supervisor:count_children(S)}",
    "delete_child": "S = {sup, PEER}, A = supervisor:delete_child(S, two),"
    " ok = supervisor:terminate_child(S, two),"
    " {A, supervisor:delete_child(S, two), supervisor:delete_child(S, two), supervisor:count_children(S)}",
    "get_childspec": "[begin {ok, M} = supervisor:get_childspec({sup, PEER}, I), maps:without([start,"
    " modules], M) end"
    " || I <- [one, two, three]]",
    "no such child": "S = {sup, PEER}, [supervisor:F(S, none) ||"
    " F <- [terminate_child, restart_child, delete_child, get_childspec]]",
    "a child that ends": "S = {sup, PEER}, [{_, P1, _, _}] = [C || {one, _, _,"
    " _} = C <- supervisor:which_children(S)],"
    " M = monitor(process, P1), gen_server:cast(P1, {stop, normal}), receive {'DOWN', M, _, _, R} -> R end,"
    " F = fun F() -> case lists:keyfind(one, 1, supervisor:which_children(S)) of"
    " {_, P2, _, _} when is_pid(P2), P2 =/= P1 -> again; _ -> F() end end, {R, F()}",
    "a temporary child that crashes": "S = {sup, PEER},"
    " {_, P, _, _} = lists:keyfind(three, 1, supervisor:which_children(S)), M = monitor(process,"
    " P), exit(P, kill),"
    " receive {'DOWN', M, _, _, R} -> R end, {R, supervisor:count_children(S)}",
    "too many restarts": "S = {sup, PEER}, M = monitor(process, S),"
    " {_, P1, _, _} = lists:keyfind(one, 1, supervisor:which_children(S)), exit(P1, kill),"
    " F = fun F() -> case lists:keyfind(one, 1, supervisor:which_children(S)) of"
    " {_, P2, _, _} when is_pid(P2), P2 =/= P1 -> P2; _ -> F() end end, exit(F(), kill),"
    " receive {'DOWN', M, _, _, R} -> R end",
    "stopped": "S = {sup, PEER}, {_, P, _, _} = lists:keyfind(one, 1, supervisor:which_children(S)),"
    " M = monitor(process, P), ok = gen_server:stop(S), receive {'DOWN', M, _, _, R} -> R end",
}

#: To a registered supervisor ``simple`` of such children, all alike.
SIMPLE_ONE_FOR_ONE = {
    "start_child": "S = {simple, PEER}, {ok, P} = supervisor:start_child(S, [[]]), {node(P),"
    " gen_server:call(P, {add, 2}), [{Id, X =:= P, T} || {Id, X, T, _} <- supervisor:which_children(S)]}",
    "count_children": "S = {simple, PEER}, A = supervisor:count_children(S),"
    " [{ok, _}, {ok, _}] = [supervisor:start_child(S, [[]]) || _ <- [1, 2]],"
    " {A, supervisor:count_children(S)}",
    "a child that ends as it should": "S = {simple, PEER}, {ok, P} = supervisor:start_child(S, [[]]),"
    " gen_server:stop(P), {supervisor:which_children(S), supervisor:count_children(S)}",
    "a child that crashes": "S = {simple, PEER}, {ok, P} = supervisor:start_child(S, [[]]), exit(P, kill),"
    " F = fun F() -> case supervisor:which_children(S) of [{undefined, Q, worker, _}] when is_pid(Q),"
    " Q =/= P -> gen_server:call(Q, get); _ -> F() end end, F()",
    "terminate_child": "S = {simple, PEER}, {ok, P} = supervisor:start_child(S, [[]]),"
    " M = monitor(process, P), A = [supervisor:terminate_child(S, P), supervisor:terminate_child(S, P)],"
    " receive {'DOWN', M, _, _, R} -> {A, R, supervisor:count_children(S)} end",
    "orders by an id": "S = {simple, PEER}, [supervisor:F(S, one) ||"
    " F <- [terminate_child, restart_child, delete_child]]",
    "get_childspec": "S = {simple, PEER}, {ok, P} = supervisor:start_child(S, [[]]),"
    " [case supervisor:get_childspec(S, I) of {ok, M} -> maps:without([start, modules], M); E -> E end"
    " || I <- [one, none, P]]",
    "stopped": "S = {simple, PEER}, "
    " Ps = [begin {ok, P} = supervisor:start_child(S, [[]]), P end || _ <- [1, 2, 3]],"
    " Ms = [monitor(process, P) || P <- Ps], ok = gen_server:stop(S),"
    " [receive {'DOWN', M, _, _, R} -> R end || M <- Ms]",
}

#: To a node whose processes may be looked at; ``counter`` is a server there.
INTROSPECTION = {
    "pinfo": "P = rpc:call(PEER, erlang, whereis, [counter]), I = rpc:pinfo(P),"
    " {lists:sort(proplists:get_keys(I)) -- [current_stacktrace],"
    " [lists:keyfind(K, 1, I) || K <- [registered_name, status, message_queue_len, links, trap_exit,"
    " error_handler, priority, suspending]]}",
    "pinfo, one item": "P = rpc:call(PEER, erlang, whereis, [counter]),"
    " [rpc:pinfo(P, K) || K <- [registered_name, trap_exit, message_queue_len]]",
    "pinfo, what is not": "P = rpc:call(PEER, erlang, whereis, [counter]),"
    " {badrpc, {'EXIT', {R, _}}} = rpc:pinfo(P, nothing), R",
    "pinfo, who is gone": "P = rpc:call(PEER, erlang, whereis, [counter]), M = monitor(process, P),"
    " exit(P, kill),"
    " receive {'DOWN', M, _, _, _} -> [rpc:pinfo(P), rpc:call(PEER, erlang, is_process_alive, [P])] end",
    "the observer's items": "P = rpc:call(PEER, erlang, whereis, [counter]),"
    " Items = [binary, catchlevel, current_function, error_handler, garbage_collection, group_leader,"
    " heap_size, initial_call, last_calls, links, memory, message_queue_len, monitored_by, monitors,"
    " priority, reductions, registered_name, sequential_trace_token, stack_size, status, suspending,"
    " total_heap_size, trace, trap_exit], [K || {K, _} <- rpc:pinfo(P, Items)]",
    "the observer's way to a state": "P = rpc:call(PEER, erlang, whereis, [counter]),"
    " {M, _, _} = rpc:call(PEER, proc_lib, translate_initial_call, [P]),"
    " {behaviour, [B]} = lists:keyfind(behaviour, 1, rpc:call(PEER, M, module_info, [attributes])),"
    " {status, _, _, [_, _, _, _, [_, _, {data, State}]]} = rpc:call(PEER, sys, get_status, [P,"
    " 200]), {B, State}",
    "monitors": "C = {counter, PEER}, P = rpc:call(PEER, erlang, whereis, [counter]),"
    " [gen_server:cast(C, {monitor, W}) || W <- [self(), {beam_evaluator, node()}, rex, nobody, self()]],"
    " gen_server:call(C, get), {monitors, L} = rpc:pinfo(P, monitors), Me = self(),"
    " {length(L), lists:sort([case M of {process, Me} -> me; {process, {N, At}} -> {N, At} end || M <- L])}",
    "messages": "C = {counter, PEER}, P = rpc:call(PEER, erlang, whereis, [counter]), sys:suspend(C),"
    " [P ! X || X <- [one, two]], A = [rpc:pinfo(P, [messages, message_queue_len])], sys:resume(C),"
    " gen_server:call(C, get), {A, rpc:pinfo(P, messages)}",
    "recon's items": "P = rpc:call(PEER, erlang, whereis, [counter]), [K || {K, _} <- rpc:pinfo(P,"
    " [registered_name, dictionary, group_leader, status, links, monitors, monitored_by, trap_exit,"
    " initial_call, current_stacktrace, memory, message_queue_len, heap_size, total_heap_size,"
    " garbage_collection, reductions, message_queue_data, max_heap_size, min_heap_size, binary, magic_ref])]",
    "nodes": "[rpc:call(PEER, erlang, node, []), rpc:call(PEER, erlang, system_info, [wordsize])]",
    "processes": "P = rpc:call(PEER, erlang, whereis, [counter]), [lists:member(P, rpc:call(PEER,"
    " erlang, processes, [])),"
    " lists:member(counter, rpc:call(PEER, erlang, registered, [])), rpc:call(PEER, erlang, whereis,"
    " [nobody]),"
    " rpc:call(PEER, erlang, is_process_alive, [P])]",
}
