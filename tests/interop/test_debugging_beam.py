"""Debug options and ``replace_state`` of ``sys``, towards a Python server and a BEAM's."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import (
    POSTPONE,
    Atom,
    Continue,
    Event,
    EventTimeout,
    Export,
    GenericTimeout,
    GenEvent,
    GenServer,
    GenStatem,
    NextEvent,
    NextState,
    NodeError,
    NoReply,
    RemoteError,
    Reply,
    StateTimeout,
    Stop,
    current_call,
)
from quicdist.otp import server_start
from tests.interop.carriers import CARRIERS
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, two_beams
from tests.interop.erlang_snippets import APART

PROBE_ERL = r"""
-module(probe).
-behaviour(gen_server).
-compile([export_all, nowarn_export_all]).
start() -> start([]).
start(Options) -> {ok, Pid} = gen_server:start({local, probe}, probe, 0, Options), Pid.
init(N) -> {ok, N}.
handle_call(get, _, N) -> {reply, N, N};
handle_call({add, M}, _, N) -> {reply, N + M, N + M};
handle_call({save, X}, _, N) -> {reply, saved, N, {continue, X}};
handle_call(long, _, N) -> {reply, lists:seq(1000, 1040), N};
handle_call(later, From, N) -> self() ! {answer, From}, {noreply, N};
handle_call(stop, _, N) -> {stop, normal, bye, N}.
handle_cast({set, N}, _) -> {noreply, N}.
handle_info({answer, From}, N) -> gen_server:reply(From, now), {noreply, N};
handle_info(_, N) -> {noreply, N}.
handle_continue(_, N) -> {noreply, N}.
double(N) -> N * 2.
refuse(_) -> exit(no).
watch(To, Event, Name) -> To ! {watched, Name, element(1, Event)}, To.
watch_once(To, Event, _) -> To ! {once, element(1, Event)}, done.
"""


LAMP_ERL = r"""
-module(lamp).
-behaviour(gen_statem).
-compile([export_all, nowarn_export_all]).
start(Options) -> {ok, Pid} = gen_statem:start({local, lamp}, lamp, [], Options), Pid.
callback_mode() -> [handle_event_function, state_enter].
init([]) -> {ok, off, 0}.
handle_event(enter, _, _, D) -> {keep_state, D};
handle_event({call, From}, flip, off, D) ->
  {next_state, on, D, [{reply, From, flipped}, {next_event, internal, inner}, {state_timeout, 60000, dim}]};
handle_event({call, From}, zero, _, D) ->
  {keep_state, D, [{reply, From, zero}, {timeout, 0, z}, {{timeout, name}, 0, y}]};
handle_event({call, From}, stop, _, D) -> {stop_and_reply, normal, [{reply, From, bye}], D};
handle_event(cast, later, off, _) -> {keep_state_and_data, [postpone]};
handle_event(_, _, _, D) -> {keep_state, D}.
"""


class Lamp(GenStatem):
    """LAMP_ERL in Python."""

    state_enter = True

    def init(self) -> Any:
        return NextState("off")

    def get_data(self) -> Any:
        return 0

    def handle_event(self, event: Event) -> Any:
        match event.type, event.content:
            case "call", Atom(name="flip"):
                actions: list[Any] = [
                    Reply(Atom("flipped")),
                    NextEvent(Atom("inner")),
                    StateTimeout(60.0, Atom("dim")),
                ]
                return NextState("on", *actions)
            case "call", Atom(name="zero"):
                return [
                    Reply(Atom("zero")),
                    EventTimeout(0, Atom("z")),
                    GenericTimeout("name", 0, Atom("y")),
                ]
            case "call", Atom(name="stop"):
                return Stop(reply=Atom("bye"))
            case "cast", Atom(name="later") if self.state == Atom("off"):
                return POSTPONE
        return None


class Probe(GenServer):
    """PROBE_ERL in Python."""

    def __init__(self) -> None:
        self.count = 0

    def get_state(self) -> Any:
        return self.count

    def replace_state(self, state: Any) -> None:
        self.count = state

    async def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case Atom(name="get"):
                return self.count
            case (Atom(name="add"), number):
                self.count += number
                return self.count
            case (Atom(name="save"), what):
                return Reply(Atom("saved"), Continue(what))
            case Atom(name="long"):
                return list(range(1000, 1041))
            case Atom(name="later"):
                self.process.send(self.process, (Atom("answer"), sender))
                return NoReply()
            case Atom(name="stop"):
                return Stop(reply=Atom("bye"))

    def handle_cast(self, request: Any) -> None:
        self.count = request[1]

    def handle_info(self, message: Any) -> None:
        match message:
            case (Atom(name="answer"), sender):
                self.reply(sender, Atom("now"))

    def handle_continue(self, argument: Any) -> None: ...


#: Replaces pids and references, which differ.
NORM = (
    "Norm = fun F(X) when is_pid(X) -> pid; F(X) when is_reference(X) -> ref;"
    " F([H | T]) -> [F(H) | F(T)]; F(X) when is_tuple(X) -> list_to_tuple(F(tuple_to_list(X)));"
    " F(X) -> X end, C = {probe, PEER}, "
)
#: Calls of every kind.
TRAFFIC = (
    "0 = gen_server:call(C, get), 3 = gen_server:call(C, {add, 3}), saved = gen_server:call(C, {save, x}),"
    " now = gen_server:call(C, later), gen_server:cast(C, {set, 7}), C ! {some, info},"
    " 7 = sys:get_state(C),"
)

SYS = {
    "log": f"ok = sys:log(C, true), {TRAFFIC} {{ok, L}} = sys:log(C, get), Norm(L)",
    "log size": f"ok = sys:log(C, {{true, 3}}), {TRAFFIC} {{ok, L}} = sys:log(C, get), Norm(L)",
    "log size once": f"ok = sys:log(C, {{true, 3}}), ok = sys:log(C, true), ok = sys:log(C, {{true, 9}}),"
    f" {TRAFFIC} {{ok, L}} = sys:log(C, get), Norm(L)",
    "log off": f"ok = sys:log(C, true), {TRAFFIC} ok = sys:log(C, false), sys:log(C, get)",
    "statistics": f"ok = sys:statistics(C, true), {TRAFFIC} {{ok, S}} = sys:statistics(C, get),"
    " [{_, {{Y, _, _}, {_, _, _}}}, {_, {{Y, _, _}, _}}, {_, R}, I, O] = S,"
    " {[K || {K, _} <- S], is_integer(R), I, O}",
    "statistics off": "ok = sys:statistics(C, true), ok = sys:statistics(C, false), sys:statistics(C, get)",
    "no_debug": "ok = sys:statistics(C, true), ok = sys:log(C, true), ok = sys:trace(C, false),"
    " ok = sys:no_debug(C), {sys:statistics(C, get), sys:log(C, get)}",
    "status": "ok = sys:log(C, {true, 4}), ok = sys:statistics(C, true), 0 = gen_server:call(C, get),"
    " {status, _, _, [_, running, _, Debug, [_, {data, Shown} | _]]} = sys:get_status(C),"
    ' {value, {log, Log}} = lists:keysearch(log, 1, Debug), {_, Events} = lists:keyfind("Logged events", 1,'
    " Shown), {[K || {K, _} <- Debug], [element(1, E) || E <- sys:get_log(Debug)], Norm(Events), hd(Log)}",
    "status of a full log": f"ok = sys:log(C, {{true, 3}}), {TRAFFIC}"
    " {status, _, _, [_, _, _, Debug, _]} = sys:get_status(C), Norm(sys:get_log(Debug))",
    "unknown": "[begin {ok, R} = gen:call(C, system, {debug, W}), R end || W <- [{trace, perhaps},"
    " {log, {true, 0}}, {log, {true, x}}, {log, 5}, {statistics, x}, {install, x}, {install, {a}}, foo, 1]]",
    "remove of what is not there": "[sys:remove(C, K) || K <- [foo, {a, 1}, fun lists:map/2]]",
    "install of what is no fun": "[ok, ok, ok] = [sys:install(C, S) || S <- [{a, b}, {i, a, b}, {1, 2}]],"
    f" {TRAFFIC} {{status, _, _, [_, _, _, Debug, _]}} = sys:get_status(C), Debug",
    "install": "P = self(), ok = sys:install(C, {mine, fun(N, E, Name) -> P ! {N, Norm(E), Name}, N + 1 end,"
    " 0}), 3 = gen_server:call(C, {add, 3}), gen_server:cast(C, {set, 5}),"
    " [receive {N, E, W} -> {E, W} end || N <- [0, 1, 2, 3]]",
    "remove": "P = self(), ok = sys:install(C, {mine, fun(N, E, _) -> P ! {N, Norm(E)}, N end, 0}),"
    " 0 = gen_server:call(C, get), [receive {0, _} -> ok end || _ <- [1, 2]],"
    " ok = sys:remove(C, mine), 0 = gen_server:call(C, get),"
    " {status, _, _, [_, _, _, Debug, _]} = sys:get_status(C), Debug",
    "install without a key": "P = self(), F = fun(N, E, _) -> P ! {N, element(1, E)}, N + 1 end,"
    " ok = sys:install(C, {F, 0}), ok = sys:install(C, {F, 9}), 0 = gen_server:call(C, get),"
    " A = [receive {N, E} -> E end || N <- [0, 1]],"
    " {status, _, _, [_, _, _, [{F, _}], _]} = sys:get_status(C), ok = sys:remove(C, F),"
    " 0 = gen_server:call(C, get), receive X -> X after 0 -> A end",
    "an external fun": "ok = sys:install(C, {fun probe:watch/3, self()}), 0 = gen_server:call(C, get),"
    " A = [receive {watched, Name, E} -> {Name, E} end || _ <- [1, 2]],"
    " ok = sys:remove(C, fun probe:watch/3), 0 = gen_server:call(C, get), 0 = sys:get_state(C),"
    " receive X -> X after 0 -> A end",
    "an external fun that is done": "ok = sys:install(C, {fun probe:watch_once/3, self()}),"
    " 0 = gen_server:call(C, get), 0 = gen_server:call(C, get), 0 = sys:get_state(C),"
    " receive {once, in} -> receive X -> X after 0 -> once end end",
    "an external fun that is not there": "ok = sys:install(C, {fun probe:nothing/3, 1}),"
    " 0 = gen_server:call(C, get), {status, _, _, [_, _, _, Debug, _]} = sys:get_status(C), Debug",
    "replace_state": "{sys:replace_state(C, fun(N) -> N + 4 end), gen_server:call(C, get)}",
    "replace_state with an external fun": "gen_server:cast(C, {set, 4}),"
    " {sys:replace_state(C, fun probe:double/1), gen_server:call(C, get)}",
    "replace_state that fails": "[try sys:replace_state(C, F) catch K:{R, _} -> {K, R}; K:R -> {K, R} end"
    " || F <- [fun(_) -> error(x) end, fun(_) -> exit(y) end, fun(_) -> throw(z) end, fun probe:refuse/1,"
    " fun no_module:f/1, notafun]] ++ [gen_server:call(C, get)]",
    "the last reply": "M = monitor(process, C), ok = sys:log(C, true), bye = gen_server:call(C, stop),"
    " receive {'DOWN', M, _, _, R} -> R end",
}


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(request.param, tmp_path_factory.mktemp("beams"), [PROBE_ERL, LAMP_ERL]) as both:
        yield both


@pytest_asyncio.fixture
async def conformance(beams: Beams) -> AsyncIterator[ConformancePair]:
    """A node with the functions of PROBE_ERL."""
    async with conformance_pair(beams) as both:
        node = both.node

        @node.export("probe")
        def start() -> Any:
            leader = current_call().process.group_leader
            runtime = node._local.runtime
            return server_start.start(runtime, Probe(), name="probe", group_leader=leader).pid

        @node.export("probe")
        async def double(state: int) -> int:
            return state * 2

        @node.export("probe")
        def refuse(_: Any) -> None:
            raise RemoteError("exit", Atom("no"))

        @node.export("probe")
        def watch(to: Any, event: Any, name: Any) -> Any:
            node.send(to, (Atom("watched"), name, event[0]))
            return to

        @node.export("probe")
        def watch_once(to: Any, event: Any, name: Any) -> Any:
            node.send(to, (Atom("once"), event[0]))
            return Atom("done")

        yield both


@pytest_asyncio.fixture
async def probes(conformance: ConformancePair) -> AsyncIterator[ConformancePair]:
    """The node and the model with a server ``probe``."""
    conformance.node.serve(Probe(), name="probe")
    await conformance.model.eval("probe:start()")
    yield conformance
    await conformance.model.eval("catch gen_server:stop(probe)")


@pytest.mark.parametrize("call", SYS)
async def test_debugging_a_server(probes: ConformancePair, call: str) -> None:
    got = await probes.same(f"{APART} Apart(fun() -> {NORM} {SYS[call]} end)")
    assert "died" not in got


#: A server that is started by a call, so that it prints at Device, and what it has printed with Count events.
PRINTED = """
Loop = fun F(Text, N, Taker) ->
  case Taker of
    {From, Want} when N >= Want -> From ! {printed, unicode:characters_to_binary(Text)};
    _ -> ok end,
  receive
    {io_request, From1, As, {put_chars, unicode, M, G, A}} ->
      From1 ! {io_reply, As, ok}, F([Text, apply(M, G, A)], N + 1, Taker);
    {take, From2, Want2} -> F(Text, N, {From2, Want2}) end end,
Device = spawn(fun() -> Loop([], 0, none) end),
Started = self(),
spawn(fun() -> group_leader(Device, self()), Started ! {started, rpc:call(PEER, probe, start, [])} end),
receive {started, Pid} when is_pid(Pid) -> ok end,
Printed = fun(Count) -> Device ! {take, self(), Count}, receive {printed, Text} -> Text end end,
C = {probe, PEER},
"""


@pytest.mark.parametrize(
    "call",
    [
        f"ok = sys:trace(C, true), {TRAFFIC} Text = Printed(16)",
        "ok = sys:trace(C, true), gen_server:call(C, long), Text = Printed(2)",
        f"ok = sys:log(C, true), {TRAFFIC} ok = sys:log(C, print), Text = Printed(10)",
    ],
    ids=["trace", "long terms", "print"],
)
async def test_events_are_printed_at_the_group_leader_as_gen_server_prints_them(
    conformance: ConformancePair, call: str
) -> None:
    texts = []
    for peer in (conformance.node.name, conformance.model_name):
        source = f"(fun() -> {PRINTED} {call}, gen_server:stop(C), Text end)()".replace("PEER", f"'{peer}'")
        text = (await conformance.beam.eval_bytes(source)).decode()
        texts.append(re.sub(r"<\d+\.\d+\.\d+>|#Ref<[\d.]+>", "ID", text))
    assert texts[0] == texts[1]
    assert texts[1].count("*DBG* probe ") > 1


#: Calls of the state machine.
LAMP = (
    "L = {lamp, PEER}, gen_statem:cast(L, later), flipped = gen_statem:call(L, flip),"
    " zero = gen_statem:call(L, zero), L ! {some, info},"
)


async def test_state_machines_have_the_events_of_gen_statem(
    conformance: ConformancePair, tmp_path: Path
) -> None:
    conformance.node.sys.log_directory = tmp_path
    options: list[Any] = [("log", 100), "statistics", ("log_to_file", tmp_path / "ours")]
    conformance.node.serve(Lamp(), name="lamp", debug=options)
    theirs = f'[{{log, 100}}, statistics, {{log_to_file, "{tmp_path}/theirs"}}]'
    await conformance.model.eval(f"lamp:start([{{debug, {theirs}}}])")
    got = await conformance.same(
        f"{NORM} {LAMP} _ = sys:get_state(L), {{ok, Events}} = sys:log(L, get),"
        " {ok, S} = sys:statistics(L, get),"
        " {status, _, _, [_, _, _, Debug, [_, {_, Facts} | _]]} = sys:get_status(L),"
        ' {_, Events} = lists:keyfind("Logged Events", 1, Facts),'
        " M = monitor(process, L), bye = gen_statem:call(L, stop), receive {'DOWN', M, _, _, Why} -> ok end,"
        " [Clean || Clean <- Norm(Events), element(1, Clean) =/= enter]"
        " ++ [lists:nthtail(3, S), [K || {K, _} <- Debug], Why]"
    )
    assert "{postpone,{cast,later},off,off}" in got
    ours, model = (
        re.sub(r"<\d+\.\d+\.\d+>|enter \S+", "ID", (tmp_path / name).read_text())
        for name in ("ours", "theirs")
    )
    assert ours == model


async def test_event_managers_have_the_events_of_gen_event(
    conformance: ConformancePair, tmp_path: Path
) -> None:
    conformance.node.serve(GenEvent({}), name="manager", debug=[("log_to_file", tmp_path / "ours"), "log"])
    options = f'[{{debug, [{{log_to_file, "{tmp_path}/theirs"}}, log]}}]'
    await conformance.model.eval(f"{{ok, _}} = gen_event:start({{local, manager}}, {options})")
    await conformance.same(
        f"{NORM} E = {{manager, PEER}}, gen_event:notify(E, hello), gen_event:sync_notify(E, {{a, b}}),"
        " [] = gen_event:which_handlers(E), E ! info, {error, bad_module} = gen_event:call(E, nobody, query),"
        " {ok, Events} = sys:log(E, get), ok = sys:log_to_file(E, false), gen_event:stop(E), Norm(Events)"
    )
    ours, model = (
        re.sub(r"\s+|<\d+\.\d+\.\d+>|#Ref<[\d.]+>", "", (tmp_path / name).read_text())
        for name in ("ours", "theirs")
    )
    assert ours == model


async def test_events_are_printed_here_in_the_same_words(
    probes: ConformancePair, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What Python formats is what OTP writes to a file."""
    path = tmp_path / "model.log"
    source = f"(fun() -> {NORM} {{}}, {TRAFFIC} gen_server:call(C, long), sys:no_debug(C) end)()"
    model = source.replace("PEER", f"'{probes.model_name}'")
    await probes.beam.eval(model.replace("{}", f'ok = sys:log_to_file(C, "{path}")'))
    await probes.beam.eval(
        source.replace("PEER", f"'{probes.node.name}'").replace("{}", "ok = sys:trace(C, true)")
    )
    await probes.node._services.outputs.of(None).written()
    ours, theirs = (
        re.sub(r"<\d+\.\d+\.\d+>|#Ref<[\d.]+>", "ID", text)
        for text in (capsys.readouterr().out, path.read_text())
    )
    assert re.sub(r"\s+", "", ours) == re.sub(r"\s+", "", theirs)
    assert ours.count("*DBG* probe ") == theirs.count("*DBG* probe ") == 18


async def test_log_to_file_is_refused_unless_the_program_names_a_directory(
    probes: ConformancePair, tmp_path: Path
) -> None:
    refused = "{error,open_file}"
    log_to = "sys:log_to_file({probe, PEER}, %s)"
    directory = tmp_path / "logs"
    directory.mkdir()
    (directory / "link").symlink_to(tmp_path / "elsewhere")
    assert await probes.eval(log_to % '"probe.log"') == refused
    probes.node.sys.log_directory = directory
    for name in (
        '"../x"',
        '"/tmp/x"',
        '"a/b"',
        '".."',
        '""',
        "[0]",
        '"link"',
        "5",
        "[a]",
        "<<255>>",
        '"x\\\\y"',
    ):
        assert await probes.eval(log_to % name) == refused, name
    assert await probes.eval(log_to % '"probe.log"') == "ok"
    assert await probes.eval("gen_server:call({probe, PEER}, {add, 2})") == "2"
    assert await probes.eval(log_to % "false") == "ok"
    assert await probes.eval("gen_server:call({probe, PEER}, {add, 2})") == "4"
    lines = (directory / "probe.log").read_text().splitlines()
    assert [line.split(" ", 2)[2].split()[0] for line in lines] == ["got", "sent"]
    assert not (tmp_path / "elsewhere").exists()
    assert not (tmp_path / "x").exists()


async def test_start_options(conformance: ConformancePair) -> None:
    conformance.node.serve(Probe(), name="probe", debug=[("log", 4), "statistics"])
    await conformance.model.eval("probe:start([{debug, [{log, 4}, statistics]}])")
    got = await conformance.same(
        f"{NORM} {TRAFFIC} {{ok, L}} = sys:log(C, get), {{ok, S}} = sys:statistics(C, get),"
        " {Norm(L), lists:nthtail(3, S)}"
    )
    assert "{messages_in,7}" in got
    await conformance.model.eval("gen_server:stop(probe)")
    with pytest.raises(ValueError, match="no debug option: 'nonsense'"):
        conformance.node.serve(Probe(), debug=["nonsense"])


async def test_the_client_debugs_a_server_of_a_beam(probes: ConformancePair, tmp_path: Path) -> None:
    sys, there = probes.node.sys, ("probe", probes.model_name)
    await sys.log(there, size=2)
    await sys.statistics(there)
    await probes.node.gen_server.call(there, (Atom("add"), 2))
    events = await sys.get_log(there)
    assert [event[0] for event in events] == [Atom("in"), Atom("out")]
    counts = await sys.get_statistics(there)
    assert counts is not None
    assert (counts["messages_in"], counts["messages_out"]) == (1, 1)
    await sys.statistics(there, False)
    assert await sys.get_statistics(there) is None
    path = tmp_path / "model.log"
    await sys.log_to_file(there, path)
    await probes.node.gen_server.call(there, Atom("get"))
    await sys.log_to_file(there, None)
    assert path.read_text().startswith("*DBG* probe got call get from <")
    with pytest.raises(NodeError, match="open_file"):
        await sys.log_to_file(there, "/nowhere/x")
    assert await sys.replace_state(there, Export("probe", "double", 1)) == 4
    with pytest.raises(NodeError, match="callback_failed"):
        await sys.replace_state(there, Export("probe", "refuse", 1))
    with pytest.raises(TypeError, match="needs a function that can run there"):
        await sys.replace_state(there, lambda state: state)
    process = probes.node._local.runtime.add_process()
    await sys.install(there, Export("probe", "watch", 3), process.pid, key="key")
    assert await probes.node.gen_server.call(there, Atom("get")) == 4
    assert await process.receive() == (Atom("watched"), Atom("probe"), Atom("in"))
    await sys.remove(there, "key")
    await sys.suspend(there)
    with pytest.raises(NodeError, match="'EXIT'"):
        await sys.change_code(there, "probe", "1")
    await sys.resume(there)
    await sys.trace(there, False)
    await sys.print_log(there)
    await sys.no_debug(there)
    assert await sys.get_log(there) == []


async def test_the_client_debugs_a_server_of_its_own_node(
    probes: ConformancePair, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sys, call = probes.node.sys, probes.node.gen_server.call
    seen: list[Any] = []

    def watch(state: int, event: Any, name: Any) -> Any:
        seen.append((state, event[0], name))
        return state + 1 if state < 2 else Atom("done")

    async def double(state: int) -> int:
        return state * 2

    await sys.install("probe", watch, 0)
    await sys.trace("probe")
    path = tmp_path / "probe.log"
    await sys.log_to_file("probe", path)
    for number in (1, 2):
        await call("probe", (Atom("add"), number))
    assert [(state, str(kind), str(name)) for state, kind, name in seen] == [
        (0, "in", "probe"),
        (1, "out", "probe"),
        (2, "in", "probe"),
    ]
    await sys.no_debug("probe")
    assert await sys.replace_state("probe", double) == 6
    with pytest.raises(NodeError, match="callback_failed"):
        await sys.replace_state("probe", lambda state: state / 0)
    assert await sys.get_state("probe") == 6
    await probes.node._services.outputs.of(None).written()
    assert capsys.readouterr().out == path.read_text()
    with pytest.raises(FileNotFoundError):
        await sys.log_to_file("probe", tmp_path / "no" / "x")
