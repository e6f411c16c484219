%% The Erlang end of the benchmark: a driver, and the processes it is driven against.
-module(quicdist_bench).
-export([start/0, echo/4, push/5, pull/4, answer/5, maps/4, port_echo/5, bulk/6]).

start() ->
    [register(Name, spawn(Loop)) || {Name, Loop} <-
        [{echo, fun echo_loop/0}, {sink, fun sink_loop/0}, {source, fun source_loop/0},
         {maps, fun maps_loop/0}, {bulk, fun bulk_loop/0}]],
    ok.

echo_loop() ->
    receive {From, Message} -> From ! Message end,
    echo_loop().

sink_loop() ->
    receive {From, Count} when is_integer(Count) -> take(Count), From ! done end,
    sink_loop().

source_loop() ->
    receive {From, Count, Size} -> give(From, Count, Size) end,
    source_loop().

maps_loop() ->
    receive {From, Count} when is_integer(Count) -> take_maps(Count), From ! done end,
    maps_loop().

%% Confirms large messages, and sends those of the size that is asked for.
bulk_loop() ->
    receive
        {From, <<_/binary>>} -> From ! ok;
        %% Of large parts: a copy of single bytes keeps a scheduler busy for 30 ms.
        {From, Size} -> From ! binary:copy(<<0:(65536 * 8)>>, Size div 65536)
    end,
    bulk_loop().

take(0) -> ok;
take(Count) -> receive <<_/binary>> -> take(Count - 1) end.

take_maps(0) -> ok;
take_maps(Count) -> receive #{id := _} -> take_maps(Count - 1) end.

%% Small messages differ from each other: a receiver cannot decode one and reuse it.
give(To, Count, Size) when Size > 1024 -> give_same(To, Count, binary:copy(<<0>>, Size));
give(To, Count, Size) -> give_distinct(To, Count, binary:copy(<<0>>, Size - 8)).

give_same(_, 0, _) -> ok;
give_same(To, Count, Data) -> To ! Data, give_same(To, Count - 1, Data).

give_distinct(_, 0, _) -> ok;
give_distinct(To, Count, Rest) -> To ! <<Count:64, Rest/binary>>, give_distinct(To, Count - 1, Rest).

give_maps(_, 0, _) -> ok;
give_maps(To, Count, Sender) ->
    To ! #{id => Sender + Count,
           name => <<"sender ", (integer_to_binary(Sender))/binary, " number ", (integer_to_binary(Count))/binary>>,
           at => {Count rem 24, Count rem 60},
           value => Count * 1.5},
    give_maps(To, Count - 1, Sender).

%% All give nanoseconds; what has not come within Timeout milliseconds fails.

echo(Node, Count, Size, Timeout) ->
    Data = binary:copy(<<0>>, Size),
    in_process(Timeout, fun() ->
        Times = [timed(fun() -> {echo, Node} ! {self(), Data}, receive Data -> ok end end)
                 || _ <- lists:seq(1, Count)],
        lists:nth((Count + 1) div 2, lists:sort(Times))
    end).

push(Node, Sink, Count, Size, Timeout) ->
    in_process(Timeout, fun() ->
        timed(fun() ->
            {Sink, Node} ! {self(), Count},
            give({Sink, Node}, Count, Size),
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

%% Large messages out to Node or in from there, within Limit milliseconds: the time of one of those that came.
%% On a connection that stalls these may be fewer than Count.
bulk(Node, Direction, Count, Size, Limit, Timeout) ->
    Request = case Direction of out -> binary:copy(<<0>>, Size); in -> Size end,
    in_process(Timeout, fun() ->
        Self = self(),
        Start = erlang:monotonic_time(millisecond),
        spawn_link(fun() -> give_same({bulk, Node}, Count, {Self, Request}) end),
        Came = came(0, Count, Start + Limit),
        (erlang:monotonic_time(millisecond) - Start) * 1000000 div max(Came, 1)
    end).

came(Count, Count, _) -> Count;
came(Came, Count, Until) ->
    receive _ -> came(Came + 1, Count, Until)
    after max(Until - erlang:monotonic_time(millisecond), 0) -> Came
    end.

%% Maps of four keys, from so many processes at once.
maps(Node, Count, Senders, Timeout) ->
    in_process(Timeout, fun() ->
        timed(fun() ->
            {maps, Node} ! {self(), Count div Senders * Senders},
            [spawn_link(fun() -> give_maps({maps, Node}, Count div Senders, Sender * 1000000) end)
             || Sender <- lists:seq(1, Senders)],
            receive done -> ok end
        end)
    end).

%% An echo of the program Command (a list of strings) that is a port with {packet, 4}: of a term, or of bytes.
port_echo([Program | Arguments], What, Count, Size, Timeout) ->
    Data = binary:copy(<<0>>, Size),
    in_process(Timeout, fun() ->
        Port = open_port({spawn_executable, Program}, [{args, Arguments ++ [What]}, {packet, 4}, binary]),
        Once = case What of
            "bytes" -> fun() -> port_command(Port, Data), receive {Port, {data, Data}} -> ok end end;
            _ -> fun() ->
                port_command(Port, term_to_binary({self(), Data})),
                receive {Port, {data, Packet}} -> Data = binary_to_term(Packet) end
            end
        end,
        [Once() || _ <- lists:seq(1, 200)],
        Times = [timed(Once) || _ <- lists:seq(1, Count)],
        port_close(Port),
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
