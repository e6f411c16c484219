"""Receive marks: a receive by a new reference begins behind the messages that were there before it."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

from quicdist import ANY, Atom, Process, Reference
from quicdist.node.mailbox import Mailbox
from quicdist.node.patterns import AnyOf
from quicdist.node.receive_marks import MAX_MARKS, ReceiveMarks
from tests.node.sides import Side

DOWN = Atom("DOWN")
OK = Atom("ok")


class Untouchable(tuple[Any, ...]):
    """A message that no pattern may look at."""

    def __len__(self) -> int:
        raise AssertionError("this message was looked at")


OLD = Untouchable((1, 2))


class Reader:
    """A process without a body, and what sends it messages."""

    def __init__(self) -> None:
        self.side = Side("one@host")
        self.process = self.side.runtime.add_process()
        for _ in range(3):
            self.put(OLD)

    def put(self, message: Any, *, priority: bool = False) -> None:
        self.side.runtime.signal_queue.hand_over(self.process, message, priority)

    async def receive(self, *pattern: Any) -> Any:
        return await self.process.receive(pattern, timeout=0)


async def test_a_receive_by_a_new_reference_looks_at_no_older_message() -> None:
    reader = Reader()
    reference = reader.process.make_ref()
    reader.put((OK, 1))
    reader.put((reference, 2))
    assert await reader.receive(reference, ANY) == (reference, 2)
    assert reader.process.messages == [OLD, OLD, OLD, (OK, 1)]


async def test_a_receive_that_waits_looks_at_no_older_message() -> None:
    reader = Reader()
    reference = reader.process.make_ref()
    task = asyncio.create_task(reader.process.receive((reference, ANY)))
    await asyncio.sleep(0)
    reader.put((reference, 1))
    assert await task == (reference, 1)


async def test_every_way_to_make_a_reference_leaves_a_mark() -> None:
    reader = Reader()
    process = reader.process
    other = reader.side.runtime.add_process()
    for reference in (
        process.monitor(other),
        process.monitor(other, alias="explicit_unalias"),
        process.alias(),
        process.alias(reply=True),
        process.spawn_request("two@host", "m", "f"),
        process.make_ref(),
    ):
        reader.put((reference, 1))
        assert await reader.receive(reference, ANY) == (reference, 1)


async def test_the_reference_may_be_deep_in_the_pattern_or_in_all_of_several() -> None:
    reader = Reader()
    for wrap in (
        lambda reference: ((OK, reference), ANY),
        lambda reference: [reference, ANY],
        lambda reference: AnyOf((reference, ANY), (DOWN, reference, ANY, ANY, ANY)),
    ):
        reference = reader.process.make_ref()
        message = {tuple: ((OK, reference), 1), list: [reference, 1], AnyOf: (reference, 1)}
        reader.put(message[type(wrap(reference))])
        await reader.process.receive(wrap(reference), timeout=0)
    assert reader.process.message_queue_len == 3


async def test_the_newest_of_several_references_counts() -> None:
    reader = Reader()
    first = reader.process.make_ref()
    reader.put(OLD)
    second = reader.process.make_ref()
    reader.put((first, second))
    assert await reader.receive(first, second) == (first, second)


async def test_priority_messages_are_looked_at_though_they_stand_before_the_mark() -> None:
    reader = Reader()
    reference = reader.process.make_ref()
    reader.put((reference, 1))
    reader.put((OK, 0), priority=True)
    reader.put((reference, 2), priority=True)
    assert await reader.receive(reference, ANY) == (reference, 2)
    assert await reader.receive(reference, ANY) == (reference, 1)


async def test_flushing_a_monitor_looks_at_no_older_message() -> None:
    reader = Reader()
    other = reader.side.runtime.add_process()
    reference = reader.process.monitor(other)
    other.stop()
    assert not reader.process.demonitor(reference, flush=True)
    assert reader.process.messages == [OLD, OLD, OLD]


async def test_many_answers_by_one_reference() -> None:
    reader = Reader()
    alias = reader.process.alias()
    for number in range(3):
        reader.put((alias, number))
        assert await reader.receive(alias, ANY) == (alias, number)
    reader.process.unalias(alias)
    reader.put((alias, 3))
    assert await reader.receive(alias, ANY) == (alias, 3)


async def test_older_messages_may_be_taken_meanwhile() -> None:
    reader = Reader()
    await reader.process.receive()
    reference = reader.process.make_ref()
    await reader.process.receive()
    reader.put((reference, 1))
    assert await reader.receive(reference, ANY) == (reference, 1)
    assert await reader.process.receive() is OLD


# -- no leak -----------------------------------------------------------------------------------


def kept(process: Process) -> int:
    """How many references the mailbox of a process holds, but for those in its messages."""
    gc.collect()
    return sum(isinstance(one, Reference) for one in references_below(process.mailbox))


def references_below(mailbox: Mailbox) -> list[Any]:
    held: list[Any] = []
    marks = [part for part in gc.get_referents(mailbox) if isinstance(part, ReceiveMarks)]
    for part in gc.get_referents(*marks):
        if isinstance(part, dict | set):
            held += part
    return held


async def test_marks_go_with_the_message_that_was_waited_for() -> None:
    reader = Reader()
    other = reader.side.runtime.add_process()
    for _ in range(5):
        reference = reader.process.monitor(other, alias="reply_demonitor")
        reader.side.runtime.monitors.message_to_alias(reference, (reference, 1))
        await reader.receive(reference, ANY)
    assert kept(reader.process) == 0


async def test_marks_go_when_the_mailbox_is_empty() -> None:
    reader = Reader()
    for _ in range(5):
        reader.process.make_ref()
    assert kept(reader.process) > 0
    for _ in range(3):
        await reader.process.receive()
    assert kept(reader.process) == 0
    reader.process.make_ref()
    assert kept(reader.process) == 0


async def test_marks_of_references_that_nothing_comes_by_are_bounded() -> None:
    reader = Reader()
    other = reader.side.runtime.add_process()
    oldest = reader.process.make_ref()
    for _ in range(1000):
        reader.process.demonitor(reader.process.monitor(other))
        reader.process.unalias(reader.process.alias())
        reader.process.make_ref()
    assert kept(reader.process) <= 2 * MAX_MARKS
    newest = reader.process.make_ref()
    reader.put((newest, 1))
    assert await reader.receive(newest, ANY) == (newest, 1)
    # Without a mark the same is found, from the start.
    plain = Mailbox()
    for number in range(3):
        plain.put((OK, number))
    plain.put((oldest, 1))
    assert await plain.get((oldest, ANY), 0) == (oldest, 1)
