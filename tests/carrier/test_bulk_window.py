"""How much of what is large may be under way."""

from __future__ import annotations

import math
from typing import Any

import pytest

from quicdist.carrier.quic.driver.bulk_window import (
    CONCURRENT,
    MAX_WINDOW,
    MIN_CONCURRENT_BYTES,
    MIN_CONCURRENT_DATAGRAMS,
    BulkWindow,
    Window,
)
from quicdist.carrier.quic.driver.send_scheduler import SendScheduler
from quicdist.carrier.quic.engine.aioquic.configuration import Configuration
from quicdist.carrier.quic.engine.aioquic.connection import Connection


@pytest.mark.parametrize("size", [1200, 1452, 8972, 16384])
def test_beside_little_messages_it_is_a_few_datagrams(size: int) -> None:
    quic = Connection(configuration=Configuration(is_client=True))
    bulk_window = BulkWindow()
    alone = bulk_window.window(quic, 1.0)
    bulk_window.small_sent(1.0)
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


@pytest.mark.parametrize("small", [False, True])
def test_bulk_queued_together_with_a_small_message_is_concurrent_with_it(small: bool) -> None:
    engine = Taker()
    adapted: Any = engine
    scheduler = SendScheduler(adapted)
    scheduler.add(4, [bytes(1 << 20)], 1 << 20)
    if small:
        scheduler.add(8, [bytes(64)], 64)
    scheduler.feed(1.0)
    assert engine.sent.get(8, 0) == (64 if small else 0)
    assert (engine.sent[4] <= MIN_CONCURRENT_DATAGRAMS * 1452) is small
