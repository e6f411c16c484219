"""Accounting by source: what one source is, and that made-up addresses grow nothing."""

from __future__ import annotations

import pytest

from quicdist.carrier.rate_limits import EvictingTable, FailureDelay, SourceRates, TokenBucket, source_of


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
    assert bucket.available(start) == pytest.approx(0.1)
    assert not bucket.take(start + 0.09)
    assert bucket.take(start + 0.11)
    assert not bucket.take(start + 0.12)
    assert [bucket.take(start + 100) for _ in range(4)] == [True, True, True, False]


def test_token_bucket_takes_a_clock_that_goes_back() -> None:
    bucket = TokenBucket(rate=1, burst=1)
    assert bucket.take(10)
    assert not bucket.take(5)
    assert bucket.take(11)


def test_token_given_back_can_be_taken() -> None:
    rates = SourceRates(1, 1)
    assert rates.take(b"a", 0)
    rates.give_back(b"a")
    assert rates.take(b"a", 0)
    assert not rates.take(b"a", 0)


def test_a_source_has_a_rate_of_its_own() -> None:
    rates = SourceRates(1, 2)
    assert [rates.take(b"a", 0) for _ in range(3)] == [True, True, False]
    assert rates.take(b"b", 0)


def test_made_up_addresses_do_not_grow_a_table_of_rates() -> None:
    rates = SourceRates(1, 1, sources=16)
    for number in range(10_000):
        assert rates.take(number.to_bytes(4), 0)
    assert len(rates) == 16


def test_source_in_use_keeps_its_rate_while_others_come_and_go() -> None:
    rates = SourceRates(1, 1, sources=16)
    assert rates.take(b"mine", 0)
    for number in range(1000):
        rates.take(number.to_bytes(4), 0)
        assert not rates.take(b"mine", 0)


# -- delays --------------------------------------------------------------------------------------


def test_failures_delay_ever_longer_up_to_a_limit() -> None:
    delays = FailureDelay(free=2, first=0.1, longest=0.5)
    assert [delays.failed(b"a", 0) for _ in range(6)] == [0, 0, 0.1, 0.2, 0.4, 0.5]
    assert delays.delay(b"a", 0) == 0.5
    assert delays.delay(b"b", 0) == 0


def test_a_million_failures_are_forgotten_as_soon_as_a_few() -> None:
    delays = FailureDelay(free=1, first=1, longest=2, forget=1)
    for _ in range(1000):
        delays.failed(b"a", 0)
    assert delays.delay(b"a", 10) == 2
    assert delays.delay(b"a", 40) == 0


def test_success_forgets_failures() -> None:
    delays = FailureDelay(free=0)
    assert delays.failed(b"a", 0) > 0
    delays.succeeded(b"a")
    assert delays.delay(b"a", 0) == 0
    assert len(delays) == 0


def test_made_up_addresses_do_not_grow_a_table_of_failures() -> None:
    delays = FailureDelay(sources=16)
    for number in range(10_000):
        delays.failed(number.to_bytes(4), number)
    assert len(delays) == 16


# -- places --------------------------------------------------------------------------------------


def test_there_is_a_place_for_the_next_until_all_are_taken() -> None:
    places: EvictingTable[str] = EvictingTable(3, 3)
    assert [places.enter(name, b"a", validated=False) for name in "xyz"] == [None] * 3
    assert len(places) == 3
    assert list(places) == ["x", "y", "z"]
    assert places.count(b"a") == 3


def test_oldest_unvalidated_gives_way_before_validated_ones() -> None:
    places: EvictingTable[str] = EvictingTable(3, 3)
    places.enter("old", b"a", validated=True)
    places.enter("older stranger", b"b", validated=False)
    places.enter("stranger", b"c", validated=False)
    assert places.enter("new", b"d", validated=True) == "older stranger"
    assert "older stranger" not in places
    assert places.enter("newer", b"d", validated=True) == "stranger"


def test_source_with_most_places_gives_way_where_all_are_validated() -> None:
    places: EvictingTable[str] = EvictingTable(4, 4)
    places.enter("first", b"a", validated=True)
    for name in "xyz":
        places.enter(name, b"flood", validated=False)
        places.validated(name)
    assert places.enter("new", b"b", validated=True) == "x"
    assert "first" in places


def test_source_with_its_share_takes_a_place_from_itself_only() -> None:
    places: EvictingTable[str] = EvictingTable(10, 2)
    places.enter("other", b"a", validated=False)
    places.enter("x", b"flood", validated=True)
    places.enter("y", b"flood", validated=True)
    assert places.enter("z", b"flood", validated=True) == "x"
    assert places.count(b"flood") == 2
    assert "other" in places


def test_a_flood_that_says_nothing_does_not_take_the_place_of_who_speaks() -> None:
    places: EvictingTable[object] = EvictingTable(8, 4)
    for name in ("good", "x", "y", "z"):
        assert places.enter(name, b"a", validated=True) is None
    places.spoke("good")
    assert [places.enter(number, b"a", validated=True) for number in range(5)] == ["x", "y", "z", 0, 1]
    assert "good" in places


def test_a_flood_that_speaks_does_not_take_the_place_of_who_is_new() -> None:
    places: EvictingTable[str] = EvictingTable(8, 4)
    for name in "wxyz":
        places.enter(name, b"a", validated=True)
        places.spoke(name)
    assert places.enter("good", b"a", validated=True) == "w"
    assert places.enter("new", b"a", validated=True) == "x"
    # Half of them are silent: those that spoke give way, the oldest first.
    assert places.enter("newer", b"a", validated=True) == "y"
    assert "good" in places
    for name in list(places):
        places.leave(name)
    assert not places._speaking


def test_places_left_are_free_and_leave_nothing_behind() -> None:
    places: EvictingTable[int] = EvictingTable(2, 2)
    for number in range(1000):
        assert places.enter(number, number.to_bytes(4), validated=bool(number % 2)) is None
        places.leave(number)
        places.leave(number)
    assert len(places) == 0
    assert not places._held
    assert not places._unvalidated


def test_share_of_a_source_is_part_of_all_places() -> None:
    with pytest.raises(ValueError, match="per_source 3 is not 1 to 2"):
        EvictingTable(2, 3)
