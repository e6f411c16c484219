"""The faults of :mod:`tests.containment` as a BEAM meets them: what it is told prints readably in its
shell, what it is linked with and monitors beside it goes on, and all other messages arrive.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

from quicdist import Atom, ChildSpec, Continue, GenServer, Node, NoReply, Process, Stop, Supervisor
from tests.containment.faults import ALL, Fault
from tests.containment.lab import quiet
from tests.interop.cluster import Cluster

#: Does something between two messages to a bystander, which it is linked with and monitors; what came
#: of it, as the shell prints it.
ASK = """
Ask = fun(Node, Act) ->
  Me = self(), Ref = make_ref(),
  {_, Mon} = spawn_monitor(fun() ->
    process_flag(trap_exit, true),
    {bystander, Node} ! {self(), hello},
    Bystander = receive {hello, Pid} -> Pid end,
    link(Bystander), M = monitor(process, Bystander),
    Bystander ! {self(), before},
    Result = Act(Node),
    Bystander ! {self(), later},
    receive {before, _} -> receive {later, _} -> ok end end,
    receive {'EXIT', Bystander, _} = E -> exit(E); {'DOWN', M, _, _, _} = D -> exit(D) after 0 -> ok end,
    pong = net_adm:ping(Node),
    3 = rpc:call(Node, lab, add, [1, 2]),
    Me ! {Ref, Result}
  end),
  receive
    {Ref, {How, Reason}} ->
      demonitor(Mon, [flush]), unicode:characters_to_binary(io_lib:format("~tp ~tp", [How, Reason]));
    {'DOWN', Mon, _, _, Why} -> unicode:characters_to_binary(io_lib:format("broken ~tp", [Why]))
  end
end, ok
"""

DOWN = "receive {'DOWN', M, _, _, R} -> {down, R} end"
CALL = "try {returned, %s} catch C:R -> {C, R} end"
CAST = "S = {server, Node}, M = monitor(process, S), gen_server:cast(S, x), " + DOWN
_KILL = Atom("kill")


class Server(GenServer):
    """Its callbacks do nothing but those that are replaced."""

    def handle_call(self, request: Any, sender: Any) -> Any:
        return b"serves"


def server(name: str, callback: Callable[..., Any], **more: Callable[..., Any]) -> Callable[[Node], Any]:
    methods = {name: callback, **more}
    kind = type("Server", (Server,), {key: _method(function) for key, function in methods.items()})
    return lambda node: node.serve(kind(), name="server")


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    return functools.partialmethod(lambda _, *args: function(*args))  # type: ignore[return-value]


async def _body(fault: Fault, process: Process, *_: Any) -> None:
    if not _:
        await process.receive()
    await fault.awaited()


def _supervised(fault: Fault) -> GenServer:
    class Child(GenServer):
        def init(self) -> Any:
            return fault.plain()

    return Supervisor([ChildSpec("child", Child)], strategy="simple_one_for_one")


def exported(node: Node, function: Callable[..., Any], **options: Any) -> None:
    node.exports.add("lab", "fault", function, **options)


def child(node: Node, factory: Callable[..., Any]) -> None:
    node.exports.child("lab", "fault")(factory)


def _child(fault: Fault) -> Callable[[], GenServer]:
    class Child(GenServer):
        def init(self) -> Any:
            return fault.plain()

    return lambda: Child()


#: What the BEAM does, and what is made for it here.
PLACES: dict[str, tuple[str, Callable[[Node, Fault], Any]]] = {
    "body": (
        f"S = {{server, Node}}, M = monitor(process, S), S ! go, {DOWN}",
        lambda node, fault: node._local.runtime.spawn(_coroutine(_body, fault), name="server"),
    ),
    "handler": (
        f"S = {{server, Node}}, M = monitor(process, S), S ! go, {DOWN}",
        lambda node, fault: node._local.runtime.spawn(fault.plain, name="server"),
    ),
    "spawned body": (
        f"{{_, M}} = spawn_monitor(Node, lab, fault, []), {DOWN}",
        lambda node, fault: node.exports.process("lab", "fault")(_coroutine(_now, fault)),
    ),
    "handle_call": (
        CALL % "gen_server:call({server, Node}, x)",
        lambda node, fault: server("handle_call", fault.plain)(node),
    ),
    "async handle_call": (
        CALL % "gen_server:call({server, Node}, x)",
        lambda node, fault: server("handle_call", fault.awaited)(node),
    ),
    "handle_cast": (CAST, lambda node, fault: server("handle_cast", fault.plain)(node)),
    "handle_info": (
        f"S = {{server, Node}}, M = monitor(process, S), S ! x, {DOWN}",
        lambda node, fault: server("handle_info", fault.awaited)(node),
    ),
    "handle_continue": (
        CAST,
        lambda node, fault: server("handle_continue", fault.plain, handle_cast=lambda _: NoReply(Continue()))(
            node
        ),
    ),
    "terminate": (
        CAST,
        lambda node, fault: server("terminate", fault.awaited, handle_cast=lambda _: Stop(b"asked"))(node),
    ),
    "gen_server:stop": (
        CALL % "gen_server:stop({server, Node})",
        lambda node, fault: server("terminate", fault.plain)(node),
    ),
    "sys:get_state": (
        CALL % "sys:get_state({server, Node})",
        lambda node, fault: server("get_state", fault.plain)(node),
    ),
    "sys:replace_state": (
        CALL % "sys:replace_state({server, Node}, fun(State) -> State end)",
        lambda node, fault: server("replace_state", fault.awaited)(node),
    ),
    "sys:change_code": (
        "S = {server, Node}, sys:suspend(S), R = sys:change_code(S, m, 1, x), sys:resume(S), {returned, R}",
        lambda node, fault: server("code_change", fault.plain)(node),
    ),
    "child": (CALL % "rpc:call(Node, lab, fault, [])", lambda node, fault: child(node, _child(fault))),
    "factory": (CALL % "erpc:call(Node, lab, fault, [])", lambda node, fault: child(node, fault.plain)),
    "a supervisor's child": (
        CALL % "supervisor:start_child({server, Node}, [])",
        lambda node, fault: node.serve(_supervised(fault), name="server"),
    ),
    "erpc:call, plain": (
        CALL % "erpc:call(Node, lab, fault, [])",
        lambda node, fault: exported(node, fault.plain),
    ),
    "erpc:call, async": (
        CALL % "erpc:call(Node, lab, fault, [])",
        lambda node, fault: exported(node, fault.awaited),
    ),
    "erpc:call, blocking": (
        CALL % "erpc:call(Node, lab, fault, [])",
        lambda node, fault: exported(node, fault.plain, blocking=True),
    ),
    "erpc:multicall": (
        CALL % "hd(erpc:multicall([Node], lab, fault, []))",
        lambda node, fault: exported(node, fault.awaited),
    ),
    "rpc:call": (
        CALL % "rpc:call(Node, lab, fault, [])",
        lambda node, fault: exported(node, fault.plain, blocking=True),
    ),
    "rpc:block_call": (
        CALL % "rpc:block_call(Node, lab, fault, [])",
        lambda node, fault: exported(node, fault.awaited),
    ),
    "spawned export": (
        f"{{_, M}} = spawn_monitor(Node, lab, fault, []), {DOWN}",
        lambda node, fault: exported(node, fault.plain),
    ),
}
#: Those where what the code returns is sent to the BEAM.
REPLYING = ("handle_call", "async handle_call", "sys:get_state", "rpc:call", "rpc:block_call")


def _coroutine(function: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    async def body(process: Process) -> None:
        await function(fault, process)

    return body


async def _now(fault: Fault, _: Process) -> None:
    await fault.awaited()


def readable(fault: Fault, shown: str) -> bool:
    """Whether the shell prints the reason so that one can read what went wrong, and where (which a
    callback that failed for ``sys`` is told without, as in OTP)."""
    if not isinstance(fault.reason, str):
        return re.search(rf"\b{fault.reason}\b", shown) is not None
    names = [name for name in (fault.reason, fault.in_coroutine) if name]
    error = re.search(rf'\{{python_error,\s*<<"({"|".join(names)})">>,\s*<<("[^"]*")?>>\}}', shown)
    stack = re.search(r'\[\{file,\s*"[^"]+\.py"\},\s*\{line,\s*\d+\}\]', shown)
    without = fault.reason == "EncodeError" or "callback_failed" in shown
    return error is not None and (stack is not None or without)


async def clear(node: Node) -> None:
    """Nothing of the last case is left."""
    node.exports._functions.pop(("lab", "fault"), None)
    node._local.runtime.spawning.functions._bodies.pop(("lab", "fault"), None)
    process = node.whereis("server")
    if process is not None:
        node._local.runtime.links.exit(node._local.runtime.identifiers.pid(), process.pid, _KILL)
        await process.finished()


def bystander(process: Process, message: Any) -> None:
    sender, what = message
    process.send(sender, (what, process.pid))


async def test_faults_as_a_beam_sees_them(pair: Cluster) -> None:
    node = pair.node
    node.exports.add("lab", "add", lambda a, b: a + b)
    node._local.runtime.spawn(bystander, name="bystander")
    await pair.eval(ASK)
    failed = []
    with quiet():
        for name, (act, make) in PLACES.items():
            for fault in ALL:
                if fault.never or fault.needs_task or (fault.gives and name not in REPLYING):
                    continue
                make(node, fault)
                shown = (await pair.beam.eval_bytes(f"Ask('{node.name}', fun(Node) -> {act} end)")).decode()
                if not readable(fault, shown):
                    failed.append(f"{name}: {fault.name}: {shown}")
                await clear(node)
    assert not failed, "\n".join(failed)
    assert node.nodes("connected") == [pair.beam_name]
