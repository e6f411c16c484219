"""The phases of a server, from ``init`` to the end: ``terminate`` runs once, whatever ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from quicdist import IGNORE, Atom, GenServer, Node, ProcessExit, Stop
from quicdist.otp.gen_messages import SYSTEM
from quicdist.otp.server_lifecycle import TRANSITIONS, ServerPhase
from quicdist.otp.server_process import ServerProcess
from tests.otp.conftest import ended

STARTING, INITIALISED, RUNNING, SUSPENDED, TERMINATING, ENDED = ServerPhase
SHUTDOWN, KILL, NORMAL = Atom("shutdown"), Atom("kill"), Atom("normal")
UNKNOWN = Atom("unknown_system_msg")


class Phases(GenServer):
    """Notes the phase in which each callback is called."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, ServerPhase]] = []

    def note(self, callback: str) -> None:
        assert isinstance(self.process, ServerProcess)
        self.seen.append((callback, self.process.phase))

    def init(self) -> Any:
        self.note("init")

    def handle_call(self, request: Any, sender: Any) -> Any:
        self.note("handle_call")
        if isinstance(request, BaseException):
            raise request
        return request

    def terminate(self, reason: Any) -> Any:
        self.note("terminate")


class AsyncPhases(Phases):
    async def init(self) -> Any:
        await asyncio.sleep(0)
        self.note("init")

    async def handle_call(self, request: Any, sender: Any) -> Any:
        await asyncio.sleep(0)
        return super().handle_call(request, sender)

    async def terminate(self, reason: Any) -> Any:
        await asyncio.sleep(0)
        self.note("terminate")


class NeverInitialised(Phases):
    async def init(self) -> Any:
        await asyncio.Event().wait()


async def started(node: Node, server: Phases) -> ServerProcess:
    process = await node.gen_server.start(server)
    assert isinstance(process, ServerProcess)
    return process


@pytest.fixture(params=[Phases, AsyncPhases])
def server(request: pytest.FixtureRequest) -> Phases:
    made: Phases = request.param()
    return made


ENDS: dict[str, Callable[[Node, ServerProcess], Any]] = {
    "a call that returns Stop": lambda node, process: node.gen_server.send(
        process, (Atom("$gen_call"), (process.pid, 1), Stop(SHUTDOWN))
    ),
    "a call that raises ProcessExit": lambda node, process: node.gen_server.send(
        process, (Atom("$gen_call"), (process.pid, 1), ProcessExit(SHUTDOWN))
    ),
    "a call that raises an error": lambda node, process: node.gen_server.send(
        process, (Atom("$gen_call"), (process.pid, 1), ValueError("no"))
    ),
    "an exit signal": lambda node, process: process.exit(process.pid, SHUTDOWN),
    "kill": lambda node, process: process.exit(process.pid, KILL),
    "its own stop": lambda node, process: process.stop(),
    "sys:terminate": lambda node, process: node.gen_server.send(
        process, (SYSTEM, (process.pid, 1), (Atom("terminate"), NORMAL))
    ),
}


@pytest.mark.parametrize("end", ENDS)
async def test_terminate_runs_once_whatever_ends_a_running_server(
    node: Node, server: Phases, end: str
) -> None:
    process = await started(node, server)
    assert process.phase is RUNNING
    ENDS[end](node, process)
    await ended(process)
    await process.finished()
    assert process.phase is ENDED
    assert server.seen[0] == ("init", STARTING)
    assert server.seen[-1] == ("terminate", TERMINATING)
    assert [callback for callback, _ in server.seen].count("terminate") == 1
    assert {phase for callback, phase in server.seen if callback == "handle_call"} <= {RUNNING}


@pytest.mark.parametrize("end", ["an exit signal", "kill", "its own stop", "sys:terminate"])
async def test_terminate_runs_once_whatever_ends_a_suspended_server(
    node: Node, server: Phases, end: str
) -> None:
    process = await started(node, server)
    await node.sys.suspend(process)
    assert process.phase is SUSPENDED
    ENDS[end](node, process)
    await ended(process)
    await process.finished()
    assert process.phase is ENDED
    assert server.seen[1:] == [("terminate", TERMINATING)]


@pytest.mark.parametrize("reason", [SHUTDOWN, KILL])
async def test_a_server_that_ends_before_init_has_returned_has_no_terminate(node: Node, reason: Atom) -> None:
    server = NeverInitialised()
    process = node.serve(server)
    assert isinstance(process, ServerProcess)
    assert process.phase is STARTING
    process.exit(process.pid, reason)
    await ended(process)
    await process.finished()
    assert process.phase is ENDED
    assert server.seen == []


async def test_a_server_that_asks_to_be_ignored_has_no_terminate(node: Node) -> None:
    class Ignored(Phases):
        def init(self) -> Any:
            super().init()
            return IGNORE

    server = Ignored()
    assert await node.gen_server.start(server) is None
    assert isinstance(server.process, ServerProcess)
    assert server.process.phase is ENDED
    assert server.seen == [("init", STARTING)]


async def test_a_suspended_server_answers_sys_and_keeps_calls_until_it_is_resumed(
    node: Node, server: Phases
) -> None:
    process = await started(node, server)
    await node.sys.suspend(process)
    await node.sys.suspend(process)  # once more changes nothing
    call = node.gen_server.send_request(process, 7)
    status = await node.sys.get_status(process)
    assert status[3][1] == Atom("suspended")
    assert not call.done()
    await node.sys.resume(process)
    assert await call == 7
    assert process.phase is RUNNING
    await node.sys.resume(process)  # once more changes nothing
    status = await node.sys.get_status(process)
    assert status[3][1] == Atom("running")


async def test_change_code_of_a_server_that_is_not_suspended_is_an_unknown_message(node: Node) -> None:
    process = await started(node, Phases())
    request: Any = (Atom("change_code"), Atom("module"), Atom("undefined"), [])
    caller = node._services.gen
    assert await caller.call(process, request, label=SYSTEM) == (Atom("error"), (UNKNOWN, request))
    await node.sys.suspend(process)
    assert await caller.call(process, request, label=SYSTEM) == Atom("ok")


def test_every_phase_leads_to_the_end_and_none_back_to_the_start() -> None:
    assert TRANSITIONS.keys() == set(ServerPhase)
    assert TRANSITIONS[ENDED] == set()
    for phase in ServerPhase:
        reached = {phase}
        while more := {after for one in reached for after in TRANSITIONS[one]} - reached:
            reached |= more
        assert ENDED in reached
        assert phase is STARTING or STARTING not in reached


async def test_a_transition_that_is_not_in_the_table_is_refused(node: Node) -> None:
    process = await started(node, Phases())
    with pytest.raises(RuntimeError, match="cannot go from RUNNING to INITIALISED"):
        process.become(INITIALISED)
