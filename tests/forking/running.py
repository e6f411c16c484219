"""Starting :mod:`tests.forking.program`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_PATIENCE = 30.0


class Program:
    """The program; its workers do not outlive the test."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.workers: list[int] = []

    def kill(self, signal_number: int) -> None:
        """Signal it, once it is known who its workers are."""
        with contextlib.suppress(FileNotFoundError):  # it has ended
            for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
                self.workers += map(int, (thread / "children").read_text().split())
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal_number)

    async def line(self) -> str:
        """The next line it prints, or all that it said as it ended."""
        assert self.process.stdout is not None
        async with asyncio.timeout(_PATIENCE):
            line = await self.process.stdout.readline()
            return line.decode().strip() if line else (await self.process.stdout.read()).decode()


@contextlib.asynccontextmanager
async def program(loop: str, name: str, options: dict[str, Any]) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.forking.program", loop, name, repr(options)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
    )
    running = Program(process)
    try:
        yield running
    finally:
        running.kill(signal.SIGKILL)
        for worker in running.workers:  # they have its standard output
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        await process.communicate()
