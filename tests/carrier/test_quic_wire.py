"""Pieces of packets, as aioquic writes and reads them."""

from __future__ import annotations

from random import Random

import pytest
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.packet import pull_ack_frame, push_ack_frame
from aioquic.quic.rangeset import RangeSet

from quicdist.carrier.quic.engine.wire import frames as wire

EDGES = [0, 1, 63, 64, 16383, 16384, (1 << 30) - 1, 1 << 30, (1 << 62) - 1]


@pytest.mark.parametrize("value", EDGES)
def test_integers(value: int) -> None:
    buffer = Buffer(capacity=8)
    buffer.push_uint_var(value)
    assert wire.uint(value) == buffer.data
    assert wire.read_uint(b"x" + buffer.data + b"y", 1) == (value, 1 + len(buffer.data))
    with pytest.raises(IndexError):
        wire.read_uint(buffer.data[:-1], 0)


def some_ranges(random: Random) -> RangeSet:
    ranges = RangeSet()
    at = random.choice((0, 5, 60, 16000, 1 << 30))
    for _ in range(random.choice((1, 1, 2, 5, 60))):
        at += random.choice((1, 3, 70, 20000))
        stop = at + random.choice((1, 2, 100))
        ranges.add(at, stop)
        at = stop
    return ranges


@pytest.mark.parametrize("seed", range(50))
def test_acknowledgements(seed: int) -> None:
    ranges = some_ranges(Random(seed))
    buffer = Buffer(capacity=2000)
    push_ack_frame(buffer, ranges, 1234, 2000)
    frame = wire.ack(ranges, 1234, 2000)
    assert frame == b"\x02" + buffer.data
    read, delay, end = wire.read_ack(b"x" + frame, 2)
    assert (RangeSet(read), delay) == pull_ack_frame(Buffer(data=buffer.data))
    assert list(ranges) == read
    assert end == len(frame) + 1
    for cut in range(1, len(frame)):
        with pytest.raises(IndexError):
            wire.read_ack(frame[:cut], 1)


def test_the_oldest_packets_are_left_out_where_there_is_no_room() -> None:
    ranges = RangeSet(range(at, at + 1) for at in range(0, 200, 2))
    whole = wire.ack(ranges, 0, 1000)
    for room in range(20, len(whole)):
        frame = wire.ack(ranges, 0, room)
        assert room - 2 <= len(frame) <= room
        read, _, _ = wire.read_ack(frame, 1)
        assert read == list(ranges)[-len(read) :]


def test_packets_below_zero_are_not_acknowledged() -> None:
    with pytest.raises(IndexError):
        wire.read_ack(b"\x02\x05\0\0\x06", 1)
    with pytest.raises(IndexError):
        wire.read_ack(b"\x02\x05\0\x01\x01\x02\x01", 1)
