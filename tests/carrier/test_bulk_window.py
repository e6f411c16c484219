"""How much of what is large may be under way."""

from __future__ import annotations

import math
from typing import Any

import pytest

from quicdist.carrier.quic.driver.bulk_window import (
    CONCURRENT,
    FREQUENT,
    MAX_WINDOW,
    MIN_CONCURRENT_BYTES,
    MIN_CONCURRENT_DATAGRAMS,
    BulkWindow,
    Window,
)
from quicdist.carrier.quic.driver.send_scheduler import SendScheduler
from quicdist.carrier.quic.engine.aioquic.configuration import Configuration
from quicdist.carrier.quic.engine.aioquic.connection import Connection
from quicdist.carrier.security.certificates import CertificateFiles
from tests.carrier.path import Network, Path


@pytest.mark.parametrize("size", [1200, 1452, 8972, 16384])
def test_beside_little_messages_it_is_a_few_datagrams(size: int) -> None:
    quic = Connection(configuration=Configuration(is_client=True))
    bulk_window = BulkWindow()
    alone = bulk_window.window(quic, 1.0)
    bulk_window.small_sent(1.0, bulk_waits=True, bulk_begins=False)
    quic.set_datagram_size(size)
    beside = bulk_window.window(quic, 1.0)
    assert beside == min(MIN_CONCURRENT_DATAGRAMS * size, MIN_CONCURRENT_BYTES) < alone
    assert bulk_window.window(quic, 1.0 + CONCURRENT) == alone


def test_a_window_does_not_grow_for_ever() -> None:
    for window in (Window(1024, 1024, 1.0, 0.01), Window(1024, 1024, 1.0, 0.01, doubling=False)):
        for _ in range(1000):
            window.follow(0.001, 0.001)
        assert window.size == MAX_WINDOW
        window.follow(0.001, 0.001, limited=False)
        assert window.size == MAX_WINDOW
        for _ in range(1000):
            window.follow(1.0, 0.001)
        assert window.size == window.floor


def test_a_window_that_is_not_used_up_does_not_grow() -> None:
    """What it would allow then could pile up where the peer falls silent for a moment."""
    window = Window(1024, 1024, 1.0, 0.01)
    window.follow(0.001, 0.001, limited=False)
    assert window.size == 1024
    window.follow(0.001, 0.001, limited=True)
    assert window.size == 2048
    window.follow(1.0, 0.001, limited=False)
    assert window.size == 1536


DELAY = 0.0002


def _after_a_bulk_message(certificates: CertificateFiles) -> Network:
    network = Network(certificates, Path(DELAY))
    network.establish()
    assert network.transfer(1 << 20) < math.inf
    assert network.run(1.0, lambda: not network.client.quic.in_flight())
    return network


def test_a_small_message_after_the_end_of_a_bulk_message_does_not_limit_the_next_one(
    certificates: CertificateFiles,
) -> None:
    """No bulk is queued when it is sent: it is a request that announces the next bulk message."""
    network = _after_a_bulk_message(certificates)
    network.client.write(4, b"a request")
    network.client.write(0, bytes(1 << 20))
    network.run(DELAY)
    assert network.client.quic.in_flight() > 4 * MIN_CONCURRENT_BYTES


def test_a_small_message_while_a_bulk_message_is_queued_limits_it(certificates: CertificateFiles) -> None:
    network = _after_a_bulk_message(certificates)
    network.client.write(0, bytes(16 << 20))
    network.run(DELAY)
    quic, outgoing = network.client.quic, network.client.outgoing
    assert quic.in_flight() > 4 * MIN_CONCURRENT_BYTES
    network.client.write(4, b"a request")
    assert network.run(CONCURRENT, lambda: quic.in_flight() <= MIN_CONCURRENT_BYTES < outgoing.size)


class Taker:
    """What SendScheduler asks of an engine, which sends all at once and hears nothing of it."""

    def __init__(self) -> None:
        self.sent: dict[int, int] = {}

    def send_stream_data(self, stream_id: int, data: bytes, end: bool = False) -> None:
        self.sent[stream_id] = self.sent.get(stream_id, 0) + len(data)

    def in_flight(self) -> int:
        return sum(self.sent.values())

    def get_next_available_stream_id(self) -> int:
        return 64

    def rounds(self) -> tuple[int, float, int]:
        return 0, math.inf, MAX_WINDOW

    def connection_credit(self) -> int:
        return MAX_WINDOW

    def stream_credit(self, stream_id: int) -> int:
        return MAX_WINDOW

    def unsent(self, stream_id: int) -> int:
        return 0

    def datagram_size(self) -> int:
        return 1452

    def stream_exists(self, stream_id: int) -> bool:
        return True


@pytest.mark.parametrize(("small_messages", "concurrent"), [(0, False), (1, False), (FREQUENT, True)])
def test_bulk_that_begins_with_one_of_many_small_messages_is_concurrent_with_them(
    small_messages: int, concurrent: bool
) -> None:
    engine = Taker()
    adapted: Any = engine
    scheduler = SendScheduler(adapted)
    for number in range(1, small_messages):
        scheduler.add(8, [bytes(64)], 64)
        scheduler.feed(1.0 + number * CONCURRENT / FREQUENT)
    engine.sent.clear()
    scheduler.add(4, [bytes(1 << 20)], 1 << 20)
    if small_messages:
        scheduler.add(8, [bytes(64)], 64)
    scheduler.feed(1.0 + CONCURRENT)
    assert engine.sent.get(8, 0) == (64 if small_messages else 0)
    assert (engine.sent[4] <= MIN_CONCURRENT_DATAGRAMS * 1452) is concurrent


def test_bulk_that_begins_some_time_after_many_small_messages_is_not_concurrent_with_them() -> None:
    engine = Taker()
    adapted: Any = engine
    scheduler = SendScheduler(adapted)
    for _ in range(FREQUENT):
        scheduler.add(8, [bytes(64)], 64)
        scheduler.feed(1.0)
    engine.sent.clear()
    scheduler.add(4, [bytes(1 << 20)], 1 << 20)
    scheduler.add(8, [bytes(64)], 64)
    scheduler.feed(1.0 + CONCURRENT)
    assert engine.sent[4] > MIN_CONCURRENT_BYTES
