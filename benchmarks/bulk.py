"""1 MiB messages with a BEAM over quic_dist, against two BEAMs.

Two BEAMs stall after some MiB, for good. So each of their measurements has a connection of its own, and
counts the messages that have come within a limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results import Goal, Result, Sense, megabytes, summary

if TYPE_CHECKING:
    from benchmarks.sides import Machine

MIB = 1 << 20
ROUNDS = 3
MESSAGES = 64
WARM_UP = 8

_PEER = "two BEAMs over quic_dist"
OUT = Goal("quic-bulk-out", "1 MiB messages, Python to BEAM over quic_dist", _PEER, Sense.MORE, 60, 100)
IN = Goal("quic-bulk-in", "1 MiB messages, BEAM to Python over quic_dist", _PEER, Sense.MORE, 60, 100)


def run_out(machine: Machine) -> Result:
    return _run(OUT, "bulk_in", machine)


def run_in(machine: Machine) -> Result:
    return _run(IN, "bulk_out", machine)


def _run(goal: Goal, operation: str, machine: Machine) -> Result:
    """``operation`` is that of the BEAM, which drives."""
    ours, theirs = [], []
    with machine.beam_and_ours_over_quic() as ours_side:
        ours_side(operation, MIB, WARM_UP)
        for _ in range(ROUNDS):
            ours.append(ours_side(operation, MIB, MESSAGES))
            with machine.two_beams_over_quic() as peer:
                theirs.append(peer(operation, MIB, MESSAGES))
    return summary(goal, megabytes, ours, theirs)
