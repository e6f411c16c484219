%% A BEAM under mixed traffic; tests/soak/python_end.py is the same in Python. paths_end receives and sends.
-module(soak_end).
-export([start/1, progress/0, stop/0, held/0, exits/1]).

-define(PATIENCE, 60000).

exits(Number) -> exit({spawned, Number}).

%% Also again after a stop: counts go on.
start(Node) ->
    whereis(soak) =:= undefined andalso register(soak, spawn(fun soak/0)),
    soak ! {start, Node},
    ok.

progress() -> ask(progress).

%% Lets all come to its end.
stop() -> ask(stop).

ask(What) ->
    soak ! {What, self()},
    receive {soak, Answer} -> Answer after 2 * ?PATIENCE -> exit(timeout) end.

soak() ->
    process_flag(trap_exit, true),
    collect([], #{}, #{}, [], none).

workers(Node) ->
    Works = [{small, 100, fun() -> batch(Node, 100, mixed) end},
             {'64 KiB', 300, fun() -> batch(Node, 2, 65536) end},
             {'4 MiB', 4000, fun() -> batch(Node, 1, 4194304) end},
             {calls, 10, fun() -> call(Node) end},
             {spawns, 100, fun() -> spawns(Node) end}],
    Self = self(),
    [spawn_link(fun() -> works(Self, Name, Pause, Once) end) || {Name, Pause, Once} <- Works].

collect([], Counts, Times, Wrong, To) when To =/= none ->
    To ! {soak, ok},
    collect([], Counts, Times, Wrong, none);
collect(Workers, Counts, Times, Wrong, To) ->
    receive
        {start, Node} -> collect(workers(Node), Counts, Times, Wrong, To);
        {did, Name, Count} -> collect(Workers, add(Name, Count, Counts), Times, Wrong, To);
        {took, Nanoseconds} ->
            collect(Workers, Counts, add(bucket(Nanoseconds), 1, Times), Wrong, To);
        {wrong, What} -> collect(Workers, Counts, Times, [What | Wrong], To);
        {progress, From} ->
            From ! {soak, {maps:to_list(Counts), maps:to_list(Times), Wrong}},
            collect(Workers, Counts, Times, Wrong, To);
        {stop, From} ->
            [Worker ! stop || Worker <- Workers],
            collect(Workers, Counts, Times, Wrong, From);
        {'EXIT', Worker, normal} -> collect(lists:delete(Worker, Workers), Counts, Times, Wrong, To);
        {'EXIT', Worker, Reason} ->
            What = iolist_to_binary(io_lib:format("~0tP", [Reason, 12])),
            collect(lists:delete(Worker, Workers), Counts, Times, [What | Wrong], To)
    end.

add(Key, Count, Map) -> maps:update_with(Key, fun(Before) -> Before + Count end, Count, Map).

%% As tests/soak/histogram.py.
bucket(Nanoseconds) -> max(0, ceil(math:log2(max(Nanoseconds, 1000) / 1000) * 48)).

works(Parent, Name, Pause, Once) ->
    case Once() of
        {ok, Count} -> Parent ! {did, Name, Count};
        {took, Nanoseconds} -> Parent ! {did, Name, 1}, Parent ! {took, Nanoseconds};
        {wrong, What} -> Parent ! {wrong, iolist_to_binary(io_lib:format("~ts: ~0tP", [Name, What, 12]))}
    end,
    receive stop -> ok
    after round(Pause * (0.5 + rand:uniform())) -> works(Parent, Name, Pause, Once)
    end.

batch(Node, Count, Size) ->
    case paths_end:send(Node, [{1, Count, Size}], ?PATIENCE) of
        [{once, _, _}] -> {ok, Count};
        [Other] -> {wrong, Other}
    end.

call(Node) ->
    case paths_end:call(Node, 1, 1, ?PATIENCE) of
        [{once, _, Taken}] -> {took, Taken};
        [Other] -> {wrong, Other}
    end.

spawns(Node) ->
    Number = erlang:unique_integer([positive]) rem 1000000,
    {_, Monitor} = spawn_monitor(Node, soak_end, exits, [Number]),
    receive
        {'DOWN', Monitor, _, _, {spawned, Number}} -> {ok, 1};
        {'DOWN', Monitor, _, _, Reason} -> {wrong, Reason}
    after ?PATIENCE -> {wrong, late}
    end.

held() ->
    [garbage_collect(Process) || Process <- processes()],
    [{bytes, erlang:memory(total)}, {objects, length(processes())}, {descriptors, length(erlang:ports())}].
