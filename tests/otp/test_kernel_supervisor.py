"""The processes that a node offers by itself: what ends one, how it comes back, when the node gives up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from quicdist import Atom, Node, NodeError, Process
from quicdist.node.lifecycle import NodeState
from quicdist.otp.gen_messages import SYSTEM
from quicdist.term import ImproperList
from tests.otp.conftest import COOKIE
from tests.support.head_of_line import in_process

SERVICES = ["net_kernel", "rex", "user", "logger_proxy"]
KILL, KILLED, OK = Atom("kill"), Atom("killed"), Atom("ok")


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def pid_of(node: Node, name: str) -> Any:
    process = node.whereis(name)
    assert process is not None
    return process.pid


def end(node: Node, name: str) -> None:
    process = node.whereis(name)
    assert process is not None
    node._local.runtime.terminate(process, KILLED)


@pytest.mark.parametrize("name", SERVICES)
async def test_a_service_that_is_killed_is_there_again_at_once(
    one: Node, two: Node, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def kill(process: Process) -> None:
        victim = pid_of(two, name)
        monitor = process.monitor((name, two.name))
        process.exit(victim, KILL)
        down = await process.receive()
        assert (down[1], down[4]) == (monitor, KILLED)
        # It was told with its last signal: the new one is there by then.
        assert pid_of(two, name) != victim
        assert errors(caplog) == [f"{name} ({victim}) of {two.name} ended with killed and was started again"]

    two.export("m", "f")(lambda: "value")
    await in_process(one, kill)
    assert await one.ping(two.name)
    assert await one.call(two.name, "m", "f") == b"value"
    assert await one.rpc.block_call(two.name, "m", "f") == b"value"


@pytest.mark.parametrize("name", SERVICES)
async def test_no_other_exit_signal_ends_a_service(one: Node, two: Node, name: str) -> None:
    async def try_to(process: Process) -> None:
        process.trap_exit = True
        victim = pid_of(two, name)
        process.exit(victim, Atom("boom"))
        process.exit(victim, Atom("shutdown"))
        for reason in ("boom", "killed"):

            async def dies(other: Process, reason: str = reason) -> None:
                other.link(victim)
                await one.ping(two.name)
                other.stop(Atom(reason))

            await process.spawn(dies).finished()
        forged = [(Atom("EXIT"), sender, Atom("boom")) for sender in (None, victim, process.pid)]
        call = (Atom("$gen_call"), (process.pid, 1), 1)
        messages: list[Any] = [*forged, (1, 2), (Atom("$gen_cast"), 1), call, []]
        for message in messages:
            process.send(victim, message)
            process.send(victim, (SYSTEM, (process.pid, [1]), message))
        await one.ping(two.name)
        assert pid_of(two, name) == victim

    await in_process(one, try_to)


#: What their protocols are made of.
WORDS = [
    *(
        "$gen_call",
        "$gen_cast",
        "system",
        "get_state",
        "get_status",
        "debug",
        "is_auth",
        "call",
        "block_call",
    ),
    *("cast", "sbcast", "send", "features_request", "io_request", "put_chars", "unicode", "latin1"),
    *("requests", "getopts", "setopts", "get_line", "io_lib", "format", "log", "error", "warning"),
    *("EXIT", "DOWN", "process", "alias", "rex", "undefined"),
]


def random_term(random: Random, pids: list[Any], depth: int = 4) -> Any:
    kind = random.randrange(12 if depth else 6)
    if kind < 4:
        return Atom(random.choice(WORDS))
    if kind == 4:
        return random.choice(pids)
    if kind == 5:
        return random.choice([0, -1, 1 << 70, 1.5, b"", b"\xff", "text", None, True, [], {}])
    parts = [random_term(random, pids, depth - 1) for _ in range(random.randrange(1, 6))]
    if kind == 6:
        return ImproperList([parts[0]], Atom("tail"))
    if kind == 7:
        return {Atom(random.choice(WORDS)): parts[0]}
    return tuple(parts) if kind > 8 else parts


@pytest.mark.parametrize("name", SERVICES)
async def test_no_message_ends_a_service(one: Node, two: Node, name: str) -> None:
    random = Random(name)

    async def send(process: Process) -> None:
        before = pid_of(two, name)
        for _ in range(30):
            for _ in range(100):
                process.send((name, two.name), random_term(random, [process.pid, process.alias(), before]))
            await one.ping(two.name)
        assert pid_of(two, name) == before
        assert await one.ping(two.name, timeout=30)

    await in_process(one, send)


REQUESTS: list[Any] = [
    Atom("suspend"),
    Atom("resume"),
    Atom("hibernate"),
    (Atom("terminate"), Atom("boom")),
    (Atom("replace_state"), Atom("never_called")),
    (Atom("change_code"), Atom("m"), 1, []),
    Atom("nothing_known"),
]


@pytest.mark.parametrize("name", ["net_kernel", "rex"])
async def test_sys_can_read_a_service_but_not_change_it(one: Node, two: Node, name: str) -> None:
    assert await one.sys.get_state((name, two.name)) is not None
    assert (await one.sys.get_status((name, two.name)))[0] == Atom("status")

    async def ask(process: Process) -> None:
        for request in REQUESTS:
            tag = ImproperList([Atom("alias")], process.alias(reply=True))
            process.send((name, two.name), (SYSTEM, (process.pid, tag), request))
            assert await process.receive() == (tag, (Atom("error"), (Atom("unknown_system_msg"), request)))

    await in_process(one, ask)
    assert await one.ping(two.name)


@pytest.mark.usefixtures("stops_soon")
async def test_a_peer_that_asks_for_the_state_and_does_not_answer_blocks_nobody(one: Node, two: Node) -> None:
    """A node is asked for its version before it is sent a state; it may never tell."""
    asked = asyncio.Event()

    @one.export("application", "get_key")
    async def never(*_: Any) -> None:
        asked.set()
        await asyncio.Event().wait()

    state = asyncio.ensure_future(one.sys.get_state(("net_kernel", two.name), timeout=None))
    await asked.wait()
    assert await one.ping(two.name, timeout=30)
    state.cancel()


async def test_open_requests_are_answered_after_the_caller_process_is_killed(
    one: Node, two: Node, caplog: pytest.LogCaptureFixture
) -> None:
    answer = asyncio.Event()

    @two.export("m")
    async def later() -> str:
        await answer.wait()
        return "value"

    await one.connect(two.name)
    asking: list[Awaitable[Any]] = [
        one.erpc.send_request(two.name, "m", "later"),
        asyncio.ensure_future(one.rpc.block_call(two.name, "m", "later")),
    ]
    await two.ping(one.name)
    before = one._services.gen.process

    async def kill(process: Process) -> None:
        process.exit(before.pid, KILL)
        await process.node.ping(one.name)

    await in_process(two, kill)
    assert one._services.gen.process is not before
    assert one._services.gen.process.alive
    answer.set()
    assert [await request for request in asking] == [b"value", b"value"]
    assert await one.call(two.name, "m", "later") == b"value"
    assert len(errors(caplog)) == 1


async def test_all_processes_get_the_restarted_group_leader(
    one: Node, two: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    @two.export("m")
    async def prints(text: bytes) -> None:
        from quicdist import current_call

        await two.io.put_chars(current_call().process.group_leader, text.decode())

    async def idle(process: Process) -> None:
        await process.receive()

    process, old = one.spawn(idle), pid_of(one, "user")
    assert process.group_leader == old
    await one.call(two.name, "m", "prints", ["before "])
    end(one, "user")
    new = pid_of(one, "user")
    assert new != old
    assert process.group_leader == one._local.runtime.group_leader == new
    await one.call(two.name, "m", "prints", ["after"])
    assert capsys.readouterr().out == "before after"


async def test_a_service_that_crashes_is_restarted(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    process = node.whereis("rex")
    assert process is not None
    node._local.runtime.crashed(process, ValueError("a defect"))
    assert pid_of(node, "rex") != process.pid
    assert 'ended with {{python_error,<<"ValueError">>' in errors(caplog)[-1]


async def stops_by_itself(
    node: Node, happening: Callable[[], None], *, runs_forever: bool = True
) -> NodeError:
    """What is raised where the program waits when that has happened."""

    async def program() -> None:
        async with node:
            happening()
            await (node.run_forever() if runs_forever else asyncio.Event().wait())

    with pytest.raises(NodeError) as raised:
        await program()
    assert node._local.lifecycle.state is NodeState.STOPPED
    return raised.value


def alone() -> Node:
    return Node("alone@127.0.0.1", cookie=COOKIE, endpoints=[])


@pytest.mark.parametrize("runs_forever", [True, False])
async def test_a_node_whose_services_end_too_often_stops(
    runs_forever: bool, caplog: pytest.LogCaptureFixture
) -> None:
    node = alone()

    def killed_again_and_again() -> None:
        for _ in range(6):
            end(node, "rex")

    error = await stops_by_itself(node, killed_again_and_again, runs_forever=runs_forever)
    assert str(error).startswith("rex (")
    assert str(error).endswith("ended with killed: more than 5 processes of the node ended within 10 s")
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert line.endswith("more than 5 processes of the node ended within 10 s; the node stops")


async def test_ends_over_a_longer_period_do_not_stop_the_node(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    now = loop.time()
    for number in range(20):
        monkeypatch.setattr(loop, "time", lambda number=number: now + 2.1 * number)
        end(node, "rex")
    monkeypatch.undo()
    assert node.whereis("rex") is not None


async def test_a_service_whose_name_is_taken_stops_the_node(caplog: pytest.LogCaptureFixture) -> None:
    node = alone()

    def taken() -> None:
        process = node.whereis("logger_proxy")
        assert process is not None
        node._local.runtime.unregister("logger_proxy")
        node.spawn(lambda *_: None, name="logger_proxy")
        node._local.runtime.terminate(process, KILLED)

    assert "cannot be started again" in str(await stops_by_itself(node, taken))
    assert any("the node stops" in line for line in errors(caplog))


async def test_a_stopped_node_restarts_no_service(caplog: pytest.LogCaptureFixture) -> None:
    async with alone() as node:
        running = asyncio.ensure_future(node.run_forever())
    await running
    assert errors(caplog) == []
