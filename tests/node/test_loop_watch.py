"""A blocked event loop is reported, with the function that blocks it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable

import pytest

from quicdist import Node
from quicdist.node.loop_watch import LoopWatch
from tests.support.records import Records, records_of

SHORT = 0.1
NAME = "quicdist.node.loop"


@contextlib.asynccontextmanager
async def watched(standstill_time: float = SHORT) -> AsyncIterator[tuple[LoopWatch, Records]]:
    with records_of(NAME) as records:
        watch = LoopWatch(asyncio.get_running_loop(), standstill_time=standstill_time)
        watch.nodes.append("py@host")
        try:
            yield watch, records
        finally:
            watch.stop()


def compute(seconds: float) -> None:
    time.sleep(seconds)


def compute_until(reported: Callable[[], object]) -> None:
    """Block the event loop until the watch has said so, however late it comes to it on a busy machine."""
    while not reported():
        time.sleep(0.01)


async def test_a_blocked_loop_is_reported_once_meanwhile_and_once_afterwards() -> None:
    async with watched() as (_, records):
        await asyncio.sleep(0)
        compute_until(lambda: records.waiting)
        first, second = [await records.next() for _ in range(2)]
    text = first.getMessage().splitlines()
    assert first.levelno == second.levelno == logging.WARNING
    assert first.__dict__["seconds"] >= SHORT
    assert text[0].startswith(
        f"the event loop of py@host has been blocked for {first.__dict__['seconds']:.1f} s in "
    )
    assert text[0].endswith(
        "no process of its nodes runs. Run long work in a thread (asyncio.to_thread, or "
        "blocking=True for an exported function)"
    )
    name = f"{__name__}.{test_a_blocked_loop_is_reported_once_meanwhile_and_once_afterwards.__name__}"
    assert first.__dict__["function"] == second.__dict__["function"] == name
    assert "time.sleep(0.01)" in text[-1]
    assert first.__dict__["stack"].endswith(text[-1])
    assert first.__dict__["nodes"] == ["py@host"]
    assert (
        second.getMessage()
        == f"the event loop of py@host was blocked for {second.__dict__['seconds']:.1f} s in {name}"
    )
    assert second.__dict__["seconds"] >= first.__dict__["seconds"]
    assert first.threadName == "quicdist loop report"
    assert second.thread == threading.get_ident()


async def test_a_running_loop_is_not_reported() -> None:
    async with watched(1.0) as (_, records):
        for _ in range(6):
            compute(0.3)
            await asyncio.sleep(0.01)
        assert records.take() == []


async def test_callbacks_run_in_the_thread_of_the_watch_while_the_loop_is_blocked() -> None:
    async with watched() as (watch, records):
        told: list[tuple[float, int]] = []

        def fail(seconds: float) -> None:
            raise SystemExit("not that")

        watch.on_standstill(fail)
        remove = watch.on_standstill(lambda seconds: told.append((seconds, threading.get_ident())))
        compute_until(lambda: len(told) >= 5)
        seconds = [since for since, _ in told]
        assert seconds[0] >= SHORT
        assert seconds == sorted(seconds)
        assert {thread for _, thread in told} & {threading.get_ident()} == set()
        assert "has been blocked" in (await records.next()).getMessage()
        assert "failed while the event loop was blocked" in (await records.next()).getMessage()
        remove()
        remove()
        told.clear()
        compute(0.3)
        assert told == []


async def test_a_loop_blocked_again_and_again_is_reported_five_times() -> None:
    async with watched() as (watch, records):
        for _ in range(7):
            told: list[float] = []
            remove = watch.on_standstill(told.append)
            compute_until(lambda told=told: told)  # type: ignore[misc]
            remove()
            await asyncio.sleep(2 * SHORT)
        # Where the machine is busy, all threads may stand still besides: that has no function.
        lines = [record.getMessage() for record in records.take() if record.__dict__["function"]]
    assert len(lines) == 10
    assert sum("has been blocked" in line for line in lines) == 5
    assert "(more like it are left out for" in lines[8]


async def test_an_interpreter_that_an_extension_holds_is_reported_afterwards() -> None:
    async with watched() as (_, records):
        ctypes.PyDLL(None).usleep(500_000)  # a PyDLL does not let other threads run
        record = await records.next()
    assert record.__dict__["seconds"] >= 0.5
    said = f"was blocked for {record.__dict__['seconds']:.1f} s, and so were all other threads"
    assert said in record.getMessage()


def test_a_loop_that_does_not_run_is_not_reported() -> None:
    loop = asyncio.new_event_loop()

    async def start() -> LoopWatch:
        return LoopWatch(loop, standstill_time=0.5)

    with records_of(NAME) as records:
        watch = loop.run_until_complete(start())
        compute(1.5)
        loop.run_until_complete(asyncio.sleep(0.2))
        watch.stop()
        loop.close()
        assert records.take() == []


def watches() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "quicdist loop watch"]


async def ended(threads: list[threading.Thread]) -> None:
    for thread in threads:
        await asyncio.to_thread(thread.join)


async def test_a_loop_has_one_thread_from_its_first_node_to_its_last() -> None:
    await ended(watches())
    async with Node("one@127.0.0.1", cookie="x", endpoints=[]):
        (thread,) = watches()
        async with Node("two@127.0.0.1", cookie="x", endpoints=[]):
            assert watches() == [thread]

            def other() -> int:
                async def main() -> int:
                    async with Node("three@127.0.0.1", cookie="x", endpoints=[]):
                        return len(watches())

                return asyncio.run(main())

            assert await asyncio.to_thread(other) == 2
        assert thread.is_alive()
        assert thread in watches()
    await ended([thread])


async def test_a_watch_whose_loop_was_closed_ends() -> None:
    def other() -> None:
        async def main() -> None:
            await Node("left@127.0.0.1", cookie="x", endpoints=[]).start()

        asyncio.run(main())

    before = watches()
    await asyncio.to_thread(other)
    await ended([thread for thread in watches() if thread not in before])


async def test_a_plain_export_that_computes_is_named() -> None:
    async with Node("one@127.0.0.1", cookie="x", endpoints=[]) as node:
        with records_of(NAME) as records:

            @node.export("model")
            def train() -> str:
                compute_until(lambda: records.waiting)
                return "done"

            assert await node.call(node.name, "model", "train") == "done"
            record = await records.next()
    assert record.__dict__["function"] == f"{__name__}.{train.__qualname__}"


@pytest.mark.parametrize("place", ["handler", "body", "callback"])
async def test_other_code_of_the_program_is_named(place: str) -> None:
    async with Node("one@127.0.0.1", cookie="x", endpoints=[]) as node:

        def slow(*_: object) -> None:
            compute_until(lambda: records.waiting)

        async def body(*_: object) -> None:
            slow()

        with records_of(NAME) as records:
            if place == "handler":
                node.send(node.spawn(slow), "go")
            elif place == "body":
                node.spawn(body)
            else:
                node.call_soon_threadsafe(slow)
            record = await records.next()
    function = body if place == "body" else slow
    assert record.__dict__["function"] == f"{__name__}.{function.__qualname__}"
