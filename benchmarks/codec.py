"""The codec compared with erlang_py: the rows of ``term.py`` and ``terms_otp.py``, and the lowest ratio."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from benchmarks.results import Goal, Result, Sense

if TYPE_CHECKING:
    from benchmarks.sides import Machine

GOAL = Goal("codec", "codec: the lowest ratio of all rows", "erlang_py", Sense.MORE, 5, 6)


def run(_: Machine) -> Result:
    from benchmarks import term

    table = io.StringIO()
    with contextlib.redirect_stdout(table):
        rows = term.compare_all()
    rows.sort(key=lambda row: row.ratio)
    lowest = rows[0]
    result = Result(GOAL, "1", f"{lowest.ratio:.1f}", lowest.ratio)
    under = sum(row.ratio < term.LEAST for row in rows)
    result.notes.append(f"lowest of {len(rows)}: {lowest.name}; the highest is {rows[-1].ratio:.0f}")
    if under:
        few = ", ".join(f"{row.name} {row.ratio:.1f}" for row in rows[: min(under, 12)])
        result.notes.append(f"{under} rows under {term.LEAST:.0f}, the lowest of them: {few}")
    return result
