"""Measure the rows and write the table and the plot into ``docs/explanation/``."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks import report
from benchmarks.results import Result
from benchmarks.rows import BUSY, ROWS, measure
from benchmarks.sides import Machine

DOCS = Path(__file__).resolve().parent.parent / "docs" / "explanation"
KEYS = [row.goal.key for row in ROWS]


@click.command()
@click.option("--rows", "chosen", default="", help=f"Rows to measure, with commas; all: {','.join(KEYS)}.")
@click.option("--write/--no-write", default=None, help="Write docs/ (by default if all rows are measured).")
@click.option("--check", is_flag=True, help="Exit status 1 if a ratio misses its bound.")
def main(chosen: str, write: bool | None, check: bool) -> None:
    """Compare quicdist with its peers; each end runs in its own process."""
    keys = chosen.split(",") if chosen else KEYS
    unknown = [key for key in keys if key not in KEYS]
    if unknown:
        raise click.UsageError(f"there is no row {unknown[0]!r}: choose from {', '.join(KEYS)}")
    results: list[Result] = []
    began = time.monotonic()

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - began:6.1f} s  {text}", err=True)

    rows = [row for row in ROWS if row.goal.key in keys]
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        machine = Machine(Path(directory))
        for number, row in enumerate(rows, 1):
            say(f"[{number}/{len(rows)}] {row.goal.title}, against {row.goal.peer} ...")
            result = measure(row, machine)
            say(f"    {row.goal.key}: {outcome(result)}")
            for note in result.notes:
                say(f"    {note}")
            if (result.others or 0.0) > BUSY:
                say(f"    other programs used {result.others:.1f} cores meanwhile")
            results.append(result)
    click.echo(report.tables(results))
    if remark := report.busy(results):
        click.echo(remark, err=True)
    if write or (write is None and not chosen):
        try:
            report.write(results, DOCS)
            say("docs/explanation/benchmarks.md and docs/explanation/benchmarks.svg written")
        except ImportError as error:
            say(f"docs/explanation/benchmarks.md written, but not the plot: {error}")
    broken = [result.goal.key for result in results if result.holds is False]
    if broken:
        say(f"bounds missed: {', '.join(broken)}")
    sys.exit(1 if check and broken else 0)


def outcome(result: Result) -> str:
    """A result in a line."""
    goal = result.goal
    if result.skipped or result.failed:
        return f"{result.verdict}: {result.skipped or result.failed}"
    verdict = f"; {goal.limit(goal.at_least)}: {result.verdict}" if goal.at_least else ""
    return f"{goal.figure(result.ratio)} ({result.ours} | {result.theirs}){verdict}"


if __name__ == "__main__":
    main()
