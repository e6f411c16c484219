"""The table and the plot."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
from pathlib import Path

from benchmarks.ends import quic_erl, tcp_erl
from benchmarks.results import Result, Sense, bound, times
from tests.support.beam import erl_facts

_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"
_HEAD = ["row", "ours", "peer", "ratio", "at least", "aim", "holds"]


def table(results: list[Result]) -> str:
    """The results as a table in Markdown."""
    lines = [_HEAD, ["---"] * len(_HEAD), *map(_cells, results)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(result: Result) -> list[str]:
    goal = result.goal
    peer = f"{goal.peer}: {result.theirs}" if result.theirs else goal.peer
    return [
        f"{goal.title} (`{goal.key}`)",
        result.ours,
        peer,
        f"**{times(result.ratio)}**" if result.ratio is not None else "",
        bound(goal.sense, goal.at_least),
        bound(goal.sense, goal.aim),
        result.verdict,
    ]


def machine() -> str:
    """What it was measured with, in a sentence."""
    parts = [
        f"{os.cpu_count()} cores",
        f"{platform.system()}",
        f"Python {platform.python_version()}",
        *(f"{name} {importlib.metadata.version(name)}" for name in ("aioquic", "cryptography", "erlang_py")),
    ]
    for what, erl in (("over TCP", tcp_erl()), ("over quic_dist", quic_erl())):
        if erl is not None:
            with contextlib.suppress(Exception):
                release, quic = erl_facts(erl)
                version = f" with quic_dist {quic}" if what == "over quic_dist" else ""
                parts.append(f"{what} OTP {release}{version}")
    return ", ".join(parts)


def busy() -> str:
    """A warning if the machine has other things to do: rows that need all cores are no good then."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    cores = os.cpu_count() or 1
    if load < cores / 2:
        return ""
    return f"the machine was busy with other things, too: a load of {load:.1f} on {cores} cores"


def write(results: list[Result], docs: Path, remark: str) -> None:
    """Put the table into ``benchmarks.md``, between its marks, and draw ``benchmarks.svg``.

    Raises ImportError, the table written, where there is no matplotlib.
    """
    page = docs / "benchmarks.md"
    notes = [f"- `{result.goal.key}`: {note}" for result in results for note in _notes(result)]
    text = "\n\n".join(
        [_BEGIN, f"{machine()}{remark and f'; {remark}'}.", table(results), "\n".join(notes), _END]
    )
    marked = re.compile(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", re.S)
    page.write_text(marked.sub(lambda _: text, page.read_text()))
    plot(results, docs / "benchmarks.svg")


def _notes(result: Result) -> list[str]:
    notes = list(result.notes)
    if result.skipped or result.failed:
        notes.append((result.skipped or result.failed).splitlines()[0])
    return notes


def plot(results: list[Result], file: Path) -> None:
    """How many times better than the peer each row is, with the bound and the aim; to the right is better."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "quicdist"
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    shown = [result for result in results if result.ratio]
    figure, axes = pyplot.subplots(figsize=(10, 0.42 * len(shown) + 1.2), layout="constrained")

    def better(result: Result, value: float) -> float:
        return 1 / value if result.goal.sense is Sense.LESS else value

    for place, result in enumerate(reversed(shown)):
        assert result.ratio is not None
        value = better(result, result.ratio)
        colour = {True: "#2e7d32", False: "#c62828", None: "#78909c"}[result.holds]
        axes.barh(place, value - 1, left=1, height=0.6, color=colour)
        axes.annotate(f" {value:.3g}", (max(value, 1), place), va="center", fontsize=8)
        for goal, mark in ((result.goal.at_least, "|"), (result.goal.aim, "D")):
            if goal is not None:
                size = 10 if mark == "|" else 4
                axes.plot(better(result, goal), place, mark, color="black", markersize=size)
    names = [f"{result.goal.title} | {result.goal.peer}" for result in reversed(shown)]
    axes.set_yticks(range(len(shown)), names, fontsize=8)
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times as good as the peer (logarithmic; bar: at least, diamond: aim)", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
