"""The tasks of one object, which end with it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from quicdist.logs import get_logger

log = get_logger("quicdist.gateway")


class Tasks:
    """Tasks that run until :meth:`close`. An exception that leaves one is logged."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=f"quicdist gateway: {name}")
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)

    async def close(self) -> None:
        """Cancel all, and wait until they have ended."""
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running)
