"""Runs of packets: what is built and received in one pass is the same as packet by packet, whatever comes
between, and keeps to the window, the pacer and flow control."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from quicdist.carrier.datagram_socket import Datagram
from quicdist.carrier.quic.engine import events
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.quic.engine.aioquic.factory import AioquicFactory
from quicdist.carrier.quic.engine.aioquic.retransmission import PacketCapacity, RetransmittingSender
from quicdist.carrier.quic.engine.aioquic.send_run import LONGEST, RunPacket
from quicdist.carrier.quic.engine.wire import frames as wire
from quicdist.carrier.quic.settings import QuicSettings
from tests.carrier.crafted import seal
from tests.carrier.test_engine_contract import CLIENT, ELSEWHERE, SERVER, Pair

#: Streams: one with an id of two bytes among them.
STREAMS = (0, 4, 68)


@pytest.fixture
def pair(settings: QuicSettings) -> Pair:
    made = Pair(AioquicFactory(), settings)
    made.talk()
    made.authenticated()
    for engine in (made.client, made.server):
        engine.set_datagram_size(1452)
    return made


def engine_of(pair: Pair) -> Connection:
    assert isinstance(pair.client, Connection)
    return pair.client


def runs_in_flight(pair: Pair) -> int:
    sent: list[object] = list(engine_of(pair)._space.sent_packets.values())
    return sum(type(packet) is RunPacket for packet in sent)


def exchange(pair: Pair, came: dict[int, bytearray], to_server: list[Datagram]) -> None:
    """Deliver a batch and the answer to it; a millisecond passes."""
    pair.server.receive_datagrams([(data, CLIENT) for data, _ in to_server], pair.now)
    for event in pair.server.take_events():
        if isinstance(event, events.StreamData):
            came.setdefault(event.stream_id, bytearray()).extend(event.data)
    for engine in (pair.client, pair.server):
        timer = engine.get_timer()
        if timer is not None and timer <= pair.now:
            engine.handle_timer(pair.now)
    pair.server.acknowledge_now(pair.now)
    pair.deliver(pair.server.datagrams_to_send(pair.now), pair.client)
    pair.client.take_events()
    pair.now += 0.001


def test_bulk_data_leave_in_runs_and_come_as_one_event(pair: Pair) -> None:
    data = Random(1).randbytes(1 << 20)
    pair.client.send_stream_data(0, data)
    came: dict[int, bytearray] = {}
    most = longest = 0
    while len(came.get(0, b"")) < len(data):
        datagrams = pair.client.datagrams_to_send(pair.now)
        most = max(most, runs_in_flight(pair))
        pair.server.receive_datagrams([(each, CLIENT) for each, _ in datagrams], pair.now)
        happened = pair.server.take_events()
        parts = [event.data for event in happened if isinstance(event, events.StreamData)]
        longest = max(longest, *map(len, parts), 0)
        came.setdefault(0, bytearray()).extend(b"".join(parts))
        exchange(pair, came, [])
    assert came[0] == data
    assert most > LONGEST
    assert longest > 16 * 1452


@pytest.mark.parametrize("seed", range(12))
def test_data_are_complete_whatever_happens_to_the_datagrams_of_a_run(pair: Pair, seed: int) -> None:
    random = Random(seed)
    sent = {stream_id: random.randbytes(random.randrange(1, 300_000)) for stream_id in STREAMS}
    left = {stream_id: memoryview(data) for stream_id, data in sent.items()}
    came: dict[int, bytearray] = {}
    held: list[Datagram] = []
    ended = False
    for _ in range(6000):
        for stream_id, data in left.items():
            if data and not pair.client.unsent(stream_id):
                size = random.choice((1, 1000, 40_000))
                pair.client.send_stream_data(stream_id, bytes(data[:size]))
                left[stream_id] = data[size:]
        if random.random() < 0.1:
            pair.client.send_ping(0)
        batch: list[Datagram] = []
        for datagram in pair.client.datagrams_to_send(pair.now):
            fate = random.random()
            if fate < 0.02:
                continue  # lost
            if fate < 0.05:
                held.append(datagram)  # late
            else:
                batch.append(datagram)
            if fate > 0.97:
                batch.append(datagram)  # twice
            elif fate > 0.96:
                forged = bytearray(datagram[0])
                forged[random.randrange(len(forged))] ^= 1 << random.randrange(8)
                batch.append((bytes(forged), datagram[1]))
            elif fate > 0.95:
                batch.append((datagram[0][: random.randrange(1, len(datagram[0]))], datagram[1]))
        if held and random.random() < 0.3:
            batch.insert(random.randrange(len(batch) + 1), held.pop())
        exchange(pair, came, batch)
        if not ended and not any(left.values()):
            ended = True
            pair.client.send_stream_data(0, b"", end_stream=True)
        if ended and not pair.client.total_unacknowledged():
            break
    assert {stream_id: bytes(data) for stream_id, data in came.items()} == sent
    server = pair.server
    assert isinstance(server, Connection)
    assert server._local_max_data.used == sum(map(len, sent.values()))
    assert pair.client.in_flight() == 0
    assert not engine_of(pair)._space.sent_packets


@pytest.mark.parametrize("of", ["stream", "connection"])
def test_a_run_ends_at_the_limit_of(pair: Pair, of: str) -> None:
    pair.client.send_stream_data(0, bytes(600_000))
    client = engine_of(pair)
    if of == "stream":
        client._streams[0].max_stream_data_remote = 100_000
    else:
        client._remote_max_data = 100_000
    came: dict[int, bytearray] = {}
    with pair.server.limits_held():
        for _ in range(300):
            exchange(pair, came, pair.client.datagrams_to_send(pair.now))
    assert len(came[0]) == 100_000
    assert pair.client.unsent(0) == 500_000


def test_a_run_keeps_to_the_congestion_window(pair: Pair) -> None:
    pair.client.send_stream_data(0, bytes(1 << 20))
    datagrams = pair.client.datagrams_to_send(pair.now)
    congestion = engine_of(pair)._loss.congestion
    sent = sum(len(data) for data, _ in datagrams)
    assert congestion.bytes_in_flight == sent
    # One that begins within the window may end beyond it.
    assert congestion.congestion_window - 1452 < sent < congestion.congestion_window + 1452


def test_a_run_keeps_to_the_pacer(pair: Pair) -> None:
    loss = engine_of(pair)._loss
    loss.congestion.congestion_window = 10 << 20
    loss.pacer.set_rate(10 << 20, 1.0, slow_start=False)
    pair.client.send_stream_data(0, bytes(1 << 20))
    sent = sum(len(data) for data, _ in pair.client.datagrams_to_send(pair.now))
    assert sent <= loss.pacer.rate * 0.003 + 1452
    timer = pair.client.get_timer()
    assert timer is not None
    assert 0 < timer - pair.now < 0.1


def test_datagrams_from_another_address_are_no_part_of_a_run(pair: Pair) -> None:
    pair.client.send_stream_data(0, bytes(50_000))
    came: dict[int, bytearray] = {}
    exchange(pair, came, pair.client.datagrams_to_send(pair.now))
    datagrams = pair.client.datagrams_to_send(pair.now)
    assert len(datagrams) > 4
    pair.server.receive_datagrams([(data, ELSEWHERE) for data, _ in datagrams], pair.now)
    addresses = [addr for _, addr in pair.server.datagrams_to_send(pair.now)]
    assert ELSEWHERE in addresses  # the challenge of path validation (RFC 9000, section 8.2)


# -- acknowledgements and limits that come together ---------------------------------------------


@pytest.fixture
def processed(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> list[list[range]]:
    """The ACK frames that the client's loss detection gets."""
    frames: list[list[range]] = []
    loss = engine_of(pair)._loss
    on_ack_received = loss.on_ack_received

    def noted(*, ack_rangeset: list[range], **more: Any) -> None:
        frames.append(ack_rangeset)
        on_ack_received(ack_rangeset=ack_rangeset, **more)

    monkeypatch.setattr(loss, "on_ack_received", noted)
    return frames


def crafted(pair: Pair, payloads: list[bytes]) -> list[Datagram]:
    """Datagrams of the server, a packet with each of ``payloads``."""
    server = pair.server
    assert isinstance(server, Connection)
    datagrams = []
    for payload in payloads:
        datagrams.append((seal(server, payload, server._packet_number), SERVER))
        server._packet_number += 1
    return datagrams


def test_acknowledgements_that_came_together_are_processed_as_one(
    pair: Pair, processed: list[list[range]]
) -> None:
    client = engine_of(pair)
    first = client._packet_number
    pair.client.send_stream_data(0, bytes(200_000))
    count = len(pair.client.datagrams_to_send(pair.now))
    assert count > 8
    in_flight = pair.client.in_flight()
    newest = range(first + 1, first + count - 1, 2)
    batch = crafted(pair, [wire.ack([range(number + 1)], 0, 1000) for number in newest])
    pair.client.receive_datagrams(batch, pair.now)
    assert processed == [[range(newest[-1] + 1)]]
    assert list(client._space.sent_packets) == list(range(newest[-1] + 1, first + count))
    assert 0 < pair.client.in_flight() < in_flight
    assert 0 < pair.client.unacknowledged(0) < 200_000


def test_acknowledgements_with_a_moving_first_packet_lose_none(
    pair: Pair, processed: list[list[range]]
) -> None:
    """quic_dist acknowledges the last 65,537 packets."""
    client = engine_of(pair)
    first = client._packet_number
    pair.client.send_stream_data(0, bytes(200_000))
    end = first + len(pair.client.datagrams_to_send(pair.now))
    batch = crafted(
        pair, [wire.ack([range(number - 3, number + 1)], 0, 1000) for number in range(first + 3, end)]
    )
    pair.client.receive_datagrams(batch, pair.now)
    assert processed == [[range(first, end)]]
    assert not client._space.sent_packets


def test_acknowledgements_with_other_ranges_are_processed_one_by_one(
    pair: Pair, processed: list[list[range]]
) -> None:
    client = engine_of(pair)
    first = client._packet_number
    pair.client.send_stream_data(0, bytes(200_000))
    pair.client.datagrams_to_send(pair.now)
    told = [
        [range(first, first + 1)],
        [range(first, first + 1), range(first + 2, first + 4)],
        [range(first, first + 1), range(first + 2, first + 6)],
        [range(first, first + 6)],
        [range(first, first + 7)],
    ]
    pair.client.receive_datagrams(crafted(pair, [wire.ack(ranges, 0, 1000) for ranges in told]), pair.now)
    assert processed == [told[0], told[2], told[4]]
    assert min(client._space.sent_packets) == first + 7


def test_an_acknowledgement_that_is_cut_short_closes_the_connection(pair: Pair) -> None:
    pair.client.send_stream_data(0, bytes(200_000))
    pair.client.datagrams_to_send(pair.now)
    whole = wire.ack([range(3)], 0, 1000)
    pair.client.receive_datagrams(crafted(pair, [whole, whole, whole, b"\x02\x05\x00\x01", whole]), pair.now)
    assert pair.client.closing() is not None


def test_limits_that_came_together_are_raised_and_never_lowered(pair: Pair) -> None:
    client = engine_of(pair)
    pair.client.send_stream_data(0, b"opened")
    pair.client.datagrams_to_send(pair.now)
    stream, most = client._streams[0], client._remote_max_data
    limits = [
        b"\x10" + wire.uint(most + 1000),
        b"\x11\x00" + wire.uint(stream.max_stream_data_remote + 1000),
        b"\x10" + wire.uint(most + 500),
        b"\x11\x00" + wire.uint(7),
    ]
    expected = most + 1000, stream.max_stream_data_remote + 1000
    pair.client.receive_datagrams(crafted(pair, limits), pair.now)
    assert (client._remote_max_data, stream.max_stream_data_remote) == expected
    assert client._space.ack_at is not None
    assert pair.client.closing() is None


@pytest.mark.parametrize(
    "payload",
    [b"\x10\x80\x00\x00", b"\x11\x80\x00\x00", b"\x11\x40\x00\x40", b"\x11\x40\x03\x05", b"\x11\x40\x01\x05"],
)
def test_a_limit_that_is_cut_short_or_of_a_stream_that_cannot_be_closes_the_connection(
    pair: Pair, payload: bytes
) -> None:
    batch = [b"\x01", b"\x01", b"\x01", payload]
    pair.client.receive_datagrams(crafted(pair, batch), pair.now)
    expected = payload[2] != 1  # stream 1 is the server's to open
    assert (pair.client.closing() is not None) is expected


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"\x08\x04data", (4, 0, 2)),
        (b"\x0a\x04\x04data", (4, 0, 3)),
        (b"\x0e\x04\x41\x00\x04data", (4, 256, 5)),
        (b"\x0c\x40\x44\x80\x01\x00\x00data", (68, 65536, 7)),
        (b"\x0a\x04\x03data", None),
        (b"\x0a\x04\x05data", None),
        (b"\x0b\x04\x04data", None),
        (b"\x0a\x04\x00", None),
        (b"\x08\x04", None),
        (b"\x0e\x04\x41", None),
        (b"\x0e\x04\x41\x00", None),
        (b"\x0a\x40", None),
        (b"\x01", None),
        (b"", None),
    ],
)
def test_only_a_payload_of_one_stream_frame_with_data_and_without_fin_is_read(
    payload: bytes, expected: tuple[int, int, int] | None
) -> None:
    assert wire.read_stream(payload) == expected


def test_a_handler_added_to_a_packet_of_a_run_stays_with_it() -> None:
    packet = RunPacket(
        1, 0.0, 1200, RetransmittingSender(stream_id=0, writable=True, capacity=PacketCapacity()), (0, 1100)
    )
    added = print, ()
    packet.delivery_handlers.append(added)
    assert packet.delivery_handlers[1:] == [added]


@pytest.mark.parametrize("apart", [False, True])
def test_an_acknowledgement_apart_is_not_in_a_packet_with_data(pair: Pair, apart: bool) -> None:
    """It arrives also on a path that is too narrow for packets with data."""
    server = pair.server
    pair.client.send_stream_data(0, b"data")
    pair.deliver(pair.client.datagrams_to_send(pair.now), server)
    server.acknowledge_apart(apart)
    server.send_stream_data(1, bytes(4000))
    first, *more = server.datagrams_to_send(pair.now)
    assert more
    assert pair.client.in_flight() > 0
    pair.deliver([first], pair.client)
    assert pair.client.in_flight() == 0
    assert (len(first[0]) < 64) is apart
