"""Time-outs of calls: one wait, or several that share a deadline."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from quicdist.otp.errors import CallTimeout


@contextlib.asynccontextmanager
async def within(timeout: float | None, what: str) -> AsyncIterator[None]:
    """Raise :class:`CallTimeout` of ``what`` where the block takes longer than ``timeout`` seconds."""
    limit = asyncio.timeout(timeout)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise CallTimeout(what, timeout or 0.0) from None


class Deadline:
    """A time-out in seconds that several waits share; None is for ever."""

    def __init__(self, timeout: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._at = None if timeout is None else self._loop.time() + timeout

    def left(self) -> float | None:
        return None if self._at is None else max(self._at - self._loop.time(), 0.0)
