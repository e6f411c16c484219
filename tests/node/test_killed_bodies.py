"""What a body still does when its process has been killed reaches nobody; what it does when an exit signal
ends it arrives before anybody is told of the end. As on a BEAM, where no code runs after the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from quicdist import ANY, Atom, GenServer, Node, NodeError, Process, ProcessExit, QuicDistError
from quicdist.otp.gen_messages import reply
from tests.support.pairs import CARRIERS, pair

DOWN, EXIT = Atom("DOWN"), Atom("EXIT")
KILL, KILLED, GONE = Atom("kill"), Atom("killed"), Atom("gone")


class Others:
    """Processes on the node ``one`` that a body on ``two`` knows."""

    def __init__(self, one: Node, two: Node) -> None:
        self.one, self.two = one, two
        self.watcher = one._local.runtime.add_process(name="watcher")
        self.watcher.trap_exit = True
        self.alias = self.watcher.alias()
        self.call = one._local.runtime.identifiers.reference()
        #: One more on each node, whom nothing may happen to.
        self.far = one._local.runtime.add_process()
        self.near = two._local.runtime.add_process()
        self.calls: list[Any] = []
        one.exports.add("lab", "called", self.calls.append)
        one.exports.process("lab", "spawned")(lambda process, *_: self.calls.append(process))

    def bystanders(self) -> list[Any]:
        return [
            (one.alive, one.links, one.monitored_by, one.messages, one.group_leader)
            for one in (self.far, self.near)
        ]


#: What a body can do to others: called with it, its server's request and the others.
DEEDS: dict[str, Callable[[Process, Others], Any]] = {
    "send": lambda process, others: process.send(others.watcher.pid, b"late"),
    "send to a name": lambda process, others: process.send(("watcher", others.one.name), b"late"),
    "send to an alias": lambda process, others: process.send(others.alias, b"late"),
    "send to one of this node": lambda process, others: process.send(others.near, b"late"),
    "send_wait": lambda process, others: process.send_wait(others.watcher.pid, b"late"),
    "reply": lambda process, others: reply(process, (others.watcher.pid, others.call), b"late"),
    "link": lambda process, others: process.link(others.far.pid),
    "link here": lambda process, others: process.link(others.near),
    "monitor": lambda process, others: process.monitor(others.far.pid),
    "monitor here": lambda process, others: process.monitor(others.near.pid),
    "exit": lambda process, others: process.exit(others.far.pid, GONE),
    "exit here": lambda process, others: process.exit(others.near, KILL),
    "exit of an alias": lambda process, others: process.exit(others.alias, GONE),
    "group leader": lambda process, others: process.set_group_leader(process, others.far.pid),
    "group leader here": lambda process, others: process.set_group_leader(process, others.near),
    "spawn": lambda process, others: process.spawn(lambda one, _: None),
    "spawn_link": lambda process, others: process.spawn_link(_sends, others),
    "spawn_on": lambda process, others: process.spawn_on(others.one.name, "lab", "spawned"),
    "spawn_monitor_on": lambda process, others: process.spawn_monitor_on(others.one.name, "lab", "spawned"),
    "spawn_request": lambda process, others: process.spawn_request(others.one.name, "lab", "spawned"),
    "alias": lambda process, others: process.alias(),
    "register": lambda process, others: others.two._local.runtime.register("late", process),
    "call in its name": lambda process, others: others.two.gen_server.call(
        others.watcher.pid, b"late", process=process, timeout=1
    ),
    "request in its name": lambda process, others: others.two.gen_server.send_request(
        others.watcher.pid, b"late", process=process
    ),
    "nodes": lambda process, others: others.two.net_kernel.monitor_nodes(process),
    "receive": lambda process, others: process.receive(),
}


async def _sends(process: Process, others: Others) -> None:
    process.send(others.watcher.pid, b"late")


@pytest_asyncio.fixture(params=CARRIERS)
async def others(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Others]:
    async with pair(request.param, tmp_path) as (two, one):  # the one that dials runs the body
        await two.connect(one.name)
        yield Others(one, two)


async def cleaned_up(others: Others, reason: Any, deeds: list[str]) -> list[Any]:
    """Run deeds in the ``finally`` of a body that ``reason`` ends; what the watcher got, in order. A body
    that has been killed may be told that it has ended."""
    begun = asyncio.Event()
    failures: dict[str, BaseException] = {}

    async def body(process: Process) -> None:
        begun.set()
        try:
            await process.receive(b"never")
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0)  # until everybody has been told, if it is killed
            for deed in deeds:
                try:
                    result = DEEDS[deed](process, others)
                    if asyncio.iscoroutine(result):
                        await result
                except (ProcessExit, QuicDistError) as error:
                    failures[deed] = error

    process = others.two._local.runtime.spawn(body)
    await begun.wait()
    others.watcher.monitor(process.pid)
    others.watcher.link(process.pid)
    others.watcher.exit(process.pid, reason)
    await process.finished()
    # On every stream: what was sent before has come.
    for _ in range(3):
        assert await others.one.ping(others.two.name)
        assert await others.two.ping(others.one.name)
    assert not failures or reason == KILL, failures
    return others.watcher.messages


async def test_signals_of_a_killed_body_are_dropped(others: Others) -> None:
    before = others.bystanders()
    processes = len(others.two._local.runtime.processes()), len(others.one._local.runtime.processes())
    got = await cleaned_up(others, KILL, list(DEEDS))
    assert sorted(str(message[0]) for message in got) == ["DOWN", "EXIT"]
    assert {message[-1] for message in got} == {KILLED}
    assert others.bystanders() == before
    assert others.calls == []
    assert (
        len(others.two._local.runtime.processes()),
        len(others.one._local.runtime.processes()),
    ) == processes
    assert others.two.whereis("late") is None


async def test_what_a_body_sends_while_it_cleans_up_comes_before_its_end(others: Others) -> None:
    got = await cleaned_up(others, GONE, ["send", "reply", "send_wait"])
    assert got[:3] == [b"late", (others.call, b"late"), b"late"]
    assert sorted(str(message[0]) for message in got[3:]) == ["DOWN", "EXIT"]
    assert {message[-1] for message in got[3:]} == {GONE}


async def test_links_and_monitors_made_while_it_cleans_up_hold(others: Others) -> None:
    others.near.trap_exit = others.far.trap_exit = True
    await cleaned_up(others, GONE, ["link", "link here", "monitor", "monitor here"])
    assert [(tag, reason) for tag, _, reason in others.near.messages] == [(EXIT, GONE)]
    assert [(tag, reason) for tag, _, reason in others.far.messages] == [(EXIT, GONE)]
    assert not others.near.monitored_by
    assert not others.far.monitored_by


async def test_a_killed_server_that_replies_late_is_not_heard(others: Others) -> None:
    class Slow(GenServer):
        async def handle_call(self, request: Any, sender: Any) -> Any:
            try:
                await asyncio.Event().wait()
            finally:
                self.reply(sender, b"late")

        def terminate(self, reason: Any) -> None:
            self.process.send(others.watcher.pid, b"late")

    process = await others.two.gen_server.start(Slow())
    assert process is not None
    others.watcher.monitor(process.pid)
    call = others.one.gen_server.send_request(process.pid, b"request", process=others.watcher)
    while not process.task:  # noqa: ASYNC110 - the call comes by the wire
        await asyncio.sleep(0)
    others.watcher.exit(process.pid, KILL)
    with pytest.raises(NodeError) as failed:
        await call
    assert getattr(failed.value, "reason", None) == KILLED
    await process.finished()
    assert await others.one.ping(others.two.name)
    assert [message[-1] for message in others.watcher.messages] == [KILLED]


async def test_streams_of_a_killed_process_are_reset_and_take_no_more(tmp_path: Path) -> None:
    async with pair("quic", tmp_path) as (two, one):
        got = asyncio.Event()
        came: list[bytes] = []

        async def reads(stream: Any) -> None:
            try:
                async for data in stream:
                    came.append(data)
            finally:
                got.set()

        one.accept_streams(reads)
        begun = asyncio.Event()
        errors: list[BaseException] = []

        async def body(process: Process) -> None:
            stream = await two.quic_dist.open_stream(process, one.name)
            two.quic_dist.send(process, stream, b"early")
            begun.set()
            try:
                await process.receive((ANY, b"never"))
            finally:
                try:
                    two.quic_dist.send(process, stream, b"late")
                except QuicDistError as error:
                    errors.append(error)

        process = two._local.runtime.spawn(body)
        await begun.wait()
        process.exit(process, KILL)
        await process.finished()
        await got.wait()
        assert b"".join(came) in (b"", b"early")
        assert len(errors) == 1
