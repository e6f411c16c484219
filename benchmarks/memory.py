"""What memory two nodes take at most while a long stream passes from one to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results import Goal, Result, Sense

if TYPE_CHECKING:
    from benchmarks.sides import Machine

MIB = 1 << 20
#: MiB that warm everything up, and that then pass.
FIRST, STREAM = 64, 1024
#: Seconds for all of it.
PATIENCE = 300.0
#: Flat is what grows by no more than a tenth: some MiB of a GiB, which allocators need.
FLAT = 1.1

GOAL = Goal(
    "memory",
    "peak memory of both nodes after a stream of 1 GiB over QUIC",
    "after the first 64 MiB",
    Sense.LESS,
    FLAT,
    FLAT,
)


def run(machine: Machine) -> Result:
    with machine.two_nodes() as (driver, target, name):
        driver.do("stream", node=name, mebibytes=FIRST, timeout=PATIENCE)
        first = [end.do("usage")["peak"] for end in (driver, target)]
        driver.do("stream", node=name, mebibytes=STREAM, timeout=PATIENCE)
        last = [end.do("usage")["peak"] for end in (driver, target)]
    ratio = max(after / before for before, after in zip(first, last, strict=True))
    sender, receiver = (
        f"{before / MIB:.0f} to {after / MIB:.0f} MiB" for before, after in zip(first, last, strict=True)
    )
    result = Result(GOAL, f"{sum(last) / MIB:.0f} MiB", f"{sum(first) / MIB:.0f} MiB", ratio)
    result.notes.append(f"sender {sender}, receiver {receiver}")
    return result
