"""Every row of docs/reference/exit-reasons.md: its code is run, and a BEAM matches its patterns."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import Atom, GenServer, Process, ProcessExit, Stop
from tests.interop.cluster import Cluster
from tests.support.beam_log import printed, watch_printed

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "exit-reasons.md").read_text()

NO_CASE = "no `case` for the request"
_NO_CASE = 'match request:\n    case "other":\n        return 1'


def rows(after: str, heading: str) -> list[list[str]]:
    """The rows of the table whose first heading is ``heading``, below the section ``after``."""
    section = PAGE[PAGE.index(f"\n## {after}\n") :]
    lines = section[section.index(f"\n| {heading} |") :].strip().splitlines()[2:]
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        table.append([cell.strip().strip("`") for cell in line.strip().strip("|").split("|")])
    return [[NO_CASE, *row[1:]] if row[0].startswith("no ") else row for row in table]


BODIES = rows("The body of a process", "the body")
SIGNALS = rows("The body of a process", "a process of the BEAM calls")
SERVERS = rows("A server", "`handle_call`")
EXPORTS = rows("An exported function", "the function")


def name(row: list[str]) -> str:
    return row[0]


def function(directory: Path, code: str, parameters: str, **scope: Any) -> Callable[..., Any]:
    """The coroutine function with those parameters whose code that is, from a file."""
    code = _NO_CASE if code == NO_CASE else code
    path = directory / "rows.py"
    path.write_text(f"async def function({parameters}):\n{textwrap.indent(code, '    ')}\n")
    names = {"Atom": Atom, "ProcessExit": ProcessExit, "Stop": Stop, "asyncio": asyncio, "sys": sys, **scope}
    exec(compile(path.read_text(), path, "exec"), names)
    made: Callable[..., Any] = names["function"]
    return made


class Stopping(GenServer):
    def handle_call(self, request: Any, sender: Any) -> Any:
        return Stop(Atom("enough"))


@pytest_asyncio.fixture
async def shell(lasting_pair: Cluster) -> AsyncIterator[Cluster]:
    """The two, connected, with what the BEAM prints kept; ``stopping`` and ``mute`` on our node."""
    pair = lasting_pair
    pair.node.serve(Stopping(), name="stopping")
    pair.node.process("mute")(lambda process, message: None)
    await pair.node.connect(pair.beam_name)
    await watch_printed(pair.beam)
    yield pair


async def check(shell: Cluster, source: str, pattern: str) -> None:
    """Whether the value of ``source`` matches an Erlang pattern."""
    matches = f"(fun({pattern}) -> matches; (Other_) -> {{is, Other_}} end)"
    assert await shell.eval(f"{matches}({source})") == "matches"


async def check_printed(shell: Cluster, texts: list[str]) -> None:
    for text in texts:
        assert text in await printed(shell.beam)
    assert await printed(shell.beam, 0.1) == ""


#: What links and monitors of a process get that Start gives: both reasons.
ENDS = """
(fun(Start) ->
    Self = self(),
    {Watcher, Ref} = spawn_monitor(fun() ->
        process_flag(trap_exit, true),
        {Pid, Monitor} = Start(),
        receive {'EXIT', Pid, ByLink} -> ok end,
        receive {'DOWN', Monitor, process, Pid, ByMonitor} -> ok end,
        Self ! {ends, ByLink, ByMonitor}
    end),
    receive {ends, R1, R2} -> demonitor(Ref, [flush]), {R1, R2}; {'DOWN', Ref, _, Watcher, Why} -> Why end
end)
"""


@pytest.mark.parametrize("row", BODIES, ids=name)
async def test_body(shell: Cluster, tmp_path: Path, row: list[str]) -> None:
    code, reason, print_ = row
    body = function(tmp_path, code, "process", node=shell.node, BEAM=shell.beam_name)
    shell.node.exports.process("rows", "body")(body)
    start = "fun() -> spawn_opt(PY, rows, body, [], [link, monitor]) end"
    # The same pattern twice: of the link, and of the monitor.
    await check(shell, f"{ENDS}({start})", f"{{{reason} = Reason_, Reason_}}")
    await check_printed(shell, [print_] if print_ else [])


@pytest.mark.parametrize("row", SIGNALS, ids=name)
async def test_exit_signal(shell: Cluster, row: list[str]) -> None:
    source, reason = row

    async def body(process: Process) -> None:
        await process.receive()

    shell.node.exports.process("rows", "body")(body)
    spawn = "{Pid, _} = Started = spawn_opt(PY, rows, body, [], [link, monitor])"
    start = f"fun() -> {spawn}, {source}, Started end"
    await check(shell, f"{ENDS}({start})", f"{{{reason} = Reason_, Reason_}}")
    await check_printed(shell, [])


@pytest.mark.parametrize("row", SERVERS, ids=name)
async def test_server(shell: Cluster, tmp_path: Path, row: list[str]) -> None:
    code, caller, reason, print_ = row
    handle_call = function(tmp_path, code, "self, request, sender", node=shell.node)
    shell.node.exports.child("rows", "server")(type("Server", (GenServer,), {"handle_call": handle_call}))
    # Only who is not answered and who does not end waits for so long.
    patience = 300 if "timeout" in caller else 60_000
    end = "after 500 -> Self ! {row, Value, goes_on}" if reason == "keeps running" else ""
    call = f"try gen_server:call(Pid, request, {patience}) catch Class_:Why_ -> {{Class_, Why_}} end"
    value = "{" + caller.replace("exit:", "exit, ", 1) + "}" if caller.startswith("exit:") else caller
    source = f"""
        (fun() ->
            Self = self(),
            spawn(fun() ->
                process_flag(trap_exit, true),
                {{ok, Pid}} = erpc:call(PY, rows, server, []),
                Value = {call},
                receive {{'EXIT', Pid, Reason}} -> Self ! {{row, Value, Reason}} {end} end
            end),
            receive {{row, V, R}} -> {{V, R}} end
        end)()
    """
    await check(shell, source, f"{{{value}, {'goes_on' if reason == 'keeps running' else reason}}}")
    await check_printed(shell, ["Generic server", "CRASH REPORT"] if print_ else [])


@pytest.mark.parametrize("row", EXPORTS, ids=name)
async def test_export(shell: Cluster, tmp_path: Path, row: list[str]) -> None:
    code, by_erpc, by_rpc = row
    shell.node.export("rows", "export")(function(tmp_path, code, "", node=shell.node, BEAM=shell.beam_name))
    kind, colon, pattern = by_erpc.partition(":")
    pattern = f"{{{kind}, {pattern}}}" if colon and kind in ("error", "exit", "throw") else by_erpc
    caught = "try erpc:call(PY, rows, export, []) catch Class_:Why_ -> {Class_, Why_} end"
    await check(shell, f"(fun() -> {caught} end)()", pattern)
    await check(shell, "rpc:call(PY, rows, export, [])", by_rpc)
    await check_printed(shell, [])


async def test_the_error_of_an_init_is_that_of_the_start(shell: Cluster) -> None:
    class Fails(GenServer):
        def init(self) -> Any:
            raise ValueError("bad")

    shell.node.exports.child("rows", "server")(Fails)
    error = '{error, {{python_error, <<"ValueError">>, <<"bad">>}, _}}'
    await check(
        shell,
        "(fun() -> Self = self(), spawn(fun() -> process_flag(trap_exit, true),"
        " Self ! {init, erpc:call(PY, rows, server, [])} end), receive {init, Got} -> Got end end)()",
        error,
    )
    await check_printed(shell, ["CRASH REPORT"])
