"""Standard output of a node: in order, answered when it is written, and a pipe that nobody reads stops
those only whose text it is."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import pytest

from quicdist import ANY, Atom, Node, Process
from quicdist.otp import standard_output as module
from quicdist.otp.standard_output import FLUSH_TIME, StandardOutput
from tests.support.head_of_line import in_process
from tests.support.programs import running_program

OK, TERMINATED = Atom("ok"), (Atom("error"), Atom("terminated"))


@contextlib.contextmanager
def pipe() -> Iterator[int]:
    """Standard output is a pipe; the end that can be read."""
    reading, writing = os.pipe()
    try:
        with open(writing, "w", encoding="utf-8") as stream, contextlib.redirect_stdout(stream):
            yield reading
    finally:
        os.close(reading)


async def request(process: Process, device: Any, text: str, *, timeout: float = 30) -> Any:
    """Have a text written and wait for the answer."""
    reference = ask(process, device, text)
    return (await process.receive((Atom("io_reply"), reference, ANY), timeout=timeout))[2]


def ask(process: Process, device: Any, text: str) -> Any:
    reference = process.alias()
    process.send(
        device, (Atom("io_request"), process.pid, reference, (Atom("put_chars"), Atom("unicode"), text))
    )
    return reference


async def test_texts_are_written_in_order_and_then_answered(one: Node, two: Node) -> None:
    with pipe() as reading:
        lines = [f"line {number}\n" * 10 for number in range(500)]

        async def write(process: Process) -> None:
            references = [ask(process, ("user", two.name), line) for line in lines]
            read = await asyncio.to_thread(reads, reading, sum(map(len, lines)))
            assert read == "".join(lines)
            answers = [await process.receive(timeout=30) for _ in lines]
            assert [answer[1:] for answer in answers] == [(reference, OK) for reference in references]

        await in_process(one, write)


async def test_a_text_that_is_written_at_once_is_answered_after_earlier_ones(
    one: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second text is queued when the first one is written already, and its answer waits."""
    futures: list[asyncio.Future[BaseException | None]] = []
    first_queued = asyncio.Event()

    def write(self: StandardOutput, text: str) -> asyncio.Future[BaseException | None]:
        futures.append(asyncio.get_running_loop().create_future())
        if text == "second":
            asyncio.get_running_loop().call_soon(written)
        first_queued.set()
        return futures[-1]

    def written() -> None:
        for future in futures:
            future.set_result(None)

    monkeypatch.setattr(StandardOutput, "write", write)

    async def asks(process: Process) -> None:
        references = [ask(process, Atom("user"), "first")]
        await first_queued.wait()
        for _ in range(3):  # until whatever waits for the first one waits
            await asyncio.sleep(0)
        references.append(ask(process, Atom("user"), "second"))
        assert [(await process.receive(timeout=30))[1] for _ in references] == references

    await in_process(one, asks)


def reads(descriptor: int, size: int) -> str:
    data = b""
    while len(data) < size:
        data += os.read(descriptor, 1 << 16)
    return data.decode()


async def test_a_pipe_that_nobody_reads_blocks_only_the_process_that_prints(one: Node, two: Node) -> None:
    with pipe() as reading:

        async def write(process: Process) -> None:
            user = ("user", two.name)
            waiting = ask(process, user, "x" * 1_000_000)
            for _ in range(10):
                assert await one.ping(two.name, timeout=30)
            with pytest.raises(TimeoutError):
                await process.receive((Atom("io_reply"), waiting, ANY), timeout=0.2)
            # Others who print wait behind it, and what needs no output is answered.
            assert await one.io.request(user, Atom("getopts"), timeout=30)
            assert await asyncio.to_thread(reads, reading, 1_000_000) == "x" * 1_000_000
            assert (await process.receive((Atom("io_reply"), waiting, ANY), timeout=30))[2] == OK

        await in_process(one, write)


async def test_the_queue_of_texts_is_bounded(one: Node, two: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    with pipe() as reading:
        monkeypatch.setattr(module, "MAX_WAITING", 1_000_000)

        async def write(process: Process) -> None:
            for _ in range(20):
                ask(process, ("user", two.name), "x" * 100_000)
            assert await request(process, ("user", two.name), "y" * 100_000) == TERMINATED
            # One that is larger than all that may wait is written where nothing does.
            await asyncio.to_thread(reads, reading, 900_000)
            answers = [(await process.receive(timeout=30))[2] for _ in range(20)]
            assert answers.count(OK) == 9
            larger = ask(process, ("user", two.name), "y" * 2_000_000)
            await asyncio.to_thread(reads, reading, 2_000_000)
            assert (await process.receive((Atom("io_reply"), larger, ANY), timeout=30))[2] == OK

        await in_process(one, write)


async def test_a_node_stops_in_time_with_a_pipe_that_nobody_reads(caplog: pytest.LogCaptureFixture) -> None:
    with pipe():
        async with Node("alone@127.0.0.1", cookie="secret", endpoints=[]) as node:

            async def write(process: Process) -> None:
                for _ in range(3):
                    ask(process, "user", "x" * 1_000_000)

            await in_process(node, write)
            start = perf_counter()
        assert FLUSH_TIME <= perf_counter() - start < FLUSH_TIME + 3
        assert "3 texts were not written to standard output: the output is blocked" in caplog.text


async def test_remaining_texts_are_written_before_a_node_stops() -> None:
    with pipe() as reading:
        async with Node("alone@127.0.0.1", cookie="secret", endpoints=[]) as node:

            async def write(process: Process) -> None:
                for number in range(100):
                    ask(process, "user", f"{number} ")

            await in_process(node, write)
        expected = "".join(f"{number} " for number in range(100))
        assert await asyncio.to_thread(reads, reading, len(expected)) == expected


async def test_text_that_the_program_printed_before_comes_first(node: Node) -> None:
    with pipe() as reading:

        async def write(process: Process) -> None:
            print("before")
            assert await request(process, "user", "between\n") == OK
            print("after", flush=True)

        await in_process(node, write)
        assert await asyncio.to_thread(reads, reading, 21) == "before\nbetween\nafter\n"


async def test_a_stream_that_replaces_sys_stdout_is_used(node: Node) -> None:
    async def write(process: Process) -> None:
        first, second = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(first):
            assert await request(process, "user", "å 1") == OK
        with contextlib.redirect_stdout(second):
            assert await request(process, "user", "å 2") == OK
        assert (first.getvalue(), second.getvalue()) == ("å 1", "å 2")
        latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
        with contextlib.redirect_stdout(latin):
            assert await request(process, "user", "å €") == OK
        assert latin.buffer.getvalue() == b"\xe5 \\u20ac"

    await in_process(node, write)


class Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise SystemExit


@pytest.mark.parametrize("kind", ["none", "closed", "broken", "pipe"])
async def test_a_stream_that_cannot_be_written_to_is_answered_terminated(
    node: Node, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stream: Any = Broken() if kind == "broken" else None
    if kind == "closed":
        stream = io.StringIO()
        stream.close()
    elif kind == "pipe":
        reading, writing = os.pipe()
        os.close(reading)
        stream = open(writing, "w", encoding="utf-8")  # noqa: SIM115, ASYNC230 - it is a pipe

    async def write(process: Process) -> None:
        monkeypatch.setattr(sys, "stdout", stream)
        for _ in range(20):
            assert await request(process, "user", "lost") == TERMINATED
        monkeypatch.undo()
        with contextlib.redirect_stdout(io.StringIO()) as good:
            assert await request(process, "user", "written") == OK
        assert good.getvalue() == "written"

    await in_process(node, write)
    if kind == "pipe":
        stream.close()
    assert 0 < caplog.text.count("standard output cannot be written to") <= 5


async def test_the_thread_ends_when_the_output_is_closed() -> None:
    output = StandardOutput(io.StringIO())
    for _ in range(10):
        written = output.write("text")
        assert written is not None
        assert await written is None
    thread = output._thread
    assert isinstance(thread, threading.Thread)
    assert thread.daemon
    assert await output.close() == 0
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()
    assert output.write("more") is None


PROGRAM = """
import asyncio, sys
from quicdist import Atom, Node

async def main():
    async with Node("alone@127.0.0.1", cookie="secret", endpoints=[]) as node:
        process = node.spawn(lambda process, message: None)
        for _ in range(5):
            put = (Atom("put_chars"), Atom("unicode"), "x" * 1_000_000)
            process.send("user", (Atom("io_request"), process.pid, 1, put))
        await asyncio.sleep(0.5)
    print("stopped", file=sys.stderr)

asyncio.run(main())
"""


async def test_a_program_exits_though_nobody_reads_its_output() -> None:
    reading, writing = os.pipe()
    options = {"stdout": writing, "stderr": asyncio.subprocess.PIPE}
    try:
        async with running_program(sys.executable, "-c", PROGRAM, **options) as program:
            assert program.stderr is not None
            async with asyncio.timeout(30):
                said = await program.stderr.read()
                assert await program.wait() == 0
    finally:
        os.close(reading)
        os.close(writing)
    assert b"stopped" in said
    assert b"Fatal" not in said
