"""Records of Python's ``logging``, awaited."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator


class Records(logging.Handler):
    """Keeps the records of a logger, in the order they came."""

    def __init__(self) -> None:
        super().__init__()
        self._queue: asyncio.Queue[logging.LogRecord] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self._queue.put_nowait(record)

    async def next(self) -> logging.LogRecord:
        return await self._queue.get()


@contextlib.contextmanager
def records_of(name: str, level: int = logging.DEBUG) -> Iterator[Records]:
    """The records of one logger, for a while."""
    logger, records = logging.getLogger(name), Records()
    before = logger.level
    logger.addHandler(records)
    logger.setLevel(level)
    try:
        yield records
    finally:
        logger.removeHandler(records)
        logger.setLevel(before)
