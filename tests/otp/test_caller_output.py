"""Standard output of called functions, between two Python nodes."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

from quicdist import Atom, Node, Process, current_call
from quicdist.otp import output
from tests.otp import workers
from tests.otp.conftest import ended

IO_REPLY, OK = Atom("io_reply"), Atom("ok")


class Device:
    """A group leader on a node: it keeps what is written, and answers unless it is told not to."""

    def __init__(self, node: Node, *, answers: bool = True) -> None:
        self.texts: list[str] = []
        self._answers = answers
        self.process = node.spawn(self._handle)

    def _handle(self, process: Process, message: Any) -> None:
        _, sender, reply_as, (_, _, text) = message
        self.texts.append(text.decode())
        if self._answers:
            process.send(sender, (IO_REPLY, reply_as, OK))


async def run(one: Node, two: Node, device: Device, function: str) -> Any:
    """Have ``two`` run ``m:function/0`` in a process with ``device`` as group leader; its exit reason."""
    process = one._local.runtime.add_process()
    process.group_leader = device.process.pid
    await process.spawn_monitor_on(two.name, "m", function)
    return (await process.receive())[4]


async def test_output_keeps_its_order_and_the_rest_of_a_line_comes_at_the_end(one: Node, two: Node) -> None:
    device = Device(one)

    @two.export("m")
    async def prints() -> None:
        for number in range(2000):
            print(number)
            if number % 100 == 0:
                await asyncio.sleep(0)
        print("end", end="")

    assert await run(one, two, device, "prints") == Atom("normal")
    assert "".join(device.texts) == "".join(f"{number}\n" for number in range(2000)) + "end"
    assert len(device.texts) < 500, "texts are joined"


async def test_what_is_printed_comes_before_what_is_asked_then(one: Node, two: Node) -> None:
    device = Device(one)

    @two.export("m")
    async def asks() -> None:
        for number in range(50):
            print(number)
        print("prompt", end="")
        await two.io.put_chars(device.process.pid, "?")

    assert await run(one, two, device, "asks") == Atom("normal")
    assert "".join(device.texts) == "".join(f"{number}\n" for number in range(50)) + "prompt?"


async def test_output_of_a_process_pool_goes_to_the_caller(one: Node, two: Node) -> None:
    device = Device(one)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        two.exports.add("m", "prints", workers.prints, executor=pool)
        assert await run(one, two, device, "prints") == Atom("normal")
    assert "".join(device.texts) == "from a worker\n"


async def test_a_handler_that_gets_a_message_of_a_called_function_prints_here(
    one: Node, two: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device(one)
    two.spawn(lambda _, message: print("handler", message), name="handler")

    @two.export("m")
    async def tells() -> None:
        await asyncio.sleep(0)
        two.send("handler", 1)
        print("function")

    await run(one, two, device, "tells")
    assert device.texts == ["function\n"]
    assert capsys.readouterr().out == "handler 1\n"


async def test_a_device_that_does_not_answer_costs_a_bounded_queue(
    one: Node, two: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(output, "MAX_WAITING", 10_000)
    monkeypatch.setattr(output, "FLUSH_TIME", 0.05)
    device = Device(one, answers=False)

    @two.export("m")
    def prints() -> None:
        for _ in range(10_000):
            print("x" * 50)

    assert await run(one, two, device, "prints") == Atom("normal")
    assert len(device.texts) == output.WINDOW
    assert two._services.outputs.of(device.process.pid).waiting <= 10_000
    assert "is lost: too many wait for it" in caplog.text


async def test_what_waits_for_a_lost_node_is_printed_here(
    one: Node, two: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    device = Device(one, answers=False)
    printed, go_on = asyncio.Event(), asyncio.Event()
    running: list[Process] = []

    @two.export("m")
    async def prints() -> None:
        running.append(current_call().process)
        print("first")
        printed.set()
        await go_on.wait()
        print("second")

    process = one._local.runtime.add_process()
    process.group_leader = device.process.pid
    await process.spawn_on(two.name, "m", "prints")
    await printed.wait()
    lost = asyncio.Event()
    two.subscribe(lambda _: lost.set())
    one.disconnect(two.name)
    await lost.wait()
    go_on.set()
    await ended(running[0])
    await two._services.outputs.of(None).written()
    assert capsys.readouterr().out == "first\nsecond\n"


async def test_text_without_utf8_is_escaped(one: Node, two: Node) -> None:
    device = Device(one)

    @two.export("m")
    def prints() -> None:
        sys.stdout.writelines(["\udc80", "\n"])
        assert not sys.stdout.isatty()
        sys.stdout.flush()

    assert await run(one, two, device, "prints") == Atom("normal")
    assert device.texts == ["\\udc80\n"]
