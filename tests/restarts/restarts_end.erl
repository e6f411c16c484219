%% What tests/restarts does in a BEAM: the node that is killed (target), and the one that goes on (watch).
-module(restarts_end).
-export([start/0, greet/2, seen/0, call/2, watch/2, told/1, stale/2, ping/1, usage/0]).

start() ->
    register(target, spawn(fun() -> target([]) end)),
    register(answers, spawn(fun answers/0)),
    ok.

%% Whose pid others hold; what comes that is none of its own messages is kept.
target(Seen) ->
    receive
        {whoami, From} -> From ! {me, self()}, target(Seen);
        {seen, From} -> From ! {seen, lists:reverse(Seen)}, target(Seen);
        {'$gen_call', _, never} -> target(Seen);
        Other -> target([Other | Seen])
    end.

answers() ->
    receive {'$gen_call', From, Request} -> gen_server:reply(From, {answered, Request}) end,
    answers().

seen() ->
    target ! {seen, self()},
    receive {seen, Seen} -> length(Seen) end.

%% Milliseconds until a call of the other node is answered, each try as long as it takes, or why none was.
greet(Node, Within) ->
    Start = erlang:monotonic_time(millisecond),
    try_again(Node, Start, Start + Within).

try_again(Node, Start, Deadline) ->
    case call(Node, greeting) of
        ok -> erlang:monotonic_time(millisecond) - Start;
        Why ->
            case erlang:monotonic_time(millisecond) > Deadline of
                true -> Why;
                false -> timer:sleep(20), try_again(Node, Start, Deadline)
            end
    end.

call(Node, Request) ->
    try gen_server:call({answers, Node}, Request, 60000) of
        {answered, Request} -> ok
    catch _:Reason -> iolist_to_binary(io_lib:format("~0tP", [Reason, 12]))
    end.

ping(Node) -> net_adm:ping(Node).

%% Count processes that watch and call the node's process in every way; how many signals each is to get.
watch(Node, Count) ->
    Watchers = [begin
                    Self = self(),
                    {Pid, Ref} = spawn_monitor(fun() -> watcher(Self, Node) end),
                    receive {watches, Pid, Target} -> demonitor(Ref, [flush]), {Pid, Target};
                            {'DOWN', Ref, _, _, Reason} -> exit(Reason) end
                end || _ <- lists:seq(1, Count)],
    put(watchers, [Pid || {Pid, _} <- Watchers]),
    put(old, element(2, hd(Watchers))),
    ok.

watcher(Parent, Node) ->
    process_flag(trap_exit, true),
    {target, Node} ! {whoami, self()},
    Target = receive {me, Pid} -> Pid end,
    [monitor(process, To) || To <- [Target, Target, {target, Node}]],
    link(Target),
    monitor_node(Node, true),
    spawn_monitor(fun() -> gen_server:call({target, Node}, never, infinity) end),
    Parent ! {watches, self(), Target},
    watching([]).

watching(Told) ->
    receive
        {told, From} -> From ! {told, self(), lists:sort(Told)}, watching(Told);
        stop -> ok;
        {'DOWN', _, _, _, {Reason, {gen_server, call, _}}} -> watching([{call, brief(Reason)} | Told]);
        {'DOWN', _, _, _, Reason} -> watching([{monitor, Reason} | Told]);
        {'EXIT', _, Reason} -> watching([{link, Reason} | Told]);
        {nodedown, _} -> watching([{node, down} | Told]);
        Other -> watching([{other, Other} | Told])
    end.

brief({nodedown, _}) -> noconnection;
brief(Reason) -> Reason.

%% What each watcher was told, once every one has 6 signals or Milliseconds are over.
told(Milliseconds) ->
    Deadline = erlang:monotonic_time(millisecond) + Milliseconds,
    all_told(Deadline).

all_told(Deadline) ->
    Told = [begin W ! {told, self()}, receive {told, W, T} -> T end end || W <- get(watchers)],
    case lists:all(fun(T) -> length(T) >= 6 end, Told) orelse
         erlang:monotonic_time(millisecond) >= Deadline of
        true -> Told;
        false -> timer:sleep(5), all_told(Deadline)
    end.

%% Send to the old process, and to one of the old creation that has the numbers of the new process.
stale(Node, _) ->
    Old = get(old),
    {target, Node} ! {whoami, self()},
    New = receive {me, Pid} -> Pid after 10000 -> exit(no_answer) end,
    Crafted = crafted(New, Old),
    [To ! stale || To <- [Old, Crafted]],
    [exit(W, kill) || W <- get(watchers)],
    [creation(Old), creation(New)].

creation(Pid) ->
    Bin = term_to_binary(Pid),
    <<Creation:32>> = binary:part(Bin, byte_size(Bin), -4),
    Creation.

crafted(New, Old) ->
    Bin = term_to_binary(New),
    Whole = binary:part(Bin, 0, byte_size(Bin) - 4),
    binary_to_term(<<Whole/binary, (creation(Old)):32>>).

usage() ->
    [garbage_collect(P) || P <- processes()],
    [{processes, length(processes())}, {ports, length(erlang:ports())},
     {memory, erlang:memory(processes) + erlang:memory(ets)}].
