"""Selective receive: order, patterns, time-outs, priority messages, and what goes wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quicdist import ANY, Atom
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


async def test_in_the_order_they_came() -> None:
    assert await drained(filled(1, 2, 3)) == [1, 2, 3]


async def test_the_first_that_matches_and_the_others_stay() -> None:
    mailbox = filled(1, "x", 2, "y")
    assert await mailbox.get(str) == "x"
    assert await mailbox.get(lambda term: term == 2) == 2
    assert await drained(mailbox) == [1, "y"]


async def test_one_who_waits_gets_what_matches_and_no_more() -> None:
    mailbox = filled(1)
    task = await waiting(mailbox, (Atom("ok"), ANY))
    mailbox.put(2)
    mailbox.put((Atom("ok"), 1))
    mailbox.put((Atom("ok"), 2))
    assert await task == (Atom("ok"), 1)
    assert await drained(mailbox) == [1, 2, (Atom("ok"), 2)]


async def test_a_message_is_never_queued_for_one_who_waits() -> None:
    mailbox = Mailbox()
    task = await waiting(mailbox)
    mailbox.put(1)
    assert len(mailbox) == 0
    assert await task == 1


async def test_a_receiver_called_off_at_the_last_moment_loses_nothing() -> None:
    mailbox = Mailbox()
    task = await waiting(mailbox)
    mailbox.put(1)
    mailbox.put(2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await drained(mailbox) == [1, 2]


async def test_a_time_out_leaves_the_messages() -> None:
    mailbox = filled(1)
    with pytest.raises(TimeoutError):
        await mailbox.get(str, 0)
    with pytest.raises(TimeoutError):
        await mailbox.get(str, 0.001)
    assert await mailbox.get(int, 0) == 1


async def test_a_pattern_that_fails_is_the_receivers_error() -> None:
    mailbox = Mailbox()
    task = await waiting(mailbox, lambda term: term["no such key"])
    mailbox.put({})
    with pytest.raises(KeyError, match="no such key"):
        await task
    assert await drained(mailbox) == [{}]


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


async def test_what_is_discarded() -> None:
    mailbox = filled(1, 2, 1)
    assert mailbox.discard(lambda term: term == 1)
    assert not mailbox.discard(lambda term: term == 5)
    assert await drained(mailbox) == [2, 1]


async def test_closed_for_one_who_waits() -> None:
    mailbox = Mailbox()
    task = await waiting(mailbox)
    mailbox.close(LookupError("over"))
    with pytest.raises(LookupError, match="over"):
        await task
