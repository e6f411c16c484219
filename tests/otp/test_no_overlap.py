"""A supervisor starts the next child after the code of the old one has ended and freed what it held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from quicdist import Atom, ChildSpec, GenServer, Node, Process, Supervisor
from quicdist.otp.supervisor import Strategy

KILL, SHUTDOWN = Atom("kill"), Atom("shutdown")


class Device:
    """What one child at a time may hold."""

    def __init__(self, log: list[str], name: str) -> None:
        self.log = log
        self.name = name
        self.held = False

    def open(self) -> None:
        assert not self.held, f"{self.name} is held by another yet: {self.log}"
        self.held = True
        self.log.append(f"open {self.name}")

    async def close(self) -> None:
        self.log.append(f"closing {self.name}")
        for _ in range(20):
            await asyncio.sleep(0)
        self.held = False
        self.log.append(f"closed {self.name}")


def body_of(device: Device) -> Callable[..., Any]:
    async def body(process: Process) -> None:
        device.open()
        try:
            await process.receive(b"crash")
            raise ValueError
        finally:
            await device.close()

    return body


class Holder(GenServer):
    def __init__(self, device: Device) -> None:
        self._device = device

    def init(self) -> None:
        self._device.open()

    def handle_info(self, message: Any) -> Any:
        raise ValueError

    async def terminate(self, reason: Any) -> None:
        await self._device.close()


class Busy(Holder):
    """One whose callback is awaited when it is to end."""

    async def handle_info(self, message: Any) -> None:
        if message == b"crash":
            raise ValueError
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)


KINDS: dict[str, Callable[[Device], Callable[..., Any]]] = {
    "body": body_of,
    "server": lambda device: lambda: Holder(device),
    "busy server": lambda device: lambda: Busy(device),
}

ENDS: dict[str, Callable[[Process], None]] = {
    "crash": lambda child: child.node.send(child, b"crash"),
    "exit signal": lambda child: child.node._local.runtime.exit(child, Atom("gone")),
    "kill": lambda child: child.exit(child, KILL),
}


async def started(node: Node, names: str, kind: str, strategy: Strategy) -> tuple[Supervisor, list[str]]:
    log: list[str] = []
    specs = [
        ChildSpec(name, KINDS[kind](Device(log, name)), shutdown="brutal_kill" if name == "k" else 5.0)
        for name in names
    ]
    supervisor = Supervisor(specs, strategy=strategy, intensity=10)
    await node.gen_server.start(supervisor)
    while len(log) < len(names):  # noqa: ASYNC110 - the first step of a body tells nobody
        await asyncio.sleep(0)
    if kind == "busy server":
        for child in supervisor.which_children().values():
            node.send(child, b"wait")
    log.clear()
    return supervisor, log


async def ended(supervisor: Supervisor, log: list[str], child: Process, end: str, count: int) -> None:
    """End a child, and wait until so many have been started anew."""
    ENDS[end](child)
    while sum(line.startswith("open") for line in log) < count:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await supervisor.process.node.gen_server.call(supervisor.process, Atom("count_children"))


def lines(closed: str, opened: str) -> list[str]:
    closing = [f"{word} {name}" for name in closed for word in ("closing", "closed")]
    return closing + [f"open {name}" for name in opened]


@pytest.mark.parametrize(
    ("kind", "end"),
    [(kind, end) for kind in KINDS for end in ENDS if (kind, end) != ("busy server", "crash")],
)
@pytest.mark.parametrize(
    ("strategy", "closed", "opened"),
    [("one_for_one", "b", "b"), ("one_for_all", "bca", "abc"), ("rest_for_one", "bc", "bc")],
)
async def test_a_child_is_restarted_after_all_code_of_the_old_one_has_ended(
    node: Node, kind: str, end: str, strategy: Strategy, closed: str, opened: str
) -> None:
    supervisor, log = await started(node, "abc", kind, strategy)
    child = supervisor.which_children()["b"]
    assert child is not None
    await ended(supervisor, log, child, end, len(opened))
    assert log == lines(closed, opened)
    log.clear()
    supervisor.process.stop(SHUTDOWN)
    await supervisor.process.finished()
    assert log == lines("cba", "")


@pytest.mark.parametrize("kind", KINDS)
async def test_terminate_child_and_restart_child_do_not_overlap(node: Node, kind: str) -> None:
    supervisor, log = await started(node, "a", kind, "one_for_one")
    await supervisor.terminate_child("a")
    assert log == lines("a", "")
    await supervisor.restart_child("a")
    while len(log) < 3:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert log == lines("a", "a")
    supervisor.process.stop(SHUTDOWN)
    await supervisor.process.finished()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_child_with_brutal_kill_has_ended_before_the_next_starts(node: Node, kind: str) -> None:
    """Brutal kill: no message comes first, and it closes what it held."""
    supervisor, log = await started(node, "k", kind, "one_for_one")
    await supervisor.terminate_child("k")
    assert log == lines("k", "")
    supervisor.process.stop(SHUTDOWN)
    await supervisor.process.finished()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", ["body", "server"])
async def test_children_of_simple_one_for_one_do_not_overlap(node: Node, kind: str, end: str) -> None:
    log: list[str] = []
    devices = {name: Device(log, name) for name in "ab"}
    body = {name: body_of(device) for name, device in devices.items()}

    async def runs(process: Process, name: str) -> None:
        await body[name](process)

    def serves(name: str) -> GenServer:
        return Holder(devices[name])

    spec = ChildSpec("child", runs if kind == "body" else serves)
    supervisor = Supervisor([spec], strategy="simple_one_for_one", intensity=10)
    await node.gen_server.start(supervisor)
    pids = [await supervisor.start_child([name]) for name in "ab"]
    while len(log) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    log.clear()
    child = supervisor.which_children()[pids[1]]
    assert child is not None
    await ended(supervisor, log, child, end, 1)
    assert log == lines("b", "b")
    supervisor.process.stop(SHUTDOWN)
    await supervisor.process.finished()
    assert not any(device.held for device in devices.values())


async def test_a_supervisor_that_is_killed_leaves_no_child(node: Node) -> None:
    supervisor, log = await started(node, "ab", "server", "one_for_one")
    children = [child for child in supervisor.which_children().values() if child is not None]
    supervisor.process.exit(supervisor.process, KILL)
    await asyncio.gather(*(child.finished() for child in children))
    assert {child.exit_reason for child in children} == {Atom("killed")}
    assert sorted(log) == ["closed a", "closed b", "closing a", "closing b"]
