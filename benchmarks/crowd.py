"""One node with 200 others connected to it, each of which pings it once a second."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from benchmarks.results import Goal, Result, Sense

if TYPE_CHECKING:
    from benchmarks.sides import Machine

NODES = 200
#: Many nodes in few processes: who pings is not what is measured.
PROCESSES = 2
SECONDS = 20
CONNECT_WITHIN = 60.0

GOAL = Goal(
    "crowd",
    f"CPU of a node that {NODES} others ping once a second over QUIC, no ping missed",
    "one core",
    Sense.LESS,
    0.5,
    0.5,
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
        for crowd in crowds:
            crowd.do("begin", seconds=SECONDS)
        before = hub.do("usage")
        time.sleep(SECONDS)
        after = hub.do("usage")
        pings: list[dict[str, Any]] = [crowd.do("end") for crowd in crowds]
    share = (after["cpu"] - before["cpu"]) / (after["clock"] - before["clock"])
    answered = sum(crowd["answered"] for crowd in pings)
    missed = sum(crowd["missed"] for crowd in pings)
    slowest = max(crowd["slowest"] for crowd in pings)
    result = Result(GOAL, f"{share:.2f}", "1", share)
    result.notes.append(f"{answered} pings, {missed} missed; the slowest took {slowest * 1e3:.0f} ms")
    result.notes += [f"a ping missed: {error}" for crowd in pings for error in crowd["errors"][:1]]
    if missed or answered < NODES * (SECONDS - 1):
        result.broken = f"{missed} pings missed, {answered} answered"
    return result
