"""Limits the time for which a connection that is being closed still sends its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

#: Seconds in all, also for a slow peer that keeps receiving.
LIMIT: Final = 15.0


class Linger:
    """Calls ``over`` when the peer has received nothing for ``seconds``, or after :data:`LIMIT` seconds,
    unless it is cancelled before. ``pending`` returns the bytes that are left."""

    def __init__(self, seconds: float, pending: Callable[[], int], over: Callable[[], object]) -> None:
        self._seconds = seconds
        self._pending = pending
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + LIMIT
        self._left = pending()
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        left, before = self._pending(), self._left
        self._left = left
        seconds = min(self._seconds, self._end - self._loop.time())
        if left < before and seconds > 0:
            self._timer = self._loop.call_later(seconds, self._look)
        else:
            self._over()

    def cancel(self) -> None:
        self._timer.cancel()
