"""The order in which a node that stops ends its processes, and the time each has."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from quicdist import (
    Atom,
    ChildSpec,
    GenServer,
    Node,
    NotConnected,
    Process,
    ProcessEnded,
    RemoteError,
    Supervisor,
    make_development_certificates,
)
from quicdist.carrier import PeerClosed
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.node import shutdown
from tests.support.records import records_of

COOKIE = "stopping"
#: Seconds; twice as many are what a node waits for.
AT_ONCE = 30.0
SHUTDOWN, KILLED, NOCONNECTION = Atom("shutdown"), Atom("killed"), Atom("noconnection")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> CertificateFiles:
    return make_development_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(params=["tcp", "quic"])
def options(request: pytest.FixtureRequest, certificates: CertificateFiles) -> dict[str, Any]:
    """What all nodes of a test have."""
    options: dict[str, Any] = {"cookie": COOKIE, "carrier": request.param, "epmd": False, "host": "127.0.0.1"}
    if request.param == "quic":
        files = certificates
        options |= {"cert": files.cert, "key": files.key, "cacert": files.ca}
    return options


@pytest_asyncio.fixture
async def node(options: dict[str, Any]) -> AsyncIterator[Node]:
    node = Node("stops@127.0.0.1", port=0, **options)
    await node.start()
    yield node
    await node.stop()


def who_knows(node: Node, name: str, options: dict[str, Any]) -> Node:
    """Another node, which can dial that one."""
    nodes = {node.name: ("127.0.0.1", node.addresses[0].port)}
    return Node(name, nodes=nodes, listen=False, **options)


@pytest_asyncio.fixture
async def other(node: Node, options: dict[str, Any]) -> AsyncIterator[Node]:
    """A node that is connected to ``node``."""
    async with who_knows(node, "sees@127.0.0.1", options) as other:
        await other.connect(node.name)
        yield other


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not end at once on a busy machine is told from what is waited for."""
    monkeypatch.setattr(shutdown, "SHUTDOWN_TIME", 2 * AT_ONCE)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutdown, "SHUTDOWN_TIME", 0.1)
    monkeypatch.setattr(shutdown, "KILL_TIME", 0.1)


class Notes(list[Any]):
    """What happened, in order."""

    def server(self, name: str, *, seconds: float = 0.0, traps: bool = False) -> GenServer:
        return Noted(self, name, seconds, traps)

    def child(self, name: str, /, **options: Any) -> ChildSpec:
        times = {key: options.pop(key) for key in ("seconds", "traps") if key in options}
        return ChildSpec(name, functools.partial(self.server, name, **times), **options)

    def body(self, name: str) -> Any:
        async def body(process: Process) -> None:
            try:
                await process.receive()
            finally:
                self.append(name)

        return body


class Noted(GenServer):
    def __init__(self, notes: Notes, name: str, seconds: float, traps: bool) -> None:
        self._notes, self._name, self._seconds, self._traps = notes, name, seconds, traps

    def init(self) -> None:
        self.process.trap_exit = self._traps

    async def handle_call(self, request: Any, sender: Any) -> Any:
        await asyncio.sleep(request)
        self._notes.append("handled")
        return "handled"

    async def terminate(self, reason: Any) -> None:
        self._notes.append(self._name if reason == SHUTDOWN else (self._name, reason))
        await asyncio.sleep(self._seconds)
        if self._seconds:
            self._notes.append(f"{self._name} ended")


@pytest.fixture
def notes() -> Notes:
    return Notes()


class TestOrder:
    async def test_supervisors_go_first_in_reverse_start_order(self, node: Node, notes: Notes) -> None:
        node.serve(notes.server("server"))
        for name in ("a", "b"):
            children = [notes.child(f"{name}1", seconds=0.01), notes.child(f"{name}2", seconds=0.01)]
            await node.gen_server.start(Supervisor(children))
        node.spawn(notes.body("body"))
        await asyncio.sleep(0)
        await node.stop()
        ended = ["b2", "b2 ended", "b1", "b1 ended", "a2", "a2 ended", "a1", "a1 ended"]
        assert notes[:8] == ended
        assert sorted(notes[8:]) == ["body", "server"]

    async def test_supervised_supervisors_are_ended_by_their_supervisors(
        self, node: Node, notes: Notes
    ) -> None:
        inner = ChildSpec("inner", lambda: Supervisor([notes.child("in")]), type="supervisor")
        await node.gen_server.start(Supervisor([notes.child("first"), inner, notes.child("last")]))
        await node.stop()
        assert notes == ["last", "in", "first"]

    async def test_supervised_bodies_are_ended_by_their_supervisors(self, node: Node, notes: Notes) -> None:
        children = [ChildSpec("body", notes.body("body")), notes.child("server", seconds=0.01)]
        await node.gen_server.start(Supervisor(children))
        await asyncio.sleep(0)
        await node.stop()
        assert notes == ["server", "server ended", "body"]

    async def test_servers_and_bodies_end_at_once(self, node: Node, notes: Notes) -> None:
        for name in "ab":
            node.serve(notes.server(name, seconds=0.01))
        await node.stop()
        assert notes[:2] == ["a", "b"]
        assert sorted(notes[2:]) == ["a ended", "b ended"]

    async def test_a_server_that_a_call_of_this_node_has_started(
        self, node: Node, other: Node, notes: Notes
    ) -> None:
        """Its parent is a service, and it is none."""
        other.spawn(lambda _, message: notes.append(message), name="told")

        @node.exports.child("py", "start")
        class Tells(GenServer):
            def terminate(self, reason: Any) -> None:
                self.process.send(("told", other.name), reason)

        await node.call(node.name, "py", "start")
        await node.stop()
        assert await other.ping(other.name)
        assert notes == [SHUTDOWN]

    async def test_services_work_until_the_end(self, node: Node, other: Node, notes: Notes) -> None:
        @other.export("there")
        async def answer(value: Any) -> Any:
            return value

        class Calls(GenServer):
            async def terminate(self, reason: Any) -> None:
                notes.append(await node.call(other.name, "there", "answer", [1]))
                notes.append(
                    await node.gen_server_call(("net_kernel", other.name), (Atom("is_auth"), Atom("x")))
                )
                notes.append(node.whereis("rex") is not None)

        await node.gen_server.start(Supervisor([ChildSpec("calls", Calls)]))
        node.serve(Calls())
        await node.stop()
        assert notes == [1, Atom("yes"), True] * 2

    async def test_a_child_that_ends_while_its_supervisor_stops_is_not_restarted(
        self, node: Node, notes: Notes
    ) -> None:
        ending, may_end = asyncio.Event(), asyncio.Event()

        class Slow(GenServer):
            async def terminate(self, reason: Any) -> None:
                ending.set()
                await may_end.wait()
                notes.append("b")

        await node.gen_server.start(Supervisor([notes.child("a", name="a"), ChildSpec("b", Slow)]))
        stopping = asyncio.create_task(node.stop())
        await ending.wait()
        first = node.whereis("a")
        assert first is not None
        first.stop(KILLED)
        may_end.set()
        await stopping
        assert notes == [("a", KILLED), "b"]

    async def test_a_child_whose_start_never_ends_is_cancelled(self, node: Node, notes: Notes) -> None:
        starting = asyncio.Event()

        class Hangs(GenServer):
            async def init(self) -> None:
                starting.set()
                await asyncio.Event().wait()

        class Inner(Supervisor):
            async def terminate(self, reason: Any) -> None:
                notes.append("inner")
                await super().terminate(reason)

        def inner() -> Supervisor:
            return Inner([notes.child("in"), ChildSpec("hangs", Hangs)])

        supervisor = Supervisor([notes.child("out"), ChildSpec("inner", inner, type="supervisor")])
        node.serve(supervisor)
        async with asyncio.timeout(AT_ONCE):
            await starting.wait()
            await node.stop()
        assert notes == ["in", "out"]

    async def test_a_restart_that_never_ends_is_cancelled(self, node: Node, notes: Notes) -> None:
        starts: list[None] = []
        again = asyncio.Event()

        class Hangs(GenServer):
            async def init(self) -> None:
                starts.append(None)
                if len(starts) > 1:
                    again.set()
                    await asyncio.Event().wait()

        supervisor = Supervisor([ChildSpec("hangs", Hangs, name="hangs"), notes.child("last")])
        await node.gen_server.start(supervisor)
        hangs = node.whereis("hangs")
        assert hangs is not None
        hangs.stop(KILLED)
        async with asyncio.timeout(AT_ONCE):
            await again.wait()
            await node.stop()
        assert notes == ["last"]


class TestTime:
    async def test_children_have_their_shutdown_times(
        self, node: Node, notes: Notes, quick: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        """More than the node gives others, and less."""
        children = [notes.child("long", seconds=0.3), notes.child("short", seconds=60, shutdown=0.01)]
        await node.gen_server.start(Supervisor(children))
        async with asyncio.timeout(AT_ONCE):
            await node.stop()
        assert notes == ["short", "long", "long ended"]
        assert "child short did not shut down in time and is killed" in caplog.text

    async def test_a_process_that_takes_too_long_is_killed(
        self, node: Node, notes: Notes, quick: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        processes = [node.serve(notes.server("slow", seconds=60)), node.serve(notes.server("quick"))]
        async with asyncio.timeout(AT_ONCE):
            await node.stop()
        assert [process.exit_reason for process in processes] == [KILLED, SHUTDOWN]
        assert "has not ended within 0.1 s of shutdown and is killed" in caplog.text

    async def test_a_node_with_nothing_to_end_stops_at_once(self, node: Node) -> None:
        """Its own processes are not waited for, whether they trap exits or not."""
        async with asyncio.timeout(AT_ONCE):
            await node.stop()

    async def test_code_that_ignores_cancellation_is_left_running(self, node: Node, quick: None) -> None:
        over = asyncio.Event()

        async def stubborn(process: Process) -> None:
            while not over.is_set():
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    continue

        task = node.spawn(stubborn).task
        assert task is not None
        async with asyncio.timeout(AT_ONCE):
            await node.stop()
        over.set()
        task.cancel()
        await asyncio.wait({task})

    async def test_a_supervisor_that_takes_long_is_logged(
        self, node: Node, notes: Notes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(shutdown, "PATIENCE", 0.02)
        await node.gen_server.start(Supervisor([notes.child("slow", seconds=0.1)]), name="sup")
        await node.stop()
        assert "sup> is still ending its children" in caplog.text

    async def test_a_process_that_ends_can_start_another_one(self, node: Node, notes: Notes) -> None:
        class Starts(GenServer):
            async def terminate(self, reason: Any) -> None:
                done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                helper = self.process.spawn(lambda _, message: done.set_result(message))
                await asyncio.sleep(0.01)
                self.process.send(helper, "help")
                notes.append(await done)

        node.serve(Starts())
        await node.stop()
        assert notes == ["help"]


class TestTrappingExits:
    async def test_a_server_that_traps_exits_ends_after_its_callback(
        self, node: Node, other: Node, notes: Notes
    ) -> None:
        """As a ``gen_server`` that traps exits: the callback that runs comes to its end first."""
        node.serve(notes.server("traps", traps=True), name="traps")
        asked = other.gen_server.send_request(("traps", node.name), 0.05)
        assert await other.ping(node.name)
        await node.stop()
        assert notes == ["handled", "traps"]
        assert await asked == b"handled"

    async def test_a_callback_of_a_server_that_does_not_trap_exits_is_cancelled(
        self, node: Node, other: Node, notes: Notes
    ) -> None:
        node.serve(notes.server("plain"), name="plain")
        asked = other.gen_server.send_request(("plain", node.name), 3600)
        assert await other.ping(node.name)
        await node.stop()
        assert notes == ["plain"]
        with pytest.raises(ProcessEnded) as caught:
            await asked
        assert caught.value.reason == SHUTDOWN

    async def test_a_body_under_a_supervisor_gets_a_message(self, node: Node, notes: Notes) -> None:
        async def body(process: Process) -> None:
            process.trap_exit = True
            notes.extend(await process.receive())

        await node.gen_server.start(Supervisor([ChildSpec("body", body)]))
        await asyncio.sleep(0)
        await node.stop()
        assert (str(notes[0]), notes[2]) == ("EXIT", SHUTDOWN)

    async def test_processes_without_supervisor_get_no_exit_message(self, node: Node, notes: Notes) -> None:
        """A body is cancelled, a handler ends: on a BEAM both are killed."""
        processes = [node.spawn(notes.body("body")), node.spawn(lambda *_: None)]
        for process in processes:
            process.trap_exit = True
        await asyncio.sleep(0)
        async with asyncio.timeout(AT_ONCE):
            await node.stop()
        assert [process.exit_reason for process in processes] == [SHUTDOWN] * 2
        assert notes == ["body"]

    async def test_a_server_that_does_not_end_is_killed(self, node: Node, quick: None) -> None:
        class Hangs(GenServer):
            def init(self) -> None:
                self.process.trap_exit = True

            async def handle_cast(self, request: Any) -> None:
                await asyncio.Event().wait()

        process = node.serve(Hangs())
        node.gen_server_cast(process, 1)
        await node.stop()
        assert process.exit_reason == KILLED


class TestRunningCalls:
    async def test_running_calls_are_answered_before_processes_end(
        self, node: Node, other: Node, notes: Notes
    ) -> None:
        """What they need is there: a server under a supervisor."""
        await node.gen_server.start(Supervisor([notes.child("server", name="server")]))

        @node.export("py")
        async def slowly() -> Any:
            await asyncio.sleep(0.03)
            return await node.gen_server_call("server", 0.02)

        by_erpc = other.erpc.send_request(node.name, "py", "slowly")
        by_rex = asyncio.create_task(other.rpc.block_call(node.name, "py", "slowly"))
        assert await other.ping(node.name)
        await node.stop()
        assert (await by_erpc, await by_rex) == (b"handled", b"handled")
        assert notes == ["handled", "handled", "server"]

    async def test_running_calls_in_a_thread_are_answered(self, node: Node, other: Node) -> None:
        begun, go_on = threading.Event(), threading.Event()

        @node.export("py", blocking=True)
        def blocks() -> int:
            begun.set()
            go_on.wait(10)
            return 42

        call = other.erpc.send_request(node.name, "py", "blocks")
        await asyncio.to_thread(begun.wait, 10)
        stopping = asyncio.create_task(node.stop())
        await asyncio.sleep(0.02)
        go_on.set()
        await stopping
        assert await call == 42

    async def test_running_calls_that_take_too_long_end_with_the_connection(
        self, node: Node, other: Node, quick: None
    ) -> None:
        cleaned = []

        @node.export("py")
        async def forever() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append(True)

        call = other.erpc.send_request(node.name, "py", "forever")
        assert await other.ping(node.name)
        async with asyncio.timeout(AT_ONCE):
            await node.stop()
        with pytest.raises(NotConnected):
            await call
        assert cleaned == [True]

    async def test_new_calls_are_accepted_while_others_run(self, node: Node, other: Node) -> None:
        first, second = asyncio.Event(), asyncio.Event()

        @node.export("py")
        async def wait(number: int) -> int:
            await (first if number == 1 else second).wait()
            return number

        @node.export("py")
        def plain() -> int:
            return 3

        calls = [other.erpc.send_request(node.name, "py", "wait", [1])]
        assert await other.ping(node.name)
        stopping = asyncio.create_task(node.stop())
        await asyncio.sleep(0)
        calls.append(other.erpc.send_request(node.name, "py", "wait", [2]))
        assert await other.call(node.name, "py", "plain") == 3
        first.set()
        assert await calls[0] == 1
        for ask in (other.call, other.rpc.block_call):
            with pytest.raises(RemoteError) as caught:
                await ask(node.name, "py", "plain")
            assert caught.value.reason == SHUTDOWN
        second.set()
        await stopping
        assert await calls[1] == 2

    async def test_a_stream_handler_can_finish(self, node: Node) -> None:
        notes = []

        async def serving() -> None:
            await asyncio.sleep(0.02)
            notes.append("served")

        node._local.streams._tasks.add(task := asyncio.create_task(serving()))
        await node.stop()
        assert task.done()
        assert notes == ["served"]


class TestWhatOthersSee:
    async def test_servers_and_supervised_processes_end_with_shutdown(self, node: Node, other: Node) -> None:
        """All others are seen as on a BEAM that halts."""
        messages: list[Any] = []
        watcher = other.spawn(lambda _, message: messages.append(message))
        watcher.trap_exit = True
        await node.gen_server.start(Supervisor([ChildSpec("body", idle, name="supervised")]))
        ended = [node.serve(GenServer()), node.whereis("supervised")]
        left = [node.spawn(lambda *_: None), node.spawn(idle), node.whereis("net_kernel")]
        for process in [*ended, *left]:
            assert process is not None
            watcher.monitor(process.pid)
            watcher.link(process.pid)
        assert await other.ping(node.name)
        down = asyncio.Event()
        other.subscribe(lambda event: down.set())
        await node.stop()
        await down.wait()
        reasons = {
            pid: [message[-1] for message in messages if pid in message]
            for pid in (process.pid for process in [*ended, *left] if process)
        }
        assert list(reasons.values()) == [[SHUTDOWN] * 2] * 2 + [[NOCONNECTION] * 2] * 3

    async def test_a_stopping_node_accepts_no_connection(
        self, node: Node, other: Node, options: dict[str, Any]
    ) -> None:
        ending, go_on = asyncio.Event(), asyncio.Event()

        class Slow(GenServer):
            async def terminate(self, reason: Any) -> None:
                ending.set()
                await go_on.wait()

        node.serve(Slow())
        assert await other.ping(node.name)
        stopping = asyncio.create_task(node.stop())
        await ending.wait()
        assert await other.ping(node.name)
        async with who_knows(node, "new@127.0.0.1", {**options, "setup_time": 0.1}) as new:
            with pytest.raises(NotConnected):
                await new.connect(node.name)
        assert await other.ping(node.name)
        go_on.set()
        await stopping

    async def test_the_connection_is_closed_without_an_error(self, node: Node, other: Node) -> None:
        events: asyncio.Queue[Any] = asyncio.Queue()
        other.subscribe(events.put_nowait)
        await node.stop()
        error = (await events.get()).error
        assert isinstance(error, PeerClosed)
        over_quic = "it closed the connection: no error"
        assert str(error).endswith(over_quic if "quic" in str(node.addresses[0]) else "the peer closed it")

    async def test_a_message_to_a_node_that_is_not_connected_arrives(
        self, node: Node, options: dict[str, Any]
    ) -> None:
        got: asyncio.Queue[Any] = asyncio.Queue()
        node.spawn(lambda _, message: got.put_nowait(message), name="told")

        class Tells(GenServer):
            def terminate(self, reason: Any) -> None:
                self.process.send(("told", node.name), reason)

        async with who_knows(node, "tells@127.0.0.1", options) as tells:
            tells.serve(Tells())
        assert await got.get() == SHUTDOWN


async def idle(process: Process) -> None:
    await process.receive()


async def test_an_idle_node_stops_without_killing_anything() -> None:
    with records_of("quicdist") as records:
        async with Node("idle@127.0.0.1", cookie=COOKIE, endpoints=[]) as node:
            node.spawn(lambda process, message: None)
    assert [record.getMessage() for record in records.take() if record.levelno >= logging.WARNING] == []
