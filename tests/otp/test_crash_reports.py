"""Crash reports in Python's ``logging``: one record for each crash, with its facts as fields."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from quicdist import (
    Atom,
    CallTimeout,
    ChildSpec,
    GenServer,
    Node,
    NoSuchProcess,
    Process,
    ProcessEnded,
    ProcessExit,
    Stop,
    Supervisor,
)
from quicdist.node.reports import MAX_REPORTS
from tests.otp.conftest import ended
from tests.support.records import Records, records_of

CRASH = "quicdist.crash"


@pytest_asyncio.fixture
async def records() -> AsyncIterator[Records]:
    with records_of(CRASH) as found:
        yield found


class Counter(GenServer):
    def __init__(self, start: Any = 1) -> None:
        self.count = start
        self._secret = "not shown"

    def init(self) -> Any:
        if self.count == "init":
            raise ValueError("no start")
        return Stop(Atom("not_now")) if self.count == "stop" else None

    def handle_call(self, request: Any, sender: Any) -> Any:
        match request:
            case Atom(name="get"):
                return self.count
            case Atom(name="stop"):
                return Stop(Atom("enough"), 1)
            case "crash":
                raise ValueError(f"crash\n{self.count}")

    async def handle_cast(self, request: Any) -> Any:
        await asyncio.sleep(0)
        if isinstance(request, Exception):
            raise request
        raise ProcessExit(request)

    def terminate(self, reason: Any) -> None:
        self.count = "terminated"


async def crash(process: Process, error: BaseException) -> None:
    raise error


def handler(process: Process, message: Any) -> None:
    raise KeyError(message)


async def test_a_process_that_crashes_leaves_one_record(node: Node, records: Records) -> None:
    parent = node.spawn(lambda *_: None, name="parent")
    process = parent.spawn(crash, ValueError("what\nis it"), name="worker", link=True)
    await ended(process)
    (record,) = records.take()
    module = __name__
    assert record.levelno == logging.ERROR
    assert record.getMessage().splitlines() == [
        f"process {process.pid} (worker) of {node.name} crashed: ValueError: what\\nis it",
        f"  initial call: {module}:crash/2",
        "  ancestors: [parent]",
        f"  links: [{parent.pid}]",
    ]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    fields = record.__dict__
    assert fields["node"] == node.name
    assert fields["pid"] == process.pid
    assert fields["registered_name"] == "worker"
    assert fields["initial_call"] == (Atom(module), Atom("crash"), 2)
    assert fields["reason"] == process.exit_reason
    assert fields["ancestors"] == [Atom("parent")]
    assert fields["links"] == [parent.pid]
    assert fields["stack"] == process.exit_reason[1]
    assert fields["stack"][0][1] == Atom("crash")
    assert (fields["last_message"], fields["state"], fields["client"]) == (None, None, None)
    assert fields["reported_to"] is None


async def test_a_handler_that_crashes_is_reported_with_its_message(node: Node, records: Records) -> None:
    process = node.spawn(handler)
    node.send(process, {"key": b"x" * 5000})
    await ended(process)
    (record,) = records.take()
    assert record.__dict__["last_message"] == {"key": b"x" * 1000 + b"..."}
    lines = record.getMessage().splitlines()
    assert lines[0].startswith(f"process {process.pid} of {node.name} crashed: KeyError: ")
    assert lines[2].startswith('  last message: #{<<"key">> => <<"xxx')
    assert max(map(len, lines)) < 1100


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NoSuchProcess("there is no process x"), "NoSuchProcess: there is no process x"),
        (CallTimeout("x", 5.0), "CallTimeout: x did not answer within 5 s"),
        (ValueError(), "ValueError"),
        (SystemExit(3), "SystemExit: 3"),
        (RecursionError("deep"), "RecursionError: deep"),
    ],
)
async def test_any_exception_that_leaves_a_body_is_reported(
    node: Node, records: Records, error: BaseException, expected: str
) -> None:
    await ended(node.spawn(crash, error))
    (record,) = records.take()
    assert record.getMessage().splitlines()[0].endswith(f"crashed: {expected}")


@pytest.mark.parametrize("reason", ["normal", "shutdown", "oops", "kill"])
async def test_an_exit_of_a_process_is_no_crash(node: Node, records: Records, reason: str) -> None:
    await ended(node.spawn(crash, ProcessExit(Atom(reason))))
    waiting = node.spawn(lambda *_: None)
    waiting.exit(waiting, Atom(reason))
    assert records.take() == []


async def test_a_server_that_crashes_leaves_one_record_with_message_and_state(
    node: Node, records: Records
) -> None:
    server = node.serve(Counter(7), name="counter")
    asker = node.spawn(lambda *_: None)
    with pytest.raises(ProcessEnded):
        await node.gen_server.call("counter", "crash", process=asker)
    (record,) = records.take()
    lines = record.getMessage().splitlines()
    assert lines[:5] == [
        f"server {server.pid} (counter) of {node.name} terminates: ValueError: crash\\n7",
        f"  initial call: {__name__}.Counter:init/1",
        '  last message: <<"crash">>',
        "  state: #{count => 7}",
        f"  client: {asker.pid}",
    ]
    fields = record.__dict__
    assert fields["last_message"] == "crash"
    assert fields["state"] == {Atom("count"): 7}
    assert fields["client"] == asker.pid
    assert fields["registered_name"] == "counter"
    assert fields["reason"] == server.exit_reason
    assert record.exc_info is not None


@pytest.mark.parametrize(
    ("request_", "reported"),
    [
        (ValueError("cast"), "ValueError: cast"),
        (Atom("oops"), "oops"),
        ((Atom("nested"), 1), "{nested,1}"),
        (Atom("normal"), None),
        (Atom("shutdown"), None),
        ((Atom("shutdown"), 1), None),
    ],
)
async def test_a_server_that_exits_is_reported_unless_that_is_in_order(
    node: Node, records: Records, request_: Any, reported: str | None
) -> None:
    server = node.serve(Counter())
    node.gen_server_cast(server, request_)
    await ended(server)
    lines = [record.getMessage().splitlines()[0] for record in records.take()]
    assert lines == (
        [] if reported is None else [f"server {server.pid} of {node.name} terminates: {reported}"]
    )


async def test_a_server_that_stops_with_a_reason_is_reported(node: Node, records: Records) -> None:
    server = node.serve(Counter())
    assert await node.gen_server_call(server, Atom("stop")) == 1
    await ended(server)
    (record,) = records.take()
    assert record.getMessage().splitlines()[0].endswith("terminates: enough")
    assert record.__dict__["last_message"] == Atom("stop")
    assert record.exc_info is None


@pytest.mark.parametrize("reason", ["kill", "oops", "shutdown"])
async def test_a_server_that_an_exit_signal_ends_is_no_crash(
    node: Node, records: Records, reason: str
) -> None:
    server = node.serve(Counter())
    server.exit(server, Atom(reason))
    await ended(server)
    assert records.take() == []


@pytest.mark.parametrize(
    ("start", "why"), [("init", "ValueError: no start"), ("stop", "not_now")], ids=["raises", "stops"]
)
async def test_a_server_whose_init_fails_is_reported(
    node: Node, records: Records, start: str, why: str
) -> None:
    with pytest.raises((ValueError, ProcessEnded)):
        await node.gen_server.start(Counter(start))
    (record,) = records.take()
    lines = record.getMessage().splitlines()
    assert lines[0].endswith(f"was not started: {why}")
    assert lines[1:] == [f"  initial call: {__name__}.Counter:init/1"]


class Odd(GenServer):
    """Its state cannot be shown."""

    def get_state(self) -> Any:
        raise SystemExit("no state")

    def handle_info(self, message: Any) -> Any:
        raise ValueError(message)


async def test_a_state_that_raises_does_not_keep_the_report(node: Node, records: Records) -> None:
    server = node.serve(Odd())
    node.send(server, "hello")
    await ended(server)
    (record,) = records.take()
    assert record.__dict__["state"] == "<no state: SystemExit>"
    assert record.__dict__["last_message"] == "hello"


class Failing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise SystemExit


async def test_a_logging_handler_that_raises_does_not_keep_the_process_from_ending(node: Node) -> None:
    logger, failing = logging.getLogger(CRASH), Failing()
    logger.addHandler(failing)
    try:
        server = node.serve(Counter())
        node.gen_server_cast(server, ValueError())
        await ended(server)
    finally:
        logger.removeHandler(failing)


async def test_reports_of_one_function_are_limited(node: Node, records: Records) -> None:
    for _ in range(MAX_REPORTS + 5):
        await ended(node.spawn(crash, ValueError()))
    node.send(other := node.spawn(handler), 1)
    await ended(other)
    found = records.take()
    assert len(found) == MAX_REPORTS + 1
    assert "ValueError (more like it are left out for" in found[-2].getMessage()


# -- supervisors -------------------------------------------------------------------------------


async def wait_for(records: Records, text: str) -> logging.LogRecord:
    while text not in (record := await records.next()).getMessage():
        pass
    return record


async def test_a_supervisor_reports_its_children(node: Node, records: Records) -> None:
    spec = ChildSpec("counter", Counter, name="counter")
    supervisor = node.serve(Supervisor([spec]), name="sup")
    started = await wait_for(records, "started as")
    first = node.whereis("counter")
    assert first is not None
    assert started.levelno == logging.INFO
    who = f"supervisor {supervisor.pid} (sup) of {node.name}: child counter"
    assert started.getMessage() == f"{who} started as {first.pid}"
    node.gen_server_cast("counter", Atom("oops"))
    report = await wait_for(records, "ended")
    assert report.levelno == logging.ERROR
    assert report.getMessage() == f"{who} ended: oops"
    fields = report.__dict__
    assert (fields["context"], fields["reason"]) == ("child_terminated", Atom("oops"))
    assert (fields["child_id"], fields["child_pid"]) == ("counter", first.pid)
    await wait_for(records, "started as")
    node.gen_server_cast("counter", (Atom("shutdown"), 2))
    await wait_for(records, "ended: {shutdown,2}")
    last = await wait_for(records, "restarted too often")
    assert last.__dict__["context"] == "shutdown"
    assert last.__dict__["reason"] == Atom("reached_max_restart_intensity")


async def test_a_child_that_cannot_be_started_is_reported(node: Node, records: Records) -> None:
    with pytest.raises(ProcessEnded):
        await node.gen_server.start(Supervisor([ChildSpec("counter", Counter, ("init",))]))
    found = [record for record in records.take() if record.__dict__.get("context")]
    (record,) = found
    assert record.__dict__["context"] == "start_error"
    assert "child counter could not be started: {{python_error," in record.getMessage()


async def test_an_exit_of_a_supervised_body_is_reported(node: Node, records: Records) -> None:
    """As of whatever proc_lib has started."""
    spec = ChildSpec("body", crash, (ProcessExit(Atom("oops")),), restart="temporary")
    supervisor = node.serve(Supervisor([spec]))
    record = await wait_for(records, "crashed: oops")
    assert record.__dict__["ancestors"] == [supervisor.pid]
    assert record.__dict__["initial_call"] == (Atom(__name__), Atom("crash"), 2)


# -- a group leader on another Python node -----------------------------------------------------


async def test_a_process_that_a_python_node_spawned_is_reported_there_too(one: Node, two: Node) -> None:
    @two.exports.process("py", "fails")
    async def fails(process: Process) -> None:
        raise ValueError("fails")

    two.exports.child("py", "counter")(Counter)

    async def spawn(process: Process) -> None:
        process.trap_exit = True
        await process.spawn_on(two.name, "py", "fails", link=True)
        await process.receive()

    with records_of("quicdist.logger") as there, records_of(CRASH) as here:
        await ended(one.spawn(spawn))
        record = await there.next()
        (local,) = here.take()
        in_one_line = " | ".join(line.strip() for line in local.getMessage().split("\n"))
        assert record.getMessage() == f"{two.name}: {in_one_line}"
        assert local.__dict__["reported_to"] == one.name

        _, server = await one.call(two.name, "py", "counter")
        one.gen_server_cast(server, Atom("oops"))
        record = await there.next()
        assert f"server {server} of {two.name} terminates: oops" in record.getMessage()
        await one.is_auth(two.name)
        assert there.take() == []
