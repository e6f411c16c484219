"""``python -m tests.soak``: mixed traffic both ways between nodes, and what became of it all.

At the end, what was sent has arrived, once, and memory is what it was after the warm-up. Times of calls are
printed as ratios to those between two BEAMs over TCP in the same run, where there is an ``erl``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.ends import quic_erl, tcp_erl
from quicdist import make_development_certificates
from quicdist.carrier.security.certificates import CertificateFiles
from tests.paths.ends import PAIRS, BeamEnd, EndFailed, Pair, PythonEnd, beam_end, python_end
from tests.soak.histogram import percentile
from tests.soak.python_end import BATCHES, PATIENCE
from tests.support.beam import BeamError, quic_args, tcp_args
from tests.support.epmd import private_epmd
from tests.support.ports import any_port

COOKIE = "soak"
MODULE = Path(__file__).with_name("soak_end.erl")
#: Whose calls are what the others' are compared to.
REFERENCE = "beam-beam-tcp"
#: Who is there unless it is said otherwise: Python with Python, and with a BEAM that dials and is dialled.
USUAL = ("py-py-quic", "py-py-tcp", "py-beam-tcp", "beam-py-tcp", "py-beam-quic", REFERENCE)
#: The part of the time after which memory is looked at first: by then each message size has been there often.
WARM_UP = 0.25
#: Bytes that may be there in addition at the end. One message of 4 MiB is, in a node that takes and gives it,
#: up to four buffers of that size, and glibc gives back a heap's top only: where the last of them lay is
#: chance. What grows with the messages is more than this in any run of minutes: they are some 1,500 a second.
TOLERANCE = 16 * 1024 * 1024
#: Objects that may be there in addition, of some 50,000: timers that are cancelled and not yet due, mostly.
OBJECTS = 2000
PERCENTILES = (0.5, 0.99, 0.999)


@dataclass(slots=True)
class Node:
    """One that runs: what it has done, and what it holds."""

    pair: str
    name: str
    target: str
    end: PythonEnd | BeamEnd
    counts: dict[str, int] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    received: int = 0
    wrong: list[str] = field(default_factory=list)
    held: list[dict[str, int]] = field(default_factory=list)

    async def start(self) -> None:
        if isinstance(self.end, PythonEnd):
            await self.end.do("start", node=self.target)
        else:
            await self.end.do(f"start('{self.target}')", module="soak_end")

    async def progress(self) -> None:
        if isinstance(self.end, PythonEnd):
            seen = await self.end.do("progress")
            self.counts, self.times = seen["counts"], dict(seen["times"])
            self.received, self.wrong = seen["received"], seen["wrong"]
        else:
            counts, times, wrong = await self.end.do("progress()", module="soak_end")
            self.counts = {str(name): count for name, count in counts}
            self.times = dict(times)
            self.wrong = [str(what) for what in (*wrong, *await self.end.wrongs(), *await self.end.downs())]
            self.received = await self.end.do("received()")

    async def stop(self) -> None:
        """Let all that is under way come to its end."""
        if isinstance(self.end, PythonEnd):
            await self.end.do("stop", timeout=2 * PATIENCE)
        else:
            await self.end.do("stop()", timeout=2 * PATIENCE, module="soak_end")

    async def look(self) -> None:
        if isinstance(self.end, PythonEnd):
            self.held.append(await self.end.do("held"))
        else:
            held = await self.end.do("held()", module="soak_end")
            self.held.append({str(kind): number for kind, number in held})

    @property
    def sent(self) -> int:
        return sum(self.counts.get(name, 0) for name in BATCHES)


async def _start(
    pair: Pair, certificates: CertificateFiles, directory: Path, stack: contextlib.AsyncExitStack
) -> list[Node]:
    """Both nodes of a pair, connected by the one that dials."""
    names = [f"{side}-{pair.name}@127.0.0.1" for side in ("client", "server")]
    ports = {name: any_port() for name in names}
    nodes = []
    for name, kind in zip(names, (pair.client, pair.server), strict=True):
        table = {node: ("127.0.0.1", port) for node, port in ports.items()}
        files = {"cert": certificates.cert, "key": certificates.key}
        log = directory / f"{name}.log"
        end: PythonEnd | BeamEnd
        if kind == "python":
            options: dict[str, Any] = {
                "name": name,
                "cookie": COOKIE,
                "carrier": pair.carrier,
                "host": "127.0.0.1",
            }
            if pair.carrier == "quic":
                options |= {"port": ports[name], "nodes": table, "verify": False}
                options |= {kind: str(file) for kind, file in files.items()}
            end = await stack.enter_async_context(python_end(options, log, module="tests.soak.python_end"))
        else:
            erl = quic_erl() if pair.carrier == "quic" else tcp_erl()
            assert erl is not None
            if pair.carrier == "quic":
                args = quic_args(
                    name, ports[name], directory, table, **files, cookie=COOKIE, more=["-hidden"]
                )
            else:
                args = tcp_args(name, COOKIE, hidden=True)
            end = await stack.enter_async_context(beam_end(args, erl, pair.carrier, log, MODULE))
        nodes.append(Node(pair.name, name, "", end))
    client, server = nodes
    client.target, server.target = server.name, client.name
    (dialled,) = await client.end.dial(server.name, 1, 0.0)
    if not isinstance(dialled, float):
        raise EndFailed(f"{client.name} cannot connect: {dialled}")
    return nodes


async def _run(nodes: list[Node], seconds: float, total: float, done: float) -> None:
    await asyncio.gather(*(node.start() for node in nodes))
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(5.0, left))
        await asyncio.gather(*(node.progress() for node in nodes))
        messages = sum(node.sent for node in nodes)
        calls = sum(node.counts.get("calls", 0) for node in nodes)
        wrong = sum(len(node.wrong) for node in nodes)
        now = done + seconds - max(0.0, end - time.monotonic())
        said = f"  {now:5.0f} of {total:.0f} s: {messages} messages, {calls} calls, {wrong} wrong"
        print(said, file=sys.stderr, flush=True)
    await asyncio.gather(*(node.stop() for node in nodes))
    await asyncio.gather(*(node.progress() for node in nodes))


def _faults(nodes: list[Node]) -> list[str]:
    faults = [f"{node.name}: {what}" for node in nodes for what in node.wrong]
    for node in nodes:
        other = next(other for other in nodes if other.name == node.target)
        if node.sent != other.received:
            faults.append(f"{node.name} sent {node.sent} messages, {other.name} received {other.received}")
        if isinstance(node.end, PythonEnd):
            first, last = node.held
            for kind, tolerated in (("bytes", TOLERANCE), ("objects", OBJECTS), ("descriptors", 0)):
                if last[kind] - first[kind] > tolerated:
                    faults.append(f"{node.name}: {kind} grew from {first[kind]} to {last[kind]}")
    return faults


def _table(nodes: list[Node], seconds: float) -> str:
    reference = [node for node in nodes if node.pair == REFERENCE]
    base = {
        part: sum(percentile(node.times, part) for node in reference) / len(reference)
        for part in PERCENTILES
        if reference
    }
    lines = [
        "| node | small | 64 KiB | 4 MiB | calls | spawns | p50 | p99 | p99.9 | MiB: warm, end | objects |",
        "| --- " * 11 + "|",
    ]
    for node in nodes:
        ms = [percentile(node.times, part) * 1000 for part in PERCENTILES]
        cells = [
            f"{taken:.2f} ms" + (f" ({taken / base[part] / 1000:.1f})" if part in base else "")
            for taken, part in zip(ms, PERCENTILES, strict=True)
        ]
        held = " ".join(f"{held['bytes'] / 2**20:.1f}" for held in node.held)
        objects = " ".join(str(held["objects"]) for held in node.held)
        counts = [str(node.counts.get(kind, 0)) for kind in ("small", "64 KiB", "4 MiB", "calls", "spawns")]
        lines.append(
            f"| {node.name.partition('@')[0]} | {' | '.join([*counts, *cells])} | {held} | {objects} |"
        )
    return "\n".join([*lines, f"In brackets: the ratio to two BEAMs over TCP. {seconds:.0f} s."])


async def soak(pairs: list[Pair], seconds: float, directory: Path) -> tuple[list[Node], list[str]]:
    """Run them all at once; the nodes as they were at the end, and what was wrong."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(8 * len(pairs)))
    certificates = make_development_certificates(directory / "certificates")
    nodes: list[Node] = []
    epmd = private_epmd() if any(pair.carrier == "tcp" for pair in pairs) else contextlib.nullcontext()
    with epmd:
        async with contextlib.AsyncExitStack() as stack:
            for pair in pairs:
                nodes += await _start(pair, certificates, directory, stack)
            warm_up = max(5.0, seconds * WARM_UP)
            await _run(nodes, warm_up, seconds, 0.0)
            await asyncio.gather(*(node.look() for node in nodes))
            await _run(nodes, seconds - warm_up, seconds, warm_up)
            await asyncio.gather(*(node.look() for node in nodes))
    return nodes, _faults(nodes)


def main() -> int:
    # So that all is taken down that was set up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pairs", default=",".join(USUAL), help=f"by comma ({', '.join(USUAL)})")
    arguments = parser.parse_args()
    pairs = []
    for name in arguments.pairs.split(","):
        pair = next((pair for pair in PAIRS if pair.name == name), None)
        if pair is None:
            print(f"no pair {name}; there are {', '.join(pair.name for pair in PAIRS)}", file=sys.stderr)
            return 2
        if why := pair.missing():
            print(f"left out: {pair.says}: {why}")
        else:
            pairs.append(pair)
    with tempfile.TemporaryDirectory() as directory:
        try:
            nodes, faults = asyncio.run(soak(pairs, arguments.seconds, Path(directory)))
        except (EndFailed, BeamError) as error:
            print(f"failed: {error}")
            return 1
    print(_table(nodes, arguments.seconds))
    for fault in faults:
        print(f"FAULT: {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
