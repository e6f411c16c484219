"""Rounds of a restart: killed, told, started again, found again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from benchmarks.ends import quic_erl, tcp_erl
from quicdist import Node
from quicdist.carrier.security.certificates import CertificateFiles
from tests.netns.wire import ROOT
from tests.restarts.lives import SETTLE, BeamLives, Lives, PythonLives, as_expected
from tests.support.beam import Beam, quic_args, tcp_args
from tests.support.epmd import private_epmd
from tests.support.ports import any_port

COOKIE = "secret"
LIVES, KILLED = "lives@127.0.0.1", "killed@127.0.0.1"
ERLANG_END = Path(__file__).with_name("restarts_end.erl")
WATCHERS = 5
#: Seconds for anything to happen; what does not is a failure.
PATIENCE = 90.0
#: Seconds after which a name is to be back where the other side lives.
BACK = 1.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Who goes on and who is killed, ``python`` or ``beam``, and the carrier."""

    lives: str
    killed: str
    carrier: str

    @property
    def name(self) -> str:
        return f"{self.lives}-{self.killed}-{self.carrier}"

    @property
    def keeps_creation(self) -> bool:
        """Whether the node that is killed has the same creation when it is started again, so that nobody can
        tell its old processes from its new ones: quic_dist (up to 1.8.1) asks no epmd for one by
        default, and what its BEAMs then say is always 4."""
        return self.killed == "beam" and self.carrier == "quic"

    def missing(self) -> str | None:
        """Why it cannot be run on this machine."""
        if "beam" not in (self.lives, self.killed):
            return None if self.carrier == "quic" or shutil.which("epmd") else "there is no epmd here"
        if self.carrier == "quic":
            return None if quic_erl() else "no erl here finds the application quic"
        return None if tcp_erl() else "there is no erl here"


PAIRS = [
    Pair(lives, killed, carrier)
    for carrier in ("quic", "tcp")
    for lives, killed in (("python", "python"), ("python", "beam"), ("beam", "python"), ("beam", "beam"))
]


@dataclass(frozen=True, slots=True)
class Kind:
    """Whether the node is started again only once the other was told, and which of both dials then."""

    told_first: bool
    killed_dials: bool

    @property
    def name(self) -> str:
        return (
            f"{'later' if self.told_first else 'at-once'}, {'it' if self.killed_dials else 'the other'} dials"
        )


KINDS = [Kind(told_first, killed_dials) for told_first in (True, False) for killed_dials in (True, False)]


@dataclass(slots=True)
class Report:
    pair: str
    rounds: int = 0
    #: Seconds from the kill until all were told, by kind of round.
    told: dict[str, list[float]] = field(default_factory=dict)
    #: Seconds from the new node's listening until a call went through, by kind of round.
    back: dict[str, list[float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    creations: set[int] = field(default_factory=set)
    #: What the node that goes on holds, after some rounds and at the end.
    usage: list[dict[str, int]] = field(default_factory=list)

    def line(self) -> str:
        def middle(times: dict[str, list[float]]) -> str:
            return "; ".join(
                f"{kind} {statistics.median(some):.3f} s (at most {max(some):.3f})"
                for kind, some in times.items()
            )

        creations = sorted(self.creations) if len(self.creations) < 5 else len(self.creations)
        faults = Counter(self.faults)
        wrong = "; ".join(f"{count} times {fault}" for fault, count in faults.most_common())
        return "\n  ".join(
            [
                f"{self.pair}: {self.rounds} rounds",
                f"told: {middle(self.told)}",
                f"back: {middle(self.back)}",
                f"creations: {creations}",
                f"FAULTS: {wrong}" if wrong else "no fault",
            ]
        )

    def growth(self) -> dict[str, float]:
        """What became more from the first look to the last, each round."""
        if len(self.usage) < 2:
            return {}
        first, last = self.usage[0], self.usage[-1]
        rounds = self.rounds * (len(self.usage) - 1) / len(self.usage)
        return {
            kind: (last.get(kind, 0) - first.get(kind, 0)) / rounds
            for kind in {**first, **last}
            if last.get(kind, 0) != first.get(kind, 0)
        }


class Killed(Protocol):
    """A node that was started, and will be killed."""

    async def greet(self, node: str, within: float) -> Any: ...

    async def seen(self) -> int: ...

    async def kill(self) -> None: ...


class KilledPython:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def answer(self, timeout: float) -> Any:
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout):
            line = await self._process.stdout.readline()
        if not line:
            assert self._process.stderr is not None
            raise RuntimeError((await self._process.stderr.read()).decode()[-2000:])
        answer = json.loads(line)
        return answer["value"] if "value" in answer else answer["error"]

    async def _do(self, what: str, timeout: float = PATIENCE, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, "with": arguments}).encode() + b"\n")
        return await self.answer(timeout)

    async def greet(self, node: str, within: float) -> Any:
        return await self._do("greet", within + PATIENCE, other=node, within=within)

    async def seen(self) -> int:
        return int(await self._do("seen"))

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


class KilledBeam:
    def __init__(self, beam: Beam) -> None:
        self._beam = beam

    async def greet(self, node: str, within: float) -> Any:
        start = monotonic()
        taken = await self._beam.eval(
            f"restarts_end:greet('{node}', {within * 1000:.0f})", timeout=within + PATIENCE
        )
        return monotonic() - start if taken.isdigit() else taken

    async def seen(self) -> int:
        return int(await self._beam.eval("restarts_end:seen()"))

    async def kill(self) -> None:
        await asyncio.to_thread(self._beam.kill)


class Machine:
    """How both nodes of a pair are started."""

    def __init__(
        self, pair: Pair, certificates: CertificateFiles, directory: Path, net_ticktime: int
    ) -> None:
        self.pair = pair
        self._certificates = certificates
        self._directory = directory
        self._net_ticktime = net_ticktime
        self._ports = {LIVES: any_port(), KILLED: any_port()}
        self._code = b""

    def options(self, name: str) -> dict[str, Any]:
        """Those of a Python node."""
        options: dict[str, Any] = {"name": name, "cookie": COOKIE, "carrier": self.pair.carrier}
        options |= {"host": "127.0.0.1", "net_ticktime": self._net_ticktime}
        if self.pair.carrier == "quic":
            options |= {"port": self._ports[name], "verify": False}
            options |= {"cert": str(self._certificates.cert), "key": str(self._certificates.key)}
            options |= {"nodes": {node: ("127.0.0.1", port) for node, port in self._ports.items()}}
        return options

    async def beam(self, name: str) -> Beam:
        ticks = ("-kernel", "net_ticktime", str(self._net_ticktime))
        if self.pair.carrier == "quic":
            nodes = {node: ("127.0.0.1", port) for node, port in self._ports.items()}
            files = self._certificates
            args = quic_args(
                *(name, self._ports[name], self._directory, nodes),
                cert=files.cert,
                key=files.key,
                more=("-hidden", *ticks),
            )
            erl = quic_erl()
        else:
            args, erl = tcp_args(name, COOKIE, hidden=True, more=ticks), tcp_erl()
        beam = await asyncio.to_thread(Beam, args, erl=erl)
        try:
            if self.pair.carrier == "quic":
                await beam.eval("{ok, _} = application:ensure_all_started(quic)")
            if not self._code:
                source = Path(tempfile.mkdtemp(dir=self._directory)) / ERLANG_END.name
                await asyncio.to_thread(shutil.copy, ERLANG_END, source)
                self._code = await beam.eval_bytes(
                    f'element(3, {{ok, _, _}} = compile:file("{source}", [binary]))'
                )
            await beam.eval(
                "{module, _} = code:load_binary(restarts_end, [], Data), restarts_end:start()", self._code
            )
        except BaseException:
            beam.kill()
            raise
        return beam

    @contextlib.asynccontextmanager
    async def lives(self) -> AsyncIterator[Lives]:
        if self.pair.lives == "beam":
            beam = await self.beam(LIVES)
            try:
                yield BeamLives(beam)
            finally:
                beam.kill()
            return
        async with Node(**self.options(LIVES)) as node:
            yield PythonLives(node)

    async def start(self) -> Killed:
        if self.pair.killed == "beam":
            return KilledBeam(await self.beam(KILLED))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.restarts.victim", json.dumps(self.options(KILLED))),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ,
        )
        killed = KilledPython(process)
        try:
            await killed.answer(PATIENCE)
        except BaseException:
            await killed.kill()
            raise
        return killed


async def one_round(machine: Machine, lives: Lives, killed: Killed, kind: Kind, report: Report) -> Killed:
    """Kill it, start it again, and look at everything; the new one."""
    await lives.watch(KILLED, WATCHERS)
    start = monotonic()
    await killed.kill()
    if kind.told_first:
        told, _ = await lives.told(PATIENCE)
        report.told.setdefault(kind.name, []).append(monotonic() - start)
        if not as_expected(told):
            report.faults.append(f"{kind.name}: told {_differences(told)} of a node that is gone")
    killed = await machine.start()
    try:
        listens = monotonic()
        first, then = (killed.greet(LIVES, PATIENCE), lives.greet(KILLED, PATIENCE))
        if not kind.killed_dials:
            first, then = then, first
        for found, how in ((await first, "dialled"), (await then, "called back")):
            if not isinstance(found, float):
                report.faults.append(f"{kind.name}: {how}: {found}")
            elif how == "dialled":
                report.back.setdefault(kind.name, []).append(monotonic() - listens)
        told, downs = await lives.told(PATIENCE)
        await asyncio.sleep(SETTLE)
        told, downs = await lives.told(0)
        if not as_expected(told):
            report.faults.append(f"{kind.name}: told {_differences(told)}")
        if downs != 1:
            report.faults.append(f"{kind.name}: {downs} times nodedown")
        old, new = await lives.stale(KILLED)
        report.creations |= {old, new}
        if old == new and not machine.pair.keeps_creation:
            report.faults.append(f"{kind.name}: the creation is the same")
        # What was sent before this call has arrived before it.
        await lives.greet(KILLED, PATIENCE)
        if (seen := await killed.seen()) and not machine.pair.keeps_creation:
            report.faults.append(f"{kind.name}: {seen} messages for old processes reached the new one")
    except BaseException:
        await killed.kill()
        raise
    report.rounds += 1
    return killed


def _differences(told: Any) -> str:
    return ", ".join(sorted({str(one) for one in told if not as_expected([one])}))[:300]


async def run(
    pair: Pair,
    times: int,
    certificates: CertificateFiles,
    directory: Path,
    *,
    net_ticktime: int = 60,
    kinds: Sequence[Kind] = tuple(KINDS),
    progress: Callable[[Report], None] = lambda report: None,
    looks: int = 5,
) -> Report:
    """``times`` restarts of a pair, of all kinds in turn; what the living node holds is looked at ``looks``
    times."""
    report = Report(pair.name)
    with private_epmd() if pair.carrier == "tcp" else contextlib.nullcontext():
        machine = Machine(pair, certificates, directory, net_ticktime)
        async with machine.lives() as lives:
            killed = await machine.start()
            try:
                if not isinstance(found := await lives.greet(KILLED, PATIENCE), float):
                    report.faults.append(f"the first dial: {found}")
                    return report
                for number in range(times):
                    killed = await one_round(machine, lives, killed, kinds[number % len(kinds)], report)
                    if (number + 1) % max(1, times // looks) == 0:
                        report.usage.append(await lives.usage())
                    progress(report)
            finally:
                await killed.kill()
    return report
