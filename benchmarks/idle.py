"""The memory of an idle connection: of a node that others dial, and of a node that dials others."""

from __future__ import annotations

import time
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING

from benchmarks.results import Goal, Result, Sense, figures

if TYPE_CHECKING:
    from benchmarks.sides import Machine

#: Connections whose memory is measured together.
CONNECTIONS = 50
#: The first round fills caches and is not counted.
ROUNDS = 5
#: Seconds until a connection is idle: path probes and late acknowledgements have ended.
SETTLED = 3.0
CONNECT_WITHIN = 60.0
KIB = 1024

GOAL = Goal(
    "memory-idle",
    "memory of an idle QUIC connection, the larger of both sides",
    "1 KiB",
    Sense.LESS,
    60,
    40,
    unit="KiB",
)


def run(machine: Machine) -> Result:
    from benchmarks.ends import PythonEnd

    with ExitStack() as stack:
        hub_name = machine.name("hub")
        hub = PythonEnd("quicdist", machine.node_options(hub_name, "quic"))
        stack.callback(hub.close)
        nodes = {hub_name: ("127.0.0.1", hub.ready["port"])}
        names = [machine.name("one") for _ in range(CONNECTIONS * ROUNDS)]
        options = {
            "nodes": [machine.node_options(name, "quic", nodes=nodes) for name in names],
            "hub": hub_name,
        }
        crowd = PythonEnd("crowd", options)
        stack.callback(crowd.close)
        addresses = {
            name: ("127.0.0.1", port) for name, port in zip(names, crowd.ready["ports"], strict=True)
        }
        dialler = PythonEnd(
            "quicdist", machine.node_options(machine.name("dialler"), "quic", nodes=addresses, listen=False)
        )
        stack.callback(dialler.close)
        sizes = [[end.do("usage")["resident"]] for end in (hub, dialler)]
        for first in range(0, len(names), CONNECTIONS):
            crowd.do("connect", first=first, count=CONNECTIONS, timeout=CONNECT_WITHIN)
            dialler.do("connect_all", nodes=names[first : first + CONNECTIONS], timeout=CONNECT_WITHIN)
            time.sleep(SETTLED)
            for end, found in zip((hub, dialler), sizes, strict=True):
                found.append(end.do("usage")["resident"])
    accepted, dialled = (
        figures(
            GOAL,
            [(now - then) / CONNECTIONS / KIB for then, now in pairwise(found[1:])],
        )
        for found in sizes
    )
    result = max(accepted, dialled, key=lambda side: side.ratio or 0.0)
    result.notes.append(f"the accepting side {accepted.ours}, the dialling side {dialled.ours}")
    return result
