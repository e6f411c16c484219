"""The codec compared with erlang_py: the rows of ``term.py``, and the lowest of their ratios."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from benchmarks.results import Goal, Result, Sense

if TYPE_CHECKING:
    from benchmarks.sides import Machine

GOAL = Goal("codec", "codec: the lowest of 10 ratios", "erlang_py", Sense.MORE, 4, 6)


def run(_: Machine) -> Result:
    from benchmarks import term

    table = io.StringIO()
    with contextlib.redirect_stdout(table):
        ratios = {
            f"{row.name}, {what}": term.compare(row, what)
            for row in term.rows()
            for what in ("decode", "encode")
        }
    lowest = min(ratios, key=ratios.__getitem__)
    result = Result(GOAL, "1", f"{ratios[lowest]:.1f}", ratios[lowest])
    result.notes.append(f"lowest: {lowest}; the highest is {max(ratios.values()):.0f}")
    return result
