"""Loss detection without aioquic, sockets or a clock."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from quicdist.carrier.quic.engine.recovery.ack_ranges import newly_acknowledged
from quicdist.carrier.quic.engine.recovery.congestion import Congestion
from quicdist.carrier.quic.engine.recovery.loss_detection import MAX_BACKOFF, MAX_REMEMBERED, LossDetection
from quicdist.carrier.quic.engine.recovery.pacer import Pacer
from quicdist.carrier.quic.engine.recovery.rtt import RoundTrips

ACKED, LOST = "acked", "lost"
SIZE = 1200


@dataclass
class Packet:
    packet_number: int
    sent_time: float | None
    sent_bytes: int = SIZE
    in_flight: bool = True
    is_ack_eliciting: bool = True
    is_crypto_packet: bool = False
    delivery_handlers: list[Any] = field(default_factory=list)


@dataclass(eq=False)
class Space:
    is_application_data: bool = True
    ack_at: float | None = None
    ack_eliciting_in_flight: int = 0
    largest_acked_packet: int = 0
    loss_time: float | None = None
    sent_packets: dict[int, Any] = field(default_factory=dict)


class Sender:
    """One packet space, and what became of its packets."""

    def __init__(self, *, confirmed: bool = True) -> None:
        self.congestion = Congestion(SIZE)
        self.probes = 0
        self.recovery = LossDetection(
            self.congestion,
            Pacer(SIZE),
            RoundTrips(0.1),
            acked=ACKED,
            lost=LOST,
            send_probe=self._probe,
            address_validated=True,
        )
        self.recovery.handshake_confirmed = confirmed
        self.space = Space(is_application_data=confirmed)
        self.recovery.spaces = [self.space]
        self.told: dict[int, list[str]] = {}
        self.next = 0
        self.now = 1.0

    def _probe(self) -> None:
        self.probes += 1

    def send(self, count: int = 1, *, every: float = 0.0, crypto: bool = False) -> list[int]:
        numbers = []
        for _ in range(count):
            number = self.next
            self.next += 1
            told = self.told[number] = []
            packet = Packet(number, self.now, is_crypto_packet=crypto)
            packet.delivery_handlers.append((told.append, ()))
            self.recovery.on_packet_sent(packet=packet, space=self.space)
            numbers.append(number)
            self.now += every
        return numbers

    def ack(self, numbers: Iterable[int]) -> None:
        ranges: list[range] = []
        for number in sorted(numbers):
            if ranges and ranges[-1].stop == number:
                ranges[-1] = range(ranges[-1].start, number + 1)
            else:
                ranges.append(range(number, number + 1))
        self.recovery.on_ack_received(ack_rangeset=ranges, ack_delay=0.0, now=self.now, space=self.space)

    def measure(self, rtt: float = 0.1) -> None:
        """Have round trips of ``rtt`` known."""
        for _ in range(20):
            numbers = self.send()
            self.now += rtt
            self.ack(numbers)

    @property
    def due(self) -> float | None:
        return self.recovery.get_loss_detection_time(amplification_limited=False)

    def wait(self) -> None:
        due = self.due
        assert due is not None
        assert due >= self.now
        self.now = due
        self.recovery.on_loss_detection_timeout(now=due)

    def of(self, state: str) -> list[int]:
        return [number for number, told in self.told.items() if told[-1:] == [state]]


@pytest.mark.parametrize("seed", range(200))
def test_what_is_newly_acknowledged_is_the_difference_of_the_sets(seed: int) -> None:
    random = Random(seed)

    def ranges() -> list[range]:
        found: list[range] = []
        at = 0
        for _ in range(random.randrange(8)):
            start = at + random.randrange(1, 5)
            at = start + random.randrange(1, 6)
            found.append(range(start, at))
            at += 1
        return found

    known, new = ranges(), ranges() or [range(1)]
    difference = newly_acknowledged(new, known)
    numbers = [number for one in difference for number in one]
    assert numbers == sorted({n for one in new for n in one} - {n for one in known for n in one})


def test_a_packet_is_lost_when_three_later_ones_are_acknowledged() -> None:
    sender = Sender()
    sender.measure()
    first, *others = sender.send(4)
    sender.now += 0.1
    sender.ack(others[:2])
    assert sender.told[first] == []
    sender.ack(others)
    assert sender.told[first] == [LOST]


def test_a_packet_is_lost_an_eighth_of_a_round_trip_after_a_later_one_is_acknowledged() -> None:
    sender = Sender()
    sender.measure(0.08)
    first, second = sender.send(2)
    sent_at = sender.now
    sender.now += 0.08
    sender.ack([second])
    assert sender.due == pytest.approx(sent_at + 0.09)
    sender.wait()
    assert sender.told[first] == [LOST]


def test_a_spurious_loss_is_undone_and_packets_are_counted_no_longer() -> None:
    sender = Sender()
    sender.measure()
    # A queue and a full window: what is lost now is lost by congestion.
    for _ in range(3):
        numbers = sender.send(10)
        sender.now += 0.2
        sender.ack(numbers)
        sender.congestion.congestion_window = 10 * SIZE
        sender.congestion.ssthresh = 0
    window, threshold = sender.congestion.congestion_window, sender.congestion.ssthresh
    first, *others = sender.send(10)
    sender.now += 0.2
    sender.ack(others)
    assert sender.told[first] == [LOST]
    assert sender.congestion.congestion_window < window
    sender.now += 0.02
    sender.ack([first, *others])
    assert sender.told[first] == [LOST, ACKED]
    assert sender.recovery.spurious == 1
    assert sender.congestion.congestion_window >= window
    assert sender.congestion.ssthresh >= threshold
    # The same again is no loss.
    first, *others = sender.send(10)
    sender.now += 0.2
    sender.ack(others)
    assert sender.told[first] == []
    sender.now += 0.02
    assert sender.due is not None
    assert sender.due > sender.now
    sender.ack([first, *others])
    assert sender.told[first] == [ACKED]


def test_time_for_reordering_is_a_round_trip_at_most() -> None:
    sender = Sender()
    sender.measure()
    first, *others = sender.send(10)
    sender.now += 0.1
    sender.ack(others)
    sender.now += 0.29
    sender.ack([first, *others])
    assert sender.told[first] == [LOST, ACKED]
    assert sender.recovery.loss_delay <= sender.recovery.rtt.longest + sender.recovery.rtt.smoothed


def test_probes_come_at_least_once_a_second() -> None:
    """So the end of an outage is noticed soon, and quic_dist, which waits 16 s, is asked many times."""
    sender = Sender()
    sender.measure(0.05)
    numbers = sender.send(3)
    times = [sender.now]
    for _ in range(20):
        sender.wait()
        times.append(sender.now)
        sender.send()
    gaps = [later - before for before, later in itertools.pairwise(times)]
    assert gaps[1] == pytest.approx(2 * gaps[0])
    assert max(gaps) == pytest.approx(MAX_BACKOFF)
    assert sender.probes == 20
    # Nothing of it is congestion, and all of it can arrive after all.
    sender.ack(range(sender.next))
    assert sender.of(ACKED)[-5:] == list(range(sender.next))[-5:]
    assert sender.told[numbers[0]] == [LOST]
    assert sender.congestion.bytes_in_flight == 0
    assert sender.recovery.spurious == 0


def test_a_probe_timeout_sends_two_packets_again_and_keeps_the_window() -> None:
    sender = Sender()
    sender.measure()
    window = sender.congestion.congestion_window
    numbers = sender.send(5)
    sender.wait()
    assert sender.of(LOST) == numbers[:2]
    assert sender.congestion.congestion_window == window
    assert sender.congestion.bytes_in_flight == 3 * SIZE


def test_a_probe_timeout_of_a_handshake_sends_all_its_data_again() -> None:
    sender = Sender(confirmed=False)
    numbers = sender.send(4, crypto=True)
    assert sender.due == sender.now + 0.2
    sender.wait()
    assert sender.of(LOST) == numbers
    # Slower than was thought: the acknowledgement of the first flight counts, and tells the round trip.
    sender.send(4, crypto=True)
    sender.now += 0.2
    sender.ack(numbers)
    assert sender.of(ACKED)[-4:] == numbers
    assert sender.recovery.rtt.smoothed == pytest.approx(0.4)


def test_round_trips_vary_around_their_mean() -> None:
    """RFC 9002, section 5.3: not around the shortest."""
    rtt = RoundTrips(0.1)
    rtt.sample(0.1, 0.0, 1.0)
    for _ in range(100):
        rtt.sample(0.2, 0.0, 1.0)
    assert rtt.minimum == 0.1
    assert rtt.smoothed == pytest.approx(0.2, rel=0.01)
    assert rtt.variance < 0.001
    rtt.sample(0.23, 0.025, 1.0)
    assert rtt.latest == pytest.approx(0.205)
    rtt.sample(0.11, 0.025, 1.0)  # less would be quicker than the quickest
    assert rtt.latest == pytest.approx(0.11)


def test_the_shortest_round_trip_is_forgotten() -> None:
    rtt = RoundTrips(0.1)
    rtt.sample(0.01, 0.0, 1.0)
    for second in range(2, 25):
        rtt.sample(0.2, 0.0, float(second))
    assert rtt.minimum == 0.2


@pytest.mark.parametrize("seed", range(60))
def test_each_packet_is_reported_once_and_bytes_in_flight_add_up(seed: int) -> None:
    """Whatever is acknowledged when, in whatever order: lost before acknowledged, neither twice."""
    random = Random(seed)
    sender = Sender()
    arrived: set[int] = set()
    under_way: list[int] = []
    lost_for_good = random.choice([0.0, 0.02, 0.3])
    for _ in range(300):
        for number in sender.send(random.randrange(4)):
            if random.random() >= lost_for_good:
                under_way.append(number)
        sender.now += random.random() * 0.02
        random.shuffle(under_way)
        for _ in range(random.randrange(5)):
            if under_way:
                arrived.add(under_way.pop())
        if arrived and random.random() < 0.7:
            # Older ranges may be left out, and an ACK frame may be overtaken by a later one.
            known = sorted(arrived)
            sender.ack(known[-random.randrange(1, len(known) + 1) :])
        due = sender.due
        if due is not None and due <= sender.now:
            sender.recovery.on_loss_detection_timeout(now=sender.now)
        waiting = [packet for packet in sender.space.sent_packets.values() if packet.in_flight]
        assert sender.congestion.bytes_in_flight == sum(packet.sent_bytes for packet in waiting)
        assert sender.space.ack_eliciting_in_flight == len(waiting)
    for told in sender.told.values():
        assert told in ([], [ACKED], [LOST], [LOST, ACKED])
    assert set(sender.of(ACKED)) <= arrived


def test_ranges_that_were_never_sent_are_ignored() -> None:
    sender = Sender()
    numbers = sender.send(3)
    sender.recovery.on_ack_received(
        ack_rangeset=[range(1 << 61)], ack_delay=0.0, now=sender.now, space=sender.space
    )
    assert sender.of(ACKED) == numbers
    later = sender.send(3)
    sender.ack([*numbers, *later])
    assert sender.of(ACKED) == [*numbers, *later]


def test_lost_packets_are_remembered_within_bounds() -> None:
    sender = Sender()
    sender.measure()
    numbers = sender.send(MAX_REMEMBERED + 500)
    sender.ack([sender.send()[0]])
    assert sender.of(LOST) == numbers[:-2]
    sender.ack(numbers)
    assert set(sender.of(ACKED)) >= set(numbers[500:])
    assert not set(sender.of(ACKED)) & set(numbers[:400])


def test_lost_packets_are_remembered_for_some_seconds() -> None:
    for late, known in ((3.0, [LOST, ACKED]), (6.0, [LOST])):
        sender = Sender()
        sender.measure()
        first, *others = sender.send(5)
        sender.now += 0.1
        sender.ack(others)
        sender.now += late
        sender.ack(sender.send())
        sender.ack([first])
        assert sender.told[first] == known


class Counted(dict[int, Any]):
    """A dictionary that counts how often all of it is looked through, and how often it is asked."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.walks = self.asked = 0

    def __iter__(self) -> Iterator[int]:
        self.walks += 1
        return super().__iter__()

    def pop(self, *arguments: Any) -> Any:
        self.asked += 1
        return super().pop(*arguments)


@pytest.mark.parametrize("length", [3, 100])
def test_many_ranges_cost_no_more_than_the_packets_in_flight(length: int) -> None:
    sender = Sender()
    sender.measure()
    old = sender.send(200 * (length + 1))
    sender.ack(old)
    sender.now += 1.0
    waiting = sender.send(100)
    sender.ack(waiting[-1:])
    counted = sender.space.sent_packets = Counted(sender.space.sent_packets)
    # A peer that tells of old packets again, having told of the last one alone, chooses how many ranges.
    first = old[0]
    told = {n for n in old if (n - first) % (length + 1)} | {waiting[-2], waiting[-1]}
    sender.ack(told)
    assert sender.told[waiting[-2]] == [ACKED]
    assert counted.walks + counted.asked <= 110
