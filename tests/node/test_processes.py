"""The life of a process: how it ends, what is left of it, in what order things happen, and what
an idle one costs."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import quicdist.protocol as wire
from quicdist import Atom, Process, ProcessExit
from quicdist.node import LocalNode, NodeError, NodeNotStarted
from quicdist.protocol import NO_PAYLOAD, ControlMessage
from quicdist.term import Codec, Pid
from tests.node.sides import Side, connected

NORMAL, BOOM, EXIT, DOWN = Atom("normal"), Atom("boom"), Atom("EXIT"), Atom("DOWN")
KILL, KILLED, NOPROC = Atom("kill"), Atom("killed"), Atom("noproc")


async def ended(process: Process) -> None:
    over = asyncio.Event()
    process.on_end(over.set)
    await over.wait()


def test_a_body_called_with_wrong_arguments_is_no_process() -> None:
    here, _ = connected()

    async def body(process: Process, argument: int) -> None: ...

    with pytest.raises(TypeError, match="argument"):
        here.runtime.spawn(body, name="nobody")
    assert (here.runtime.processes(), here.runtime.registered()) == ([], [])


class TestTheEnd:
    async def test_a_coroutine_that_ends_itself_runs_no_further(self) -> None:
        here, _ = connected()
        got: list[str] = []

        async def body(process: Process) -> None:
            process.exit(process, BOOM)
            got.append("to its next await")
            await asyncio.sleep(0)
            got.append("beyond")

        process = here.runtime.spawn(body)
        await ended(process)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert process.exit_reason == BOOM
        assert got == ["to its next await"]

    async def test_a_body_that_outlives_its_exit_signal_gets_no_more_messages(self) -> None:
        here, _ = connected()
        done = asyncio.Event()

        async def stubborn(process: Process) -> None:
            try:
                await process.receive()
            except asyncio.CancelledError:
                with pytest.raises(ProcessExit, match="boom"):
                    await process.receive()
                done.set()

        process = here.runtime.spawn(stubborn)
        await asyncio.sleep(0)
        process.stop(BOOM)
        process.send(process.pid, 1)
        await done.wait()

    async def test_a_receive_from_outside_raises_when_the_process_ends(self) -> None:
        here, _ = connected()
        process = here.runtime.add_process()
        waiting = asyncio.create_task(process.receive())
        await asyncio.sleep(0)
        process.stop(BOOM)
        with pytest.raises(ProcessExit, match="boom"):
            await waiting

    def test_a_reason_that_python_takes_for_none(self) -> None:
        here, there = connected()
        one, two = here.mailbox()[0], there.mailbox()[0]
        one.link(two.pid)
        two.stop(None)
        assert (one.alive, two.alive) == (False, False)

    async def test_a_body_cancelled_from_outside(self) -> None:
        here, _ = connected()
        watcher, messages = here.mailbox()

        async def body(_: Process) -> None:
            raise asyncio.CancelledError

        process = here.runtime.spawn(body)
        reference = watcher.monitor(process)
        await ended(process)
        assert messages == [(DOWN, reference, Atom("process"), process.pid, Atom("cancelled"))]

    def test_a_failing_end_callback_does_not_prevent_links_and_monitors_from_firing(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        here, _ = connected()
        process, _ = here.mailbox()
        told: list[int] = []

        def fails() -> None:
            raise ValueError("no good")

        process.on_end(fails)
        process.on_end(lambda: told.append(1))
        process.stop()
        process.on_end(lambda: told.append(2))
        assert told == [1, 2]
        assert "no good" in caplog.text

    def test_an_exit_reason_that_is_no_term_is_replaced(self) -> None:
        here, there = connected()
        transmit = here.runtime._transmit

        def encoding(node: str, control: ControlMessage, payload: Any, pair: Any) -> bool:
            if payload is not NO_PAYLOAD:
                Codec().encode(payload)
            return transmit(node, control, payload, pair)

        here.runtime._transmit = encoding
        one, (two, _), (three, messages) = here.mailbox()[0], there.mailbox(), there.mailbox()
        one.link(two.pid)
        three.monitor(one.pid)
        one.stop(object())
        (kind, name, _), stack = two.exit_reason
        assert (kind, name, stack) == (Atom("python_error"), "EncodeError", [])
        assert messages[0][4] == two.exit_reason

    async def test_a_process_that_ended_leaves_no_relations_behind(self) -> None:
        here, there = connected()
        (one, _), (two, _) = here.mailbox(), there.mailbox()
        one.link(two.pid)
        one.monitor(two.pid, alias="explicit_unalias")
        two.monitor(one.pid)
        one.alias()
        one.unlink(two.pid)
        one.stop()
        monitors = here.runtime.monitors
        assert (monitors._monitors, monitors._aliases, monitors._watched) == ({}, {}, {})
        assert there.runtime.monitors._watched == {}
        assert (two.links, two.monitored_by) == ([], {})


class TestOrder:
    """A handler runs within a signal: what it sends takes effect afterwards, in the order sent."""

    @pytest.mark.parametrize("nodes", ["same node", "two nodes"])
    def test_of_signals_of_different_kinds(self, nodes: str) -> None:
        here, there = connected()
        there = here if nodes == "same node" else there
        target, messages = there.mailbox()
        target.trap_exit = True
        replies: list[Any] = []

        def sender(process: Process, message: Any) -> None:
            if message != "go":
                replies.append(message)
                return
            process.send(target.pid, 1)
            process.link(target.pid)
            process.exit(target.pid, 2)
            process.send(target.pid, 3)
            process.unlink(target.pid)
            process.exit(target.pid, KILL)
            process.monitor(target.pid)

        process = here.runtime.spawn(sender)
        here.runtime.send(process.pid, process.pid, "go")
        assert messages == [1, (EXIT, process.pid, 2), 3]
        assert [(reply[0], reply[4]) for reply in replies] == [(DOWN, NOPROC)]
        assert process.alive

    def test_a_handler_takes_its_own_down_message_back(self) -> None:
        here, _ = connected()
        target, _ = here.mailbox()
        got: list[Any] = []

        def watcher(process: Process, message: Any) -> None:
            got.append(message)
            if message == "go":
                reference = process.monitor(target.pid)
                target.stop()
                process.demonitor(reference, flush=True)

        process = here.runtime.spawn(watcher)
        process.send(process.pid, "go")
        assert got == ["go"]


class TestGroupLeader:
    def test_a_child_has_the_group_leader_of_its_parent(self) -> None:
        here, _ = connected()
        leader, _ = here.mailbox()
        here.runtime.group_leader = leader.pid
        parent = here.mailbox()[0]
        other = here.mailbox()[0]
        parent.set_group_leader(other, parent)
        child = parent.spawn(lambda *_: None)
        assert (parent.group_leader, child.group_leader) == (other.pid, other.pid)
        assert (child.parent, parent.parent) == (parent.pid, None)


class TestTraceTokens:
    """No BEAM sends these two: ``exit/2`` takes no token along. They are understood nevertheless."""

    @pytest.mark.parametrize(
        ("control", "payload"),
        [
            (lambda one, two: wire.Exit2TT(one, two, (), BOOM), None),
            (lambda one, two: wire.PayloadExit2TT(one, two, ()), BOOM),
        ],
    )
    def test_an_exit2_signal_with_a_trace_token_is_delivered(
        self, control: Callable[[Pid, Pid], ControlMessage], payload: Any
    ) -> None:
        here, there = connected()
        one, (two, messages) = here.mailbox()[0], there.mailbox()
        two.trap_exit = True
        there.signals.dispatch("one@host", control(one.pid, two.pid), payload)
        assert messages == [(EXIT, one.pid, BOOM)]


class TestThreads:
    def test_use_in_another_thread_raises_an_error_that_names_call_soon_threadsafe(self) -> None:
        here, _ = connected()
        process, messages = here.mailbox()
        other = Pid("two@host", 1, 0, 7)
        errors: list[str] = []

        def elsewhere() -> None:
            for action in (
                lambda: process.send(process.pid, 1),
                lambda: process.send(other, 1),
                lambda: process.link(other),
                lambda: here.runtime.spawn(lambda *_: None),
            ):
                with pytest.raises(NodeError) as caught:
                    action()
                errors.append(str(caught.value))

        thread = threading.Thread(target=elsewhere, name="worker")
        thread.start()
        thread.join()
        assert len(errors) == 4
        assert all("call_soon_threadsafe" in error and "worker" in error for error in errors)
        assert messages == []

    async def test_call_soon_threadsafe_sends_from_another_thread(self) -> None:
        node = LocalNode("threads@127.0.0.1", cookie="x")
        with pytest.raises(NodeNotStarted):
            node.call_soon_threadsafe(print)
        await node.lifecycle.start()
        arrived = asyncio.Event()
        process = node.runtime.spawn(lambda *_: arrived.set())
        await asyncio.to_thread(node.call_soon_threadsafe, process.send, process.pid, 1)
        await arrived.wait()
        await node.lifecycle.stop()


# -- what an idle process costs ------------------------------------------------------------------

COUNT = 10_000


async def _size(make: Callable[[], Any]) -> float:
    """Bytes for each of COUNT things, once they have begun to wait."""
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = [make() for _ in range(COUNT)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.collect()
        size = (tracemalloc.get_traced_memory()[0] - before) / COUNT
    finally:
        tracemalloc.stop()
    for thing in kept:
        thing.cancel() if isinstance(thing, asyncio.Task) else thing.stop()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return size


async def test_an_idle_process_costs_less_than_a_task_and_2_kib() -> None:
    here = Side("one@host")

    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    async def receives(process: Process) -> None:
        await process.receive()

    async def iterates(process: Process) -> None:
        async for _ in process:
            pass

    bodies: tuple[Callable[[Process], Coroutine[Any, Any, None]], ...] = (receives, iterates)
    task = await _size(lambda: asyncio.ensure_future(waits()))
    for body in bodies:
        assert await _size(lambda body=body: here.runtime.spawn(body)) < task + 2048  # type: ignore[misc]
    assert await _size(lambda: here.runtime.spawn(lambda *_: None)) < task
    assert here.runtime.processes() == []
