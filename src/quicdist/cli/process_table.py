"""The table of processes that ``quicdist pids`` and ``quicdist top`` print."""

from __future__ import annotations

from collections.abc import Sequence

from quicdist import dependencies

dependencies.check("rich")

from rich.table import Table
from rich.text import Text

from quicdist.cli.processes import ProcessFacts, Snapshot

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def process_table(processes: Sequence[ProcessFacts], sorted_by: str = "") -> Table:
    """A table with one line for each process; the column it is sorted by is marked."""
    table = Table(box=None, pad_edge=False, expand=True, header_style="bold")
    for key, title, right in (
        ("pid", "pid", False),
        ("name", "name or initial call", False),
        ("reductions", "reductions", True),
        ("memory", "memory", True),
        ("messages", "messages", True),
        ("current", "current function", False),
    ):
        table.add_column(
            Text(title, style="reverse" if key == sorted_by else ""),
            justify="right" if right else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=None if key in ("pid", "reductions", "memory", "messages") else 1,
        )
    for each in processes:
        table.add_row(
            Text(each.pid, style="cyan"),
            Text(each.name),
            Text(f"{each.reductions:,}"),
            Text(size(each.memory)),
            Text(f"{each.messages:,}", style="bold red" if each.messages >= 100 else ""),
            Text(each.current, style="dim"),
        )
    return table


def heading(snapshot: Snapshot, load: float | None) -> Text:
    """The facts of the node, in one line."""
    parts = [f"{len(snapshot.processes) + snapshot.left_out:,} processes"]
    if snapshot.left_out:
        parts.append(f"{snapshot.left_out:,} of them not shown")
    if snapshot.run_queue is not None:
        parts.append(f"run queue {snapshot.run_queue}")
    if load is not None:
        parts.append(f"schedulers {load:.0%}")
    if "total" in snapshot.memory:
        parts.append(f"memory {size(snapshot.memory['total'])}")
        of = [f"{kind} {size(snapshot.memory[kind])}" for kind in _KINDS if kind in snapshot.memory]
        parts[-1] += f" ({', '.join(of)})"
    text = Text(no_wrap=True, overflow="ellipsis")
    return text.append(snapshot.node, "bold green").append("  ").append("  ".join(parts))


_KINDS = ("processes", "binary", "ets", "code", "atom")


def size(count: int) -> str:
    """``count`` bytes, with a unit."""
    amount = float(count)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"
