"""Frames and fragments: any pieces, any order that is one, and bounds."""

from __future__ import annotations

import platform
import struct
import subprocess
import sys
import time
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quicdist.protocol import FrameError, FrameTooLong
from quicdist.protocol.fragments import FragmentAssembler, TooLong, split
from quicdist.protocol.frames import FrameReader
from quicdist.protocol.handshake_framing import HandshakeBuffer, HandshakeFraming
from quicdist.protocol.handshake_messages import Due


def framed(*frames: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(frame)) + frame for frame in frames)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """``data`` cut at these places."""
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


# -- frames ------------------------------------------------------------------------------------

sizes = st.one_of(st.integers(0, 40), st.sampled_from([1023, 1024, 4095, 4096, 5000, 20_000]))


@settings(deadline=None)
@given(st.lists(sizes, max_size=8), st.lists(st.integers(0), max_size=12))
def test_any_cut_gives_the_same_frames(lengths: list[int], cuts: list[int]) -> None:
    frames = [bytes([65 + n % 26]) * length for n, length in enumerate(lengths)]
    reader = FrameReader("b@h", 20_000)
    got = [bytes(frame) for piece in pieces(framed(*frames), cuts) for frame in reader.feed(piece)]
    assert got == [frame for frame in frames if frame]
    assert reader.ticks == frames.count(b"")
    assert reader.buffered == 0


def test_byte_by_byte() -> None:
    frames = [b"a", b"", b"b" * 3000, b"", b"", b"c" * 70_000]
    reader = FrameReader("b@h")
    got = [bytes(f) for byte in framed(*frames) for f in reader.feed(bytes([byte]))]
    assert got == [f for f in frames if f]
    assert reader.ticks == 3


def test_a_large_frame_in_one_chunk_is_not_copied() -> None:
    chunk = framed(b"x" * 50_000)
    (frame,) = FrameReader("b@h").feed(chunk)
    assert isinstance(frame, memoryview)
    assert frame.obj is chunk


def test_a_small_frame_does_not_keep_a_large_chunk_alive() -> None:
    chunk = framed(b"x" * 5000, b"y" * 100_000)
    small, large = FrameReader("b@h").feed(chunk)
    assert isinstance(small, bytes)
    assert isinstance(large, memoryview)


@pytest.mark.parametrize("cut", [4, 5, 100])
def test_a_frame_too_long_is_refused_by_its_length_alone(cut: int) -> None:
    reader = FrameReader("b@h", 1000)
    (first,) = reader.feed(framed(b"x" * 1000))
    assert len(first) == 1000
    assert reader.feed(framed(b"x" * 1001)[:cut]) == []
    error = reader.too_long
    assert error is not None
    assert str(error) == "a frame from b@h has 1001 bytes, the limit is 1000"
    assert (error.length, error.limit) == (1001, 1000)
    assert reader.buffered == 0


def test_frames_before_one_too_long_are_given() -> None:
    reader = FrameReader("b@h", 1000)
    assert reader.feed(framed(b"a", b"b", b"x" * 1001, b"c")) == [b"a", b"b"]
    assert reader.too_long is not None


def test_tiny_chunks_of_a_frame_take_no_more_memory_than_the_frame() -> None:
    reader = FrameReader("b@h")
    reader.feed(struct.pack(">I", 1 << 20))
    tracemalloc.start()
    try:
        for _ in range(100_000):
            reader.feed(b"xy")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reader.buffered == 200_000
    assert held < 2 * reader.buffered


# -- fragments ---------------------------------------------------------------------------------


def unframe(chunks: list[bytes | memoryview]) -> list[bytes]:
    reader = FrameReader("b@h")
    return [bytes(frame) for frame in reader.feed(b"".join(chunks))]


def fragments(control: bytes, payload: list[bytes], size: int, sequence: int = 1) -> list[bytes]:
    return unframe(split(control, list(payload), len(control) + sum(map(len, payload)), size, sequence))


@settings(deadline=None)
@given(
    st.binary(min_size=1, max_size=30),
    st.lists(st.binary(max_size=50), min_size=1, max_size=6),
    st.integers(1, 40),
)
def test_split_and_joined(control: bytes, payload: list[bytes], size: int) -> None:
    whole = control + b"".join(payload)
    frames = fragments(control, payload, size)
    assert all(len(f) - 18 <= size for f in frames[1:])
    assert frames[0].startswith(b"\x83E" + struct.pack(">QQ", 1, len(frames)) + b"\0" + control)
    assert [struct.unpack_from(">QQ", f, 2)[1] for f in frames] == list(range(len(frames), 0, -1))
    assembler = FragmentAssembler("b@h")
    *some, last = [assembler.add(4, frame) for frame in frames]
    assert some == [None] * (len(frames) - 1)
    assert last == whole
    assert (len(assembler), assembler.held) == (0, 0)


@settings(deadline=None)
@given(st.data())
def test_any_interleaving(data: st.DataObject) -> None:
    """Sequences of one stream and of several; the same sequence number may live on two streams."""
    keys = data.draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), unique=True, max_size=6))
    left = {
        key: fragments(b"C%d.%d" % key, [data.draw(st.binary(min_size=1, max_size=60))], 8, key[1])
        for key in keys
    }
    expected = {key: b"".join(f[18 + (f[1] == 69) :] for f in left[key]) for key in keys}
    assembler = FragmentAssembler("b@h")
    got = {}
    while left:
        key = data.draw(st.sampled_from(sorted(left)))
        whole = assembler.add(key[0], left[key].pop(0))
        if not left[key]:
            del left[key]
            assert isinstance(whole, bytes | memoryview)
            got[key] = bytes(whole)
        else:
            assert whole is None
    assert got == expected
    assert (len(assembler), assembler.held) == (0, 0)


#: The page faults of each of some messages of 4 MiB, which are put together and copied.
_FAULTS = """
import resource
from quicdist.protocol.fragments import FragmentAssembler, split
from quicdist.protocol.frames import FrameReader
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    reader, assembler = FrameReader("b@h"), FragmentAssembler("b@h")
    parts = split(b"c", [bytes(65536)] * 64, (4 << 20) + 1, 65536, 1)
    frames = [frame for part in parts for frame in reader.feed(bytes(part))]
    *_, whole = [assembler.add(4, frame) for frame in frames]
    copied = bytes(memoryview(whole)[1:])
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, len(copied))
    del parts, frames, whole, copied
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory by such a threshold"
)
def test_a_large_message_is_put_into_memory_of_the_one_before() -> None:
    faults = subprocess.run(
        [sys.executable, "-c", _FAULTS], check=True, capture_output=True, text=True
    ).stdout
    counts = [tuple(map(int, line.split())) for line in faults.splitlines()]
    assert {size for _, size in counts} == {4 << 20}
    assert counts[-1][0] < counts[0][0] / 8


def first(sequence: int, left: int, body: bytes = b"x", refs: int = 0) -> bytes:
    return b"\x83E" + struct.pack(">QQB", sequence, left, refs) + body


def following(sequence: int, left: int, body: bytes = b"x") -> bytes:
    return b"\x83F" + struct.pack(">QQ", sequence, left) + body


@pytest.mark.parametrize(
    ("frames", "text"),
    [
        ([following(1, 2)], "expected a first fragment, got fragment 2 of the unknown sequence 1"),
        ([first(1, 3), following(1, 3)], "expected fragment 2 of sequence 1, got fragment 3"),
        ([first(1, 3), following(1, 1)], "expected fragment 2 of sequence 1, got fragment 1"),
        ([first(1, 3), following(2, 2)], "unknown sequence 2"),
        ([first(1, 3), first(1, 3)], "expected fragment 2 of sequence 1, got another first one"),
        ([first(1, 2), following(1, 1), following(1, 0)], "unknown sequence 1"),
        ([first(1, 2), following(1, 0)], "expected fragment 1 of sequence 1, got fragment 0"),
        ([first(1, 0)], "at least 1 fragment, got 0"),
        ([first(1, 2, refs=1)], "without atom cache references"),
        ([first(1, 2)[:18]], "without atom cache references"),
        ([first(1, 2)[:17]], "a fragment header of 18 bytes, got 17"),
    ],
)
def test_malformed_sequences(frames: list[bytes], text: str) -> None:
    assembler = FragmentAssembler("b@h")
    *good, bad = frames
    for frame in good:
        assembler.add(8, frame)
    with pytest.raises(FrameError, match=f"fragment on stream 8 from b@h: .*{text}"):
        assembler.add(8, bad)


def test_a_message_in_one_fragment() -> None:
    assert FragmentAssembler("b@h").add(4, first(1, 1, b"whole")) == b"whole"


def test_the_length_of_a_message_is_bounded() -> None:
    assembler = FragmentAssembler("b@h", max_message=100)
    assembler.add(4, first(1, 1 << 60, b"x" * 60))  # how many are announced costs nothing
    assert assembler.add(4, following(1, (1 << 60) - 1, b"x" * 60)) is None
    assert assembler.held == 60


def test_of_a_message_that_is_too_long_the_first_fragment_is_left() -> None:
    assembler = FragmentAssembler("b@h", max_message=100)
    assembler.add(4, first(1, 4, b"x" * 60))
    for left in (3, 2):
        assert assembler.add(4, following(1, left, b"y" * 60)) is None
        assert assembler.held == 60
    assert assembler.add(4, first(2, 1, b"other")) == b"other"
    refused = assembler.add(4, following(1, 1, b"y" * 60))
    assert isinstance(refused, TooLong)
    assert refused.beginning == b"x" * 60
    assert str(refused.error) == "a message in fragments from b@h has 120 bytes, the limit is 100"
    assert assembler.held == len(assembler) == 0


def test_the_number_of_half_assembled_messages_is_bounded() -> None:
    assembler = FragmentAssembler("b@h", max_partial_messages=2)
    assembler.add(4, first(1, 2))
    assembler.add(8, first(1, 2))
    assembler.add(4, first(2, 1))
    with pytest.raises(FrameError, match="at most 2 messages in fragments at once"):
        assembler.add(4, first(3, 2))


def test_a_message_with_no_room_beside_half_assembled_ones_is_refused() -> None:
    assembler = FragmentAssembler("b@h", max_message=100, max_partial_bytes=150)
    assembler.add(4, first(1, 3, b"x" * 80))
    assembler.add(4, first(2, 3, b"y" * 60))
    assembler.add(4, following(2, 2, b"y" * 30))
    assert assembler.held == 140
    assembler.add(4, following(1, 2, b"x" * 10))
    assert assembler.add(4, following(1, 1, b"x" * 10)) == b"x" * 100
    refused = assembler.add(4, following(2, 1, b"y" * 30))
    assert isinstance(refused, TooLong)
    assert str(refused.error) == "incomplete messages from b@h has 170 bytes, the limit is 150"


def test_what_half_assembled_messages_hold_is_bounded() -> None:
    assembler = FragmentAssembler("b@h", max_message=100, max_partial_bytes=150)
    assembler.add(4, first(1, 3, b"x" * 80))
    with pytest.raises(FrameTooLong, match="incomplete messages from b@h has 160 bytes, the limit is 150"):
        assembler.add(4, first(2, 3, b"x" * 80))


# -- what costs more than its bytes ------------------------------------------------------------


def test_many_ticks_at_once_are_counted_in_linear_time() -> None:
    begun = time.process_time()
    reader = FrameReader("b@h")
    assert list(reader.feed(bytes(4 << 20) + framed(b"abc"))) == [b"abc"]
    assert reader.ticks == 1 << 20
    handshake = HandshakeBuffer(HandshakeFraming.BARE)
    handshake.feed(bytes(4 << 20) + b"\0")
    assert handshake.next(Due.STATUS, "b@h") is None
    handshake.feed(b"\0\0\0sok\0")
    assert handshake.next(Due.STATUS, "b@h") == b"sok"
    # Copied for every tick, they would take a minute.
    assert time.process_time() - begun < 1.0


def test_tiny_fragments_take_little_more_memory_than_what_they_carry() -> None:
    assembler = FragmentAssembler("b@h")
    count = 20_000
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        assembler.add(0, struct.pack(">BBQQB", 131, 69, 1, 2 * count, 0) + b"head")
        for left in range(2 * count - 1, count, -1):
            # Empty ones too: they add nothing to what is held.
            assembler.add(0, struct.pack(">BBQQ", 131, 70, 1, left) + b"x" * (left % 2))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 10 * count
    for left in range(count, 1, -1):
        assert assembler.add(0, struct.pack(">BBQQ", 131, 70, 1, left)) is None
    whole = assembler.add(0, struct.pack(">BBQQ", 131, 70, 1, 1))
    assert whole == b"head" + b"x" * (count // 2)
    assert assembler.held == 0
