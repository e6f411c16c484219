"""Records of Python's ``logging``, awaited."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Iterator


class Records(logging.Handler):
    """Collects the records of a logger, in order, from all threads."""

    def __init__(self) -> None:
        super().__init__()
        self._records: deque[logging.LogRecord] = deque()
        self._came = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._came.set)

    async def next(self) -> logging.LogRecord:
        self._loop = asyncio.get_running_loop()
        while not self._records:
            self._came.clear()
            await self._came.wait()
        return self._records.popleft()

    @property
    def waiting(self) -> int:
        """The number of records not yet taken; for code that blocks the event loop."""
        return len(self._records)

    def take(self) -> list[logging.LogRecord]:
        """The records not yet taken."""
        records = list(self._records)
        self._records.clear()
        return records


@contextlib.contextmanager
def records_of(name: str, level: int = logging.DEBUG) -> Iterator[Records]:
    """Collect the records of one logger during the block."""
    logger, records = logging.getLogger(name), Records()
    before = logger.level
    logger.addHandler(records)
    logger.setLevel(level)
    try:
        yield records
    finally:
        logger.removeHandler(records)
        logger.setLevel(before)
