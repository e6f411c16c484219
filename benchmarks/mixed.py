"""Large and small transfers beside calls, with a BEAM over quic_dist, against each of them alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.end_quicdist import CALL_EVERY, MIXED
from benchmarks.ends import EndError, PythonEnd
from benchmarks.results import Goal, Result, Sense, duration, megabytes, summary

if TYPE_CHECKING:
    from benchmarks.sides import Machine

MIB = 1 << 20
ROUNDS = 5
#: Seconds of each measurement.
SECONDS = 3.0

BULK = Goal(
    "mixed-bulk",
    "4 MiB and 64 KiB both ways beside calls, with a BEAM over quic_dist",
    "4 MiB both ways alone",
    Sense.MORE,
    0.4,
    0.7,
)
CALLS = Goal(
    "mixed-calls",
    f"calls (p99, {1 / CALL_EVERY:.0f} a second) beside these transfers",
    "the calls alone",
    Sense.LESS,
    8,
    4,
)


def run_bulk(machine: Machine) -> Result:
    with machine.quic_pair() as (beam, ours):
        pairs = [
            (
                _transfers(_measure(ours, beam.name, MIXED, True)),
                _transfers(_measure(ours, beam.name, MIXED[:1])),
            )
            for _ in range(ROUNDS)
        ]
    return summary(BULK, megabytes, [one for one, _ in pairs], [other for _, other in pairs])


def run_calls(machine: Machine) -> Result:
    with machine.quic_pair() as (beam, ours):
        pairs = [
            (_p99(_measure(ours, beam.name, MIXED, True)), _p99(_measure(ours, beam.name, (), True)))
            for _ in range(ROUNDS)
        ]
    return summary(CALLS, duration, [one for one, _ in pairs], [other for _, other in pairs])


def _measure(ours: PythonEnd, beam: str, sizes: tuple[int, ...], calls: bool = False) -> dict[str, Any]:
    result: dict[str, Any] = ours.do("mixed", node=beam, seconds=SECONDS, sizes=sizes, calls=calls)
    return result


def _transfers(result: dict[str, Any]) -> float:
    """The seconds of one MiB."""
    return MIB / float(result["rate"])


def _p99(result: dict[str, Any]) -> float:
    times: list[float] = sorted(result["calls"])
    if not times:
        raise EndError("no call was answered")
    return times[len(times) * 99 // 100]
