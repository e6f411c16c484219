"""``make hostile``: run the attacks, and say what each costs.

Exit status 1 if a goal was missed. ``--only`` takes names of attacks or families, with commas.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.hostile.catalogue import ATTACKS, FAMILIES
from tests.hostile.field import Attack
from tests.hostile.measure import MIB, Row, Run

GOALS = """\
Goals: memory kept once the attack's connections have ended, at most 1 MiB for each 100 KB sent (and 1 MiB
for less); no standstill of the victim's loop above 50 ms; no echo of the good peer above 10 times its idle
time, which is the worst echo just before, while other nodes join (off both, the time is taken for which
other programs had the processor); a new good peer in within 1 s; no log line that could
pass for another record, and no traceback.
An attack that misses one by less than 4 times is run three times, and the median of each figure counts;
every run is shown. If it was memory alone, they run in the same process, where what the allocator held
ready is used again."""


def chosen(only: str) -> list[Attack]:
    wanted = only.split(",") if only else list(FAMILIES)
    found = [attack for name in wanted for attack in FAMILIES.get(name, ())]
    found += [attack for attack in ATTACKS if attack.name in wanted]
    known = {attack.name for attack in ATTACKS} | set(FAMILIES)
    if unknown := [name for name in wanted if name not in known]:
        raise click.UsageError(f"there is no attack {unknown[0]!r}: see --list")
    return [attack for attack in ATTACKS if attack in found]


def size(count: float) -> str:
    if abs(count) >= MIB:
        return f"{count / MIB:.1f} MiB"
    return f"{count / 1000:.0f} KB"


def cells(row: Row) -> list[str]:
    """What one run cost, a text a column."""
    log = row.log
    lines = str(log.get("records", 0)) + (f" ({log['broken']} broken)" if log.get("broken") else "")
    return [
        row.attack.name,
        size(row.sent),
        size(row.gained),
        size(row.held),
        size(row.kept),
        f"{row.standstill * 1e3:.0f} ms",
        f"{row.idle_median * 1e3:.1f}/{row.idle * 1e3:.1f}",
        f"{row.echo_median * 1e3:.1f}/{row.echo * 1e3:.0f}",
        f"{row.newcomer:.2f} s",
        lines,
        "kept" if row.holds else "MISSED",
    ]


COLUMNS = ["attack", "sent", "gained", "held", "kept", "standstill", "idle echo, ms (median/worst)",
           "echo, ms (median/worst)", "newcomer", "log lines", "goals"]  # fmt: skip


def which(number: int, runs: list[Row]) -> str:
    """Which of the rows of an attack one is: a run, or the median of all."""
    if len(runs) == 1:
        return "run 1 of 1"
    return "median" if number == len(runs) else f"run {number} of {len(runs) - 1}"


def table(results: list[list[Row]]) -> Table:
    made = Table(*COLUMNS, title="make hostile", title_justify="left")
    for runs in results:
        for number, row in enumerate(runs, 1):
            last = number == len(runs)
            style = "" if row.holds else "bold red" if last else "dim"
            texts = cells(row)
            if len(runs) > 1:
                texts[-1] += f" ({which(number, runs)})"
            made.add_row(*texts, style=style)
    return made


#: Where the table stands in a page.
_BEGIN, _END = "<!-- make hostile -->\n", "<!-- end -->\n"


def markdown(results: list[list[Row]]) -> str:
    """The table as it stands in ``SECURITY.md``."""
    heads = ("`--only`", "attack", "sent", "gained", "kept", "standstill", "echo (idle)", "newcomer", "goals")
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for runs in results:
        row = runs[-1]
        by = "peer: " if row.attack.kind == "peer" else ""
        texts = [f"`{row.attack.name}`", by + row.attack.what]
        texts += map(size, (row.sent, row.gained, max(0, row.kept)))
        texts.append(f"{row.standstill * 1e3:.0f} ms")
        texts.append(f"{row.echo * 1e3:.0f} ms ({row.idle * 1e3:.1f})")
        texts.append(f"{row.newcomer:.2f} s")
        texts.append("kept" if row.holds else "missed")
        lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


def write(page: Path, text: str) -> None:
    """Write the table to a file; where one has the marks of a table, in its place."""
    before = page.read_text() if page.exists() else _BEGIN + _END
    head, begin, rest = before.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not (begin and end):
        raise click.UsageError(f"{page} has no marks of a table")
    page.write_text(f"{head}{_BEGIN}\n{text}\n{_END}{tail}")


@click.command()
@click.option("--only", default="", help=f"Attacks or families ({', '.join(FAMILIES)}), with commas.")
@click.option("--list", "listing", is_flag=True, help="Name the attacks and end.")
@click.option("--markdown", "page", type=click.Path(path_type=Path), help="Write the table there too.")
@click.option("--may-miss", default="", help="Attacks that may miss a goal, with commas: shown all the same.")
@click.option(
    "--within",
    default=1.0,
    metavar="FACTOR",
    help="For a machine with other work: fail only where a goal is missed by more than so many times.",
)
@click.option("--quick", is_flag=True, help="Shorter attacks, as in make test.")
@click.option("--lines", is_flag=True, help="Say what the victim logged.")
@click.option("--seconds", default=900.0, help="Begin no further row after so many seconds.")
def main(
    only: str,
    listing: bool,
    page: Path | None,
    may_miss: str,
    within: float,
    quick: bool,
    lines: bool,
    seconds: float,
) -> None:
    """Attack a node that serves a good peer, and say what it costs."""
    attacks = chosen(only)
    if may_miss:
        chosen(may_miss)  # they are to exist
    if listing:
        for name, family in FAMILIES.items():
            click.echo(f"{name}:")
            for attack in family:
                click.echo(f"  {attack.name:24} {attack.what}")
        return
    logging.getLogger("quic").setLevel(logging.CRITICAL)  # the attacker's own
    progress = Console(stderr=True, highlight=False)
    began = time.monotonic()

    def say(text: str) -> None:
        progress.print(f"{time.monotonic() - began:6.1f} s  {text}", markup=False, soft_wrap=True)

    results: list[list[Row]] = []
    left_out: list[str] = []
    with Run(quick=quick, within=within, say=say) as run:
        for number, attack in enumerate(attacks, 1):
            if time.monotonic() - began > seconds:
                left_out.append(attack.name)
                continue
            say(f"[{number}/{len(attacks)}] {attack.name}: {attack.what} ...")
            runs = run.row(attack)
            results.append(runs)
            for row in runs:
                say("    " + outcome(row))
                for kind, count in row.log.get("kinds", {}).items() if lines else ():
                    say(f"    {count:6} x {kind}")
    console = Console(width=None if sys.stdout.isatty() else 190, highlight=False)
    console.print(table(results))
    console.print(GOALS, markup=False)
    missed = [runs[-1] for runs in results if not runs[-1].holds]
    for runs in results:
        for again, row in enumerate(runs, 1):
            for text, _ in row.missed:
                console.print(f"{row.attack.name} ({which(again, runs)}): {text}", markup=False)
    if left_out:
        console.print(f"not run for want of time: {', '.join(left_out)}", markup=False)
    console.print(
        f"{len(results)} attacks, {len(missed)} of them missed a goal, {time.monotonic() - began:.0f} s",
        markup=False,
    )
    if page is not None:
        write(page, markdown(results))
    allowed = may_miss.split(",")
    failed = [row.attack.name for row in missed if row.attack.name not in allowed and row.fails(within)]
    if failed:
        console.print(f"failed: {', '.join(failed)}", markup=False)
    sys.exit(1 if left_out or failed else 0)


def outcome(row: Row) -> str:
    """One run in a line or some."""
    said = (
        f"{row.seconds:.1f} s; sent {size(row.sent)}, gained {size(row.gained)}, held {size(row.held)}, "
        f"kept {size(row.kept)} ({row.blocks} blocks), standstill {row.standstill * 1e3:.0f} ms, "
        f"echo {row.echo_median * 1e3:.1f}/{row.echo * 1e3:.0f} ms (idle {row.idle_median * 1e3:.1f}/"
        f"{row.idle * 1e3:.1f}), newcomer {row.newcomer:.2f} s, {row.log.get('records', 0)} log lines"
    )
    said += "".join(f"\n           {note}" for note in row.notes)
    return said + "".join(f"\n           MISSED: {text}" for text, _ in row.missed)


if __name__ == "__main__":
    main()
