"""A scripted process, in Erlang and in Python: it executes commands, and the results are compared.

``scripted:new(Node)`` makes one on a node, ``scripted:clear(Node)`` ends them all, and
``scripted:do(Pid, Command)`` executes a command in one and returns the result. Other messages stay in its
mailbox until the command ``take``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quicdist import ANY, Atom, Node, Pid, Process, ProcessExit, Reference

SCRIPTED_PROCESS_ERL = """
-module(scripted).
-compile([export_all, nowarn_export_all]).

start() -> register(scripted, spawn(fun() -> maker([]) end)).
maker(Made) ->
  receive
    {new, From, Ref} -> Pid = spawn(fun loop/0), From ! {Ref, Pid}, maker([Pid | Made]);
    {clear, From, Ref} -> [end_of(Pid) || Pid <- Made], From ! {Ref, cleared}, maker([])
  end.
end_of(Pid) -> M = monitor(process, Pid), exit(Pid, kill), receive {'DOWN', M, _, _, _} -> ok end.

%% In a process of its own: what is left in its mailbox, or of a trace token, is nobody's.
apart(Fun) ->
  Me = self(),
  {Pid, M} = spawn_monitor(fun() -> Me ! {apart, self(), Fun()} end),
  receive
    {apart, Pid, Result} -> demonitor(M, [flush]), Result;
    {'DOWN', M, _, _, Reason} -> error(Reason)
  after 40000 -> exit(Pid, kill), error(too_slow) end.

new(Node) -> ask(Node, new).
clear(Node) -> ask(Node, clear).
ask(Node, What) ->
  Ref = make_ref(),
  {scripted, Node} ! {What, self(), Ref},
  receive {Ref, Answer} -> Answer after 8000 -> error({What, no_answer}) end.

%% After this, To has received all that From sent it before.
sync(From, To) -> do(From, {send, To, {sync, From}}), {sync, From} = do(To, {take, sync}), synced.

until(Fun) -> case Fun() of true -> true; _ -> timer:sleep(5), until(Fun) end.

do(Pid, Command) ->
  Ref = make_ref(),
  Pid ! {do, self(), Ref, Command},
  receive {Ref, Result} -> Result after 8000 -> error({no_answer, Command}) end.

tell(Pid, Command) -> Pid ! {do, self(), make_ref(), Command}, ok.

loop() ->
  receive {do, From, Ref, Command} -> From ! {Ref, run(Command)}, loop() end.

run({link, Pid}) -> link(Pid);
run({unlink, Pid}) -> unlink(Pid);
run({exit, Pid, Reason}) -> exit(Pid, Reason);
run({leave, Reason}) -> exit(Reason);
run({monitor, What}) -> monitor(process, What);
run({monitor, What, Opts}) -> monitor(process, What, Opts);
run({demonitor, Ref}) -> demonitor(Ref, [info]);
run({demonitor, Ref, flush}) -> demonitor(Ref, [info, flush]);
run(alias) -> alias();
run({alias, Opts}) -> alias(Opts);
run({unalias, Ref}) -> unalias(Ref);
run({send, To, Message}) -> To ! Message, sent;
run({send_priority, To, Message}) -> erlang:send(To, Message, [priority]), sent;
run({exit_priority, To, Reason}) -> erlang:exit(To, Reason, [priority]), sent;
run({link_priority, Pid}) -> erlang:link(Pid, [priority]);
run({trap, Flag}) -> process_flag(trap_exit, Flag);
run(take) -> receive M when element(1, M) =/= do -> M after 8000 -> nothing end;
run({take, Tag}) -> receive M when element(1, M) =:= Tag -> M after 8000 -> nothing end;
run(drain) -> receive M when element(1, M) =/= do -> [M | run(drain)] after 0 -> [] end;
run(links) -> {links, Links} = process_info(self(), links), Links;
run(monitors) -> {monitors, M} = process_info(self(), monitors), length(M);
run(monitored_by) -> {monitored_by, Pids} = process_info(self(), monitored_by), Pids;
run({group_leader, Leader, Pid}) -> group_leader(Leader, Pid);
run(group_leader) -> group_leader();
run({register, Name}) -> register(Name, self());
run({unregister, Name}) -> unregister(Name);
run({spawn, Node, F, Args}) -> spawn(Node, scripted, F, Args);
run({spawn_link, Node, F, Args}) -> spawn_link(Node, scripted, F, Args);
run({spawn_monitor, Node, F, Args}) -> spawn_monitor(Node, scripted, F, Args);
run({spawn_request, Node, F, Args, Opts}) -> spawn_request(Node, scripted, F, Args, Opts);
run({spawn_abandon, Node, F, Args, Opts}) ->
  Ref = spawn_request(Node, scripted, F, Args, Opts),
  [spawn_request_abandon(Ref), spawn_request_abandon(Ref)];
run({spawn_leave, Node, F, Args, Opts, Reason}) ->
  spawn_request(Node, scripted, F, Args, Opts), exit(Reason);
run({traced, Command}) ->
  seq_trace:set_token(label, 17),
  Result = run(Command),
  seq_trace:set_token([]),
  Result;
run({all, Commands}) -> [run(Command) || Command <- Commands];
run({burst, To, Count}) ->
  [run_burst(To, N) || N <- lists:seq(1, Count)], sent.

run_burst(To, N) when N rem 10 =:= 5 -> link(To), To ! {n, N};
run_burst(To, N) when N rem 10 =:= 7 -> unlink(To), To ! {n, N};
run_burst(To, N) when N rem 10 =:= 8 -> demonitor(monitor(process, To)), To ! {n, N};
run_burst(To, N) -> To ! {n, N}.

%% What is spawned.
child(Pid) -> Pid ! {child, self()}, loop().
trapper(Pid) -> process_flag(trap_exit, true), child(Pid).
ends(Reason) -> exit(Reason).
crashes() -> error(crashed).
leader(Pid) -> Pid ! {leader, group_leader()}.
"""

_DO = Atom("do")
_OK = Atom("ok")
_SENT = Atom("sent")


async def scripted(process: Process) -> None:
    while True:
        _, sender, reference, command = await process.receive((_DO, Pid, Reference, ANY))
        process.send(sender, (reference, await _run(process, command)))


async def _run(process: Process, command: Any) -> Any:
    name, *arguments = command if isinstance(command, tuple) else (command,)
    result = _COMMANDS[name.name](process, *arguments)
    return await result if hasattr(result, "__await__") else result


def _options(options: list[Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for option in options:
        key, value = option if isinstance(option, tuple) else (option, True)
        given[key.name] = value.name if isinstance(value, Atom) and key.name in ("alias", "reply") else value
    return given


def _spawn_options(options: list[Any]) -> dict[str, Any]:
    """Those that ``Process.spawn_request`` has parameters for, and the rest as they are."""
    given: dict[str, Any] = {"options": []}
    for option in options:
        match option:
            case Atom(name="link" | "monitor" as name):
                given[name] = True
            case (Atom(name="monitor"), [(Atom(name="alias" | "tag"), _), *_] as more):
                given |= _options(more) | {"monitor": True}
            case (Atom(name="reply" | "reply_tag"), _):
                given |= _options([option])
            case _:
                given["options"].append(option)
    return given


def _true(_: Any) -> bool:
    """For BIFs that return ``true``, whatever is returned here."""
    return True


def _is_other(message: Any) -> bool:
    return not (isinstance(message, tuple) and message and message[0] == _DO)


def _tagged(tag: Any) -> Callable[[Any], bool]:
    return lambda message: isinstance(message, tuple) and bool(message) and message[0] == tag


async def _drain(process: Process) -> list[Any]:
    drained = []
    while True:
        try:
            drained.append(await process.receive(_is_other, timeout=0))
        except TimeoutError:
            return drained


async def _burst(process: Process, to: Any, count: int) -> Atom:
    for number in range(1, count + 1):
        match number % 10:
            case 5:
                process.link(to)
            case 7:
                process.unlink(to)
            case 8:
                process.demonitor(process.monitor(to))
        process.send(to, (Atom("n"), number))
    return _SENT


def _leave(_: Process, reason: Any) -> None:
    raise ProcessExit(reason)


def _set(process: Process, flag: bool) -> bool:
    before, process.trap_exit = process.trap_exit, flag
    return before


def _sent(_: None) -> Atom:
    return _SENT


async def _all(process: Process, commands: list[Any]) -> list[Any]:
    return [await _run(process, command) for command in commands]


async def _spawn(process: Process, node: Atom, function: Atom, arguments: list[Any], **options: Any) -> Pid:
    return await process.spawn_on(node.name, "scripted", function.name, arguments, **options)


def _spawn_request(
    process: Process, node: Atom, function: Atom, arguments: list[Any], options: list[Any]
) -> Reference:
    return process.spawn_request(node.name, "scripted", function.name, arguments, **_spawn_options(options))


def _spawn_abandon(process: Process, *what: Any) -> list[bool]:
    reference = _spawn_request(process, *what)
    return [process.spawn_request_abandon(reference), process.spawn_request_abandon(reference)]


def _spawn_leave(process: Process, *what: Any) -> None:
    *request, reason = what
    _spawn_request(process, *request)
    raise ProcessExit(reason)


_COMMANDS: dict[str, Callable[..., Any]] = {
    "link": lambda process, pid: _true(process.link(pid)),
    "unlink": lambda process, pid: _true(process.unlink(pid)),
    "exit": lambda process, pid, reason: _true(process.exit(pid, reason)),
    "leave": _leave,
    "monitor": lambda process, what, options=(): process.monitor(what, **_options(options)),
    "demonitor": lambda process, reference, flush=None: process.demonitor(reference, flush=flush is not None),
    "alias": lambda process, options=(): process.alias(
        **{key: value for key, value in _options(options).items() if key != "explicit_unalias"}
    ),
    "unalias": lambda process, reference: process.unalias(reference),
    "send": lambda process, to, message: _sent(process.send(to, message)),
    "send_priority": lambda process, to, message: _sent(process.send(to, message, priority=True)),
    "exit_priority": lambda process, to, reason: _sent(process.exit(to, reason, priority=True)),
    "link_priority": lambda process, pid: _true(process.link(pid, priority=True)),
    "trap": _set,
    "take": lambda process, tag=None: process.receive(_is_other if tag is None else _tagged(tag)),
    "drain": _drain,
    "links": lambda process: process.links,
    "monitors": lambda process: len(process.monitors),
    "monitored_by": lambda process: [watcher for watcher, _ in process.monitored_by.values()],
    "group_leader": lambda process, leader=None, pid=None: (
        process.group_leader if leader is None else _true(process.set_group_leader(leader, pid))
    ),
    "register": lambda process, name: _true(process.node._local.runtime.register(name, process)),
    "unregister": lambda process, name: _true(process.node._local.runtime.unregister(name)),
    "spawn": _spawn,
    "spawn_link": lambda process, *what: _spawn(process, *what, link=True),
    "spawn_monitor": lambda process, node, function, arguments: process.spawn_monitor_on(
        node.name, "scripted", function.name, arguments
    ),
    "spawn_request": _spawn_request,
    "spawn_abandon": _spawn_abandon,
    "spawn_leave": _spawn_leave,
    "all": _all,
    "burst": _burst,
}


def offer_scripted_processes(node: Node) -> None:
    """Have ``node`` make scripted processes, and let what SCRIPTED_PROCESS_ERL spawns be spawned on it."""

    made: list[Process] = []

    def maker(process: Process, message: Any) -> None:
        what, sender, reference = message
        if what == Atom("new"):
            made.append(process.spawn(scripted))
            process.send(sender, (reference, made[-1].pid))
        else:
            while made:
                made.pop().stop()
            process.send(sender, (reference, Atom("cleared")))

    node.spawn(maker, name="scripted")

    @node.exports.process("scripted")
    async def child(process: Process, pid: Pid) -> None:
        process.send(pid, (Atom("child"), process.pid))
        await scripted(process)

    @node.exports.process("scripted")
    async def trapper(process: Process, pid: Pid) -> None:
        process.trap_exit = True
        await child(process, pid)

    @node.exports.process("scripted")
    def ends(_: Process, reason: Any) -> None:
        raise ProcessExit(reason)

    @node.exports.process("scripted")
    async def crashes(_: Process) -> None:
        raise ValueError("crashed")

    @node.exports.process("scripted")
    def leader(process: Process, pid: Pid) -> None:
        process.send(pid, (Atom("leader"), process.group_leader))
