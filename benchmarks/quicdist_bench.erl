%% The Erlang end of the benchmark: a driver, and the processes it is driven against.
-module(quicdist_bench).
-export([start/0, echo/4, push/4, pull/4, answer/5]).

start() ->
    [register(Name, spawn(Loop)) || {Name, Loop} <-
        [{echo, fun echo_loop/0}, {sink, fun sink_loop/0}, {source, fun source_loop/0}]],
    ok.

echo_loop() ->
    receive {From, Message} -> From ! Message end,
    echo_loop().

sink_loop() ->
    receive {From, Count} when is_integer(Count) -> take(Count), From ! done end,
    sink_loop().

source_loop() ->
    receive {From, Count, Size} -> give(From, Count, binary:copy(<<0>>, Size)) end,
    source_loop().

take(0) -> ok;
take(Count) -> receive <<_/binary>> -> take(Count - 1) end.

give(_, 0, _) -> ok;
give(To, Count, Data) -> To ! Data, give(To, Count - 1, Data).

%% All give nanoseconds; what has not come within Timeout milliseconds fails.

echo(Node, Count, Size, Timeout) ->
    Data = binary:copy(<<0>>, Size),
    in_process(Timeout, fun() ->
        Times = [timed(fun() -> {echo, Node} ! {self(), Data}, receive Data -> ok end end)
                 || _ <- lists:seq(1, Count)],
        lists:nth((Count + 1) div 2, lists:sort(Times))
    end).

push(Node, Count, Size, Timeout) ->
    Data = binary:copy(<<0>>, Size),
    in_process(Timeout, fun() ->
        timed(fun() ->
            {sink, Node} ! {self(), Count},
            give({sink, Node}, Count, Data),
            receive done -> ok end
        end)
    end).

pull(Node, Count, Size, Timeout) ->
    in_process(Timeout, fun() ->
        timed(fun() -> {source, Node} ! {self(), Count, Size}, take(Count) end)
    end).

%% An echo that is received by a new reference, behind Backlog other messages.
answer(Node, Count, Size, Backlog, Timeout) ->
    Data = binary:copy(<<0>>, Size),
    in_process(Timeout, fun() ->
        [self() ! {other, Number} || Number <- lists:seq(1, Backlog)],
        Times = [timed(fun() ->
                     Reference = make_ref(),
                     {echo, Node} ! {self(), {Reference, Data}},
                     receive {Reference, _} -> ok end
                 end)
                 || _ <- lists:seq(1, Count)],
        lists:nth((Count + 1) div 2, lists:sort(Times))
    end).

timed(Fun) ->
    Start = erlang:monotonic_time(nanosecond),
    Fun(),
    erlang:monotonic_time(nanosecond) - Start.

in_process(Timeout, Fun) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({value, Fun()}) end),
    receive
        {'DOWN', Monitor, _, _, {value, Value}} -> Value;
        {'DOWN', Monitor, _, _, Reason} -> exit(Reason)
    after Timeout ->
        exit(Pid, kill),
        exit(timeout)
    end.
