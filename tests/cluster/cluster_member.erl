%% One BEAM of a cluster under test: does what tests/cluster/python_member.py does in a Python node.
-module(cluster_member).
-export([do/1, recorder/0]).

do({ping, Node}) -> net_adm:ping(Node) =:= pong;
do({spawn}) -> spawn(fun ?MODULE:recorder/0);
do({stop, Pid}) -> exit(Pid, shutdown), ok;
do({alive, Pid}) -> is_process_alive(Pid);
do({messages, Pid}) -> call(Pid, messages);
do({register, Name, Pid, Resolver}) -> global:register_name(Name, Pid, fun global:Resolver/3) =:= yes;
do({unregister, Name}) -> global:unregister_name(Name), ok;
do({send, Name, Message}) -> global:send(Name, Message), ok;
do({set_lock, Resource, Requester}) ->
    global:set_lock({Resource, {node(), Requester}}, [node() | nodes()], 0);
do({del_lock, Resource, Requester}) ->
    global:del_lock({Resource, {node(), Requester}}, [node() | nodes()]), ok;
do({sync}) -> global:sync();
do({join, Group, Pid}) -> pg:join(Group, Pid);
do({leave, Group, Pid}) -> pg:leave(Group, Pid);
do({facts}) ->
    Named = [{Name, global:whereis_name(Name)} || Name <- global:registered_names()],
    {lists:sort(nodes()),
     [{Name, Pid} || {Name, Pid} <- lists:sort(Named), is_pid(Pid)],
     lists:sort([{Group, lists:sort(pg:get_members(Group))} || Group <- pg:which_groups()])}.

call(Pid, Request) ->
    Ref = monitor(process, Pid),
    Pid ! {'$recorder', self(), Ref, Request},
    receive
        {Ref, Answer} -> demonitor(Ref, [flush]), Answer;
        {'DOWN', Ref, process, _, Reason} -> {down, Reason}
    end.

%% A process that keeps what it is sent.
recorder() -> recorder([]).

recorder(Messages) ->
    receive
        {'$recorder', From, Ref, messages} -> From ! {Ref, lists:reverse(Messages)}, recorder([]);
        Message -> recorder([Message | Messages])
    end.
