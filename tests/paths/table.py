"""What was measured, as lines and as a table: times as ratios to Python and Python over TCP."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tests.paths.cells import Phase, Result
from tests.paths.ends import PAIRS, Pair
from tests.paths.rows import ROWS, Row

REFERENCE = "py-py-tcp"
WORDS = {
    "once": "once",
    "told": "told",
    "late": "late",
    "stood": "STOOD STILL",
    "wrong": "LOST",
    "failed": "FAILED",
}
#: Kinds of traffic in the order of a cell. Where something happens in mid-transfer there are other ones.
KINDS = ("dials", "messages", "calls", "large")
KINDS_OF_A_PLAN = ("dials", "messages, large", "calls")
_BEGIN, _END = "<!-- make paths -->\n", "<!-- end -->\n"


def line_of(result: Result) -> str:
    """One cell with what went wrong, for who waits."""
    phases = ", ".join(
        f"{name} {phase.seconds:.3g} s"
        if phase.result == "once" and phase.seconds is not None
        else f"{name} {WORDS[phase.result]}" + (f" ({phase.detail})" if phase.detail else "")
        for name, phase in result.phases.items()
    )
    more = "".join(f"; {side} saw {down}" for side, downs in result.downs.items() for down in downs)
    wrong = "".join(f"; {what}" for what in result.wrong)
    return f"{result.row} {result.pair}: {WORDS[result.verdict]}: {phases}{more}{wrong}"


def ratio(result: Result, reference: Result | None, kind: str) -> float | None:
    """Its time to that of the reference, where both came to the same."""
    phase = result.phases.get(kind)
    other = reference.phases.get(kind) if reference else None
    if phase is None or other is None or phase.result != other.result or phase.result in ("late", "stood"):
        return None
    return phase.seconds / other.seconds if phase.seconds and other.seconds else None


def _part(result: Result, reference: Result | None, kind: str) -> str:
    phase = result.phases.get(kind, Phase("failed"))
    value = ratio(result, reference, kind)
    word = "" if phase.result == "once" else WORDS[phase.result]
    number = "" if value is None else f"{value:.2g}" if value < 100 else f"{value:.0f}"
    return " ".join(filter(None, (word, number))) or "once"


def cell(result: Result, reference: Result | None) -> str:
    if "all" in result.phases:
        return WORDS["failed"]
    kinds = KINDS if "messages" in result.phases or "large" in result.phases else KINDS_OF_A_PLAN
    return ", ".join(_part(result, reference, kind) for kind in kinds)


def _pairs(results: Sequence[Result]) -> list[Pair]:
    measured = {result.pair for result in results}
    return [pair for pair in PAIRS if pair.name in measured]


def _lines(rows: Sequence[Row], found: dict[tuple[str, str], Result], pairs: Sequence[Pair]) -> list[str]:
    lines = [
        f"| `--only` | path | {' | '.join(pair.name for pair in pairs)} |",
        "| --- " * (2 + len(pairs)) + "|",
    ]
    for row in rows:
        results = [found.get((row.name, pair.name)) for pair in pairs]
        if any(results):
            cells = [cell(r, found.get((row.name, REFERENCE))) if r else "" for r in results]
            lines.append(f"| `{row.name}` | {row.says} | {' | '.join(cells)} |")
    return lines


def table(results: Sequence[Result]) -> str:
    """Markdown: a line for each row, a column for each pair; first what is always so, then what changes."""
    found = {(result.row, result.pair): result for result in results}
    pairs = _pairs(results)
    steady = _lines([row for row in ROWS if not row.plan], found, pairs)
    changing = _lines([row for row in ROWS if row.plan], found, pairs)
    parts = [
        f"In each cell: {', '.join(KINDS)}.\n",
        *steady,
        f"\nIn each cell: {'; '.join(KINDS_OF_A_PLAN)}.\n",
        *changing,
    ]
    return "\n".join(parts)


def write(results: Sequence[Result], docs: Path) -> None:
    """Put the table into ``paths.md``, between its marks."""
    page = docs / "paths.md"
    marked = re.compile(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", re.S)
    page.write_text(marked.sub(lambda _: f"{_BEGIN}\n{table(results)}\n\n{_END}", page.read_text()))


def draw(results: Sequence[Result], file: Path) -> None:
    """The ratio of messages and of large ones on each path; above 1 is slower than TCP.

    Raises ImportError where there is no matplotlib.
    """
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "quicdist"
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    found = {(result.row, result.pair): result for result in results}
    rows = [row for row in ROWS if not row.plan and any((row.name, pair.name) in found for pair in PAIRS)]
    pairs = [pair for pair in _pairs(results) if pair.carrier == "quic"]
    figure, both = pyplot.subplots(2, 1, figsize=(10, 6), layout="constrained", sharex=True)
    for axes, kind in zip(both, ("messages", "large"), strict=True):
        for number, pair in enumerate(pairs):
            places, ratios = [], []
            for place, row in enumerate(rows):
                result = found.get((row.name, pair.name))
                value = ratio(result, found.get((row.name, REFERENCE)), kind) if result else None
                if value is not None:
                    places.append(place + (number - (len(pairs) - 1) / 2) * 0.2)
                    ratios.append(value)
            axes.bar(places, [value - 1 for value in ratios], width=0.18, bottom=1, label=pair.says)
        axes.set_yscale("log")
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_ylabel(f"{kind}: time to TCP's", fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    both[1].set_xticks(range(len(rows)), [row.name for row in rows], fontsize=8, rotation=45, ha="right")
    both[0].legend(fontsize=8, frameon=False)
    figure.savefig(file, metadata={"Date": None})
    pyplot.close(figure)
