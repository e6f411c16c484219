"""Variable-length integers, and ACK and STREAM frames (RFC 9000, sections 16, 19.3 and 19.8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

#: Types of frames (section 19).
PADDING: Final = 0x00
PING: Final = 0x01
ACK: Final = 0x02
STREAM: Final = 0x08
MAX_DATA: Final = 0x10
MAX_STREAM_DATA: Final = 0x11
#: The bits in the type of a STREAM frame (section 19.8).
FIN: Final = 0x01
LENGTH: Final = 0x02
OFFSET: Final = 0x04

#: The largest integer of one byte.
ONE_BYTE: Final = 0x3F
#: By the two bits of its prefix, which bits of an integer are its value.
VALUES: Final = ((1 << 6) - 1, (1 << 14) - 1, (1 << 30) - 1, (1 << 62) - 1)
#: The prefix of an integer of 14 bits in two bytes.
TWO_BYTES: Final = 0x4000


def uint(value: int) -> bytes:
    """A variable-length integer (section 16)."""
    if value < 0x40:
        return value.to_bytes(1)
    if value < 0x4000:
        return (value | 0x4000).to_bytes(2)
    if value < 0x4000_0000:
        return (value | 0x8000_0000).to_bytes(4)
    return (value | 0xC000_0000_0000_0000).to_bytes(8)


def read_uint(data: bytes, at: int) -> tuple[int, int]:
    """The variable-length integer at ``at``, and where it ends. Raises IndexError if it is cut short."""
    first = data[at]
    if first < 0x40:
        return first, at + 1
    end = at + (1 << (first >> 6))
    data[end - 1]
    return int.from_bytes(data[at:end]) & ((1 << ((end - at) * 8 - 2)) - 1), end


def read_stream(payload: bytes) -> tuple[int, int, int] | None:
    """The stream id, the offset, and where the data begin, if ``payload`` is one STREAM frame (section 19.8)
    with data and without FIN; else None."""
    size = len(payload)
    if size < 3 or payload[0] & 0xF9 != STREAM:
        return None
    kind, stream_id, at, offset = payload[0], payload[1], 2, 0
    # The integers are read here, without calls; one that is cut short ends after the payload.
    if stream_id > ONE_BYTE:
        prefix = stream_id >> 6
        at = 1 + (1 << prefix)
        stream_id = int.from_bytes(payload[1:at]) & VALUES[prefix]
    if kind & OFFSET:
        if at >= size:
            return None
        prefix = payload[at] >> 6
        end = at + (1 << prefix)
        offset = int.from_bytes(payload[at:end]) & VALUES[prefix]
        at = end
    if kind & LENGTH:
        if at >= size:
            return None
        prefix = payload[at] >> 6
        end = at + (1 << prefix)
        if end + (int.from_bytes(payload[at:end]) & VALUES[prefix]) != size:
            return None
        at = end
    return (stream_id, offset, at) if at < size else None


def ack(ranges: Sequence[range], delay: int, room: int) -> bytes:
    """An ACK frame (section 19.3) for the packets in ``ranges``, which ascend and do not touch. If all need
    more than ``room`` bytes, the oldest are left out. ``delay`` is in units of the ack_delay_exponent."""
    newest = ranges[-1]
    largest = newest.stop - 1
    if len(ranges) == 1:
        return b"\x02%b%b\0%b" % (uint(largest), uint(delay), uint(largest - newest.start))
    # The type, and the count in at most two bytes.
    room -= 3 + len(uint(largest)) + len(uint(delay)) + len(uint(largest - newest.start))
    older = []
    start = newest.start
    for packets in reversed(ranges[:-1]):
        piece = uint(start - packets.stop - 1) + uint(packets.stop - packets.start - 1)
        room -= len(piece)
        if room < 0:
            break
        older.append(piece)
        start = packets.start
    head = uint(largest), uint(delay), uint(len(older)), uint(largest - newest.start)
    return b"\x02%b%b%b%b%b" % (*head, b"".join(older))


def read_ack(data: bytes, at: int) -> tuple[list[range], int, int]:
    """The packets that an ACK frame acknowledges, ascending; the delay; and where the frame ends. Its type
    ends at ``at``. Raises IndexError if it is cut short or a packet number is negative."""
    largest, at = read_uint(data, at)
    delay, at = read_uint(data, at)
    count, at = read_uint(data, at)
    size, at = read_uint(data, at)
    start = largest - size
    ranges = [range(start, largest + 1)]
    for _ in range(count):
        gap, at = read_uint(data, at)
        size, at = read_uint(data, at)
        stop = start - gap - 1
        start = stop - size - 1
        ranges.append(range(start, stop))
    if start < 0:
        raise IndexError("packets below 0")
    ranges.reverse()
    return ranges, delay, at
