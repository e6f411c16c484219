"""The peak memory of two nodes while one sends a long stream to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results import Goal, Result, Sense

if TYPE_CHECKING:
    from benchmarks.sides import Machine

MIB = 1 << 20
#: MiB of the warm-up, and of the measured stream.
FIRST, STREAM = 64, 1024
#: The stream is sent in so many parts, after each of which the peak is read.
PARTS = 4
#: Seconds for each part.
PATIENCE = 300.0
#: The allowed growth: allocators need some MiB.
FLAT = 1.1

GOAL = Goal(
    "memory",
    "peak memory of both nodes after a stream of 1 GiB over QUIC",
    "their peak after the first 64 MiB",
    Sense.LESS,
    FLAT,
    FLAT,
)


def run(machine: Machine) -> Result:
    with machine.two_nodes() as (driver, target, name):
        driver.do("stream", node=name, mebibytes=FIRST, timeout=PATIENCE)
        first = [end.do("usage")["peak"] for end in (driver, target)]
        ratios = []
        for _ in range(PARTS):
            driver.do("stream", node=name, mebibytes=STREAM // PARTS, timeout=PATIENCE)
            last = [end.do("usage")["peak"] for end in (driver, target)]
            ratios.append(max(after / before for before, after in zip(first, last, strict=True)))
    sender, receiver = (
        f"{before / MIB:.0f} to {after / MIB:.0f} MiB" for before, after in zip(first, last, strict=True)
    )
    result = Result(GOAL, f"{sum(last) / MIB:.0f} MiB", f"{sum(first) / MIB:.0f} MiB", ratios[-1])
    result.spread = min(ratios), max(ratios)
    result.notes.append(f"sender {sender}, receiver {receiver}")
    return result
