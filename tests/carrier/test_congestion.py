"""Congestion control without aioquic, sockets or a clock."""

from __future__ import annotations

import pytest

from quicdist.carrier.quic.engine.recovery.congestion import (
    CUBIC_BETA,
    CUBIC_C,
    SHARE_OVER,
    TOLERATED,
    Algorithm,
    Congestion,
)
from quicdist.carrier.quic.engine.recovery.pacer import BURST, BURST_DATAGRAMS, GAIN, Pacer

SIZE = 1200


class Path:
    """Whole windows that are sent and acknowledged, a round trip each."""

    def __init__(self, algorithm: Algorithm = "cubic", rtt: float = 0.05) -> None:
        self.cc = Congestion(SIZE, algorithm)
        self.min_rtt = self.rtt = rtt
        self.now = 1.0
        self.number = 0

    def round(self, packets: int | None = None, *, lost: int = 0) -> None:
        cc = self.cc
        count = cc.congestion_window // SIZE if packets is None else packets
        self.now += 0.0001
        sent_at = self.now
        for _ in range(count):
            cc.on_sent(SIZE, self.now)
            self.number += 1
        first = self.number - count
        self.now += self.rtt
        for number in range(count - lost):
            cc.on_rtt(self.rtt)
            cc.on_acked(
                SIZE,
                1,
                sent_at,
                self.now,
                srtt=self.rtt,
                min_rtt=self.min_rtt,
                largest=first + number,
                next_number=self.number,
            )
        if lost:
            cc.on_gone(lost * SIZE)
            cc.on_lost(lost, sent_at, self.now, min_rtt=self.min_rtt)
        assert cc.bytes_in_flight == 0


def test_slow_start_doubles_a_window_that_is_used() -> None:
    path = Path()
    assert path.cc.congestion_window == 10 * SIZE
    path.round()
    path.round()
    assert path.cc.congestion_window == 40 * SIZE
    for _ in range(2):
        path.round(5)  # The window was full within two round trips.
    window = path.cc.congestion_window
    for _ in range(10):
        path.round(5)
    assert path.cc.congestion_window == window <= 50 * SIZE


def test_slow_start_ends_when_round_trips_become_longer() -> None:
    path = Path()
    for _ in range(3):
        path.round()
    path.rtt = 0.07
    window = path.cc.congestion_window
    for _ in range(8):
        path.round()
    assert not path.cc.in_slow_start
    # Conservative slow start grows by a quarter of that, for five rounds at most (RFC 9406).
    assert path.cc.congestion_window < 2 * window * 1.25**6


def test_a_few_longer_round_trips_do_not_end_slow_start() -> None:
    path = Path()
    for rtt in (0.05, 0.05, 0.07, 0.05, 0.05, 0.05, 0.05):
        path.rtt = rtt
        path.round(16)
    assert path.cc.in_slow_start


def test_few_losses_without_a_queue_change_nothing() -> None:
    path = Path()
    for _ in range(6):
        path.round(lost=1)
    window = path.cc.congestion_window
    assert path.cc.in_slow_start
    for _ in range(10):
        count = window // SIZE
        path.round(count, lost=int(count * TOLERATED * 0.9))
        assert path.cc.congestion_window >= window
        window = path.cc.congestion_window


def queued(algorithm: Algorithm = "cubic") -> Path:
    """A path that holds 50 datagrams, with a full window of 100."""
    path = Path(algorithm)
    path.cc.congestion_window = 100 * SIZE
    path.cc.ssthresh = 0
    for rtt in (0.05, 0.1, 0.1):
        path.rtt = rtt
        path.cc.congestion_window = 100 * SIZE
        path.round(50 if rtt == path.min_rtt else 100)
    path.cc.congestion_window = 100 * SIZE
    return path


def test_a_loss_with_a_queue_is_congestion() -> None:
    path = queued()
    path.round(100, lost=1)
    assert path.cc.congestion_window == pytest.approx(100 * SIZE * CUBIC_BETA, rel=0.05)
    assert not path.cc.in_slow_start


def test_a_window_is_reduced_to_the_bandwidth_delay_product_at_least() -> None:
    path = queued()
    path.rtt = path.min_rtt
    for _ in range(12):
        path.round(90)  # The path holds so much now.
    path.rtt *= 2
    for _ in range(2):
        path.cc.congestion_window = 100 * SIZE
        path.round(90)
    path.cc.congestion_window = 100 * SIZE
    path.round(90, lost=1)
    assert path.cc.congestion_window == pytest.approx(90 * SIZE, rel=0.05)


def test_a_loss_in_a_window_that_is_not_full_is_no_congestion() -> None:
    path = queued()
    for _ in range(4):
        path.round(5)
    window = path.cc.congestion_window
    path.round(5, lost=1)
    assert path.cc.congestion_window == window


def test_many_losses_are_congestion_once_for_all_that_was_in_flight() -> None:
    path = Path()
    for _ in range(5):
        path.round()
    window = path.cc.congestion_window
    lost = int(SHARE_OVER * TOLERATED) + 20
    sent_at = path.now
    path.round(lost=lost)
    assert path.cc.congestion_window == pytest.approx(2 * window * CUBIC_BETA, rel=0.2)
    window = path.cc.congestion_window
    path.cc.on_lost(5, sent_at, path.now, min_rtt=path.min_rtt)
    assert path.cc.congestion_window == window


def test_a_reduction_for_spurious_losses_is_undone() -> None:
    path = queued()
    cc = path.cc
    path.round(100, lost=3)
    assert cc.congestion_window < 75 * SIZE
    cc.on_spurious(2, path.now)
    assert cc.congestion_window < 75 * SIZE
    cc.on_spurious(1, path.now)
    assert cc.congestion_window >= 100 * SIZE
    assert cc.ssthresh < cc.congestion_window


def test_the_window_follows_the_curve_of_rfc_9438() -> None:
    """Where the path is full all the time, so that nothing is gained by probing."""
    path = queued()
    path.round(100, lost=1)
    start, w_max = path.now, 100
    k = (w_max * (1 - CUBIC_BETA) / CUBIC_C) ** (1 / 3)
    while path.now - start < k + 2:
        t = path.now + 2 * path.rtt - start  # the curve is what is aimed at in a round trip
        path.round()
        wanted = CUBIC_C * (t - k) ** 3 + w_max
        assert path.cc.congestion_window / SIZE == pytest.approx(wanted, rel=0.06)


def test_reno_halves_and_grows_by_a_datagram_a_round_trip() -> None:
    path = queued("reno")
    path.round(100, lost=1)
    window = path.cc.congestion_window
    assert window == pytest.approx(50 * SIZE, rel=0.05)
    path.cc._rates.clear()  # Nothing is gained by probing.
    path.min_rtt = 0.001
    for _ in range(10):
        path.round()
    assert (path.cc.congestion_window - window) / SIZE == pytest.approx(10, abs=1)


def test_below_the_bandwidth_delay_product_the_window_grows_fast() -> None:
    path = Path()
    path.cc.congestion_window = 20 * SIZE
    path.cc.ssthresh = 0
    for _ in range(20):
        path.round()
    assert path.cc.congestion_window > 300 * SIZE


def test_a_window_that_is_not_used_does_not_grow() -> None:
    path = Path()
    path.cc.ssthresh = 0
    window = path.cc.congestion_window
    for _ in range(100):
        path.round(4)
    assert path.cc.congestion_window == window


def test_after_a_pause_the_window_is_halved_down_to_the_initial_one() -> None:
    path = Path()
    for _ in range(5):
        path.round()
    window = path.cc.congestion_window
    path.now += 1.5
    path.round(1)
    assert path.cc.congestion_window == window // 2
    path.now += 60.0
    path.round(1)
    assert path.cc.congestion_window == path.cc.initial_window == 10 * SIZE


def test_persistent_congestion_leaves_the_smallest_window() -> None:
    path = Path()
    path.round()
    path.cc.on_persistent_congestion()
    assert path.cc.congestion_window == path.cc.minimum_window == 4 * SIZE


def test_longer_datagrams_raise_the_smallest_window() -> None:
    cc = Congestion(1200)
    cc.on_persistent_congestion()
    cc.datagram_size = 16384
    assert cc.congestion_window == cc.minimum_window == 2 * 16384


def test_a_pacer_spreads_a_window_over_a_round_trip() -> None:
    pacer = Pacer(SIZE)
    assert pacer.next_send_time(1.0) is None
    window, rtt = 100 * SIZE, 0.1
    pacer.set_rate(window, rtt, slow_start=False)
    now, sent = 1.0, 0
    while now < 2.0:
        due = pacer.next_send_time(now)
        if due is None:
            pacer.sent(SIZE)
            sent += SIZE
        else:
            assert due - now >= 0.00099
            now = due
    assert sent == pytest.approx(GAIN * window / rtt, rel=0.05)


def test_a_pacer_lets_a_burst_pass() -> None:
    for window, most in ((100 * SIZE, BURST_DATAGRAMS), (100_000 * SIZE, GAIN * 100_000 / 0.1 * BURST)):
        pacer = Pacer(SIZE)
        pacer.set_rate(window, 0.1, slow_start=False)
        sent = 0
        while pacer.next_send_time(5.0) is None:
            pacer.sent(SIZE)
            sent += 1
        assert sent == pytest.approx(most, abs=1)


def test_a_pacer_counts_packets_that_were_built_and_not_sent() -> None:
    pacer = Pacer(SIZE)
    pacer.set_rate(100 * SIZE, 0.1, slow_start=False)
    for _ in range(BURST_DATAGRAMS):
        assert pacer.next_send_time(1.0) is None
        pacer.built()
    assert pacer.next_send_time(1.0) is not None
    pacer.sent(100)  # They were small.
    assert pacer.next_send_time(1.0) is None


def test_a_pacer_makes_up_for_late_timers_and_not_for_pauses() -> None:
    window, rtt = 1000 * SIZE, 0.1
    sent = {}
    for late in (0.0, 0.02, 1.0):
        pacer = Pacer(SIZE)
        pacer.set_rate(window, rtt, slow_start=False)
        now = 1.0
        while (due := pacer.next_send_time(now)) is None:
            pacer.sent(SIZE)
        now = due + late
        sent[late] = 0
        while pacer.next_send_time(now) is None:
            pacer.sent(SIZE)
            sent[late] += SIZE
    assert sent[0.02] - sent[0.0] == pytest.approx(0.02 * GAIN * window / rtt, rel=0.1)
    assert sent[1.0] <= GAIN * window / rtt * BURST + SIZE


def test_slow_start_after_it_was_left_doubles_the_window_up_to_the_threshold() -> None:
    # RFC 9406, section 4.3: what HyStart++ saw in one slow start says nothing about the next.
    path = Path()
    for _ in range(3):
        path.round()
    path.rtt = 0.07
    for _ in range(8):
        path.round()
    assert not path.cc.in_slow_start
    path.cc.on_persistent_congestion()
    assert path.cc.in_slow_start
    for _ in range(3):
        path.round()
    assert path.cc.congestion_window == 8 * path.cc.minimum_window
    assert path.cc.in_slow_start
