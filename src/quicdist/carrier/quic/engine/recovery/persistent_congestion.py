"""Persistent congestion: all packets of a long time are lost (RFC 9002, section 7.6)."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, Final

#: Probe timeouts that make a time long (section 7.6.1).
THRESHOLD: Final = 3
#: Packets between two lost ones that are looked up one by one; of more, one counts as acknowledged.
_MAX_GAP: Final = 64


def is_persistent_congestion(
    lost: Sequence[Any], known_lost: Container[int], *, first_sample_at: float | None, probe_timeout: float
) -> bool:
    """Whether ``lost``, packets in the order of their numbers, span such a time, with none in between that
    was acknowledged (section 7.6.2). ``known_lost`` are the numbers of those lost before,
    ``first_sample_at`` is the time of the first round-trip sample. Times are in seconds."""
    if first_sample_at is None or len(lost) < 2:
        return False
    duration = THRESHOLD * probe_timeout
    if lost[-1].sent_time - lost[0].sent_time <= duration:
        return False
    start: float | None = None
    expected = lost[0].packet_number
    for packet in lost:
        number = packet.packet_number
        if number - expected > _MAX_GAP or any(n not in known_lost for n in range(expected, number)):
            start = None  # One in between was acknowledged.
        expected = number + 1
        if packet.is_ack_eliciting and packet.sent_time > first_sample_at:
            if start is None:
                start = packet.sent_time
            elif packet.sent_time - start > duration:
                return True
    return False
