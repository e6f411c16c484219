"""Both nodes of a pair, each in its namespace, by what they do: Python programs and BEAMs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.ends import quic_erl, tcp_erl
from quicdist.carrier.security.certificates import CertificateFiles
from quicdist.term import binary_to_term
from tests.netns.spaces import CLIENT, SERVER, Spaces
from tests.netns.wire import ROOT
from tests.support.beam import Beam, quic_args, tcp_args

PORT = 4501
COOKIE = "secret"
CLIENT_NODE, SERVER_NODE = f"client@{CLIENT}", f"server@{SERVER}"
ERLANG_END = Path(__file__).with_name("paths_end.erl")
#: Seconds beyond what it may take that an end has to say so.
GRACE = 30.0


#: What became of something (``once``, ``told``, ``late``, ``wrong``), more of it, and seconds until then.
Outcome = tuple[str, Any, float]
#: How many processes send how many messages each of how many bytes (``"mixed"``: of various).
Job = tuple[int, int, int | str]


class EndFailed(Exception):
    """A measured program failed or did not answer."""


class End(Protocol):
    """What both can do; see :mod:`tests.paths.python_end`. Times are seconds."""

    async def dial(self, node: str, count: int, pause: float) -> list[Any]: ...

    async def send(self, node: str, jobs: Sequence[Job], limit: float) -> list[Outcome]: ...

    async def call(self, node: str, callers: int, count: int, limit: float) -> list[Outcome]: ...

    async def wrongs(self) -> list[str]: ...

    async def downs(self) -> list[str]: ...


class PythonEnd:
    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self.log = log

    async def do(self, what: str, timeout: float = GRACE, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, "with": arguments}).encode() + b"\n")
        return await self.answer(timeout)

    async def answer(self, timeout: float) -> Any:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(timeout):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise EndFailed(f"no answer within {timeout:.0f} s: {self.logged()}") from None
        if not line:
            raise EndFailed(f"it ended: {self.logged()}")
        answer = json.loads(line)
        if "error" in answer:
            raise EndFailed(answer["error"])
        return answer["value"]

    def logged(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    async def dial(self, node: str, count: int, pause: float) -> list[Any]:
        value: list[Any] = await self.do("dial", GRACE * (1 + count), node=node, count=count, pause=pause)
        return value

    async def send(self, node: str, jobs: Sequence[Job], limit: float) -> list[Outcome]:
        value = await self.do("send", limit + GRACE, node=node, jobs=jobs, limit=limit)
        return [(result, why, taken) for result, why, taken in value]

    async def call(self, node: str, callers: int, count: int, limit: float) -> list[Outcome]:
        value = await self.do("call", limit + GRACE, node=node, callers=callers, count=count, limit=limit)
        return [(result, why, taken) for result, why, taken in value]

    async def wrongs(self) -> list[str]:
        value: list[str] = await self.do("wrongs")
        return value

    async def downs(self) -> list[str]:
        value: list[str] = await self.do("downs")
        return value


class BeamEnd:
    def __init__(self, beam: Beam) -> None:
        self.beam = beam

    async def do(self, source: str, timeout: float = GRACE, module: str = "paths_end") -> Any:
        term = await self.beam.eval_bytes(f"term_to_binary({module}:{source})", timeout=timeout)
        return binary_to_term(term)

    async def load(self, *modules: Path) -> None:
        for source in (ERLANG_END, *modules):
            with tempfile.TemporaryDirectory() as directory:
                shutil.copy(source, directory)
                await self.beam.eval(
                    f'(fun() -> {{ok, Module, Code}} = compile:file("{directory}/{source.name}", [binary]), '
                    "{module, Module} = code:load_binary(Module, [], Code) end)()"
                )
        await self.beam.eval("paths_end:start()")

    @staticmethod
    def _seconds(nanoseconds: Any) -> Any:
        return nanoseconds / 1e9 if nanoseconds is not False else "connect_node: false"

    @classmethod
    def _outcomes(cls, outcomes: Any) -> list[Outcome]:
        return [
            (str(result), why.decode() if isinstance(why, bytes) else why, cls._seconds(taken))
            for result, why, taken in outcomes
        ]

    async def dial(self, node: str, count: int, pause: float) -> list[Any]:
        taken = await self.do(f"dial('{node}', {count}, {pause * 1000:.0f})", GRACE * (1 + count))
        return [self._seconds(one) for one in taken]

    async def send(self, node: str, jobs: Sequence[Job], limit: float) -> list[Outcome]:
        terms = ", ".join(f"{{{senders}, {count}, {size}}}" for senders, count, size in jobs)
        source = f"send('{node}', [{terms}], {limit * 1000:.0f})"
        return self._outcomes(await self.do(source, limit + GRACE))

    async def call(self, node: str, callers: int, count: int, limit: float) -> list[Outcome]:
        source = f"call('{node}', {callers}, {count}, {limit * 1000:.0f})"
        return self._outcomes(await self.do(source, limit + GRACE))

    async def wrongs(self) -> list[str]:
        return [str(wrong) for wrong in await self.do("wrongs()")]

    async def downs(self) -> list[str]:
        return [down.decode() for down in await self.do("downs()")]


# -- pairs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """Who dials and who is dialled, ``python`` or ``beam``, and the carrier."""

    name: str
    says: str
    client: str
    server: str
    carrier: str

    def missing(self) -> str | None:
        """Why it cannot be measured on this machine."""
        if "beam" not in (self.client, self.server):
            return None
        if self.carrier == "quic":
            return None if quic_erl() else "no erl here finds the application quic"
        return None if tcp_erl() else "there is no erl here"


PAIRS = [
    Pair("py-py-tcp", "Python and Python, TCP", "python", "python", "tcp"),
    Pair("py-py-quic", "Python and Python, QUIC", "python", "python", "quic"),
    Pair("py-beam-quic", "Python dials a BEAM, QUIC", "python", "beam", "quic"),
    Pair("beam-py-quic", "a BEAM dials Python, QUIC", "beam", "python", "quic"),
    Pair("py-beam-tcp", "Python dials a BEAM, TCP", "python", "beam", "tcp"),
    Pair("beam-py-tcp", "a BEAM dials Python, TCP", "beam", "python", "tcp"),
    Pair("beam-beam-tcp", "BEAM and BEAM, TCP", "beam", "beam", "tcp"),
    Pair("beam-beam-quic", "BEAM and BEAM, quic_dist", "beam", "beam", "quic"),
]


@contextlib.asynccontextmanager
async def python_end(
    options: dict[str, Any], log: Path, *, module: str = "tests.paths.python_end", under: Sequence[str] = ()
) -> AsyncIterator[PythonEnd]:
    """A program that is a Python node with these options, started by the command ``under``."""
    with log.open("wb") as writes:
        process = await asyncio.create_subprocess_exec(
            *(*under, sys.executable, "-m", module, json.dumps(options)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=writes,
            limit=1 << 24,
            cwd=ROOT,
            env=os.environ,
        )
    try:
        python = PythonEnd(process, log)
        await python.answer(GRACE)
        yield python
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def beam_end(
    args: Sequence[str], erl: str, carrier: str, log: Path, *modules: Path
) -> AsyncIterator[BeamEnd]:
    """A BEAM with ``paths_end`` and other modules."""
    beam = await asyncio.to_thread(Beam, args, erl=erl)
    try:
        if carrier == "quic":
            await beam.eval("{ok, _} = application:ensure_all_started(quic)")
        running = BeamEnd(beam)
        await running.load(*modules)
        yield running
    finally:
        await asyncio.to_thread(log.write_text, beam.logged())
        beam.kill()


@contextlib.asynccontextmanager
async def end(
    kind: str,
    side: str,
    carrier: str,
    spaces: Spaces,
    certificates: CertificateFiles,
    directory: Path,
    net_ticktime: int,
) -> AsyncIterator[End]:
    """A node of the pair that runs in its namespace: the client or the server (``side``)."""
    server = side == "server"
    name, space = (SERVER_NODE, spaces.server) if server else (CLIENT_NODE, spaces.client)
    table = {} if server else {SERVER_NODE: (SERVER, PORT)}
    log = directory / f"{side}.log"
    if kind == "beam":
        erl = quic_erl() if carrier == "quic" else tcp_erl()
        assert erl is not None
        ticks = ("-kernel", "net_ticktime", str(net_ticktime))
        if carrier == "quic":
            args = quic_args(
                *(name, PORT, directory, table),
                cert=certificates.cert,
                key=certificates.key,
                more=("-hidden", *ticks),
            )
        else:
            # No epmd: all nodes listen on one port, each in a network of its own.
            more = ("-start_epmd", "false", "-erl_epmd_port", str(PORT), *ticks)
            args = tcp_args(name, COOKIE, hidden=True, more=more)
        async with beam_end(args, str(spaces.wrapper(space, erl, directory)), carrier, log) as beam:
            yield beam
        return
    options: dict[str, Any] = {
        "name": name,
        "cookie": COOKIE,
        "carrier": carrier,
        "nodes": table,
        "net_ticktime": net_ticktime,
        **({"host": SERVER, "port": PORT} if server else {"listen": False}),
        **({"verify": False} if carrier == "quic" else {"epmd": False}),
    }
    if carrier == "quic":
        options |= {"cert": str(certificates.cert), "key": str(certificates.key)}
    async with python_end(options, log, under=spaces.command(space)) as python:
        yield python
