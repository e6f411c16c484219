"""CPU profiles of an echo, of 1 MiB messages and of small messages: flame graphs and shares of time.

``python -m benchmarks.profile`` writes ``build/profile/*.svg`` and the table in
``docs/explanation/performance.md``.
"""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks import flame
from benchmarks.rows import LARGE, SMALL
from benchmarks.sides import Machine

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "explanation"
#: Flame graphs show the names of functions, so they are not kept in the repository.
FLAME_GRAPHS = ROOT / "build" / "profile"
#: Samples a second.
RATE = 500
#: How long each process is sampled.
SECONDS = 8.0
#: How many functions are listed for each process.
HOTTEST = 12

_BEGIN, _END = "<!-- profiled: begin -->", "<!-- profiled: end -->"


@dataclass(frozen=True, slots=True)
class Subject:
    """A process to profile: one end of a measurement."""

    key: str
    title: str
    operation: str
    size: int
    #: Number of messages of the first round; later rounds take some seconds.
    count: int
    driver: bool


SUBJECTS = [
    Subject("echo", "echo of 64 B: the answering node", "echo", SMALL, 200, False),
    Subject("bulk-send", "1 MiB messages: the sender", "push", LARGE, 4, True),
    Subject("bulk-receive", "1 MiB messages: the receiver", "push", LARGE, 4, False),
    Subject("small-send", "64 B messages one way: the sender", "push", SMALL, 2000, True),
    Subject("small-receive", "64 B messages one way: the receiver", "push", SMALL, 2000, False),
]


def record(subject: Subject, machine: Machine, directory: Path) -> Counter[flame.Stack]:
    """Sample a process for ``SECONDS``."""
    samples = directory / f"{subject.key}.raw"
    command = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or "py-spy"
    profiler = [command, "record", "--function", "--full-filenames", "--format", "raw"]
    profiler += ["--rate", str(RATE), "--output", str(samples), "--"]
    under, driver_under = ([], profiler) if subject.driver else (profiler, [])
    with machine.two_nodes(under=under, driver_under=driver_under) as (driver, _, name):
        measure = getattr(driver, subject.operation)
        count, spent = subject.count, 0.0
        while spent < SECONDS:
            taken = measure(name, count, subject.size) * (count if subject.operation == "echo" else 1)
            spent += taken
            count = max(subject.count, min(count * 4, int(count * 2 / taken)))
    return flame.read(samples)


def table(profiles: dict[str, Counter[flame.Stack]]) -> str:
    """The share of each group in percent, as a Markdown table."""
    columns = {key: flame.shares(stacks) for key, stacks in profiles.items()}
    lines = [["part", *columns], ["---", *["---:"] * len(columns)]]
    for name, _, _ in flame.GROUPS:
        lines.append([name, *(f"{shares[name]:.0%}".replace("%", "") for shares in columns.values())])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


@click.command()
@click.option(
    "--only",
    default="",
    help=f"Of {','.join(s.key for s in SUBJECTS)}, with commas; the table is not written.",
)
def main(only: str) -> None:
    """Profile, draw flame graphs into build/profile, write the table in docs/explanation/performance.md."""
    subjects = [subject for subject in SUBJECTS if not only or subject.key in only.split(",")]
    profiles: dict[str, Counter[flame.Stack]] = {}
    FLAME_GRAPHS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="profile-") as directory:
        machine = Machine(Path(directory))
        for subject in subjects:
            click.echo(f"profiling: {subject.title} ...", err=True)
            stacks = profiles[subject.key] = record(subject, machine, Path(directory))
            (FLAME_GRAPHS / f"{subject.key}.svg").write_text(flame.draw(stacks, subject.title))
            click.echo(f"  {stacks.total()} samples; most self time:", err=True)
            for function, share in flame.hottest(stacks, HOTTEST):
                click.echo(f"  {share:6.1%}  {function}", err=True)
    text = table(profiles)
    click.echo(text)
    if not only:
        page = DOCS / "performance.md"
        marked = re.compile(f"{re.escape(_BEGIN)}.*{re.escape(_END)}", re.S)
        page.write_text(marked.sub(lambda _: f"{_BEGIN}\n\n{text}\n\n{_END}", page.read_text()))


if __name__ == "__main__":
    sys.exit(main())
