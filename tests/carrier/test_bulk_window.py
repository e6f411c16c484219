"""How much of what is large may be under way."""

from __future__ import annotations

import pytest

from quicdist.carrier.quic.driver.bulk_window import (
    CONCURRENT,
    MAX_WINDOW,
    MIN_CONCURRENT_BYTES,
    MIN_CONCURRENT_DATAGRAMS,
    BulkWindow,
    Window,
)
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
