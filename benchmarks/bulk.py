"""1 MiB messages with a BEAM over quic_dist, against two BEAMs.

Each measurement has new nodes and a new connection, on both sides. Two BEAMs stall after some MiB, for good,
so a measurement counts the messages that have come within a limit. quic_dist 1.8.1 answers every datagram
with a MAX_DATA frame once 128 MiB have come on a connection, which two BEAMs never reach.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.results import Goal, Result, Sense, megabytes, summary

if TYPE_CHECKING:
    from benchmarks.sides import Machine

MIB = 1 << 20
ROUNDS = 3
MESSAGES = 128

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
    for _ in range(ROUNDS):
        with machine.beam_and_ours_over_quic() as ours_side:
            ours.append(ours_side(operation, MIB, MESSAGES))
        with machine.two_beams_over_quic() as peer:
            theirs.append(peer(operation, MIB, MESSAGES))
    return summary(goal, megabytes, ours, theirs)
