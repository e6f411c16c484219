"""A server's callbacks run one at a time, from ``init`` on; messages that come meanwhile wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from quicdist import (
    IGNORE,
    Atom,
    Continue,
    GenServer,
    Node,
    NodeError,
    NoReply,
    ProcessEnded,
    ProcessExit,
    Reply,
    Stop,
)
from quicdist.node.process_lifecycle import ProcessState

NORMAL = Atom("normal")
GONE = Atom("gone")


class Diary(GenServer):
    """Notes what happens, in order."""

    def init(self) -> Any:
        self.notes = ["init"]
        self.process.send(self.process.pid, "to itself")
        self.notes.append("init over")
        return None

    def handle_info(self, message: Any) -> Any:
        self.notes.append(message)

    def handle_call(self, request: Any, sender: Any) -> Any:
        self.notes.append(f"call {request}")
        self.process.send(self.process.pid, f"sent in {request}")
        self.notes.append(f"call {request} over")
        return len(self.notes)

    async def handle_cast(self, request: Any) -> Any:
        self.notes.append(f"cast {request}")
        await asyncio.sleep(0)
        self.process.send(self.process.pid, f"sent in {request}")
        self.notes.append(f"cast {request} over")

    def handle_continue(self, argument: Any) -> Any:
        self.notes.append("continue")
        self.process.send(self.process.pid, "sent in continue")
        self.notes.append("continue over")


class AsyncDiary(Diary):
    async def init(self) -> Any:
        super().init()
        await asyncio.sleep(0)
        self.process.send(self.process.pid, "to itself again")
        self.notes.append("awaited")
        return NoReply(Continue())


async def test_a_message_to_itself_waits_until_init_is_over(node: Node) -> None:
    server = Diary()
    process = await node.gen_server.start(server)
    await node.gen_server.call(process, "a")
    assert server.notes[:3] == ["init", "init over", "to itself"]


async def test_a_coroutine_init_and_what_it_continues_with_go_before_messages(node: Node) -> None:
    server = AsyncDiary()
    process = await node.gen_server.start(server)
    await node.gen_server.call(process, "a")
    assert server.notes == [
        *("init", "init over", "awaited", "continue", "continue over"),
        *("to itself", "to itself again", "sent in continue", "call a", "call a over", "sent in a"),
    ]


async def test_a_callback_is_over_before_the_next_begins_also_after_one_that_was_awaited(node: Node) -> None:
    server = Diary()
    process = await node.gen_server.start(server)
    node.gen_server.cast(process, "a")
    await node.gen_server.call(process, "b")
    await node.gen_server.call(process, "c")
    assert server.notes == [
        *("init", "init over", "to itself", "cast a", "cast a over", "call b", "call b over"),
        *("sent in a", "sent in b", "call c", "call c over", "sent in c"),
    ]


async def test_a_server_started_by_a_handler_takes_messages_after_its_init(node: Node) -> None:
    server, started = Diary(), asyncio.Event()

    def handler(process: Any, _: Any) -> None:
        pid = node.serve(server)
        process.send(pid, "from who started it")
        started.set()

    node.send(node._local.runtime.spawn(handler), "go")
    await started.wait()
    assert server.notes == ["init", "init over", "to itself", "from who started it"]


async def test_system_messages_that_waited_are_answered_however_many(node: Node) -> None:
    class Slow(GenServer):
        async def handle_cast(self, request: Any) -> Any:
            await request

    process = await node.gen_server.start(Slow())
    gate = asyncio.get_running_loop().create_future()
    node.gen_server.cast(process, gate)
    questions = [
        asyncio.ensure_future(what(process, timeout=None))
        for _ in range(500)
        for what in (node.sys.suspend, node.sys.get_status, node.sys.resume)
    ]
    await asyncio.sleep(0)
    gate.set_result(None)
    await asyncio.gather(*questions)


# -- what init returns ---------------------------------------------------------------------------


class Plain(GenServer):
    def __init__(self, init: Callable[[GenServer], Any]) -> None:
        self.does = init

    def init(self) -> Any:
        return self.does(self)

    def handle_continue(self, argument: Any) -> Any:
        raise argument


class Awaited(Plain):
    async def init(self) -> Any:
        await asyncio.sleep(0)
        return self.does(self)


def server_with(init: Callable[[GenServer], Any], plain: bool) -> GenServer:
    return Plain(init) if plain else Awaited(init)


def leaves(_: GenServer) -> Any:
    raise ProcessExit(GONE)


def exits(reason: Any) -> Any:
    return lambda server: server.process.stop(reason)


def is_killed(server: GenServer) -> None:
    server.process.exit(server.process, Atom("kill"))


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_a_server_that_asks_to_be_ignored_is_none(node: Node, plain: bool) -> None:
    server = server_with(lambda _: IGNORE, plain)
    assert await node.gen_server.start(server) is None
    assert server.process.exit_reason == NORMAL


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
@pytest.mark.parametrize(
    ("init", "reason"),
    [
        (lambda _: Stop(GONE), GONE),
        (lambda _: Stop(NORMAL), NORMAL),
        (leaves, GONE),
        (exits(GONE), GONE),
        (exits(NORMAL), NORMAL),
        (is_killed, Atom("killed")),
        (lambda _: Reply(1), (Atom("bad_return_value"), "Reply(value=1, then=None)")),
    ],
    ids=["Stop", "Stop normal", "ProcessExit", "stop", "stop normal", "kill", "Reply"],
)
async def test_a_server_whose_init_does_not_end_well_is_not_started(
    node: Node, init: Any, reason: Any, plain: bool
) -> None:
    server = server_with(init, plain)
    with pytest.raises(ProcessEnded) as ended:
        await node.gen_server.start(server)
    assert ended.value.reason == reason == server.process.exit_reason


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_a_server_that_fails_after_init_has_been_started(node: Node, plain: bool) -> None:
    server = server_with(lambda _: NoReply(Continue(ProcessExit(GONE))), plain)
    process = await node.gen_server.start(server)
    assert process is server.process
    assert process.exit_reason == GONE


async def test_an_exit_signal_during_init_calls_it_off_and_no_terminate(node: Node) -> None:
    called: list[str] = []
    begun = asyncio.Event()

    class Server(GenServer):
        async def init(self) -> Any:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                called.append("init")

        def terminate(self, reason: Any) -> Any:
            called.append("terminate")

    server = Server()
    starting = asyncio.ensure_future(node.gen_server.start(server))
    await begun.wait()
    node._local.runtime.links.exit(node._local.runtime.identifiers.pid(), server.process.pid, GONE)
    with pytest.raises(ProcessEnded) as ended:
        await starting
    assert (ended.value.reason, called) == (GONE, ["init"])


# -- what is asked by sys ------------------------------------------------------------------------


class State(GenServer):
    """``get_state`` and ``replace_state`` that can be told what to do."""

    def init(self) -> None:
        self.does: Any = lambda: 1

    def handle_call(self, request: Any, sender: Any) -> Any:
        return b"serves"

    def get_state(self) -> Any:
        return self.does()


class AsyncState(State):
    async def get_state(self) -> Any:
        await asyncio.sleep(0)
        return self.does()


@pytest.mark.parametrize("kind", [State, AsyncState])
async def test_a_state_that_cannot_be_shown_ends_no_server(node: Node, kind: type[State]) -> None:
    server = kind()
    process = await node.gen_server.start(server)
    assert await node.sys.get_state(process) == 1

    def cancelled() -> Any:
        raise asyncio.CancelledError

    for does in (cancelled, lambda: {1, 2}, lambda: [object()]):
        server.does = does
        with pytest.raises(NodeError, match="callback_failed"):
            await node.sys.get_state(process)
        status = await node.sys.get_status(process)
        name = f"{kind.__module__}.{kind.__qualname__}.get_state crashed"
        assert bytes(status[3][4][2][1][0][1]).decode() == name
    assert await node.gen_server.call(process, "still") == b"serves"
    assert process is not None
    assert process.state is ProcessState.RUNNING
