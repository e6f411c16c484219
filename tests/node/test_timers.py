"""Timers of processes: what they send, when they are gone, and what they cost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quicdist import ANY, Atom, Node, Pid, Process, ProcessExit
from tests.otp.conftest import ended, node

__all__ = ["node"]

TIMEOUT = Atom("timeout")


@pytest.fixture
def process(node: Node) -> Process:
    """A process that is not running a body."""
    return node._local.runtime.add_process(name="waits")


def active(node: Node) -> int:
    return len(node._local.runtime.timers)


async def test_send_after_sends_the_message_once_the_time_is_over(node: Node, process: Process) -> None:
    process.send_after(0.01, process, "second")
    process.send_after(0, process.pid, "first")
    assert active(node) == 2
    assert [await process.receive(), await process.receive()] == ["first", "second"]
    assert active(node) == 0


async def test_start_timer_sends_its_reference_with_the_message(node: Node, process: Process) -> None:
    reference = process.start_timer(0, process, "late")
    assert await process.receive() == (TIMEOUT, reference, "late")


async def test_a_timer_that_is_cancelled_sends_nothing_and_is_gone(node: Node, process: Process) -> None:
    reference = process.send_after(60.0, process, "never")
    left = process.read_timer(reference)
    assert left is not None
    assert 59 < left <= 60
    cancelled = process.cancel_timer(reference)
    assert cancelled is not None
    assert 59 < cancelled <= left
    assert process.cancel_timer(reference) is None
    assert process.read_timer(reference) is None
    assert active(node) == 0


async def test_a_timer_that_has_expired_cannot_be_cancelled(node: Node, process: Process) -> None:
    reference = process.start_timer(0, process, "late")
    await process.receive((TIMEOUT, reference, ANY))
    assert process.cancel_timer(reference) is None


async def test_another_process_may_cancel_a_timer(node: Node, process: Process) -> None:
    reference = process.send_after(60.0, process, "never")
    other = node._local.runtime.add_process()
    assert other.cancel_timer(reference) is not None


async def test_a_name_is_looked_up_when_the_time_has_come(node: Node, process: Process) -> None:
    process.send_after(0.01, "later", "message")
    later = node._local.runtime.add_process(name="later")
    assert await later.receive() == "message"


async def test_a_message_for_a_name_that_nobody_has_is_dropped(node: Node, process: Process) -> None:
    process.send_after(0, "nobody", "message")
    process.send_after(0.005, process, "after it")
    assert await process.receive() == "after it"
    assert active(node) == 0


async def test_a_pid_that_ends_cancels_the_timers_that_send_to_it(node: Node, process: Process) -> None:
    other = node._local.runtime.add_process()
    references = [other.send_after(60.0, process, n) for n in range(3)]
    process.stop()
    assert active(node) == 0
    assert other.read_timer(references[0]) is None
    assert other.read_timer(other.send_after(60.0, process.pid, "too late")) is None
    assert active(node) == 0


async def test_a_timer_outlives_the_process_that_started_it(node: Node, process: Process) -> None:
    async def starts(starter: Process) -> None:
        starter.send_after(0.01, process, "hello")

    await ended(node.spawn(starts))
    assert await process.receive() == "hello"


async def test_a_process_that_has_ended_starts_no_timer(node: Node, process: Process) -> None:
    process.stop()
    with pytest.raises(ProcessExit):
        process.send_after(1.0, "waits", "x")


@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan")])
async def test_a_time_below_zero_raises_value_error(node: Node, process: Process, seconds: float) -> None:
    with pytest.raises(ValueError, match="0 seconds or more"):
        process.send_after(seconds, process, "x")
    assert active(node) == 0


async def test_a_pid_of_another_node_raises_value_error(node: Node, process: Process) -> None:
    with pytest.raises(ValueError, match="is of other@host"):
        process.send_after(1.0, Pid(Atom("other@host"), 1, 0, 1), "x")


@pytest.mark.parametrize("to", [1, ("name", "node@host"), None])
async def test_what_is_no_process_of_this_node_raises_type_error(
    node: Node, process: Process, to: Any
) -> None:
    with pytest.raises(TypeError):
        process.send_after(1.0, to, "x")


async def test_another_thread_cannot_start_a_timer(node: Node, process: Process) -> None:
    with pytest.raises(Exception, match="call_soon_threadsafe"):
        await asyncio.to_thread(process.send_after, 1.0, process, "x")


async def test_thousands_of_timers_are_kept_and_cancelled_at_once(node: Node, process: Process) -> None:
    references = [process.send_after(60.0 + n, process, n) for n in range(5_000)]
    assert active(node) == 5_000
    for reference in references[::2]:
        process.cancel_timer(reference)
    assert active(node) == 2_500
    process.stop()
    assert active(node) == 0


async def test_a_node_that_stops_cancels_all_timers() -> None:
    async with Node("stops@127.0.0.1", cookie="x", endpoints=[]) as node:
        process = node.spawn(lambda process, message: None)
        process.send_after(60.0, "nobody", "x")
        timers = node._local.runtime.timers
        assert len(timers) == 1
    assert len(timers) == 0
