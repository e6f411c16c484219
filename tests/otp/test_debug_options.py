"""Debug options of servers: bounds, and requests that no honest node sends."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from quicdist import Atom, Fun, GenServer, ImproperList, Node, Process
from quicdist.otp import debug_options, remote_debug
from quicdist.otp.debug_events import event_text
from quicdist.otp.server_process import ServerProcess
from tests.otp.conftest import ended

SYSTEM, DEBUG = Atom("system"), Atom("debug")


class Counter(GenServer):
    def __init__(self) -> None:
        self.count = 0

    def handle_call(self, request: Any, sender: Any) -> Any:
        self.count += 1
        if request == "fail":
            raise ValueError("bad")
        return self.count

    def handle_cast(self, request: Any) -> None: ...


async def ask(node: Node, to: Any, request: Any) -> Any:
    """The answer to a system message from another process."""
    process = node._local.runtime.add_process()
    process.send(to, (SYSTEM, (process.pid, 1), request))
    return (await process.receive(timeout=30))[1]


@pytest.fixture
def server(node: Node) -> ServerProcess:
    process = node.serve(Counter(), name="counter")
    assert isinstance(process, ServerProcess)
    return process


def values() -> list[Any]:
    return [0, -1, 1.5, True, None, b"", [], {}, (), Atom("x"), ImproperList([1], 2), 10**30, "text", {1: 2}]


async def test_commands_of_every_shape_leave_the_server_running(node: Node, server: ServerProcess) -> None:
    names = ("trace", "log", "log_to_file", "statistics", "install", "remove", "no_debug", "get")
    for name in names:
        for value in values():
            for what in (value, (value,), (value, value), (value, value, value), (True, value)):
                if (name, what) != ("remove", value):
                    await ask(node, server, (DEBUG, (Atom(name), what)))
    for value in values():
        await ask(node, server, (DEBUG, value))
    assert await node.gen_server.call("counter", 1) == 1
    assert await ask(node, server, (DEBUG, Atom("no_debug"))) == Atom("ok")
    assert server.debug is None
    await node._services.outputs.of(None).written()


async def test_options_logs_and_terms_are_bounded(node: Node, server: ServerProcess) -> None:
    for number in range(100):
        spec = (number, Atom("no_function"), b"x" * 100_000)
        answer = await ask(node, server, (DEBUG, (Atom("install"), spec)))
    assert answer == (Atom("error"), Atom("system_limit"))
    status = await node.sys.get_status(server)
    assert len(status[3][3]) == debug_options.MAX_OPTIONS
    await node.sys.no_debug(server)
    await node.sys.log(server, size=10**12)
    node.gen_server.cast(server, list(range(1_000_000)))
    for _ in range(debug_options.MAX_LOG_SIZE):
        node.gen_server.cast(server, b"x")
    assert len(await node.sys.get_log(server)) == debug_options.MAX_LOG_SIZE


async def test_a_log_keeps_what_was_not_what_became_of_it(node: Node, server: ServerProcess) -> None:
    await node.sys.log(server)
    message = [1]
    node.gen_server.cast(server, message)
    message.append(2)
    assert (await node.sys.get_log(server))[0] == (Atom("in"), (Atom("$gen_cast"), [1]))


async def test_debug_functions_that_fail_are_removed(
    node: Node, server: ServerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(state: Any, event: Any, name: Any) -> Any:
        raise SystemExit(1)

    async def coroutine(state: Any, event: Any, name: Any) -> Any: ...

    await node.sys.install(server, fails)
    await node.sys.install(server, coroutine, key="coroutine")
    assert await node.gen_server.call(server, 1) == 1
    assert (await node.sys.get_status(server))[3][3] == []
    assert "failed and is removed" in caplog.text
    assert "is a coroutine function, and is removed" in caplog.text


async def test_code_and_files_are_refused_for_processes_of_the_node(node: Node, tmp_path: Path) -> None:
    node.sys.log_directory = tmp_path
    for name in ("rex", "net_kernel"):
        for what in ((Atom("install"), (Atom("f"), 1)), (Atom("log_to_file"), b"x")):
            answer = await ask(node, name, (DEBUG, what))
            assert answer == (Atom("error"), (Atom("unknown_system_msg"), (DEBUG, what)))
        assert await ask(node, name, (DEBUG, (Atom("log"), True))) == Atom("ok")


async def test_a_crash_report_has_the_log(
    node: Node, server: ServerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    await node.sys.log(server)
    with pytest.raises(Exception, match="bad"):
        await node.gen_server.call(server, "fail")
    await ended(server)
    (record,) = (one for one in caplog.records if one.name == "quicdist.crash")
    assert "\n  log: [{in,{'$gen_call'," in record.getMessage()


async def test_a_log_file_has_a_size_limit(
    node: Node, server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debug_options, "MAX_FILE", 1000)
    path = tmp_path / "log"
    await node.sys.log_to_file(server, path)
    for _ in range(100):
        await node.gen_server.call(server, 1)
    assert path.stat().st_size <= 1000
    assert (await node.sys.get_status(server))[3][3] == []


class FunNode:
    """``erpc.call`` towards a node that runs a fun, and how it answers."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []
        #: All answers were given.
        self.finished = asyncio.Event()

    async def call(self, node: str, module: str, function: str, arguments: Any, *, timeout: float) -> Any:
        self.asked.append(arguments[1])
        if not self.answers:
            return await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if not self.answers:
            self.finished.set()
        return answer


def install(server: ServerProcess, node: FunNode) -> None:
    fun: Any = Fun
    option = remote_debug.RemoteInstalled("key", node.call, "other@host", fun, 0)
    server.debug = debug_options.DebugOptions(
        server, lambda: server.node._services.outputs.of(None), Atom("gen_server")
    )
    assert server.debug.install(option)


async def test_a_fun_of_another_node_gets_the_events_in_order(node: Node, server: ServerProcess) -> None:
    other = FunNode(1, 2, 3, Atom("done"))
    install(server, other)
    for _ in range(3):
        await node.gen_server.call(server, 1)
    await other.finished.wait()
    assert [(state, str(event[0])) for state, event, _ in other.asked] == [
        (0, "in"),
        (1, "out"),
        (2, "in"),
        (3, "out"),
    ]
    assert not server.debug


async def test_a_node_that_does_not_run_its_fun_costs_a_bounded_queue(
    node: Node,
    server: ServerProcess,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(remote_debug, "MAX_WAITING", 10)
    install(server, FunNode())
    for _ in range(20):
        node.gen_server.cast(server, 1)
    await node.sys.get_state(server)
    assert not server.debug
    assert "cannot keep up, and is removed" in caplog.text


def test_events_are_formatted_whatever_they_hold() -> None:
    for value in values():
        for event in (
            (Atom("in"), value),
            (Atom("out"), value, value, value),
            (value,),
            (Atom("noreply"), value),
        ):
            for behaviour in ("gen_server", "gen_statem", "gen_event"):
                assert event_text(Atom("name"), event, Atom(behaviour)).startswith("*DBG* name")


async def test_a_server_under_debug_options_prints_nothing_after_its_end(
    node: Node, server: ServerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await node.sys.statistics(server)
    process: Process = server
    process.stop()
    await ended(process)
    assert server.debug is None
    assert not caplog.records
