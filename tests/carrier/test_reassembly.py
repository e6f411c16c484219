"""Data out of order, kept as pieces: against a model, and what they cost."""

from __future__ import annotations

import sys
import tracemalloc
from random import Random

import pytest
from aioquic.quic.connection import QuicConnectionError
from aioquic.quic.packet import QuicErrorCode, QuicStreamFrame
from aioquic.quic.rangeset import RangeSet
from aioquic.quic.stream import FinalSizeError

from quicdist.carrier.quic.engine.aioquic.ranges import Ranges
from quicdist.carrier.quic.engine.aioquic.reassembly import (
    CHUNK,
    CryptoReceiver,
    PacketDropped,
    Pieces,
    ReassemblyBudget,
    ReassemblyLimits,
    Receiver,
)

LARGE = ReassemblyLimits(pieces=1 << 30, base=1 << 30, bytes_each=1, size=1 << 40, per_stream=1 << 30)


def receiver(limits: ReassemblyLimits = LARGE, error: QuicErrorCode | None = None) -> Receiver:
    return Receiver(0, readable=True, budget=ReassemblyBudget(limits, error))


def frame(offset: int, data: bytes, *, fin: bool = False) -> QuicStreamFrame:
    return QuicStreamFrame(data=data, fin=fin, offset=offset)


def take(receiver: Receiver, offset: int, data: bytes, *, fin: bool = False) -> bytes:
    event = receiver.handle_frame(frame(offset, data, fin=fin))
    return b"" if event is None else event.data


@pytest.mark.parametrize("seed", range(40))
def test_random_frames_come_out_in_order(seed: int) -> None:
    random = Random(seed)
    whole = random.randbytes(random.choice((10, 300, 20_000, 100_000)))
    longest = random.choice((1, 20, 1200, 30_000))
    frames = []
    at = 0
    while at < len(whole):
        size = random.randint(1, longest)
        # With some of what was sent before, and some of what comes later.
        start = max(0, at - random.choice((0, 0, 0, random.randint(0, longest))))
        frames.append((start, whole[start : at + size]))
        at += size
    frames += random.choices(frames, k=len(frames) // 4)
    order = random.choice(("shuffled", "backwards", "in order", "even first"))
    if order == "shuffled":
        random.shuffle(frames)
    elif order == "backwards":
        frames.reverse()
    elif order == "even first":
        frames = frames[::2] + frames[1::2]
    budget = ReassemblyBudget(LARGE, None)
    receiver = Receiver(0, readable=True, budget=budget)
    came = b""
    for offset, data in frames:
        event = receiver.handle_frame(frame(offset, data))
        if event is not None:
            assert event.data
            assert receiver.starting_offset() == len(came) + len(event.data)
            came += event.data
    assert came == whole
    assert (budget.pieces, budget.size) == (0, 0)


@pytest.mark.parametrize("seed", range(10))
def test_the_budget_counts_what_is_kept(seed: int) -> None:
    random = Random(seed)
    budget = ReassemblyBudget(LARGE, None)
    pieces = Pieces(budget)
    kept: set[int] = set()
    for _ in range(300):
        offset, size = random.randrange(3000), random.choice((1, 3, 50, 400))
        pieces.add(offset, bytes(size))
        kept.update(range(offset, offset + size))
        assert budget.size == len(kept)
        assert budget.pieces == len(pieces) <= len(kept)
    pieces.clear()
    assert (budget.pieces, budget.size, len(pieces)) == (0, 0, 0)


def test_the_end_of_a_stream() -> None:
    whole = receiver()
    assert whole.handle_frame(frame(2, b"cd", fin=True)) is None
    assert whole.handle_frame(frame(4, b"", fin=True)) is None
    with pytest.raises(FinalSizeError):
        whole.handle_frame(frame(4, b"e"))
    with pytest.raises(FinalSizeError):
        whole.handle_frame(frame(2, b"c", fin=True))
    event = whole.handle_frame(frame(0, b"ab"))
    assert event is not None
    assert (event.data, event.end_stream, whole.is_finished) == (b"abcd", True, True)
    assert whole.handle_frame(frame(0, b"ab")) is None
    empty = receiver()
    event = empty.handle_frame(frame(0, b"", fin=True))
    assert event is not None
    assert (event.data, event.end_stream) == (b"", True)
    early = receiver()
    take(early, 5, b"x")
    with pytest.raises(FinalSizeError):
        early.handle_frame(frame(0, b"ab", fin=True))


def test_a_reset_gives_back_what_was_kept() -> None:
    budget = ReassemblyBudget(LARGE, None)
    receiver = Receiver(0, readable=True, budget=budget)
    receiver.handle_frame(frame(10, b"x"))
    assert budget.size == 1
    receiver.handle_reset(final_size=11)
    assert (budget.size, budget.pieces) == (0, 0)


def test_a_frame_that_exceeds_the_budget_changes_nothing() -> None:
    limits = ReassemblyLimits(pieces=100, base=4, bytes_each=16, size=1000, per_stream=100)
    few = receiver(limits)
    for number in range(4):
        assert take(few, 10 + 2 * number, b"x") == b""
    with pytest.raises(PacketDropped):
        take(few, 100, b"y")
    assert few.highest_offset == 17
    with pytest.raises(PacketDropped):
        take(few, 100, b"y", fin=True)
    assert few._final_size is None
    # Larger ones may be more, up to a number of bytes.
    assert take(few, 100, bytes(64)) == b""
    with pytest.raises(PacketDropped):
        take(few, 1000, bytes(1000))
    # What is in order is always taken, and makes room.
    assert take(few, 0, bytes(10)) == bytes(10) + b"x"
    assert take(few, 50, b"z") == b""
    with pytest.raises(QuicConnectionError) as caught:
        take(receiver(limits, QuicErrorCode.INTERNAL_ERROR), 5, bytes(2000))
    assert caught.value.error_code == QuicErrorCode.INTERNAL_ERROR


def kept_by(pieces: list[tuple[int, int]]) -> int:
    """Bytes of memory that ``(offset, size)`` frames cost."""
    budget = ReassemblyBudget(LARGE, None)
    held = Pieces(budget)
    tracemalloc.start()
    try:
        for offset, size in pieces:
            held.add(offset, b"%c" % (offset % 256) * size)
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_a_gap_costs_nothing() -> None:
    assert kept_by([(1 << 40, 1)]) < 2000


@pytest.mark.parametrize("order", [range(1, 20_001), range(20_000, 0, -1)], ids=["ascending", "descending"])
def test_bytes_that_touch_are_joined(order: range) -> None:
    assert kept_by([(offset, 1) for offset in order]) < 3 * 20_000


def test_a_window_of_packets_is_a_few_chunks() -> None:
    budget = ReassemblyBudget(LARGE, None)
    held = Pieces(budget)
    size, count = 1200, 10_000
    for number in range(1, count):
        held.add(number * size, bytes(size))
    assert len(held) < 2 * count * size // CHUNK


class Steps:
    """Counts calls of functions, of Python's and of C's: what time would tell, on a machine of its own."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Steps:
        sys.setprofile(self._called)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)

    def _called(self, frame: object, event: str, arg: object) -> None:
        if event in ("call", "c_call"):
            self.count += 1


@pytest.mark.parametrize("step", [2, -2, 1, -1])
def test_twice_the_frames_take_twice_the_steps(step: int) -> None:
    def steps(count: int) -> int:
        whole = receiver()
        offsets = range(2, 2 + abs(step) * count, abs(step))
        with Steps() as steps:
            for offset in offsets if step > 0 else reversed(offsets):
                whole.handle_frame(frame(offset, b"x"))
            whole.handle_frame(frame(0, bytes(2)))
        return steps.count

    assert steps(4000) < 2.3 * steps(2000)


# -- TLS messages -------------------------------------------------------------------------------


def crypto() -> CryptoReceiver:
    return CryptoReceiver(
        ReassemblyBudget(LARGE, QuicErrorCode.CRYPTO_BUFFER_EXCEEDED), CryptoReceiver.MAX_MESSAGE
    )


def test_tls_messages_are_handed_on_whole() -> None:
    whole = crypto()
    messages = b"\1\0\0\3abc" + b"\2\0\0\0" + b"\3\0\0\1d"
    came = []
    for offset in range(len(messages)):
        event = whole.handle_frame(frame(offset, messages[offset : offset + 1]))
        assert event is not None  # It was not here before.
        if event.data:
            came.append(event.data)
    assert came == [b"\1\0\0\3abc", b"\2\0\0\0", b"\3\0\0\1d"]
    assert whole.handle_frame(frame(0, messages)) is None


def test_a_tls_message_has_a_greatest_length() -> None:
    with pytest.raises(QuicConnectionError) as caught:
        crypto().handle_frame(frame(0, b"\1\1\0\0"))
    assert caught.value.error_code == QuicErrorCode.CRYPTO_BUFFER_EXCEEDED


def test_tls_messages_beyond_a_number_are_dropped() -> None:
    whole = crypto()
    ticket = b"\4\0\0\1x"
    event = whole.handle_frame(frame(0, ticket * 100))
    assert event is not None
    assert event.data == ticket * CryptoReceiver.MAX_MESSAGES
    event = whole.handle_frame(frame(500, ticket))
    assert event is not None
    assert not event.data
    assert not whole._whole


# -- ranges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_ranges_are_those_of_aioquic(seed: int) -> None:
    random = Random(seed)
    ours, theirs = Ranges(), RangeSet()
    for _ in range(400):
        start, size = random.randrange(400), random.choice((1, 1, 2, 10, 100))
        change = random.choice(("add", "add", "subtract", "shift"))
        if change == "add":
            ours.add(start, start + size)
            theirs.add(start, start + size)
        elif change == "subtract":
            ours.subtract(start, start + size)
            theirs.subtract(start, start + size)
        elif len(theirs) > 20:
            assert ours.shift() == theirs.shift()
        assert list(ours) == list(theirs)
        assert (start in ours) == (start in theirs)
    assert Ranges(theirs) == ours
