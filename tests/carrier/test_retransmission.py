"""What is sent again is cut where it was cut before: checked with receivers that join frames as quic_dist
does up to 1.8.1, and with one that follows RFC 9000, over all orders of loss, arrival and acknowledgement."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from aioquic.quic.packet import QuicStreamFrame
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.stream import QuicStream, QuicStreamSender

from quicdist.carrier.quic.engine.aioquic import retransmission
from quicdist.carrier.quic.engine.aioquic.configuration import client_configuration
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.aioquic.retransmission import (
    MANY_ENDS,
    PacketCapacity,
    RetransmittingSender,
)
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.security.certificates import CertificateFiles

ACKED, LOST = QuicDeliveryState.ACKED, QuicDeliveryState.LOST

#: Bytes of packets with datagrams of 16384, 8972, 1452 and 1200 bytes.
ROOMS = [size - 27 for size in (16384, 8972, 1452, 1200)]


class QuicDist:
    """How quic_dist 0.11.0 to 1.8.1 joins the frames of a stream: those that begin where another ended, by
    their offsets. ``replaces``: of two frames with one offset the later one is kept."""

    def __init__(self, *, replaces: bool = True) -> None:
        self._replaces = replaces
        self._held: dict[int, tuple[bytes, bool]] = {}
        self.data = bytearray()
        self.ended = False

    def frame(self, offset: int, data: bytes, fin: bool) -> None:
        if self._replaces or offset not in self._held:
            self._held[offset] = data, fin
        while (held := self._held.pop(len(self.data), None)) is not None:
            self.data += held[0]
            self.ended |= held[1]
            if not held[0]:
                break


class Rfc9000:
    """A receiver that takes every byte from wherever it comes."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._has = bytearray()
        self._end: int | None = None

    @property
    def data(self) -> bytearray:
        missing = self._has.find(0)
        return self._buffer if missing < 0 else self._buffer[:missing]

    @property
    def ended(self) -> bool:
        return len(self.data) == self._end

    def frame(self, offset: int, data: bytes, fin: bool) -> None:
        stop = offset + len(data)
        missing = bytes(max(0, stop - len(self._has)))
        self._buffer += missing
        self._has += missing
        self._buffer[offset:stop] = data
        self._has[offset:stop] = b"\1" * len(data)
        if fin:
            assert self._end in (None, stop)
            self._end = stop


Receiver = QuicDist | Rfc9000
RECEIVERS: dict[str, Callable[[], Receiver]] = {
    "quic_dist": QuicDist,
    "quic_dist, first frame kept": lambda: QuicDist(replaces=False),
    "RFC 9000": Rfc9000,
}


def sender_of(
    room: int, *, crypto: bool = False, stream_id: int = 4
) -> tuple[RetransmittingSender, PacketCapacity]:
    shared = PacketCapacity()
    shared.size = room
    kind = retransmission.CryptoSender if crypto else RetransmittingSender
    return kind(stream_id, writable=True, capacity=shared), shared


Frame = tuple[int, bytes, bool]


class Exchange:
    """One stream over a network that loses, doubles and reorders, with acknowledgements that come late or not
    at all. What each packet came to is told the sender in any order: lost, acknowledged, and both."""

    def __init__(self, seed: int, receiver: Receiver, *, crypto: bool) -> None:
        self.random = Random(seed)
        self.receiver = receiver
        self.crypto = crypto
        self.sender, self.shared = sender_of(self.random.choice(ROOMS), crypto=crypto)
        self.wrote = bytearray()
        self.ended = False
        #: Sent, and neither acknowledged nor lost as far as the sender knows.
        self.sent: list[Frame] = []
        #: Lost as far as the sender knows, but perhaps acknowledged later, or lost again.
        self.given_up: list[Frame] = []
        #: On their way.
        self.under_way: list[Frame] = []
        #: Frames that have arrived, and whose acknowledgement is on its way.
        self.arrived: list[Frame] = []

    def write(self) -> None:
        if self.ended or len(self.wrote) > 40_000:
            return
        data = self.random.randbytes(self.random.choice([0, 1, 30, 1000, 5000, 20_000]))
        self.ended = not self.crypto and self.random.random() < 0.1
        self.sender.write(data, self.ended)
        self.wrote += data

    def resize(self) -> None:
        self.shared.size = self.random.choice(ROOMS)

    def step(self) -> None:
        steps = [self.write, self.resize, self.lose, self.lose_again]
        steps += 2 * [self.arrive, self.acknowledge] + 4 * [self.send_something]
        self.random.choice(steps)()

    def send_something(self) -> None:
        self.send()

    def send(self, *, whole: bool = False) -> bool:
        """Send one packet; in what is left of one, unless ``whole``."""
        room = self.shared.size
        if not whole and self.random.random() < 0.3:
            room = self.random.randrange(room)
        frame = self.sender.get_frame(room - 3 - 1 - (8 if self.sender.next_offset else 0) + 4)
        if frame is None:
            return False
        self._check(frame, room)
        sent = (frame.offset, frame.data, frame.fin)
        self.sent.append(sent)
        if self.random.random() < 0.7:
            self.under_way.append(sent)
        if self.random.random() < 0.1:
            self.under_way.append(sent)
        return True

    def _check(self, frame: QuicStreamFrame, room: int) -> None:
        assert len(frame.data) <= room
        assert frame.data == self.wrote[frame.offset : frame.offset + len(frame.data)]
        assert frame.data or frame.fin

    def _some(self, frames: list[Frame]) -> list[Frame]:
        """Takes some of ``frames`` out."""
        taken = [frame for frame in frames if self.random.random() < 0.4]
        self.random.shuffle(taken)
        for frame in taken:
            frames.remove(frame)
        return taken

    def arrive(self) -> None:
        for frame in self._some(self.under_way):
            self.receiver.frame(*frame)
            if self.random.random() < 0.7:
                self.arrived.append(frame)

    def acknowledge(self) -> None:
        for frame in self._some(self.arrived):
            for known in (self.sent, self.given_up):
                if frame in known:
                    known.remove(frame)
                    self._tell(ACKED, frame)
                    break

    def lose(self) -> None:
        for frame in self._some(self.sent):
            self._tell(LOST, frame)
            self.given_up.append(frame)

    def lose_again(self) -> None:
        for frame in self._some(self.given_up):
            self._tell(LOST, frame)

    def _tell(self, state: QuicDeliveryState, frame: Frame) -> None:
        offset, data, fin = frame
        before = self.sender._buffer_start
        self.sender.on_data_delivery(state, offset, offset + len(data), fin)
        assert self.sender._buffer_start >= before
        assert len(self.sender._buffer) == self.sender._buffer_stop - self.sender._buffer_start

    @property
    def is_over(self) -> bool:
        return self.sender._buffer_start == len(self.wrote) and (not self.ended or self.sender.is_finished)

    def finish(self) -> None:
        """The network loses nothing any more: everything arrives in a few round trips."""
        for _ in range(50):
            for frame in self.sent:
                self._tell(LOST, frame)
            self.given_up += self.sent
            self.sent.clear()
            while self.send(whole=True):
                frame = self.sent.pop()
                self.receiver.frame(*frame)
                self._tell(ACKED, frame)
                self.under_way.clear()
            if self.is_over:
                return
        raise AssertionError("not all was acknowledged")


@pytest.mark.parametrize("crypto", [False, True], ids=["stream", "crypto"])
@pytest.mark.parametrize("receiver", RECEIVERS)
def test_all_that_is_acknowledged_is_delivered(receiver: str, crypto: bool) -> None:
    for seed in range(150):
        exchange = Exchange(seed, RECEIVERS[receiver](), crypto=crypto)
        for _ in range(80):
            exchange.step()
        exchange.finish()
        assert exchange.receiver.data == exchange.wrote, f"seed {seed}"
        assert exchange.receiver.ended == exchange.ended, f"seed {seed}"


def frames(
    sender: QuicStreamSender, room: int, shared: PacketCapacity | None = None
) -> list[tuple[int, int]]:
    """What ``sender`` puts into packets with ``room`` bytes for data."""
    if shared is not None:
        shared.size = room + 8
    sent = []
    while (frame := sender.get_frame(room)) is not None:
        sent.append((frame.offset, frame.offset + len(frame.data)))
    return sent


def lose(sender: QuicStreamSender, sent: list[tuple[int, int]]) -> None:
    for start, stop in sent:
        sender.on_data_delivery(LOST, start, stop, False)


def acknowledge(sender: QuicStreamSender, *sent: tuple[int, int]) -> None:
    for start, stop in sent:
        sender.on_data_delivery(ACKED, start, stop, False)


def test_frames_that_no_longer_fit_are_cut_at_the_old_ends_too() -> None:
    """Two frames of 1441 bytes, of which one arrived: a cable was out, and datagrams became shorter."""
    sender, shared = sender_of(1449)
    sender.write(bytes(2882))
    sent = frames(sender, 1441, shared)
    lose(sender, sent)
    assert frames(sender, 1189, shared) == [(0, 1189), (1189, 1441), (1441, 2630), (2630, 2882)]


def test_frames_are_cut_finer_and_finer_and_never_joined() -> None:
    sender, shared = sender_of(16384)
    sender.write(bytes(40_000))
    edges: set[int] = {0}
    for room in (16000, 8900, 1441, 16000, 1189, 1441, 16000):
        sent = frames(sender, room, shared)
        starts = {start for start, _ in sent}
        assert edges <= starts | {40_000}
        assert starts | {40_000} == {stop for _, stop in sent} | {0}
        edges |= starts
        lose(sender, sent)


def test_a_frame_waits_for_a_packet_with_room_for_it() -> None:
    sender, shared = sender_of(1449)
    sender.write(bytes(3000))
    lose(sender, frames(sender, 1441, shared))
    assert sender.get_frame(1440) is None
    assert shared.declined
    assert frames(sender, 1441) == [(0, 1441), (1441, 2882), (2882, 3000)]


def test_a_frame_that_fits_no_packet_is_not_cut_into_crumbs() -> None:
    sender, shared = sender_of(16384)
    sender.write(bytes(16_000))
    lose(sender, frames(sender, 16_000, shared))
    shared.size = 1200
    assert sender.get_frame(100) is None
    assert frames(sender, 1192)[0] == (0, 1192)


def test_a_late_acknowledgement_removes_the_data_that_wait_to_be_sent_again() -> None:
    sender, shared = sender_of(1449)
    sender.write(bytes(4323))
    sent = frames(sender, 1441, shared)
    lose(sender, sent)
    acknowledge(sender, sent[1])
    assert frames(sender, 1441) == [sent[0], sent[2]]
    acknowledge(sender, sent[0])
    assert sender._buffer_start == 2882
    # The copies of what was acknowledged are lost.
    lose(sender, sent)
    assert frames(sender, 1441) == [sent[2]]
    acknowledge(sender, sent[2])
    assert sender._buffer_start == 4323
    assert frames(sender, 1441) == []


def test_a_late_acknowledgement_of_a_frame_that_was_cut_counts_for_its_first_piece() -> None:
    """quic_dist acknowledges, and drops, a frame of whose beginning it has a shorter one."""
    sender, shared = sender_of(1449)
    sender.write(bytes(1441))
    (whole,) = frames(sender, 1441, shared)
    lose(sender, [whole])
    first, second = frames(sender, 1189, shared)
    acknowledge(sender, whole)
    assert sender._buffer_start == first[1]
    lose(sender, [second])
    assert frames(sender, 1189) == [second]
    acknowledge(sender, second)
    assert sender._buffer_start == 1441
    acknowledge(sender, first, whole)
    assert sender._buffer_start == 1441


def test_a_frame_sent_without_fin_is_sent_again_without() -> None:
    sender, _ = sender_of(1449)
    sender.write(bytes(100))
    assert sender.get_frame(1441) is not None
    sender.write(b"", end_stream=True)
    lose(sender, [(0, 100)])
    first, second = sender.get_frame(1441), sender.get_frame(1441)
    assert first is not None
    assert second is not None
    assert (len(first.data), first.fin) == (100, False)
    assert (second.offset, second.data, second.fin) == (100, b"", True)
    sender.on_data_delivery(ACKED, 0, 100, False)
    sender.on_data_delivery(LOST, 100, 100, True)
    assert not sender.is_finished
    sender.on_data_delivery(ACKED, 100, 100, True)
    assert sender.is_finished
    assert sender.get_frame(1441) is None


def test_a_frame_sent_with_fin_is_sent_again_with_it() -> None:
    sender, shared = sender_of(1449)
    sender.write(bytes(1441), end_stream=True)
    assert sender.get_frame(1441) is not None
    sender.on_data_delivery(LOST, 0, 1441, True)
    shared.size = 1200
    cut = [sender.get_frame(1189), sender.get_frame(1189), sender.get_frame(1189)]
    assert [(frame.offset, frame.fin) for frame in cut if frame is not None] == [(0, False), (1189, True)]
    sender.on_data_delivery(ACKED, 0, 1441, True)
    assert not sender.is_finished
    sender.on_data_delivery(ACKED, 1189, 1441, True)
    assert sender.is_finished


def test_after_a_reset_nothing_is_sent_again() -> None:
    sender, shared = sender_of(1449)
    sender.write(bytes(3000))
    sent = frames(sender, 1441, shared)
    lose(sender, sent[:1])
    sender.reset(7)
    reset = sender.get_reset_frame()
    assert reset.final_size == 3000
    lose(sender, sent)
    acknowledge(sender, *sent)
    assert sender.buffer_is_empty
    sender.on_reset_delivery(LOST)
    assert sender.reset_pending
    sender.on_reset_delivery(ACKED)
    sender.on_reset_delivery(LOST)
    assert sender.is_finished
    assert not sender.reset_pending


def test_ends_of_frames_are_forgotten_once_acknowledged() -> None:
    sender, _ = sender_of(1449)
    for number in range(1000):
        sender.write(b"x")
        assert sender.get_frame(1000) is not None
        acknowledge(sender, (number, number + 1))
    assert len(sender._ends) < MANY_ENDS + 2


def test_a_peer_that_has_datagrams_shortened_again_and_again_costs_bounded_memory() -> None:
    random = Random(1)
    sender, shared = sender_of(16384)
    sender.write(bytes(1 << 20))
    sent = frames(sender, 16_000, shared)
    for _ in range(20):
        lose(sender, sent)
        shared.size = random.randrange(1173, 16_384)
        sent = []
        while len(sender._pending):
            room = shared.size - 8
            for left in (
                random.randrange(room),
                room,
            ):  # one packet has something else in it, the next has not
                if (frame := sender.get_frame(left)) is not None:
                    sent.append((frame.offset, frame.offset + len(frame.data)))
    # Twice as many as packets of 1200 bytes would have, and those there were.
    assert len(sender._ends) < 2 * (1 << 20) / 1173 + 66 + 1


def test_crypto_data_goes_into_what_is_left_of_a_datagram() -> None:
    sender, shared = sender_of(1425, crypto=True)
    sender.write(bytes(4000))
    sent = frames(sender, 1390, shared)
    lose(sender, sent)
    frame = sender.get_frame(1000)
    assert frame is not None
    assert (frame.offset, len(frame.data)) == (0, 1000)
    assert sender.get_frame(retransmission.SHORTEST_CRYPTO - 1) is None
    assert shared.declined
    assert frames(sender, 1390) == [(1000, 1390), (1390, 2780), (2780, 4000)]


def test_all_streams_of_a_connection_retransmit_like_this(certificates: CertificateFiles) -> None:
    settings = QuicSettings(tls=certificates.tls(verify=False))
    quic = Connection(configuration=client_configuration(settings.for_dialling("127.0.0.1")))
    quic.connect(("127.0.0.1", 4433), 0.0)
    for stream in (*quic._crypto_streams.values(), quic._get_or_create_stream_for_send(0)):
        assert isinstance(stream.sender, RetransmittingSender)
    assert set(vars(QuicStream().sender)) == {
        *("buffer_is_empty", "highest_offset", "is_finished", "reset_pending"),
        *("_acked", "_acked_fin", "_buffer", "_buffer_fin", "_buffer_start", "_buffer_stop"),
        *("_pending", "_pending_eof", "_reset_error_code", "_stream_id"),
    }
