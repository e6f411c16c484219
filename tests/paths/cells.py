"""One cell of the matrix: a pair of nodes over one path, and what became of all that was sent."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quicdist.carrier.security.certificates import CertificateFiles
from tests.netns.spaces import Spaces
from tests.netns.wire import Wire
from tests.paths.ends import CLIENT_NODE, SERVER_NODE, End, Job, Outcome, Pair, end
from tests.paths.rows import Row

#: Seconds between the last goodbye and the next dial.
PAUSE = 0.2
#: Dials after a path is whole again before it counts as failed.
DIALS_AGAIN = 5
#: Bytes that a connection which only keeps itself alive may deliver in ``QUIET`` seconds.
IDLE, QUIET = 20_000, 15.0

Outcomes = Sequence[Outcome]


@dataclass(frozen=True, slots=True)
class Volume:
    """How much is sent, each way: ``senders`` processes, ``messages`` of each, ``large`` large ones, and
    ``callers`` processes with ``calls`` of each."""

    senders: int = 20
    messages: int = 100
    large: int = 1
    callers: int = 5
    calls: int = 10
    #: Bytes of a large message in place of the row's.
    bulk: int | None = None


@dataclass(slots=True)
class Phase:
    """What became of one kind of traffic: ``once``, ``told``, ``late`` (not done in time, but moving),
    ``stood`` (nothing moved), ``wrong``; and seconds, where it is known."""

    result: str
    seconds: float | None = None
    detail: str = ""


@dataclass(slots=True)
class Result:
    row: str
    pair: str
    phases: dict[str, Phase] = field(default_factory=dict)
    #: What was told of the other node, by side.
    downs: dict[str, list[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The worst of all."""
        if self.wrong:
            return "wrong"
        results = {phase.result for phase in self.phases.values()}
        return next((bad for bad in ("wrong", "stood", "failed", "late", "told") if bad in results), "once")


async def _moves(wire: Wire, limit: float, done: asyncio.Event) -> bool:
    """Whether the path still delivers more than signs of life when ``limit`` seconds are nearly over."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), max(0.0, limit - QUIET))
        return True
    before = wire.counts()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(done.wait(), QUIET - 1)
        return True
    after = wire.counts()
    return after.up + after.down - before.up - before.down > IDLE


def _phase(sides: Sequence[Outcomes], *, median: bool = False) -> Phase:
    outcomes = [outcome for side in sides for outcome in side]
    results = Counter(result for result, _, _ in outcomes)
    detail = ", ".join(sorted({f"{why}" for result, why, _ in outcomes if result != "once"}))[:200]
    worst = next((bad for bad in ("wrong", "late", "told") if results[bad]), "once")
    if worst != "once":
        detail = f"{dict(results)}: {detail}"
    times = [taken for _, _, taken in outcomes]
    return Phase(worst, statistics.median(times) if median else max(times), detail)


async def _both(wire: Wire, limit: float, *works: Any, median: bool = False) -> Phase:
    done = asyncio.Event()
    moving = asyncio.ensure_future(_moves(wire, limit, done))
    try:
        sides = await asyncio.gather(*works)
    finally:
        done.set()
    moved = await moving
    phase = _phase(sides, median=median)
    if phase.result == "late" and not moved:
        phase.result = "stood"
    return phase


async def measure(
    row: Row,
    pair: Pair,
    certificates: CertificateFiles,
    directory: Path,
    volume: Volume,
    *,
    seed: int = 1,
    tcp: str = "cubic",
) -> Result:
    """Run one cell. Raises :class:`tests.netns.spaces.Unavailable` where there are no namespaces."""
    result = Result(row.name, pair.name)
    spaces = await asyncio.to_thread(lambda: Spaces(row.faults, networks=1, seed=seed, tcp=tcp))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(spaces.close)
        (wire,) = spaces.wires
        nodes: dict[str, End] = {}
        for side, kind in (("server", pair.server), ("client", pair.client)):
            nodes[side] = await stack.enter_async_context(
                end(kind, side, pair.carrier, spaces, certificates, directory, row.net_ticktime)
            )
        client, server = nodes["client"], nodes["server"]
        await _cell(result, row, client, server, wire, volume)
        for side, node in nodes.items():
            result.downs[side] = await node.downs()
            result.wrong += await node.wrongs()
        counts = wire.counts()
        result.counts = {name: getattr(counts, name) for name in counts.__slots__}
    return result


async def _cell(result: Result, row: Row, client: End, server: End, wire: Wire, volume: Volume) -> None:
    phases = result.phases
    dials = await client.dial(SERVER_NODE, row.dials, PAUSE)
    came = [taken for taken in dials if isinstance(taken, float)]
    failed = [str(taken) for taken in dials if not isinstance(taken, float)]
    phases["dials"] = Phase(
        "once" if not failed else "told" if came else "failed",
        statistics.median(came) if came else None,
        f"{len(failed)} of {row.dials} failed: {', '.join(sorted(set(failed)))}"[:300] if failed else "",
    )
    if not isinstance(dials[-1], float) and not isinstance(
        (await client.dial(SERVER_NODE, 1, PAUSE))[0], float
    ):
        return
    await client.downs()
    await server.downs()
    limit = row.limit

    small = (volume.senders, volume.messages, "mixed")
    large = (1, volume.large, volume.bulk or row.bulk)

    async def send(name: str, *jobs: Job) -> None:
        phases[name] = await _both(
            wire, limit, client.send(SERVER_NODE, jobs, limit), server.send(CLIENT_NODE, jobs, limit)
        )

    async def call() -> None:
        phases["calls"] = await _both(
            *(wire, limit),
            client.call(SERVER_NODE, volume.callers, volume.calls, limit),
            server.call(CLIENT_NODE, volume.callers, volume.calls, limit),
            median=True,
        )

    if not row.plan:
        await send("messages", small)
        await call()
        await send("large", large)
        return
    wire.plan(row.middle, row.plan)
    await send("messages, large", small, large)
    # However it went, the path is whole again and the nodes are to find each other.
    whole = await asyncio.to_thread(wire.plan_done)
    if row.plan[-1][1].mtu:
        wire.set(row.faults)
        whole = time.monotonic()
    if phases["messages, large"].result == "told":
        for _ in range(DIALS_AGAIN):
            (taken,) = await client.dial(SERVER_NODE, 1, PAUSE)
            if isinstance(taken, float):
                phases["again"] = Phase("once", time.monotonic() - whole)
                break
        else:
            phases["again"] = Phase("failed", None, str(taken))
            return
    await call()
