"""Logging handlers and filters of the program that raise harm neither nodes nor links."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from quicdist import Process
from tests.otp.conftest import ended
from tests.support.pairs import CARRIERS, pair

ERRORS = (
    ValueError,
    Exception,
    asyncio.CancelledError,
    SystemExit,
    GeneratorExit,
    RecursionError,
    MemoryError,
)


class Raising(logging.Handler):
    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self._error = error
        self.raised = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.raised += 1
        raise self._error

    def filter(self, record: logging.LogRecord) -> bool:
        if self.raised % 2:
            self.raised += 1
            raise self._error
        return True


@contextlib.contextmanager
def raising(error: type[BaseException]) -> Iterator[Raising]:
    """Have every line of ours and of aioquic's raise in the handler, or in its filter."""
    handler = Raising(error)
    loggers = [logging.getLogger(name) for name in ("quicdist", "quic")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_handler_that_raises_ends_no_link_and_no_process(
    carrier: str, error: type[BaseException], tmp_path: Path
) -> None:
    with raising(error) as handler:
        async with pair(carrier, tmp_path) as (dialler, listener):

            @listener.process("echo")
            async def echo(process: Process) -> None:
                async for sender, message in process:
                    process.send(sender, message)

            async def crash(process: Process) -> None:
                raise ValueError("crash")

            await dialler.connect(listener.name)
            link = dialler._local.connections.link(listener.name)
            answers: asyncio.Queue[object] = asyncio.Queue()
            asker = dialler.spawn(lambda _, message: answers.put_nowait(message))
            for number in range(3):
                await ended(dialler.spawn(crash))
                await ended(listener.spawn(crash))
                dialler.send(("echo", listener.name), (asker.pid, number))
                assert await answers.get() == number
            assert dialler._local.connections.link(listener.name) is link
            assert dialler.disconnect(listener.name)
            await dialler.connect(listener.name)
        assert handler.raised
