"""What was measured, as lines and as a table: times as ratios to Python and Python over TCP."""

from __future__ import annotations

from collections.abc import Sequence

from tests.paths.cells import Result
from tests.paths.ends import PAIRS
from tests.paths.rows import ROWS

REFERENCE = "py-py-tcp"
WORDS = {
    "once": "once",
    "told": "told",
    "late": "late",
    "stood": "STOOD STILL",
    "wrong": "LOST",
    "failed": "FAILED",
}


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


def _ratio(result: Result, reference: Result | None, name: str) -> str:
    phase = result.phases.get(name)
    if phase is None:
        return "-"
    if phase.result != "once":
        return WORDS[phase.result]
    other = reference.phases.get(name) if reference else None
    if other is None or other.result != "once" or not other.seconds or phase.seconds is None:
        return "once"
    return f"{phase.seconds / other.seconds:.2g}"


def table(results: Sequence[Result]) -> str:
    """Markdown: a line for each row and pair."""
    found = {(result.row, result.pair): result for result in results}
    kinds = ("dials", "messages", "calls", "large", "messages, large", "again")
    lines = [f"| `--only` | pair | result | {' | '.join(kinds)} |", "| --- " * (3 + len(kinds)) + "|"]
    for row in ROWS:
        for pair in PAIRS:
            if result := found.get((row.name, pair.name)):
                reference = found.get((row.name, REFERENCE))
                ratios = " | ".join(_ratio(result, reference, kind) for kind in kinds)
                lines.append(f"| `{row.name}` | {pair.name} | {WORDS[result.verdict]} | {ratios} |")
    return "\n".join(lines)
