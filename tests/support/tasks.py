"""Tasks that outlive a test."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from typing import Any


async def left_over(before: Set[asyncio.Task[Any]]) -> str:
    """A message with the running tasks that are not among ``before``; empty if there are none."""
    for _ in range(10):  # turns of the loop, in which a cancelled task can end
        if not (left := asyncio.all_tasks() - before - {asyncio.current_task()}):
            return ""
        await asyncio.sleep(0)
    return "tasks outlived the test: " + "; ".join(map(str, left))
