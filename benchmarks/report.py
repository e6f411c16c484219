"""The table and the plot of the results."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import textwrap
from pathlib import Path
from typing import Any

from benchmarks.ends import quic_erl, tcp_erl
from benchmarks.results import Goal, Result, Sense, times
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


#: Characters of a line of a row's name in the plot.
_NAME = 72
_HOLDS = {True: "#2e7d32", False: "#c62828", None: "#78909c"}


def plot(results: list[Result], file: Path) -> None:
    """Draw each row as a multiple of its peer, with bound and aim, and rows with a unit as a multiple of
    their bound; further right is better. The figures stand beside the axes, where no mark is."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "quicdist"
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    shown = [result for result in results if result.ratio]
    panels = [
        ("multiple of the peer", [result for result in shown if not result.goal.unit]),
        ("multiple of the bound", [result for result in shown if result.goal.unit]),
    ]
    panels = [(label, rows) for label, rows in panels if rows]
    lengths = [len(rows) for _, rows in panels]
    figure, both = pyplot.subplots(
        len(panels),
        figsize=(11, 0.42 * sum(lengths) + 1.2 * len(panels)),
        height_ratios=lengths,
        layout="constrained",
        squeeze=False,
    )
    for (label, rows), axes in zip(panels, both[:, 0], strict=True):
        _draw(axes, label, rows)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)


def _draw(axes: Any, label: str, results: list[Result]) -> None:
    """One panel of the plot."""
    rows = list(reversed(results))
    for place, result in enumerate(rows):
        goal = result.goal
        assert result.ratio is not None
        axes.barh(place, _better(goal, result.ratio) - 1, left=1, height=0.6, color=_HOLDS[result.holds])
        if result.spread is not None and min(result.spread) > 0:
            ends = [_better(goal, value) for value in result.spread]
            axes.plot(ends, (place, place), color="#37474f", linewidth=0.8)
        for value, mark, size in ((goal.at_least, "|", 12), (goal.aim, "D", 4)):
            if value is not None:
                axes.plot(_better(goal, value), place, mark, color="black", markersize=size)
        axes.annotate(
            goal.figure(result.ratio),
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
            annotation_clip=False,
        )
    names = [_name(row.goal) for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=7)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xscale("log")
    if not any(row.goal.unit for row in rows):
        axes.set_xticks([0.1, 1, 10, 100])
    else:
        axes.set_xticks([0.25, 0.5, 1, 2])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel(
        f"{label}; further right is better (line: lowest to highest, vertical mark: bound, diamond: aim; "
        "the ratio as in the table at the right)",
        fontsize=7,
    )
    axes.spines[["top", "right"]].set_visible(False)


def _name(goal: Goal) -> str:
    lines = textwrap.wrap(goal.title.replace("`", ""), _NAME)
    if not goal.unit:
        lines += textwrap.wrap(f"against {goal.peer}".replace("`", ""), _NAME)
    return "\n".join(lines)


def _better(goal: Goal, value: float) -> float:
    """A ratio, or a figure with a unit, such that more is better."""
    if goal.unit and goal.at_least:
        value /= goal.at_least
    return 1 / value if goal.sense is Sense.LESS else value
