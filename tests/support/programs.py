"""Programs that a test runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def running_program(*command: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program during the block; ``options`` are asyncio's. A program that has already ended is not
    killed again, because asyncio would raise."""
    process = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
