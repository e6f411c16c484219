"""How long datagrams may be: the search, and what is done where long ones stop getting through."""

from __future__ import annotations

import pytest

from quicdist.carrier.quic.driver import path_mtu
from quicdist.carrier.quic.driver.path_mtu import (
    BASE_SIZE,
    GRAIN,
    MAX_LOSSES,
    MAX_PROBES,
    MAX_SIZE,
    MIN_SIZE,
    PathMtu,
)

#: RFC 9000, section 18.2: the default of max_udp_payload_size.
ANY = 65527
LATER = path_mtu.RAISE_TIME


def agreed(limit: int = MAX_SIZE) -> PathMtu:
    mtu = PathMtu(limit)
    mtu.peer_takes(ANY, probes=True)
    return mtu


def search(mtu: PathMtu, longest: int, now: float = 1.0, *, says_so: bool = False) -> list[int]:
    """Probe until nothing is due, on a path that takes datagrams of up to ``longest`` bytes, and where
    the system says so if one is too long (``says_so``); the sizes that were asked for."""
    asked = []
    while size := mtu.due(now):
        asked.append(size)
        assert len(asked) < 100
        assert not mtu.due(now)  # one at a time
        if size <= longest:
            mtu.probe_acknowledged()
        elif says_so:
            mtu.too_long(size)
        else:
            mtu.probe_lost()
    return asked


def lose(mtu: PathMtu, size: int | None = None, times: int = MAX_LOSSES) -> None:
    """Watched datagrams of ``size`` bytes, or as long as they may be, all lost."""
    for _ in range(times):
        sent = size or mtu.size
        mtu.watch(sent)
        mtu.undelivered(sent)


def arrive(mtu: PathMtu) -> None:
    mtu.watch(mtu.size)
    mtu.delivered(mtu.size)


@pytest.mark.parametrize("longest", [1452, 1471, 1472, 1500, 4000, 8951, 8952, 8972, 9001, 16383, 16384, ANY])
@pytest.mark.parametrize("says_so", [False, True])
def test_the_size_found_is_what_the_path_takes(longest: int, says_so: bool) -> None:
    mtu = agreed()
    assert mtu.size == BASE_SIZE
    asked = search(mtu, longest, says_so=says_so)
    assert mtu.size <= longest
    assert mtu.size >= min(longest, MAX_SIZE) * (GRAIN - 1) // GRAIN
    for size in asked:
        assert asked.count(size) == (1 if says_so or size <= longest else MAX_PROBES)
    assert search(mtu, longest) == []


@pytest.mark.parametrize("longest", [MAX_SIZE, *path_mtu.LIKELY])
def test_sizes_that_are_common_are_found_exactly(longest: int) -> None:
    mtu = agreed()
    search(mtu, longest)
    assert mtu.size == longest


def test_the_longest_is_asked_for_first() -> None:
    assert search(agreed(), ANY) == [MAX_SIZE]


@pytest.mark.parametrize("limit", [1200, 1300, 1452])
def test_with_a_limit_that_any_path_takes_nothing_is_asked(limit: int) -> None:
    mtu = agreed(limit)
    assert mtu.size == limit
    assert search(mtu, ANY) == search(mtu, ANY, LATER * 2) == []
    assert mtu.size == limit


def test_limits_of_either_side_hold() -> None:
    mtu = agreed(5000)
    assert search(mtu, ANY) == [5000]
    mtu = PathMtu()
    mtu.peer_takes(3000, probes=True)
    assert search(mtu, ANY) == [3000]
    mtu = PathMtu()
    mtu.peer_takes(1300, probes=False)
    assert mtu.size == 1300
    mtu = PathMtu()
    mtu.peer_takes(900, probes=True)  # RFC 9000, section 18.2: values below 1200 are invalid
    assert mtu.size == MIN_SIZE


def test_a_peer_without_probes_is_sent_none() -> None:
    mtu = PathMtu()
    mtu.peer_takes(ANY, probes=False)
    assert search(mtu, ANY) == []
    mtu.suspect()
    assert mtu.size == MIN_SIZE
    assert search(mtu, ANY, 2.0) == search(mtu, ANY, LATER) == []
    assert mtu.size == MIN_SIZE
    # What it is sent may be as long as before, after a time.
    assert search(mtu, ANY, 2.0 + LATER) == []
    assert mtu.size == BASE_SIZE


def test_a_probe_may_get_lost_for_other_reasons() -> None:
    mtu = agreed()
    for _ in range(MAX_PROBES - 1):
        assert mtu.due(1.0) == MAX_SIZE
        mtu.probe_lost()
    assert search(mtu, ANY) == [MAX_SIZE]
    assert mtu.size == MAX_SIZE


def test_a_path_is_asked_again_after_a_time() -> None:
    mtu = agreed()
    search(mtu, 2000)
    assert mtu.size < 2000
    assert not mtu.due(1.0 + LATER / 2)
    assert search(mtu, 9000, 1.0 + LATER)[0] == MAX_SIZE
    assert mtu.size > 8000
    search(mtu, ANY, 3.0 + 2 * LATER)
    assert mtu.size == MAX_SIZE
    assert search(mtu, ANY, 5.0 + 3 * LATER) == []  # there is no more


def test_a_new_path_is_asked_from_the_beginning() -> None:
    mtu = agreed(9000)
    search(mtu, ANY)
    other = mtu.anew()
    assert other.size == BASE_SIZE
    assert other.due(1.0) == 9000
    mtu.probe_lost()  # on the old one
    other.probe_acknowledged()
    assert other.size == 9000


# -- black holes -------------------------------------------------------------------------------


def found(longest: int = ANY) -> PathMtu:
    """A path that was asked and takes so much."""
    mtu = agreed()
    search(mtu, longest)
    return mtu


def test_losses_in_a_row_make_one_ask_again() -> None:
    mtu = found()
    lose(mtu, times=MAX_LOSSES - 1)
    arrive(mtu)
    lose(mtu, times=MAX_LOSSES - 1)
    assert mtu.size == MAX_SIZE
    lose(mtu, times=1)
    assert mtu.size == BASE_SIZE
    # It was not the length: one probe, and all is as before.
    assert search(mtu, ANY) == [MAX_SIZE]
    assert mtu.size == MAX_SIZE


def test_a_path_that_became_narrow() -> None:
    mtu = found()
    lose(mtu)
    assert search(mtu, 4000)[:MAX_PROBES] == [MAX_SIZE] * MAX_PROBES
    assert 3800 < mtu.size <= 4000
    narrow = mtu.size
    lose(mtu)
    assert mtu.size == BASE_SIZE
    assert search(mtu, 2000)[0] == narrow
    assert 1900 < mtu.size <= 2000
    lose(mtu)
    lose(mtu)
    assert mtu.size == MIN_SIZE
    search(mtu, 1300)
    assert 1250 < mtu.size <= 1300


def test_silence_is_suspicious_if_long_datagrams_were_sent() -> None:
    mtu = found()
    mtu.timed_out()
    assert mtu.size == MAX_SIZE
    assert mtu.to_watch == BASE_SIZE
    mtu.watch(BASE_SIZE + 1)
    assert mtu.to_watch == MAX_SIZE  # one at a time
    mtu.timed_out()
    assert mtu.size == BASE_SIZE
    # Those that were under way are not evidence against shorter ones.
    mtu.undelivered(BASE_SIZE + 1)
    mtu.timed_out()
    assert mtu.size == BASE_SIZE
    lose(mtu, times=1)
    mtu.timed_out()
    assert mtu.size == MIN_SIZE
    assert mtu.to_watch == MIN_SIZE
    mtu.timed_out()
    mtu.suspect()
    assert mtu.size == MIN_SIZE


def test_while_the_peer_is_silent_shorter_ones_are_watched_too() -> None:
    """The fate of the long ones may be unknown for as long as nothing gets through."""
    mtu = found()
    mtu.watch(MAX_SIZE)
    mtu.timed_out()
    assert mtu.size == BASE_SIZE
    assert mtu.to_watch == MIN_SIZE
    mtu.watch(BASE_SIZE)
    mtu.undelivered(MAX_SIZE)
    mtu.timed_out()
    assert mtu.size == MIN_SIZE


def test_a_path_that_takes_probes_and_nothing_else() -> None:
    mtu = found()
    lose(mtu)
    assert search(mtu, ANY) == [MAX_SIZE]
    lose(mtu)
    asked = search(mtu, 10_000)
    assert MAX_SIZE not in asked
    assert 9600 < mtu.size <= 10_000
    # Sizes that did get through are believed in again.
    arrive(mtu)
    lose(mtu)
    assert search(mtu, ANY)[0] == mtu.size


def test_short_datagrams_that_get_through_prove_nothing_for_long_ones() -> None:
    mtu = found()
    lose(mtu)
    arrive(mtu)  # of the base size
    assert search(mtu, ANY) == [MAX_SIZE]
    lose(mtu)
    assert MAX_SIZE not in search(mtu, ANY)


def test_what_the_network_says_of_a_probe_is_waited_for() -> None:
    """It may be about the probe, and anyone may say it."""
    mtu = found(2000)
    size = mtu.size
    mtu.suspect()
    assert mtu.due(1.0) == size
    mtu.hinted()
    assert mtu.size == BASE_SIZE
    mtu.probe_acknowledged()
    mtu.hinted()
    assert mtu.size == BASE_SIZE


def test_what_the_system_does_not_take_is_not_built() -> None:
    mtu = found()
    mtu.too_long(MAX_SIZE)
    assert mtu.size == BASE_SIZE
    assert MAX_SIZE not in search(mtu, 9000, says_so=True)
    size = mtu.size
    mtu.too_long(size + 1)  # known
    assert mtu.size == size
    mtu.too_long(1400)
    assert mtu.size == MIN_SIZE
    assert search(mtu, 1399)
    assert 1350 < mtu.size < 1400


def test_a_handshake_that_takes_long_does_not_count() -> None:
    mtu = PathMtu()
    mtu.suspect()
    assert mtu.size == MIN_SIZE
    mtu.peer_takes(ANY, probes=False)
    assert mtu.size == BASE_SIZE
    # But what the system said does.
    mtu = PathMtu()
    mtu.too_long(BASE_SIZE)
    assert mtu.size == MIN_SIZE
    mtu.peer_takes(ANY, probes=True)
    assert mtu.size == MIN_SIZE
    assert 1200 < max(search(mtu, 1400)) < BASE_SIZE
