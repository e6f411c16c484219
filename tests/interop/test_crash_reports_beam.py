"""Crash reports on the BEAM whose process is the group leader: printed by it as its own are."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, ChildSpec, GenServer, Process, ProcessExit, Stop, Supervisor
from quicdist.otp.crash_reports import MAX_FORWARDED
from tests.interop.cluster import Cluster
from tests.support.beam_log import printed, watch_printed
from tests.support.records import records_of

#: The same server as ``Server`` below, and its starts, on the BEAM.
MODULE = """
-module(crash_server).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export([start_link/1, start_sup/1, body/1]).
init({sup, Arg}) -> {ok, {#{intensity => 0}, [#{id => kid, start => {?MODULE, start_link, [Arg]}}]}};
init(crash) -> error(init_fails);
init(stop) -> {stop, not_now};
init(Arg) -> {ok, Arg}.
handle_call(crash, _, _) -> error(call_fails);
handle_call(stop, _, S) -> {stop, enough, 1, S}.
handle_cast(crash, _) -> error(cast_fails);
handle_cast(Reason, _) -> exit(Reason).
handle_info(crash, _) -> error(info_fails).
terminate(_, _) -> ok.
start_link(Arg) -> gen_server:start_link(?MODULE, Arg, []).
start_sup(Arg) -> supervisor:start_link(?MODULE, {sup, Arg}).
body(error) -> error(body_fails);
body(throw) -> throw(thrown);
body(Reason) -> exit(Reason).
"""


class Server(GenServer):
    def __init__(self, start: Any) -> None:
        self.state = start

    def init(self) -> Any:
        if self.state == Atom("crash"):
            raise ValueError("init fails")
        return Stop(Atom("not_now")) if self.state == Atom("stop") else None

    def handle_call(self, request: Any, sender: Any) -> Any:
        if request == Atom("stop"):
            return Stop(Atom("enough"), 1)
        raise ValueError("call fails")

    def handle_cast(self, request: Any) -> Any:
        if request == Atom("crash"):
            raise ValueError("cast fails")
        raise ProcessExit(request)

    def handle_info(self, message: Any) -> Any:
        raise ValueError("info fails")

    def get_state(self) -> Any:
        return self.state


@pytest_asyncio.fixture
async def shell(lasting_pair: Cluster) -> AsyncIterator[Cluster]:
    """The two, connected, with what the BEAM prints kept; crash_server at both."""
    pair = lasting_pair
    node = pair.node

    @node.exports.process("crash_server", "body")
    async def body(_: Any, what: Any) -> None:
        if what == Atom("error"):
            raise ValueError("body fails")
        raise ProcessExit(what)

    @node.export("crash_server", "exported")
    def exported(*_: Any) -> None:
        raise ValueError("export fails")

    node.exports.child("crash_server", "start_link")(Server)

    @node.exports.child("crash_server", "start_sup")
    def start_sup(start: Any) -> Supervisor:
        return Supervisor([ChildSpec("kid", Server, (start,))], intensity=0)

    await node.connect(pair.beam_name)
    await watch_printed(pair.beam)
    await pair.eval(
        "(fun() ->"
        '  Forms = [begin {ok, T, _} = erl_scan:string(F ++ "."), {ok, P} = erl_parse:parse_form(T), P end'
        r'    || F <- string:split(unicode:characters_to_list(Data), ".\n", all), string:trim(F) =/= ""],'
        "  {ok, crash_server, Code} = compile:forms(Forms),"
        '  {module, crash_server} = code:load_binary(crash_server, "crash_server.erl", Code) end)()',
        MODULE.replace("?MODULE", "crash_server").encode(),
    )
    yield pair


def skeleton(text: str) -> list[str]:
    """What the lines of a report are about, without the frames of its stack, what only a BEAM's process
    has, and the processes that it is linked to."""
    lines = []
    for line in text.splitlines():
        if re.match(r"=\w+ REPORT====|=\w+ \w+====", line):
            lines.append(line.split("====")[0])
        elif match := re.match(r"\*\* (\w+ \w+ \w+)|\s+([a-z_ ]+:)|Error in process", line):
            label = (match[0] if match[2] is None else match[2]).strip()
            if label == "neighbours:":
                break
            if not label.startswith(("heap_size:", "stack_size:", "reductions:", "in ")):
                lines.append(label)
    return lines


#: Starts a server on Node, linked to no process of the test, and sends it something.
WITH = (
    "(fun(Node, What) ->"
    "  Self = self(),"
    "  spawn(fun() ->"
    "    process_flag(trap_exit, true),"
    "    {ok, P} = erpc:call(Node, crash_server, start_link, [state]),"
    "    case What of"
    "      {call, C} -> catch gen_server:call(P, C);"
    "      {cast, C} -> gen_server:cast(P, C);"
    "      {info, C} -> P ! C"
    "    end,"
    "    receive {'EXIT', P, _} -> Self ! ended end"
    "  end),"
    "  receive ended -> ok end "
    "end)"
)


async def of_both(shell: Cluster, source: str, reports: int) -> list[tuple[str, str]]:
    """What is printed where NODE in the source is the BEAM itself, and where it is our node."""
    texts = []
    for node in ("node()", "PY"):
        await shell.eval(source.replace("NODE", node))
        texts.append([await printed(shell.beam) for _ in range(reports)])
    assert await printed(shell.beam, 0.2) == ""
    return list(zip(*texts, strict=True))


async def test_a_process_that_the_beam_spawned_and_that_crashes_is_printed_there(shell: Cluster) -> None:
    ((beams, ours),) = await of_both(shell, "spawn(NODE, crash_server, body, [error])", 1)
    head, _, reason = ours.partition(" with exit value:\n")
    assert re.fullmatch(
        rf"=ERROR REPORT==== [^\n]*\nError in process <\d+\.\d+\.\d+> on node '{shell.node.name}'", head
    )
    assert skeleton(ours) == skeleton(beams) == ["=ERROR REPORT", "Error in process"]
    assert reason.startswith('{{python_error,<<"ValueError">>,<<"body fails">>},\n [{\'tests.interop.')


async def test_a_function_that_is_not_there_is_printed_as_a_beams(shell: Cluster) -> None:
    ((beams, ours),) = await of_both(shell, "spawn(NODE, nosuch, f, [x])", 1)
    assert "{undef,[{nosuch,f,[x],[]}]}" in ours
    assert "{undef,[{nosuch,f,[x],[]}]}" in beams


async def test_an_exported_function_that_is_spawned_and_fails_is_printed(shell: Cluster) -> None:
    await shell.eval("spawn(PY, crash_server, exported, [])")
    assert "export fails" in await printed(shell.beam)
    await shell.eval("erpc:cast(PY, crash_server, exported, [])")
    assert "export fails" in await printed(shell.beam)
    await shell.eval("rpc:cast(PY, crash_server, exported, [])")
    assert "export fails" in await printed(shell.beam)
    await shell.eval("catch erpc:call(PY, crash_server, exported, [])")
    assert await printed(shell.beam, 0.3) == ""


@pytest.mark.parametrize("what", ["error", "oops"])
async def test_what_proc_lib_spawns_and_that_fails_is_printed_as_a_beams(shell: Cluster, what: str) -> None:
    ((beams, ours),) = await of_both(shell, f"proc_lib:spawn(NODE, crash_server, body, [{what}])", 1)
    assert ours.startswith("=CRASH REPORT====")
    assert skeleton(ours) == skeleton(beams)
    assert "initial call: crash_server:body/1" in ours
    assert "initial call: crash_server:body/1" in beams


@pytest.mark.parametrize("reason", ["oops", "normal", "shutdown"])
async def test_an_exit_is_not_printed(shell: Cluster, reason: str) -> None:
    assert await of_both(shell, f"spawn(NODE, crash_server, body, [{reason}])", 0) == []


@pytest.mark.parametrize(
    "what", ["{call, crash}", "{call, stop}", "{cast, crash}", "{cast, oops}", "{info, crash}"]
)
async def test_a_server_that_terminates_is_printed_as_a_beams(shell: Cluster, what: str) -> None:
    servers, crashes = await of_both(shell, f"{WITH}(NODE, {what})", 2)
    beams, ours = servers
    assert ours.splitlines()[1].startswith("** Generic server <")
    assert skeleton(ours) == skeleton(beams)
    assert "** When Server state == state" in ours
    beams, ours = crashes
    assert ours.startswith("=CRASH REPORT====")
    assert skeleton(ours) == skeleton(beams)
    assert "initial call: 'tests.interop.test_crash_reports_beam.Server':init/1" in ours


@pytest.mark.parametrize("reason", ["normal", "shutdown", "{shutdown, 1}"])
async def test_a_server_that_ends_in_order_is_not_printed(shell: Cluster, reason: str) -> None:
    assert await of_both(shell, f"{WITH}(NODE, {{cast, {reason}}})", 0) == []


@pytest.mark.parametrize("start", ["crash", "stop"])
async def test_a_server_that_does_not_start_is_printed_as_a_beams(shell: Cluster, start: str) -> None:
    start_link = f"catch erpc:call(NODE, crash_server, start_link, [{start}])"
    source = f"spawn(fun() -> process_flag(trap_exit, true), {start_link} end)"
    ((beams, ours),) = await of_both(shell, source, 1)
    assert ours.startswith("=CRASH REPORT====")
    assert skeleton(ours) == skeleton(beams)


async def test_a_supervisor_is_printed_as_a_beams(shell: Cluster) -> None:
    source = (
        "(fun(Node) -> Self = self(),"
        "  spawn(fun() ->"
        "    process_flag(trap_exit, true),"
        "    {ok, S} = erpc:call(Node, crash_server, start_sup, [state]),"
        "    [{_, P, _, _}] = supervisor:which_children(S),"
        "    gen_server:cast(P, oops),"
        "    receive {'EXIT', S, shutdown} -> Self ! ended end"
        "  end),"
        "  receive ended -> ok end end)(NODE)"
    )
    titles = ["=ERROR REPORT", "=CRASH REPORT", "=SUPERVISOR REPORT", "=SUPERVISOR REPORT"]

    def in_order(texts: Iterable[str]) -> list[str]:
        # Of two processes: what comes first is not said, and over QUIC they have streams of their own.
        return sorted(texts, key=lambda text: titles.index(text.split("====")[0]))

    texts = [*zip(*map(in_order, zip(*await of_both(shell, source, 4), strict=True)), strict=True)]
    assert [ours.split("====")[0] for _, ours in texts] == titles
    for beams, ours in texts:
        assert skeleton(ours) == skeleton(beams)
    assert "errorContext: child_terminated" in texts[2][1]
    assert "reason: reached_max_restart_intensity" in texts[3][1]


async def test_what_comes_too_fast_is_left_out_and_said_so(shell: Cluster) -> None:
    await shell.eval(
        f"[spawn(PY, crash_server, body, [error]) || _ <- lists:seq(1, {MAX_FORWARDED + 20})], ok"
    )
    texts = [await printed(shell.beam) for _ in range(MAX_FORWARDED + 1)]
    assert all("Error in process" in text for text in texts[:-1])
    assert f"crash reports of {shell.node.name}: (more like it are left out for" in texts[-1]
    assert await printed(shell.beam, 0.3) == ""


async def test_a_large_report_is_cut(shell: Cluster) -> None:
    await shell.eval("spawn(PY, nosuch, f, [lists:seq(1, 1000000), <<0:8000000>>])")
    text = await printed(shell.beam)
    assert "'...'" in text
    assert len(text) < 20_000


async def test_a_report_makes_no_connection(shell: Cluster) -> None:
    node, leaders = shell.node, []

    @node.exports.process("crash_server", "leader")
    async def leader(process: Process) -> None:
        leaders.append(process.group_leader)

    def fail(process: Process, message: Any) -> None:
        raise ValueError(message)

    await shell.eval("spawn(PY, crash_server, leader, [])")
    await node.is_auth(shell.beam_name)
    with records_of("quicdist.crash") as records:
        for connected in (True, False):
            if not connected:
                assert node.disconnect(shell.beam_name)
            process = node.spawn(fail)
            (process.group_leader,) = leaders
            node.send(process, "fails")
            record = await records.next()
            assert record.__dict__["reported_to"] == (shell.beam_name if connected else None)
    assert not node._local.connections.has(shell.beam_name)
    assert "fails" in await printed(shell.beam)
    # quic_dist reports the end of the connection.
    assert "fails" not in await printed(shell.beam, 0.2)
