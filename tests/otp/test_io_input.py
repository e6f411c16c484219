"""Input of I/O servers: its sources, and requests that no honest node sends."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import termios
from typing import Any

import pytest

from quicdist import ANY, Atom, Node, NodeError, Process
from quicdist.otp import io_server
from quicdist.otp.io_input import Input

REQUEST, REPLY = Atom("io_request"), Atom("io_reply")
UNICODE = Atom("unicode")
GET_LINE = Atom("get_line")


async def lines(*texts: str) -> Any:
    for text in texts:
        yield text


def stream(data: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return reader


async def function(prompt: str) -> str | None:
    return prompt or None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (lambda: None, ["", ""]),
        (lambda: io.StringIO("a\nb"), ["a\n", "b", ""]),
        (lambda: lines("a\n", "b", "c\n", ""), ["a\n", "bc\n", ""]),
        (lambda: stream("ä\nb\n".encode()), ["ä\n", "b\n", ""]),
        (lambda: lambda prompt: "plain", ["plain\n", "plain\n"]),
    ],
    ids=["none", "file", "iterator", "stream", "function"],
)
async def test_lines_of_every_kind_of_source(source: Any, expected: list[str]) -> None:
    given = Input(source())
    assert [await given.line() for _ in expected] == expected


async def test_a_function_gets_the_prompt_and_ends_the_input_for_once() -> None:
    given = Input(function)
    assert await given.line("> ") == "> \n"
    assert await given.line("") == ""
    assert await given.line("again") == "again\n"


async def test_what_is_no_source_is_refused(node: Node) -> None:
    with pytest.raises(TypeError, match="is no source of input"):
        node.io.set_input(5)  # type: ignore[arg-type]


async def test_a_pipe_is_read_in_a_thread_and_a_cancelled_read_loses_nothing() -> None:
    read, write = os.pipe()
    with os.fdopen(read, encoding="utf-8") as file, os.fdopen(write, "w", encoding="utf-8") as end:
        given = Input(file)
        waiting = asyncio.ensure_future(given.line())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        end.write("λ\nrest")
        end.flush()
        assert await given.line() == "λ\n"
        end.close()
        assert await given.line() == "rest"
        assert await given.line() == ""


async def test_a_cancelled_read_does_not_end_an_iterator() -> None:
    go_on = asyncio.Event()

    async def waits() -> Any:
        await go_on.wait()
        yield "one\n"
        yield "two\n"

    given = Input(waits())
    waiting = asyncio.ensure_future(given.line())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    go_on.set()
    assert [await given.line() for _ in range(3)] == ["one\n", "two\n", ""]


async def test_a_password_is_not_shown_on_a_terminal() -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "r", encoding="utf-8") as terminal:
        given = Input(terminal)
        os.set_blocking(master, False)
        waiting = asyncio.ensure_future(given.password())
        await asyncio.sleep(0)
        assert not termios.tcgetattr(slave)[3] & termios.ECHO
        os.write(master, b"secret\n")
        assert await waiting == "secret"
        assert termios.tcgetattr(slave)[3] & termios.ECHO
        with pytest.raises(BlockingIOError):
            os.read(master, 100)
    os.close(master)


async def test_a_source_that_fails_is_an_error_of_the_request(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: str) -> Any:
        raise RuntimeError("broken")

    for source in (fails, lambda prompt: 5):
        node.io.set_input(source)  # type: ignore[arg-type]
        with pytest.raises(NodeError, match="eio"):
            await node.io.get_line("user")
    assert "input of the group leader failed" in caplog.text
    node.io.set_input(io.StringIO("works\n"))
    assert await node.io.get_line("user") == "works\n"


async def test_requests_that_wait_for_input_are_bounded_and_do_not_keep_output_out(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    async def never(_: str) -> str:
        await asyncio.Event().wait()
        return ""

    node.io.set_input(never)
    process = node._local.runtime.add_process()
    for number in range(io_server.MAX_WAITING):
        process.send("user", (REQUEST, process.pid, number, (GET_LINE, UNICODE, "")))
    refused = [await process.receive((REPLY, ANY, ANY)) for _ in range(10)]
    assert refused == [
        (REPLY, io_server.MAX_READING + n, (Atom("error"), Atom("terminated"))) for n in range(10)
    ]
    await node.io.put_chars("user", "output\n", timeout=30)
    assert capsys.readouterr().out == "output\n"
    process.stop()
    node.io.set_input(io.StringIO("next\n"))
    assert await node.io.get_line("user", timeout=30) == "next\n"


async def test_read_requests_of_every_shape_are_answered(node: Node) -> None:
    node.io.set_input(io.StringIO("one\ntwo\n" * 1000))
    process = node._local.runtime.add_process()
    values: list[Any] = [
        0,
        -1,
        10**30,
        1.5,
        None,
        True,
        b"",
        b"\xff",
        [],
        [[400]],
        {},
        (),
        Atom("x"),
        UNICODE,
        "text",
    ]
    count = 0
    for verb in ("get_line", "get_chars", "get_until", "get_password"):
        for value in values:
            for size in range(7):
                request = (Atom(verb), *[value] * size)
                process.send("user", (REQUEST, process.pid, count, request))
                count += 1
                process.send("user", (REQUEST, process.pid, count, (Atom("requests"), [request, request])))
                count += 1
    answered = {(await process.receive((REPLY, ANY, ANY), timeout=30))[1] for _ in range(count)}
    assert answered == set(range(count))
    assert await node.io.get_line("user") in ("one\n", "two\n", "e\n", "")


async def test_requests_to_a_device_that_ends_are_dropped(node: Node) -> None:
    async def never(_: str) -> str:
        await asyncio.Event().wait()
        return ""

    device: Process = node.io.start_device(never)
    waiting = asyncio.ensure_future(node.io.get_line(device))
    await asyncio.sleep(0)
    device.stop()
    with pytest.raises(NodeError, match="ended"):
        await waiting
