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
        self._look_after(seconds)

    def _look(self) -> None:
        left, before = self._pending(), self._left
        self._left = left
        now = self._loop.time()
        seconds = min(self._seconds, self._end - now)
        # While the event loop was blocked, nothing could be sent: that is not the peer's silence.
        was_blocked = now - self._due > self._seconds / 2
        if seconds > 0 and (left < before or was_blocked):
            self._look_after(seconds)
        else:
            self._over()

    def _look_after(self, seconds: float) -> None:
        self._due = self._loop.time() + seconds
        self._timer = self._loop.call_later(seconds, self._look)

    def cancel(self) -> None:
        self._timer.cancel()
