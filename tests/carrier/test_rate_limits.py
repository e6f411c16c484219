"""Sources, token buckets and failure delays; spoofed addresses do not grow a table."""

from __future__ import annotations

import pytest

from quicdist.carrier.addresses import source_of
from quicdist.carrier.rate_limits import FailureDelay, TokenBucket


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff"),
        ("fe80::1%eth0", "fe80::2"),
    ],
)
def test_addresses_of_one_source_have_one_key(one: str, other: str) -> None:
    assert source_of(one) == source_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("192.0.2.1", "192.0.2.2"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("2001:db8:0:1::1", "2001:db8:0:2::1"),
        ("::1", "127.0.0.1"),
        ("here", "there"),
    ],
)
def test_addresses_of_two_sources_have_two_keys(one: str, other: str) -> None:
    assert source_of(one) != source_of(other)


# -- rates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0.0, 1e6])
def test_token_bucket_allows_a_burst_and_then_its_rate(start: float) -> None:
    bucket = TokenBucket(rate=10, burst=3)
    assert [bucket.take(start) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(start + 0.09)
    assert bucket.take(start + 0.11)
    assert not bucket.take(start + 0.12)
    assert [bucket.take(start + 100) for _ in range(4)] == [True, True, True, False]


def test_token_bucket_accepts_a_clock_that_goes_back() -> None:
    bucket = TokenBucket(rate=1, burst=1)
    assert bucket.take(10)
    assert not bucket.take(5)
    assert bucket.take(11)


# -- delays --------------------------------------------------------------------------------------


def test_failures_delay_ever_longer_up_to_a_limit() -> None:
    delays = FailureDelay(free=2, first=0.1, longest=0.5)
    assert [delays.failed(b"a", 0) for _ in range(6)] == [0, 0, 0.1, 0.2, 0.4, 0.5]
    assert delays.failed(b"b", 0) == 0


def test_a_million_failures_are_forgotten_as_soon_as_a_few() -> None:
    delays = FailureDelay(free=1, first=1, longest=2, forget=1)
    for _ in range(1000):
        delays.failed(b"a", 0)
    assert delays.failed(b"a", 10) == 2
    assert delays.failed(b"a", 50) == 0


def test_spoofed_addresses_do_not_grow_the_table_of_failures() -> None:
    delays = FailureDelay(sources=16)
    for number in range(10_000):
        delays.failed(number.to_bytes(4), number)
    assert len(delays) == 16
