"""Programs in the namespaces, spoken to by lines."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from quicdist.carrier.certificates import CertificateFiles
from tests.netns.spaces import SERVER, Spaces

PATIENCE = 60.0
PORT = 4501
#: Our side of the repository, where the modules of the tests are.
ROOT = Path(__file__).parents[2]


class Program:
    """A Python program in a namespace, spoken to by lines."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise AssertionError(f"it ended: {(await self.process.stderr.read()).decode()}")
        return line.decode().strip()

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")


@contextlib.asynccontextmanager
async def program(spaces: Spaces, space: str, module: str, *args: str) -> AsyncIterator[Program]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *spaces.command(space, sys.executable, "-m", f"tests.netns.{module}", *args),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        cwd=ROOT,
    )
    try:
        yield Program(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@contextlib.asynccontextmanager
async def python_server(spaces: Spaces, certificates: CertificateFiles) -> AsyncIterator[Program]:
    files = str(certificates.cert), str(certificates.key)
    args = ("server@127.0.0.1", SERVER, str(PORT), *files)
    async with program(spaces, spaces.server, "server", *args) as server:
        assert await server.line() == "ready"
        yield server


def client_of(spaces: Spaces) -> contextlib.AbstractAsyncContextManager[Program]:
    return program(spaces, spaces.client, "client", "server@127.0.0.1", SERVER, str(PORT))
