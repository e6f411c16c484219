"""Supervision of Python processes by a Python supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from quicdist import Atom, ChildSpec, GenServer, Node, NodeError, Process, Stop, Supervisor
from quicdist.otp.child_spec import RestartIntensity
from tests.otp.conftest import ended

NORMAL, SHUTDOWN, KILL = Atom("normal"), Atom("shutdown"), Atom("kill")


class House:
    """Children that say when they begin and end."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.log: list[str] = []
        self.began: asyncio.Queue[str] = asyncio.Queue()
        self.supervisor = Supervisor()

    def child(self, name: str, **options: Any) -> ChildSpec:
        return ChildSpec(name, lambda: Lodger(self, name), name=name, **options)

    async def supervise(self, names: str, **options: Any) -> Process:
        self.supervisor = Supervisor([self.child(name) for name in names.split()], **options)
        process = await self.node.gen_server.start(self.supervisor)
        assert process is not None
        for _ in names.split():
            await self.began.get()
        self.log.clear()
        return process

    def crash(self, name: str, reason: Atom = KILL) -> None:
        process = self.node.whereis(name)
        assert process is not None
        self.node.spawn(lambda *_: None).exit(process, reason)

    async def begin_again(self, names: str) -> None:
        assert [await self.began.get() for _ in names.split()] == names.split()


class Lodger(GenServer):
    def __init__(self, house: House, name: str) -> None:
        self.house, self.name = house, name

    def init(self) -> None:
        self.process.trap_exit = True
        self.house.log.append(f"+{self.name}")
        self.house.began.put_nowait(self.name)

    def handle_cast(self, request: Any) -> Stop:
        return Stop(request)

    def handle_info(self, message: Any) -> Stop:
        return Stop(message[2])

    def terminate(self, reason: Any) -> None:
        self.house.log.append(f"-{self.name}")


@pytest.fixture
def house(node: Node) -> House:
    return House(node)


class TestStrategies:
    @pytest.mark.parametrize(
        ("strategy", "log"),
        [
            ("one_for_one", "-b +b"),
            ("rest_for_one", "-b -c +b +c"),
            ("one_for_all", "-b -c -a +a +b +c"),
        ],
    )
    async def test_each_strategy_restarts_its_children(self, house: House, strategy: Any, log: str) -> None:
        await house.supervise("a b c", strategy=strategy)
        house.crash("b")
        await house.begin_again(" ".join(word[1:] for word in log.split() if word[0] == "+"))
        assert house.log == log.split()

    async def test_children_are_ended_in_reverse_order(self, house: House) -> None:
        process = await house.supervise("a b c")
        await house.node.gen_server.stop(process)
        assert house.log == ["-c", "-b", "-a"]


class TestRestart:
    @pytest.mark.parametrize(
        ("restart", "reason", "again"),
        [
            ("permanent", NORMAL, True),
            ("permanent", KILL, True),
            ("transient", NORMAL, False),
            ("transient", SHUTDOWN, False),
            ("transient", (SHUTDOWN, 1), False),
            ("transient", Atom("crash"), True),
            ("temporary", Atom("crash"), False),
        ],
    )
    async def test_restart_types(self, house: House, restart: Any, reason: Any, again: bool) -> None:
        await house.supervise("")
        await house.supervisor.start_child(house.child("a", restart=restart))
        await house.began.get()
        process = house.node.whereis("a")
        assert process is not None
        house.node.gen_server.cast(process, reason)
        await ended(process)
        children = await house.node.gen_server.call(house.supervisor.process, Atom("which_children"))
        if again:
            await house.begin_again("a")
        else:
            assert house.node.whereis("a") is None
            assert len(children) == (0 if restart == "temporary" else 1)

    async def test_too_many_restarts_end_the_supervisor(self, house: House) -> None:
        process = await house.supervise("a b", intensity=2, period=60)
        for _ in range(2):
            house.crash("a")
            await house.begin_again("a")
        house.crash("a")
        assert await ended(process) == SHUTDOWN
        assert house.node.whereis("b") is None

    async def test_a_restart_that_fails_is_tried_again(self, house: House) -> None:
        starts: list[int] = []

        def sometimes() -> GenServer:
            starts.append(1)
            if len(starts) in (2, 3):
                raise ValueError("not now")
            return Lodger(house, "a")

        supervisor = Supervisor([ChildSpec("a", sometimes, name="a")], intensity=3, period=60)
        await house.node.gen_server.start(supervisor)
        await house.began.get()
        house.crash("a")
        await house.begin_again("a")
        assert len(starts) == 4

    async def test_a_restart_that_always_fails_ends_the_supervisor(self, house: House) -> None:
        starts: list[int] = []

        def once() -> GenServer:
            starts.append(1)
            if len(starts) > 1:
                raise ValueError("never again")
            return Lodger(house, "a")

        supervisor = Supervisor([ChildSpec("a", once, name="a")], intensity=3, period=60)
        process = await house.node.gen_server.start(supervisor)
        assert process is not None
        house.crash("a")
        assert await ended(process) == SHUTDOWN
        assert len(starts) == 4

    def test_restart_intensity(self) -> None:
        intensity = RestartIntensity(2, 10.0)
        assert [intensity.allows(at) for at in (0.0, 1.0, 2.0)] == [True, True, False]
        intensity = RestartIntensity(2, 10.0)
        assert [intensity.allows(at) for at in (0.0, 1.0, 11.0, 12.0, 13.0)] == [
            True,
            True,
            True,
            True,
            False,
        ]


class TestShutdown:
    async def test_a_child_that_does_not_shut_down_in_time_is_killed(self, house: House) -> None:
        class Stubborn(GenServer):
            def init(self) -> None:
                self.process.trap_exit = True

            async def terminate(self, reason: Any) -> None:
                if reason == SHUTDOWN:
                    await asyncio.Event().wait()

        supervisor = Supervisor([ChildSpec("a", Stubborn, name="a", shutdown=0.01)])
        await house.node.gen_server.start(supervisor)
        child = house.node.whereis("a")
        assert child is not None
        await house.node.gen_server.stop(supervisor.process)
        assert child.exit_reason == Atom("killed")

    async def test_brutal_kill_kills_at_once(self, house: House) -> None:
        await house.supervise("")
        await house.supervisor.start_child(house.child("a", shutdown="brutal_kill"))
        child = house.node.whereis("a")
        assert child is not None
        await house.supervisor.terminate_child("a")
        assert child.exit_reason == Atom("killed")

    async def test_children_end_with_a_killed_supervisor(self, house: House) -> None:
        process = await house.supervise("a b")
        children = [house.node.whereis(name) for name in "ab"]
        house.node.spawn(lambda *_: None).exit(process, KILL)
        for child in children:
            assert child is not None
            await ended(child)


class TestChildren:
    async def test_a_child_that_fails_to_start_ends_the_others(self, house: House) -> None:
        def fails() -> GenServer:
            raise ValueError("no good")

        supervisor = Supervisor([house.child("a"), ChildSpec("b", fails), house.child("c")])
        with pytest.raises(Exception, match="failed_to_start_child,b"):
            await house.node.gen_server.start(supervisor)
        assert house.log == ["+a", "-a"]

    async def test_bodies_and_supervisors_as_children(self, house: House) -> None:
        got: asyncio.Queue[Any] = asyncio.Queue()

        async def body(process: Process, number: int) -> None:
            got.put_nowait(number)
            await process.receive()

        inner = ChildSpec(
            "inner", lambda: Supervisor([ChildSpec("body", body, args=(7,), name="body")]), type="supervisor"
        )
        await house.node.gen_server.start(Supervisor([inner]))
        assert await got.get() == 7
        house.node.send("body", "stop")
        assert await got.get() == 7

    async def test_start_restart_terminate_and_delete_child(self, house: House) -> None:
        await house.supervise("a")
        supervisor = house.supervisor
        pid = await supervisor.start_child(house.child("b"))
        assert supervisor.which_children() == {"a": house.node.whereis("a"), "b": house.node.whereis("b")}
        assert pid == supervisor.which_children()["b"].pid  # type: ignore[union-attr]
        orders: list[tuple[Callable[[], Any], str]] = [
            (lambda: supervisor.start_child(house.child("b")), "already_started"),
            (lambda: supervisor.delete_child("b"), "running"),
            (lambda: supervisor.restart_child("b"), "running"),
            (lambda: supervisor.terminate_child("none"), "not_found"),
            (lambda: supervisor.start_child(ChildSpec("c", int)), "NodeError"),
        ]
        for order, wrong in orders:
            with pytest.raises(NodeError, match=wrong):
                await order()
        await supervisor.terminate_child("b")
        assert supervisor.which_children()["b"] is None
        assert await supervisor.restart_child("b") is not None
        await supervisor.terminate_child("b")
        await supervisor.delete_child("b")
        assert list(supervisor.which_children()) == ["a"]

    async def test_simple_one_for_one(self, house: House) -> None:
        """Started by their arguments, again by the same ones, and ended all at once."""
        cannot_start: list[bytes] = []

        def lodger(kind: str, name: bytes) -> GenServer:
            if name in cannot_start:
                cannot_start.remove(name)
                raise ValueError("not now")
            return Lodger(house, f"{kind} {name.decode()}")

        spec = ChildSpec("template", lodger, args=("a",), restart="transient", shutdown=60.0)
        supervisor = Supervisor([spec], strategy="simple_one_for_one", intensity=3, period=60)
        process = await house.node.gen_server.start(supervisor)
        assert process is not None
        assert supervisor.which_children() == {}
        cannot_start.append(b"b")
        with pytest.raises(NodeError, match="not now"):
            await supervisor.start_child([b"b"])
        pids = [await supervisor.start_child([name]) for name in (b"c", b"b")]
        assert list(supervisor.which_children()) == pids
        assert pids[1] is not None
        cannot_start.append(b"b")
        house.node.spawn(lambda *_: None).exit(pids[1], KILL)
        for name in ("a c", "a b", "a b"):
            assert await house.began.get() == name
        first, second = supervisor.which_children().values()
        assert first is not None
        assert second is not None
        assert first.pid == pids[0]
        assert second.pid != pids[1]
        await supervisor.terminate_child(first.pid)
        assert list(supervisor.which_children()) == [second.pid]
        for order in (supervisor.restart_child, supervisor.delete_child):
            with pytest.raises(NodeError, match="simple_one_for_one"):
                await order(second.pid)
        process.stop(SHUTDOWN)
        await ended(second)

    async def test_another_node_cannot_start_a_child_with_a_specification(self, house: House) -> None:
        await house.supervise("")
        answer = await house.node.gen_server.call(house.supervisor.process, (Atom("start_child"), {}))
        assert answer == (Atom("error"), (Atom("invalid_child_spec"), {}))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ChildSpec("a", 1),  # type: ignore[arg-type]
        lambda: ChildSpec("a", GenServer, restart="always"),  # type: ignore[arg-type]
        lambda: ChildSpec("a", GenServer, shutdown="soon"),  # type: ignore[arg-type]
        lambda: ChildSpec("a", GenServer, shutdown=-1),
        lambda: ChildSpec("a", GenServer, type="boss"),  # type: ignore[arg-type]
        lambda: Supervisor([ChildSpec("a", GenServer), ChildSpec("a", GenServer)]),
        lambda: Supervisor(strategy="all_for_one"),  # type: ignore[arg-type]
        lambda: Supervisor(strategy="simple_one_for_one"),
        lambda: Supervisor(intensity=-1),
        lambda: Supervisor(period=0),
    ],
)
def test_invalid_arguments_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(NodeError):
        make()
