"""The codec against erlang_py: the rows of ``term.py``, and the least of their ratios."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from benchmarks.results import Goal, Result, Sense

if TYPE_CHECKING:
    from benchmarks.sides import Machine

GOAL = Goal("codec", "codec: the least of 10 ratios", "erlang_py", Sense.MORE, 4, 6)


def run(_: Machine) -> Result:
    from benchmarks import term

    table = io.StringIO()
    with contextlib.redirect_stdout(table):
        ratios = {
            f"{row.name}, {what}": term.compare(row, what)
            for row in term.rows()
            for what in ("decode", "encode")
        }
    slowest = min(ratios, key=ratios.__getitem__)
    result = Result(GOAL, "1", f"{ratios[slowest]:.1f}", ratios[slowest])
    result.notes.append(f"slowest: {slowest}; the ten go up to {max(ratios.values()):.0f}")
    return result
