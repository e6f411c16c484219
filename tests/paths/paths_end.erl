%% The Erlang end of the measurements on paths; tests/paths/python_end.py is the same in Python.
-module(paths_end).
-export([start/0, dial/3, send/3, call/4, wrongs/0, downs/0, received/0]).

start() ->
    persistent_term:put(paths_received, counters:new(1, [])),
    register(paths_hub, spawn(fun() -> hub([]) end)),
    register(paths_calls, spawn(fun calls/0)),
    register(paths_downs, spawn(fun() ->
        net_kernel:monitor_nodes(true, [{node_type, all}, nodedown_reason]), downs([])
    end)),
    ok.

%% What receives here that was not as it should be.
wrongs() -> ask(paths_hub, wrongs).

%% Messages that were received whole and in order.
received() -> counters:get(persistent_term:get(paths_received), 1).

%% Nodes that went down, and why.
downs() -> ask(paths_downs, downs).

ask(Name, What) ->
    Name ! {What, self()},
    receive {What, Answer} -> Answer end.

hub(Wrongs) ->
    receive
        {open, From} ->
            Hub = self(),
            Receiver = spawn(fun() -> receiver(Hub, From, 1) end),
            From ! {opened, Receiver},
            hub(Wrongs);
        {wrong, What} -> hub([What | Wrongs]);
        {wrongs, From} -> From ! {wrongs, Wrongs}, hub(Wrongs)
    end.

receiver(Hub, From, Next) ->
    receive
        {Next, Size, Data} ->
            case Data =:= binary:copy(<<Next>>, Size) of
                true ->
                    counters:add(persistent_term:get(paths_received), 1, 1),
                    receiver(Hub, From, Next + 1);
                false -> wrong(Hub, From, {content, Next})
            end;
        {over, Count} when Count =:= Next - 1 ->
            From ! {received, self(), Count},
            receive bye -> ok; Other -> wrong(Hub, From, {after_the_last, brief(Other)}) end;
        bye -> ok;
        % Its sender may have been told that the connection in between was lost, and gone on; it knows.
        Other -> From ! {wrong, self(), {expected, Next, brief(Other)}}
    end.

wrong(Hub, From, What) ->
    Hub ! {wrong, What},
    From ! {wrong, self(), What}.

brief(Term) -> iolist_to_binary(io_lib:format("~0tP", [Term, 8])).

calls() ->
    receive {'$gen_call', From, {paths, N}} -> gen_server:reply(From, {paths, N + 1}) end,
    calls().

downs(Seen) ->
    receive
        {nodedown, _, Info} -> downs([brief(proplists:get_value(nodedown_reason, Info)) | Seen]);
        {nodeup, _, _} -> downs(Seen);
        {downs, From} -> From ! {downs, Seen}, downs([])
    end.

%% Nanoseconds of each dial, or false. The last connection stays.
dial(Node, Count, Pause) ->
    [begin
         N > 1 andalso begin erlang:disconnect_node(Node), timer:sleep(Pause) end,
         Start = erlang:monotonic_time(nanosecond),
         % Between two BEAMs over quic_dist a dial may never end.
         case hd(in_parallel([fun() -> net_kernel:connect_node(Node) end], 20000, false)) of
             true -> erlang:monotonic_time(nanosecond) - Start;
             _ -> false
         end
     end || N <- lists:seq(1, Count)].

%% For each sender of the jobs, all of which are done at once: what became of its messages, and nanoseconds
%% until that was known.
send(Node, Jobs, Limit) ->
    Start = erlang:monotonic_time(nanosecond),
    in_parallel([fun() ->
        {Result, Why} = sender(Node, Count, Size, deadline(Limit)),
        {Result, Why, erlang:monotonic_time(nanosecond) - Start}
    end || {Senders, Count, Size} <- Jobs, _ <- lists:seq(1, Senders)], Limit + 1000, {late, sending, Limit * 1000000}).

deadline(Limit) -> erlang:monotonic_time(millisecond) + Limit.

left(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).

sender(Node, Count, Size, Deadline) ->
    process_flag(trap_exit, true),
    Hub = monitor(process, {paths_hub, Node}),
    {paths_hub, Node} ! {open, self()},
    receive
        {opened, Receiver} ->
            demonitor(Hub, [flush]),
            Monitor = monitor(process, Receiver),
            link(Receiver),
            numbered(Receiver, Monitor, Size, 1, Count + 1),
            receive
                {received, Receiver, Count} ->
                    demonitor(Monitor, [flush]), unlink(Receiver), Receiver ! bye, {once, Count};
                {wrong, Receiver, What} -> {wrong, brief(What)};
                {'DOWN', Monitor, _, _, Reason} ->
                    receive {'EXIT', Receiver, Reason} -> {told, brief(Reason)}
                    after 5000 -> {wrong, <<"a monitor fired, a link did not">>} end
            after left(Deadline) -> {late, {Count, Size}} end;
        {'DOWN', Hub, _, _, Reason} -> {told, brief(Reason)}
    after left(Deadline) -> {late, opening} end.

%% Until it is told that nobody is there any more.
numbered(Receiver, _, _, Last, Last) -> Receiver ! {over, Last - 1};
numbered(Receiver, Monitor, Size, N, Last) ->
    receive {'DOWN', Monitor, _, _, _} = Down -> self() ! Down
    after 0 ->
        Bytes = size(N, Size),
        Receiver ! {N, Bytes, binary:copy(<<N>>, Bytes)},
        numbered(Receiver, Monitor, Size, N + 1, Last)
    end.

size(N, mixed) when N rem 50 =:= 7 -> N * 7919 rem 20000;
size(N, mixed) -> N * 7919 rem 1000;
size(_, Size) -> Size.

%% For each call of Callers processes: what became of it, and nanoseconds.
call(Node, Callers, Count, Limit) ->
    Deadline = deadline(Limit),
    lists:append(in_parallel([fun() ->
        [begin
             Start = erlang:monotonic_time(nanosecond),
             {Result, Why} =
                 try gen_server:call({paths_calls, Node}, {paths, N}, max(1, left(Deadline))) of
                     {paths, M} when M =:= N + 1 -> {once, 1};
                     Other -> {wrong, brief(Other)}
                 catch
                     exit:{timeout, _} -> {late, 0};
                     exit:{Reason, _} -> {told, brief(Reason)}
                 end,
             {Result, Why, erlang:monotonic_time(nanosecond) - Start}
         end || N <- lists:seq(1, Count)]
    end || _ <- lists:seq(1, Callers)], Limit + 1000, [{late, calling, Limit * 1000000}])).

%% What each gives, or Late after Limit milliseconds: one that sends waits where the connection takes no more.
in_parallel(Funs, Limit, Late) ->
    Deadline = deadline(Limit),
    Started = [spawn_monitor(fun() -> exit({value, Fun()}) end) || Fun <- Funs],
    [receive
         {'DOWN', Monitor, _, _, {value, Value}} -> Value;
         {'DOWN', Monitor, _, _, Reason} -> exit(Reason)
     after left(Deadline) -> exit(Pid, kill), Late
     end || {Pid, Monitor} <- Started].
