"""The queue of signals: processes that never stop sending to each other leave time for everything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest
import pytest_asyncio

import quicdist.protocol as wire
from quicdist import Atom, GenServer, Node, Process
from quicdist.node.signal_queue import IN_A_ROW, SignalQueue
from quicdist.term import Pid


@pytest_asyncio.fixture
async def node() -> AsyncIterator[Node]:
    async with Node("fair@127.0.0.1", cookie="c", endpoints=[]) as alone:
        yield alone


async def turns_beside(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_functions_that_send_to_each_other_for_ever_let_others_run(node: Node) -> None:
    sent = 0

    def answer(process: Process, to: Pid) -> None:
        nonlocal sent
        sent += 1
        process.send(to, process.pid)

    one, two = node.spawn(answer), node.spawn(answer)
    one.send(one, two.pid)
    await turns_beside(10)
    assert 10 * IN_A_ROW <= sent <= 12 * IN_A_ROW
    two.exit(one, Atom("enough"))
    await turns_beside(3)
    before = sent
    await turns_beside(3)
    assert sent == before


async def test_a_server_that_casts_to_itself_lets_others_run(node: Node) -> None:
    class Worker(GenServer):
        steps = 0

        def handle_cast(self, request: Any) -> None:
            self.steps += 1
            self.cast_again()

        def handle_call(self, request: Any, sender: Any) -> int:
            return self.steps

        def cast_again(self) -> None:
            node.gen_server.cast("worker", "step")

    node.serve(Worker(), name="worker")
    node.gen_server.cast("worker", "step")
    first = await node.gen_server.call("worker", "steps")
    assert await node.gen_server.call("worker", "steps") > first


async def test_signals_that_are_sent_meanwhile_take_effect_in_order_and_once(node: Node) -> None:
    def forever(process: Process, message: Any) -> None:
        process.send(process, message)

    busy = node.spawn(forever)
    busy.send(busy, "again")
    received: list[Any] = []
    receiver = node.spawn(lambda _, message: received.append(message))
    for number in range(5 * IN_A_ROW):
        receiver.send(receiver, number)
        if number % 1000 == 0:
            await asyncio.sleep(0)
    reference = receiver.monitor(busy)
    assert receiver.demonitor(reference)
    await turns_beside(3)
    assert received == list(range(5 * IN_A_ROW))


async def test_a_signal_that_is_sent_meanwhile_has_the_context_of_its_sender() -> None:
    variable = ContextVar("variable", default="none")
    seen: list[str] = []
    queue = SignalQueue(lambda process, error, message: None)

    def again() -> None:
        queue.submit(again)

    variable.set("first")
    queue.submit(again)
    assert not queue.busy
    variable.set("second")
    queue.submit(lambda: seen.append(variable.get()))
    assert seen == []
    await turns_beside(3)
    assert seen == ["second"]


async def test_what_a_signal_causes_that_was_sent_meanwhile_has_its_context_too() -> None:
    variable = ContextVar("variable", default="none")
    seen: list[str] = []
    queue = SignalQueue(lambda process, error, message: None)
    times = 0

    def again() -> None:
        nonlocal times
        times += 1
        if times < 3 * IN_A_ROW:
            queue.submit(again)

    def causes() -> None:
        seen.append(variable.get())
        queue.submit(lambda: seen.append(variable.get()))

    variable.set("first")
    queue.submit(again)
    variable.set("second")
    queue.submit(causes)
    variable.set("third")
    await turns_beside(5)
    assert seen == ["second", "second"]


async def test_signals_that_wait_take_effect_after_a_keyboard_interrupt() -> None:
    queue = SignalQueue(lambda process, error, message: None)
    seen: list[int] = []

    def interrupted() -> None:
        for number in range(3):
            queue.submit(seen.append, number)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        queue.submit(interrupted)
    queue.submit(seen.append, 3)
    await turns_beside(2)
    assert seen == [0, 1, 2, 3]


async def test_a_link_that_came_before_the_connection_was_lost_ends_with_it(node: Node) -> None:
    runtime = node._local.runtime

    def again(process: Process, message: Any) -> None:
        process.send(process, message)

    busy = node.spawn(again)
    busy.send(busy, "again")
    received: list[Any] = []
    process = node.spawn(lambda process, message: received.append(message))
    process.trap_exit = True
    peer = Pid(Atom("peer@127.0.0.1"), 5, 0, 1)
    runtime.signals.dispatch("peer@127.0.0.1", wire.Link(peer, process.pid), None)
    assert runtime.signal_queue.interrupted
    runtime.connection_lost("peer@127.0.0.1")
    await turns_beside(5)
    assert received == [(Atom("EXIT"), peer, Atom("noconnection"))]
    busy.exit(busy.pid, Atom("kill"))


async def test_no_more_signals_wait_than_come_in_a_turn() -> None:
    queue = SignalQueue(lambda process, error, message: None)
    done = 0

    def again() -> None:
        queue.submit(again)

    def count() -> None:
        nonlocal done
        done += 1

    queue.submit(again)
    for _ in range(10):
        for _ in range(3 * IN_A_ROW):
            queue.submit(count)
        await asyncio.sleep(0)
    await turns_beside(2)
    assert done == 30 * IN_A_ROW


def test_signals_take_effect_at_once_where_no_event_loop_runs() -> None:
    queue = SignalQueue(lambda process, error, message: pytest.fail("nothing crashes"))
    done = 0

    def again() -> None:
        nonlocal done
        done += 1
        if done < 3 * IN_A_ROW:
            queue.submit(again)

    queue.submit(again)
    assert done == 3 * IN_A_ROW
    assert not queue.busy
