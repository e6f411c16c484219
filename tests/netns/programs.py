"""Nodes that run in a namespace: Python programs, spoken to by lines, and BEAMs."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quicdist.carrier.security.certificates import CertificateFiles
from tests.netns.spaces import SERVER, Spaces
from tests.support.beam import Beam, erl_facts, erl_path, quic_args
from tests.support.programs import running_program

PATIENCE = 60.0
PORT = 4501
#: Our side of the repository, where the modules of the tests are.
ROOT = Path(__file__).parents[2]

#: What ``tests.netns.server`` has.
ECHO = (
    "[register(Name, spawn(fun F() -> receive {P, M} -> P ! {self(), M}, F() end end)) "
    "|| Name <- [echo, mirror]], "
    "net_kernel:monitor_nodes(true, [{node_type, all}])"
)


def quic_dist_survives_loss() -> None:
    """Skip the test where the quic_dist at hand does not."""
    version = erl_facts()[1] or ""
    if tuple(map(int, version.split("."))) < (1, 6):
        pytest.skip(f"quic_dist {version} never sends some of the packets again that are lost")


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

    async def ask(self, line: str) -> str:
        """Say that; the next line."""
        self.say(line)
        return await self.line()


@contextlib.asynccontextmanager
async def program(spaces: Spaces, space: str, module: str, *args: str) -> AsyncIterator[Program]:
    pipe = asyncio.subprocess.PIPE
    command = spaces.command(space, sys.executable, "-m", f"tests.netns.{module}", *args)
    async with running_program(*command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT) as process:
        yield Program(process)


@contextlib.asynccontextmanager
async def python_server(spaces: Spaces, certificates: CertificateFiles) -> AsyncIterator[Program]:
    files = str(certificates.cert), str(certificates.key)
    args = ("server@127.0.0.1", SERVER, str(PORT), *files)
    async with program(spaces, spaces.server, "server", *args) as server:
        assert await server.line() == "ready"
        yield server


def client_of(spaces: Spaces, module: str = "client") -> contextlib.AbstractAsyncContextManager[Program]:
    return program(spaces, spaces.client, module, "server@127.0.0.1", SERVER, str(PORT))


@contextlib.asynccontextmanager
async def _beam(
    spaces: Spaces,
    space: str,
    name: str,
    nodes: dict[str, tuple[str, int]],
    certificates: CertificateFiles,
    directory: Path,
) -> AsyncIterator[Beam]:
    erl = erl_path()
    assert erl is not None
    args = quic_args(name, PORT, directory, nodes, cert=certificates.cert, key=certificates.key)
    with await asyncio.to_thread(Beam, args, erl=str(spaces.wrapper(space, erl, directory))) as beam:
        await beam.eval("{ok, _} = application:ensure_all_started(quic)")
        yield beam


@contextlib.asynccontextmanager
async def beam_server(spaces: Spaces, certificates: CertificateFiles, directory: Path) -> AsyncIterator[Beam]:
    async with _beam(spaces, spaces.server, "server@127.0.0.1", {}, certificates, directory) as beam:
        await beam.eval(ECHO)
        yield beam


@contextlib.asynccontextmanager
async def beam_client(spaces: Spaces, certificates: CertificateFiles, directory: Path) -> AsyncIterator[Beam]:
    table = {"server@127.0.0.1": (SERVER, PORT)}
    async with _beam(spaces, spaces.client, "client@127.0.0.1", table, certificates, directory) as beam:
        await beam.eval("net_kernel:monitor_nodes(true, [{node_type, all}])")
        yield beam
