"""Selective receive: order, patterns, time-outs, priority messages, and what goes wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quicdist import ANY, Atom, GenServer, Node, Process
from quicdist.node.mailbox import Mailbox


def filled(*messages: Any) -> Mailbox:
    mailbox = Mailbox()
    for message in messages:
        mailbox.put(message)
    return mailbox


async def drained(mailbox: Mailbox) -> list[Any]:
    return [await mailbox.get() for _ in range(len(mailbox))]


async def waiting(mailbox: Mailbox, *args: Any) -> asyncio.Task[Any]:
    """A receive that has begun to wait."""
    task = asyncio.create_task(mailbox.get(*args))
    await asyncio.sleep(0)
    return task


async def test_messages_are_received_in_order_of_arrival() -> None:
    assert await drained(filled(1, 2, 3)) == [1, 2, 3]


async def test_the_first_that_matches_and_the_others_stay() -> None:
    mailbox = filled(1, "x", 2, "y")
    assert await mailbox.get(str) == "x"
    assert await mailbox.get(lambda term: term == 2) == 2
    assert await drained(mailbox) == [1, "y"]


async def test_a_waiting_receive_gets_matching_messages_only() -> None:
    mailbox = filled(1)
    task = await waiting(mailbox, (Atom("ok"), ANY))
    mailbox.put(2)
    mailbox.put((Atom("ok"), 1))
    mailbox.put((Atom("ok"), 2))
    assert await task == (Atom("ok"), 1)
    assert await drained(mailbox) == [1, 2, (Atom("ok"), 2)]


async def test_a_message_for_a_waiting_receive_is_not_queued() -> None:
    mailbox = Mailbox()
    task = await waiting(mailbox)
    mailbox.put(1)
    assert len(mailbox) == 0
    assert await task == 1


async def test_a_receive_that_begins_before_the_last_one_has_woken_up_waits_for_its_own_pattern() -> None:
    mailbox = Mailbox()
    first = await waiting(mailbox)
    mailbox.put(1)
    second = asyncio.ensure_future(mailbox.get(3))
    second.get_loop().call_soon(mailbox.put, 2)
    second.get_loop().call_soon(mailbox.put, 3)
    assert await first == 1
    assert await second == 3
    assert await drained(mailbox) == [2]


async def test_a_receive_cancelled_at_the_last_moment_loses_no_message() -> None:
    mailbox = Mailbox()
    task = await waiting(mailbox)
    mailbox.put(1)
    mailbox.put(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await drained(mailbox) == [1, 2]


async def test_a_receive_cancelled_at_the_last_moment_leaves_the_message_in_its_place() -> None:
    mailbox = filled(1, 2)
    task = await waiting(mailbox, str)
    mailbox.put(3)
    mailbox.put("x")
    mailbox.put(4)
    mailbox.put("p", priority=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await drained(mailbox) == ["p", 1, 2, 3, "x", 4]


async def test_a_priority_message_of_a_cancelled_receive_goes_back_to_its_place() -> None:
    mailbox = filled(1)
    mailbox.put("p", priority=True)
    task = await waiting(mailbox, bytes)
    mailbox.put(b"x", priority=True)
    mailbox.put("q", priority=True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await drained(mailbox) == ["p", b"x", "q", 1]


async def test_the_message_of_a_cancelled_receive_goes_to_the_one_that_waits() -> None:
    mailbox = filled("old")
    first = await waiting(mailbox, int)
    second = asyncio.create_task(mailbox.get(int))  # It begins before the first one wakes up.
    mailbox.put(1)
    first.cancel()
    assert await asyncio.wait_for(second, 10) == 1
    assert await drained(mailbox) == ["old"]


async def test_the_message_of_a_cancelled_receive_stays_if_the_pattern_of_the_one_that_waits_fails() -> None:
    mailbox = Mailbox()
    first = await waiting(mailbox)
    second = asyncio.create_task(mailbox.get(failing(KeyError("no such key"))))
    mailbox.put(1)
    first.cancel()
    with pytest.raises(KeyError, match="no such key"):
        await second
    assert await drained(mailbox) == [1]


@pytest.mark.parametrize("ends", ["cancelled", "timed out", "failed"])
async def test_a_receive_may_begin_when_the_one_before_is_over_and_has_not_woken_up(ends: str) -> None:
    mailbox = filled("x")
    before = await waiting(mailbox, failing(KeyError()) if ends == "failed" else int)
    if ends == "cancelled":
        before.cancel()
    elif ends == "failed":
        mailbox.put("y")
    else:
        assert mailbox._waiter is not None
        mailbox._waiter.set_exception(TimeoutError())
    asyncio.get_running_loop().call_soon(mailbox.put, 1)
    assert await mailbox.get(int) == 1
    with pytest.raises((asyncio.CancelledError, TimeoutError, KeyError)):
        await before
    assert len(mailbox) == 1 + (ends == "failed")


async def test_a_time_out_leaves_the_messages() -> None:
    mailbox = filled(1)
    with pytest.raises(TimeoutError):
        await mailbox.get(str, 0)
    with pytest.raises(TimeoutError, match=r"no message that matches came within 0\.001 s"):
        await mailbox.get(str, 0.001)
    assert await mailbox.get(int, 0) == 1


ERRORS = [
    KeyError("no such key"),
    asyncio.CancelledError(),
    SystemExit(1),
    GeneratorExit(),
    StopIteration(),
    RecursionError(),
    MemoryError(),
]


def failing(error: BaseException) -> Any:
    def fails(_: Any) -> bool:
        raise error

    return fails


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_pattern_that_fails_is_the_receivers_error_and_no_message_is_lost(
    error: BaseException,
) -> None:
    raised: list[BaseException] = []

    async def receive(mailbox: Mailbox) -> None:
        try:
            await mailbox.get(failing(error))
        except BaseException as failed:
            raised.append(failed)

    mailbox = Mailbox()
    task = asyncio.create_task(receive(mailbox))
    await asyncio.sleep(0)
    mailbox.put(1)  # the sender sees nothing of it
    mailbox.put(2)
    await task
    await receive(mailbox)  # it fails on what waits, too
    for failed in raised:
        # Python lets no StopIteration out of a coroutine.
        assert failed is error or (isinstance(failed, RuntimeError) and failed.__cause__ is error)
    assert len(raised) == 2
    assert await drained(mailbox) == [1, 2]


async def test_what_a_failing_pattern_has_raised_is_not_raised_again() -> None:
    mailbox = Mailbox()
    task = await waiting(mailbox, failing(KeyError()))
    mailbox.put(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    task = await waiting(mailbox, str)
    mailbox.put("x")
    assert await task == "x"
    assert await drained(mailbox) == [1]


async def test_a_pattern_may_end_its_own_receive() -> None:
    mailbox = Mailbox()

    def ends(_: Any) -> bool:
        mailbox.close(LookupError("over"))
        return True

    task = await waiting(mailbox, ends)
    mailbox.put(1)
    with pytest.raises(LookupError, match="over"):
        await task


async def test_one_receive_at_a_time() -> None:
    mailbox = Mailbox()
    task = await waiting(mailbox)
    with pytest.raises(RuntimeError, match="another receive"):
        await mailbox.get()
    task.cancel()


async def test_priority_messages_come_first_in_their_own_order() -> None:
    mailbox = filled(1, 2)
    mailbox.put("p", priority=True)
    mailbox.put("q", priority=True)
    mailbox.put(3)
    assert await mailbox.get() == "p"
    mailbox.put("r", priority=True)
    assert await drained(mailbox) == ["q", "r", 1, 2, 3]


async def test_a_priority_message_taken_by_a_pattern() -> None:
    mailbox = filled(1)
    for text in ("p", "q"):
        mailbox.put(text, priority=True)
    assert await mailbox.get(lambda term: term == "q") == "q"
    mailbox.put("r", priority=True)
    assert await drained(mailbox) == ["p", "r", 1]


async def test_discard_removes_the_first_match_only() -> None:
    mailbox = filled(1, 2, 1)
    assert mailbox.discard(lambda term: term == 1)
    assert not mailbox.discard(lambda term: term == 5)
    assert await drained(mailbox) == [2, 1]


async def test_closing_ends_a_waiting_receive() -> None:
    mailbox = Mailbox()
    task = await waiting(mailbox)
    mailbox.close(LookupError("over"))
    with pytest.raises(LookupError, match="over"):
        await task


async def test_a_body_that_always_finds_a_message_lets_others_run() -> None:
    """A BEAM takes the processor from a process after some reductions."""
    async with Node("fair@127.0.0.1", cookie="c", endpoints=[]) as node:

        async def busy(process: Process) -> None:
            process.send(process, 1)
            async for message in process:
                process.send(process, message)

        process = node.spawn(busy)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert process.alive


async def test_a_body_that_finds_its_messages_in_a_long_queue_lets_others_run() -> None:
    """A BEAM counts the messages that a receive looks at."""
    mailbox = filled(*range(20_000))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    for wanted in reversed(range(19_900, 20_000)):
        assert await mailbox.get(wanted) == wanted
    task.cancel()
    assert turns > 20


async def test_calls_of_a_server_in_a_loop_let_others_run() -> None:
    class Server(GenServer):
        def handle_call(self, request: object, sender: object) -> object:
            return request

    async with Node("fair@127.0.0.1", cookie="c", endpoints=[]) as node:
        node.serve(Server(), name="server")
        told = asyncio.Event()
        asyncio.get_running_loop().call_soon(told.set)
        while not told.is_set():
            await node.gen_server.call("server", 1)
