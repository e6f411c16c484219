"""Draws ``docs/how-to/metrics.svg``: two Python nodes under changing load, as ``node.metrics()`` sees them.

``python -m scripts.draw_dashboard`` takes a minute and needs the extra ``bench`` (matplotlib). With
``--grafana`` it writes ``docs/how-to/grafana-dashboard.json`` only.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from quicdist import Node, NodeError, NotConnected, Process, make_development_certificates
from quicdist.otp import NodeMetrics
from scripts.requirements import ROOT

PICTURE = ROOT / "docs" / "how-to" / "metrics.svg"
GRAFANA = ROOT / "docs" / "how-to" / "grafana-dashboard.json"

CALLER, SERVER = "web@127.0.0.1", "worker@127.0.0.1"
#: Seconds of the run, and between two snapshots.
SECONDS, STEP = 48.0, 0.5

Snapshot = tuple[float, NodeMetrics, NodeMetrics]
#: The value of a panel's line at one time, from the two snapshots around it and the seconds between them.
Line = Callable[[Snapshot, Snapshot, float], float]


class Panel(NamedTuple):
    """One panel: for the picture the lines by their names, for Grafana the queries by their legends."""

    title: str
    unit: str
    lines: dict[str, Line]
    queries: dict[str, str]


def _rate(value: Callable[[NodeMetrics], float], node: int = 1) -> Line:
    return lambda before, after, seconds: (value(after[node]) - value(before[node])) / seconds  # type: ignore[arg-type]


def _now(value: Callable[[NodeMetrics], float], node: int = 1) -> Line:
    return lambda before, after, seconds: value(after[node])  # type: ignore[arg-type]


def _calls(outcome: str) -> Line:
    return _rate(lambda metrics: metrics.calls_out["erpc"].outcomes.get(outcome, 0))


def _mean(before: Snapshot, after: Snapshot, seconds: float) -> float:
    one, two = before[1].calls_out["erpc"].durations, after[1].calls_out["erpc"].durations
    return 1000 * (two.sum - one.sum) / max(1, two.count - one.count)


def _lag(node: int) -> Line:
    def lag(before: Snapshot, after: Snapshot, seconds: float) -> float:
        one, two = before[node].loop_lag, after[node].loop_lag  # type: ignore[union-attr]
        return float(1000 * (two.sum - one.sum) / max(1, two.count - one.count))

    return lag


def _round_trip(metrics: NodeMetrics) -> float:
    return max((1000 * (link.transport.round_trip or 0.0) for link in metrics.links), default=float("nan"))


def _sent(metrics: NodeMetrics) -> float:
    return sum(stats.bytes_out for stats in metrics.connections.traffic.values()) / 1e6


def _received(metrics: NodeMetrics) -> float:
    return sum(stats.bytes_in for stats in metrics.connections.traffic.values()) / 1e6


def _lost(metrics: NodeMetrics) -> float:
    return sum(metrics.connections.lost.values())


PANELS = (
    Panel(
        "Calls, by outcome",
        "per second",
        {
            "return": _calls("return"),
            "RemoteError": _calls("RemoteError"),
            "CallTimeout": _calls("CallTimeout"),
        },
        {"{{node}} {{outcome}}": "sum by (node, outcome) (rate(quicdist_calls_total[$__rate_interval]))"},
    ),
    Panel(
        "Duration of a call",
        "ms",
        {"mean": _mean},
        {
            "{{node}} p50": "histogram_quantile(0.5, sum by (node, le) "
            "(rate(quicdist_call_duration_seconds_bucket[$__rate_interval]))) * 1000",
            "{{node}} p99": "histogram_quantile(0.99, sum by (node, le) "
            "(rate(quicdist_call_duration_seconds_bucket[$__rate_interval]))) * 1000",
        },
    ),
    Panel(
        "Traffic of web@127.0.0.1",
        "MB per second",
        {"sent": _rate(_sent), "received": _rate(_received)},
        {
            "{{node}} sent, {{carrier}}": "rate(quicdist_sent_bytes_total[$__rate_interval]) / 1e6",
            "{{node}} received, {{carrier}}": "rate(quicdist_received_bytes_total[$__rate_interval]) / 1e6",
        },
    ),
    Panel(
        "Round trip",
        "ms",
        {"web to worker": _now(_round_trip)},
        {"{{node}} to {{peer}}": "quicdist_link_round_trip_seconds * 1000"},
    ),
    Panel(
        "Connections lost",
        "in all",
        {"web": _now(_lost, 1), "worker": _now(_lost, 2)},
        {"{{node}} {{reason}}": "increase(quicdist_connections_lost_total[$__rate_interval])"},
    ),
    Panel(
        "Messages in mailboxes of the worker",
        "",
        {
            "all": _now(lambda metrics: metrics.processes.mailbox_messages, 2),
            "fullest": _now(lambda metrics: metrics.processes.mailbox_max, 2),
        },
        {"{{node}} all": "quicdist_mailbox_messages", "{{node}} fullest": "quicdist_mailbox_max_messages"},
    ),
    Panel(
        "Processes of the worker",
        "",
        {
            "processes": _now(lambda metrics: metrics.processes.count, 2),
            "crashed, in all": _now(lambda metrics: metrics.processes.crashed, 2),
        },
        {
            "{{node}}": "quicdist_processes",
            "{{node}} crashed": "increase(quicdist_processes_crashed_total[$__rate_interval])",
        },
    ),
    Panel(
        "Lag of the event loop",
        "ms",
        {"both nodes": _lag(1)},
        {
            "{{node}} p90": "histogram_quantile(0.9, sum by (node, le) "
            "(rate(quicdist_event_loop_lag_seconds_bucket[$__rate_interval]))) * 1000"
        },
    ),
)


# -- the run -----------------------------------------------------------------------------------


async def measure() -> list[Snapshot]:
    """Run two nodes and take snapshots."""
    logging.getLogger("quicdist").setLevel(logging.CRITICAL)  # The crashes are meant.
    files = make_development_certificates(Path(tempfile.mkdtemp()), ["127.0.0.1"])
    options: dict[str, Any] = {
        "cookie": "dashboard",
        "cert": files.cert,
        "key": files.key,
        "cacert": files.ca,
    }
    worker = Node(SERVER, host="127.0.0.1", port=0, **options)
    _export(worker)
    async with worker:
        nodes = {SERVER: ("127.0.0.1", worker.addresses[0].port)}
        web = Node(CALLER, listen=False, nodes=nodes, cluster=[SERVER], **options)
        async with web:
            await web.cluster.settled(timeout=10)
            load = asyncio.ensure_future(_load(web, worker))
            snapshots: list[Snapshot] = []
            start = time.monotonic()
            while (now := time.monotonic() - start) < SECONDS:
                snapshots.append((now, web.metrics(), worker.metrics()))
                await asyncio.sleep(STEP)
            load.cancel()
            await asyncio.wait([load])
    return snapshots


def _export(worker: Node) -> None:
    @worker.export("work")
    async def render(size: int) -> bytes:
        await asyncio.sleep(random.uniform(0.001, 0.004))
        return bytes(size)

    @worker.export("work")
    async def slow() -> None:
        await asyncio.sleep(10)

    @worker.export("work")
    def block(seconds: float) -> None:
        time.sleep(seconds)

    @worker.process("slow_consumer")
    async def slow_consumer(process: Process) -> None:
        while True:
            await process.receive()
            await asyncio.sleep(0.004)


async def _load(web: Node, worker: Node) -> None:
    """The load of the web node, in phases of six seconds."""
    start = time.monotonic()
    tasks: set[asyncio.Task[None]] = set()
    blocked = crashed = cut = False
    while True:
        phase, now = int((time.monotonic() - start) / 6), time.monotonic()
        for _ in range((1, 3, 3, 2, 1, 4, 2, 1)[min(phase, 7)]):
            task = asyncio.ensure_future(_call(web, "render", [40_000 if phase == 2 else 2000]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if phase == 3:
            for _ in range(10):
                web.send(("slow_consumer", SERVER), now)
        if phase == 4 and not blocked:
            blocked = True
            await _call(web, "block", [0.4])
        if phase == 5 and not crashed:
            crashed = True
            for _ in range(20):
                worker.spawn(_crash)
            await asyncio.gather(*(_call(web, "slow", []) for _ in range(15)))
        if phase == 6 and not cut:
            cut = True
            worker.disconnect(CALLER)
        await asyncio.sleep(0.02)


async def _call(web: Node, function: str, arguments: list[Any]) -> None:
    try:
        await web.call(SERVER, "work", function, arguments, timeout=1)
        if random.random() < 0.02:
            await web.call(SERVER, "work", "nothing")
    except (NodeError, NotConnected):
        pass  # It is counted: that is what the picture shows.


async def _crash(process: Process) -> None:
    raise ValueError("an example of a crash")


# -- the picture -------------------------------------------------------------------------------


def draw(snapshots: Sequence[Snapshot]) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "quicdist", "font.size": 9})
    figure, axes = plt.subplots(4, 2, figsize=(11, 11), sharex=True)
    for axis, panel in zip(axes.flat, PANELS, strict=True):
        pairs = list(itertools.pairwise(snapshots))
        for name, line in panel.lines.items():
            values = [line(before, after, after[0] - before[0]) for before, after in pairs]
            axis.plot([after[0] for _, after in pairs], values, label=name, linewidth=1.4)
        axis.set_title(panel.title, loc="left", fontsize=10, fontweight="bold")
        axis.set_ylabel(panel.unit)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        if len(panel.lines) > 1:
            axis.legend(frameon=False, fontsize=8, loc="upper left")
    for axis in axes[-1]:
        axis.set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(PICTURE, metadata={"Date": None})


# -- Grafana -----------------------------------------------------------------------------------


def grafana() -> dict[str, Any]:
    """The dashboard, as Grafana imports it."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    panels = [
        {
            "id": number + 1,
            "type": "timeseries",
            "title": panel.title.removesuffix(" of web@127.0.0.1").removesuffix(" of the worker"),
            "description": panel.unit,
            "datasource": source,
            "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
            "fieldConfig": {"defaults": {"min": 0, "unit": "short"}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend, "datasource": source}
                for index, (legend, query) in enumerate(panel.queries.items())
            ],
        }
        for number, panel in enumerate(PANELS)
    ]
    variable = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    return {
        "title": "quicdist",
        "uid": "quicdist",
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [variable]},
        "panels": panels,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--grafana", action="store_true", help="write the dashboard for Grafana only")
    arguments = parser.parse_args()
    GRAFANA.write_text(json.dumps(grafana(), indent=2) + "\n")
    if not arguments.grafana:
        draw(asyncio.run(measure()))


if __name__ == "__main__":
    main()
