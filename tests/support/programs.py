"""Other programs that a test runs for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def running_program(*command: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program for as long as the block lasts; ``options`` are asyncio's. A program that has ended
    already, by itself or by a signal of the test's, is not killed again: asyncio raises for that as soon
    as it knows of the end."""
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
