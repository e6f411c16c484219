"""The table and the plot of the results."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
from pathlib import Path

from benchmarks.ends import quic_erl, tcp_erl
from benchmarks.results import Result, Sense, times
from benchmarks.rows import BUSY
from tests.support.beam import erl_facts

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_HEAD = ["row", "ours", "peer", "ratio", "at least", "aim", "holds"]
#: The number of columns of rows without a bound.
_CONTEXT = 4


def tables(results: list[Result]) -> str:
    """Two Markdown tables: rows with a bound, then rows without one."""
    goals = [result for result in results if result.goal.at_least is not None]
    others = [result for result in results if result.goal.at_least is None]
    parts = []
    if goals:
        parts.append(_table(_HEAD, goals))
    if others:
        parts += ["Rows without a bound, for comparison:", _table(_HEAD[:_CONTEXT], others)]
    return "\n\n".join(parts)


def _table(head: list[str], results: list[Result]) -> str:
    lines = [head, ["---"] * len(head), *(_cells(result)[: len(head)] for result in results)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(result: Result) -> list[str]:
    goal = result.goal
    peer = f"{goal.peer}: {result.theirs}" if result.theirs else goal.peer
    return [
        f"{goal.title} (`{goal.key}`)",
        result.ours,
        peer,
        f"**{goal.figure(result.ratio)}**{_spread(result)}" if result.ratio is not None else "",
        goal.limit(goal.at_least),
        goal.limit(goal.aim),
        result.verdict,
    ]


def _spread(result: Result) -> str:
    return "" if result.spread is None else f" ({' to '.join(map(times, result.spread))})"


def machine() -> str:
    """The machine and the versions, as one line."""
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


def busy(results: list[Result]) -> str:
    """A remark if other programs used the machine: such rows are not reliable."""
    rows = [result for result in results if (result.others or 0.0) > BUSY]
    if not rows:
        return ""
    most = max(result.others or 0.0 for result in rows)
    return (
        f"Other programs used up to {most:.1f} of {os.cpu_count()} cores while these rows were "
        f"measured: {', '.join(f'`{result.goal.key}`' for result in rows)}."
    )


def write(results: list[Result], docs: Path) -> None:
    """Write the table into ``benchmarks.md``, between its marks, and draw ``benchmarks.svg``.

    Raises ImportError after writing the table if there is no matplotlib.
    """
    page = docs / "benchmarks.md"
    parts = [BEGIN, f"{machine()}.", tables(results), busy(results), notes(results), END]
    text = "\n\n".join(filter(None, parts))
    marked = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.S)
    page.write_text(marked.sub(lambda _: text, page.read_text()))
    plot(results, docs / "benchmarks.svg")


def notes(results: list[Result]) -> str:
    """Notes on the rows, or why they were not measured, as a Markdown list."""
    lines = []
    for result in results:
        reason = (result.skipped or result.failed).partition("\n")[0]
        lines += [f"- `{result.goal.key}`: {note}" for note in (*result.notes, reason) if note]
    return "\n".join(lines)


def plot(results: list[Result], file: Path) -> None:
    """Draw each row as a multiple of its peer, with bound and aim; further right is better."""
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
    axes.set_xlabel("multiple of the peer (logarithmic; vertical mark: bound, diamond: aim)", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
