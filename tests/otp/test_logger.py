"""Log events between nodes, as kernel's logger_proxy sends and takes them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from quicdist import Atom, LoggerHandler, Node
from quicdist.otp.logger import MAX_WAITING, LoggerProxy, read_event
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
async def test_levels(node: Node, level: str) -> None:
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
def test_what_is_no_event(message: Any) -> None:
    assert read_event(message) is None


async def test_from_another_node(one: Node, two: Node) -> None:
    """Python's records at another node, which is a Python one here, so that nobody formats them."""
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
    assert metadata[Atom("domain")] == [Atom("python"), Atom("models"), Atom("loading")]
    assert metadata[Atom("mfa")][1] == Atom("run")
    assert record.pid.node == Atom(one.name)  # type: ignore[attr-defined]


async def test_our_own_records_stay(node: Node) -> None:
    """Or one would make the next."""
    logger, handler = logging.getLogger("quicdist.node"), LoggerHandler(node, node.name)
    logger.addHandler(handler)
    try:
        with records_of("quicdist.logger") as records:
            logger.error("ours")
            node.send("logger_proxy", (Atom("log"), Atom("error"), "the next", {}))
            assert (await records.next()).getMessage() == "None: the next"
    finally:
        logger.removeHandler(handler)


async def test_a_flood_is_counted(node: Node) -> None:
    """While one node writes the text of its first event, others wait, but not without end."""
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def call(*_: Any, **__: Any) -> Any:
        asked.set()
        await go_on.wait()
        return b"its text"

    pid = node.runtime.spawn(lambda *_: None).pid
    flooded = node.runtime.spawn(LoggerProxy("other@127.0.0.1", call))
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
