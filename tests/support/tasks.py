"""Tasks that a test leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from typing import Any


async def left_over(before: Set[asyncio.Task[Any]]) -> str:
    """The running tasks that are not among ``before``, for a message; empty if there are none."""
    for _ in range(10):  # turns of the loop, so that a task already cancelled can end
        if not (left := asyncio.all_tasks() - before - {asyncio.current_task()}):
            return ""
        await asyncio.sleep(0)
    return "tasks outlived the test: " + "; ".join(map(str, left))
