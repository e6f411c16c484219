"""One node to which 1,000 others are connected, each pinging it once a second.

No link may be lost, every ping must be answered; the result is the CPU time of the one node.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.results import Goal, Result, Sense

if TYPE_CHECKING:
    from benchmarks.sides import Machine

NODES = 1000
#: The pinging nodes share few processes, because they are not measured.
PROCESSES = 2
SECONDS = 20
CONNECT_WITHIN = 60.0
#: Seconds for the last pings to be answered or given up.
END_WITHIN = 40.0

GOAL = Goal(
    "crowd",
    f"CPU of a node that {NODES:,} others ping once a second over QUIC, no tick missed",
    "one core",
    Sense.LESS,
    0.8,
    0.5,
    unit="core",
)


def run(machine: Machine) -> Result:
    from benchmarks.ends import PythonEnd

    hub_name = machine.name("hub")
    with ExitStack() as stack:
        hub = PythonEnd("quicdist", machine.node_options(hub_name, "quic"))
        stack.callback(hub.close)
        nodes = {hub_name: ("127.0.0.1", hub.ready["port"])}
        crowds = []
        for _ in range(PROCESSES):
            options = {
                "nodes": [
                    machine.node_options(machine.name("one"), "quic", nodes=nodes, listen=False)
                    for _ in range(NODES // PROCESSES)
                ],
                "hub": hub_name,
            }
            crowd = PythonEnd("crowd", options)
            stack.callback(crowd.close)
            crowds.append(crowd)
        for crowd in crowds:
            crowd.do("connect", timeout=CONNECT_WITHIN)
        before = [end.do("usage") for end in (hub, *crowds)]
        for crowd in crowds:
            crowd.do("begin", seconds=SECONDS)
        time.sleep(SECONDS)
        after = [end.do("usage") for end in (hub, *crowds)]
        pings: list[dict[str, Any]] = [crowd.do("end", timeout=END_WITHIN) for crowd in crowds]
    share, *shares = (
        (now["cpu"] - then["cpu"]) / (now["clock"] - then["clock"])
        for then, now in zip(before, after, strict=True)
    )
    total = {what: sum(crowd[what] for crowd in pings) for what in ("answered", "late", "missed", "lost")}
    slowest = max(crowd["slowest"] for crowd in pings)
    result = Result(GOAL, f"{share:.2f}", "1", share)
    result.notes.append(
        f"{total['answered']} pings answered, {total['missed']} not, {total['lost']} links lost; the slowest "
        f"answer took {slowest * 1e3:.0f} ms, {total['late']} took more than a second; "
        f"the {NODES} nodes used {sum(shares):.2f} of a core"
    )
    result.notes += [
        f"not answered: {error}" for error in sorted({e for crowd in pings for e in crowd["errors"]})
    ]
    if total["lost"] or total["missed"]:
        result.broken = f"{total['lost']} links lost, {total['missed']} pings not answered"
    elif total["answered"] < NODES * (SECONDS - 1):
        result.broken = f"{total['answered']} pings in {SECONDS} s"
    return result
