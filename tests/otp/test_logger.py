"""Log events between nodes, as kernel's logger_proxy sends and takes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from quicdist import Atom, LoggerHandler, Node, Process
from quicdist.otp.logger import MAX_TEXT, MAX_WAITING, LoggerProxy, read_event
from tests.support.records import records_of

LEVELS = {
    "emergency": "CRITICAL",
    "critical": "CRITICAL",
    "error": "ERROR",
    "warning": "WARNING",
    "notice": "INFO",
    "info": "INFO",
    "debug": "DEBUG",
}


@pytest.mark.parametrize("level", LEVELS)
async def test_levels_of_otp_and_python(node: Node, level: str) -> None:
    with records_of("quicdist.logger") as records:
        node.send("logger_proxy", (Atom("log"), Atom(level), "text", {}))
        record = await records.next()
        assert (record.levelname, record.getMessage()) == (LEVELS[level], "None: text")


@pytest.mark.parametrize(
    "message",
    [
        Atom("log"),
        (Atom("log"), Atom("error"), "text"),
        (Atom("log"), Atom("loud"), "text", {}),
        (Atom("log"), Atom("error"), "text", []),
        (Atom("log"), "error", "text", {}),
        (Atom("log"), Atom("error"), "~p", [1], {}, 7),
        (Atom("other"), Atom("error"), "text", {}),
    ],
)
def test_a_malformed_event_is_ignored(message: Any) -> None:
    assert read_event(message) is None


async def test_an_event_of_another_node_is_logged(one: Node, two: Node) -> None:
    """Records of Python on another Python node, which does not format them."""
    await one.connect(two.name)
    logger, handler = logging.getLogger("models.loading"), LoggerHandler(one, two.name, logging.WARNING)
    logger.addHandler(handler)
    try:
        with records_of("quicdist.logger") as records:
            logger.info("not this")
            await asyncio.to_thread(logger.warning, "%d weights are missing", 3)
            record = await records.next()
    finally:
        logger.removeHandler(handler)
    assert record.levelno == logging.WARNING
    assert record.getMessage() == f"{one.name}: 3 weights are missing"
    metadata = record.metadata  # type: ignore[attr-defined]
    assert metadata[Atom("logger")] == b"models.loading"
    assert Atom("domain") not in metadata
    assert metadata[Atom("mfa")][1] == Atom("run")
    assert record.pid.node == Atom(one.name)  # type: ignore[attr-defined]


@contextlib.contextmanager
def forwarding(logger: str, *handlers: LoggerHandler) -> Iterator[logging.Logger]:
    """The logger of that name, in level DEBUG, with those handlers."""
    target = logging.getLogger(logger)
    level = target.level
    target.setLevel(logging.DEBUG)
    for handler in handlers:
        target.addHandler(handler)
    try:
        yield target
    finally:
        target.setLevel(level)
        for handler in handlers:
            target.removeHandler(handler)


def events_at(node: Node) -> list[str]:
    """The texts of the log events that come to a node from now on."""
    node._local.runtime.unregister("logger_proxy")
    texts: list[str] = []

    def handle(_: Process, message: Any) -> None:
        texts.append(message[2].decode())

    node._local.runtime.spawn(handle, name="logger_proxy")
    return texts


async def through(one: Node, two: Node) -> None:
    """Wait until whatever ``one`` has sent so far has come to ``two``."""
    await one.is_auth(two.name)


async def test_records_of_quicdist_are_forwarded_while_there_is_a_connection(one: Node, two: Node) -> None:
    texts = events_at(two)
    with forwarding("quicdist.node", LoggerHandler(one, two.name, logging.WARNING)) as logger:
        for _ in range(3):
            logger.warning("too early")
        await asyncio.sleep(0)
        assert one.nodes("connected") == []
        await one.connect(two.name)
        logger.warning("ours")
        await asyncio.sleep(0)
        await through(one, two)
        logger.warning("the next")
        await asyncio.sleep(0)
        await through(one, two)
    assert texts == ["ours (3 records before it were dropped)", "the next"]


async def test_sending_a_record_forwards_no_further_records(one: Node, two: Node) -> None:
    """Each node forwards everything to the other, what sending causes there included."""
    await one.connect(two.name)
    handlers = LoggerHandler(one, two.name), LoggerHandler(two, one.name)
    with contextlib.ExitStack() as stack:
        for name in ("quicdist", "quic", "asyncio"):
            stack.enter_context(forwarding(name, *handlers))
        with records_of("quicdist.logger") as records:
            logging.getLogger("quicdist.node").error("ours")
            await asyncio.sleep(0)
            for _ in range(10):
                await through(one, two)
                await through(two, one)
    texts = [record.getMessage() for record in records.take()]
    assert sorted(texts) == [f"{one.name}: ours", f"{two.name}: ours"]


async def test_records_of_quicdist_are_limited_for_each_level(one: Node, two: Node) -> None:
    texts = events_at(two)
    await one.connect(two.name)
    with forwarding("quicdist.node", LoggerHandler(one, two.name)) as logger:
        for _ in range(100):
            logger.debug("often")
        logger.error("once")
        await asyncio.sleep(0)
        await through(one, two)
    assert len(texts) == 21
    assert texts[19].startswith("often (more like it are left out for")
    assert texts[20] == "once"


async def test_a_crash_report_that_the_other_node_has_is_not_forwarded(one: Node, two: Node) -> None:
    texts = events_at(two)
    await one.connect(two.name)
    with forwarding("quicdist.node", LoggerHandler(one, two.name)) as logger:
        logger.error("a crash", extra={"reported_to": two.name})
        logger.error("another", extra={"reported_to": "third@127.0.0.1"})
        await asyncio.sleep(0)
        await through(one, two)
    assert texts == ["another"]


async def test_records_dropped_while_the_loop_is_blocked_are_counted(one: Node, two: Node) -> None:
    texts = events_at(two)
    await one.connect(two.name)
    with forwarding("models", LoggerHandler(one, two.name)) as logger:

        def log_on() -> None:
            for number in range(MAX_WAITING + 5):
                logger.info("%d", number)

        thread = threading.Thread(target=log_on)
        thread.start()
        thread.join()
        await asyncio.sleep(0)
        await through(one, two)
    assert len(texts) == MAX_WAITING
    assert texts[0] == "0 (5 records before it were dropped)"
    assert texts[-1] == str(MAX_WAITING - 1)


async def test_a_record_without_a_running_node_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    node = Node("never@127.0.0.1", cookie="x", endpoints=[])
    with forwarding("models", LoggerHandler(node, "a@127.0.0.1")) as logger:
        logger.error("nobody hears it")
    assert capsys.readouterr().err == ""


async def test_a_long_record_is_cut(one: Node, two: Node) -> None:
    texts = events_at(two)
    await one.connect(two.name)
    with forwarding("models", LoggerHandler(one, two.name)) as logger:
        logger.error("x" * 10**6 + "\ud800")
        logger.error("\ud800")
        await asyncio.sleep(0)
        await through(one, two)
    assert texts == ["x" * MAX_TEXT, "\\ud800"]


async def test_text_of_another_node_is_escaped_and_cut(node: Node) -> None:
    with records_of("quicdist.logger") as records:
        text = "one\n\ttwo\x1b[31m" + "x" * MAX_TEXT
        node.send("logger_proxy", (Atom("log"), Atom("error"), text, {}))
        got = (await records.next()).getMessage()
    # One line: none of it can pass for another record.
    assert got.startswith("None: one | two\\x1b[31mxxx")
    assert got.endswith("xxx...")


async def test_a_flood_of_events_is_limited_and_counted(node: Node) -> None:
    """While one node writes the text of its first event, others wait, but not without end."""
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def call(*_: Any, **__: Any) -> Any:
        asked.set()
        await go_on.wait()
        return b"its text"

    pid = node._local.runtime.spawn(lambda *_: None).pid
    flooded = node._local.runtime.spawn(LoggerProxy("other@127.0.0.1", call))
    event = (Atom("log"), Atom("error"), "~p", [1], {Atom("pid"): pid})
    with records_of("quicdist.logger") as records:
        node.send(flooded, event)
        await asked.wait()
        for _ in range(MAX_WAITING + 3):
            node.send(flooded, event)
        go_on.set()
        texts = [(await records.next()).getMessage() for _ in range(MAX_WAITING + 2)]
    assert texts[:-1] == [f"{node.name}: its text"] * (MAX_WAITING + 1)
    assert texts[-1].startswith("3 log events")
