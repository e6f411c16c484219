"""How long datagrams may be: the search, and what is done where long ones stop getting through."""

from __future__ import annotations

import pytest

from quicdist.carrier.quic.engine import path_mtu
from quicdist.carrier.quic.engine.path_mtu import (
    BASE_SIZE,
    FULL,
    GRANULARITY,
    MAX_LOSSES,
    MAX_PROBES,
    MAX_SIZE,
    MIN_SIZE,
    NARROW_LOSSES,
    NARROW_SHORT,
    PathMtu,
)

#: RFC 9000, section 18.2: the default of max_udp_payload_size.
ANY = 65527
LATER = path_mtu.RAISE_TIME


def agreed(limit: int = MAX_SIZE) -> PathMtu:
    mtu = PathMtu(limit)
    mtu.peer_takes(ANY, long=True)
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


@pytest.mark.parametrize(
    "longest", [1200, 1252, 1300, 1452, 1471, 1472, 1500, 4000, 8951, 8952, 8972, 9001, 16383, 16384, ANY]
)
@pytest.mark.parametrize("says_so", [False, True])
def test_the_size_found_is_that_of_the_path(longest: int, says_so: bool) -> None:
    mtu = agreed()
    assert mtu.size == MIN_SIZE
    asked = search(mtu, longest, says_so=says_so)
    assert mtu.size <= longest
    assert mtu.size >= min(longest, MAX_SIZE) * (GRANULARITY - 1) // GRANULARITY
    for size in asked:
        assert asked.count(size) == (1 if says_so or size <= longest else MAX_PROBES)
    assert search(mtu, longest) == []


@pytest.mark.parametrize("longest", [MAX_SIZE, *path_mtu.COMMON_SIZES])
def test_sizes_that_are_common_are_found_exactly(longest: int) -> None:
    mtu = agreed()
    search(mtu, longest)
    assert mtu.size == longest


def test_the_size_of_ethernet_is_probed_first_and_the_maximum_next() -> None:
    assert search(agreed(), ANY) == [BASE_SIZE, MAX_SIZE]


def test_with_the_limit_at_1200_bytes_nothing_is_probed() -> None:
    mtu = agreed(MIN_SIZE)
    assert mtu.size == MIN_SIZE
    assert search(mtu, ANY) == search(mtu, ANY, LATER * 2) == []
    assert mtu.size == MIN_SIZE


def test_limits_of_either_side_hold() -> None:
    mtu = agreed(5000)
    assert search(mtu, ANY) == [BASE_SIZE, 5000]
    mtu = PathMtu()
    mtu.peer_takes(3000, long=True)
    assert search(mtu, ANY) == [BASE_SIZE, 3000]
    mtu = PathMtu()
    mtu.peer_takes(1300, long=False)
    assert search(mtu, ANY) == [1300]
    mtu = PathMtu()
    mtu.peer_takes(900, long=True)  # RFC 9000, section 18.2: values below 1200 are invalid
    assert search(mtu, ANY) == []
    assert mtu.size == MIN_SIZE


def test_a_peer_that_is_not_quicdist_is_sent_the_size_of_ethernet() -> None:
    mtu = PathMtu()
    mtu.peer_takes(ANY, long=False)
    assert mtu.size == MIN_SIZE
    assert search(mtu, ANY) == [BASE_SIZE]
    assert mtu.size == BASE_SIZE
    mtu.suspect()
    assert mtu.size == MIN_SIZE
    assert 1200 < max(search(mtu, 1400, 2.0)[path_mtu.MAX_PROBES :]) < BASE_SIZE
    assert search(mtu, ANY, 3.0 + LATER) == [BASE_SIZE]


def test_where_datagrams_may_be_fragmented_nothing_is_probed() -> None:
    mtu = PathMtu()
    mtu.peer_takes(ANY, long=True, whole=False)
    assert mtu.size == BASE_SIZE
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
        assert mtu.due(1.0) == BASE_SIZE
        mtu.probe_lost()
    assert search(mtu, ANY) == [BASE_SIZE, MAX_SIZE]
    assert mtu.size == MAX_SIZE


def test_a_larger_size_is_probed_again_after_the_raise_timer() -> None:
    mtu = agreed()
    search(mtu, 2000)
    assert mtu.size < 2000
    assert not mtu.due(1.0 + LATER / 2)
    assert search(mtu, 9000, 1.0 + LATER)[0] == MAX_SIZE
    assert mtu.size > 8000
    search(mtu, ANY, 3.0 + 2 * LATER)
    assert mtu.size == MAX_SIZE
    assert search(mtu, ANY, 5.0 + 3 * LATER) == []  # there is no more


def test_a_new_path_is_probed_from_the_beginning() -> None:
    mtu = agreed(9000)
    search(mtu, ANY)
    other = mtu.anew()
    assert other.size == MIN_SIZE
    assert other.due(1.0) == BASE_SIZE
    mtu.probe_lost()  # on the old one
    other.probe_acknowledged()
    assert other.size == BASE_SIZE
    assert search(other, ANY) == [9000]


# -- black holes -------------------------------------------------------------------------------


def found(longest: int = ANY) -> PathMtu:
    """A path that was asked and takes so much."""
    mtu = agreed()
    search(mtu, longest)
    return mtu


def test_losses_in_a_row_restart_probing() -> None:
    mtu = found()
    lose(mtu, times=MAX_LOSSES - 1)
    arrive(mtu)
    lose(mtu, times=MAX_LOSSES - 1)
    assert mtu.size == MAX_SIZE
    lose(mtu, times=1)
    assert mtu.size == MIN_SIZE
    # It was not the length: two probes, and all is as before.
    assert search(mtu, ANY) == [BASE_SIZE, MAX_SIZE]
    assert mtu.size == MAX_SIZE


def test_a_path_with_a_smaller_mtu_is_found() -> None:
    mtu = found()
    lose(mtu)
    assert search(mtu, 4000)[1 : 1 + MAX_PROBES] == [MAX_SIZE] * MAX_PROBES
    assert 3800 < mtu.size <= 4000
    narrow = mtu.size
    lose(mtu)
    assert mtu.size == MIN_SIZE
    assert search(mtu, 2000)[1] == narrow
    assert 1900 < mtu.size <= 2000
    lose(mtu)
    assert mtu.size == MIN_SIZE
    search(mtu, 1300)
    assert 1250 < mtu.size <= 1300


def test_silence_is_no_black_hole_but_a_short_packet_acknowledged_alone_is() -> None:
    mtu = found()
    mtu.watch(MAX_SIZE)
    mtu.undelivered(MAX_SIZE)
    mtu.short_delivered(enough=False)
    assert mtu.size == MAX_SIZE
    mtu.short_delivered(enough=True)
    assert mtu.size == MIN_SIZE
    # Those that were under way are not evidence against shorter ones.
    for _ in range(NARROW_LOSSES):
        mtu.undelivered(MAX_SIZE)
    assert not mtu.doubtful


def test_shorter_datagrams_than_the_lost_ones_do_not_reset_losses() -> None:
    """Datagrams of many sizes are under way on a path that took 9000 bytes, and now takes 1500."""
    mtu = found(8972)
    for _ in range(MAX_LOSSES - 1):
        lose(mtu, 5000, times=1)
        mtu.watch(1400)
        mtu.delivered(1400)
        assert mtu.size == 8972
    lose(mtu, 8000, times=1)
    assert mtu.size == MIN_SIZE
    assert search(mtu, 1472)[:2] == [BASE_SIZE, 8972]
    assert mtu.size == 1472


def test_a_spurious_loss_counts_for_the_path() -> None:
    mtu = found()
    lose(mtu, times=MAX_LOSSES - 1)
    mtu.delivered(MAX_SIZE)
    lose(mtu, times=MAX_LOSSES - 1)
    assert mtu.size == MAX_SIZE


def test_one_datagram_is_watched_at_a_time() -> None:
    mtu = found()
    watched = [mtu.to_watch]
    mtu.watch(MIN_SIZE + 1)
    watched.append(mtu.to_watch)
    mtu.undelivered(MIN_SIZE)  # not the one
    watched.append(mtu.to_watch)
    mtu.undelivered(MIN_SIZE + 1)
    assert [*watched, mtu.to_watch] == [MIN_SIZE, 0, 0, MIN_SIZE]


def narrowed(mtu: PathMtu, losses: int, short: int) -> bool:
    lose(mtu, MIN_SIZE, times=losses)
    for _ in range(short):
        mtu.short_delivered(enough=True)
    return mtu.is_too_narrow


def test_a_path_that_takes_short_packets_only_carries_no_quic() -> None:
    mtu = agreed()
    assert mtu.to_watch == FULL
    assert not narrowed(mtu, NARROW_LOSSES, 0)
    assert narrowed(mtu, 0, NARROW_SHORT)
    assert not narrowed(agreed(), NARROW_LOSSES - 1, NARROW_SHORT)
    mtu = agreed()
    assert not narrowed(mtu, NARROW_LOSSES - 1, NARROW_SHORT)
    assert mtu.doubtful
    arrive(mtu)
    assert not mtu.doubtful
    assert not narrowed(mtu, NARROW_LOSSES - 1, NARROW_SHORT)


def test_a_path_that_takes_only_probes_is_not_probed_twice() -> None:
    mtu = found()
    lose(mtu)
    assert search(mtu, ANY) == [BASE_SIZE, MAX_SIZE]
    lose(mtu)
    asked = search(mtu, 10_000)
    assert MAX_SIZE not in asked
    assert 9600 < mtu.size <= 10_000
    # Sizes that did get through are probed first again.
    arrive(mtu)
    size = mtu.size
    lose(mtu)
    assert search(mtu, ANY)[1] == size


def test_short_datagrams_do_not_reset_losses_of_long_ones() -> None:
    mtu = found()
    lose(mtu)
    arrive(mtu)  # of the least size
    assert search(mtu, ANY) == [BASE_SIZE, MAX_SIZE]
    mtu.watch(BASE_SIZE)
    mtu.delivered(BASE_SIZE)
    lose(mtu)
    assert MAX_SIZE not in search(mtu, ANY)


def test_an_icmp_report_during_a_probe_waits_for_its_fate() -> None:
    """It may be about the probe, and anyone may say it."""
    mtu = found(2000)
    mtu.suspect()
    assert mtu.due(1.0) == BASE_SIZE
    mtu.hinted()
    mtu.probe_acknowledged()
    assert mtu.size == BASE_SIZE
    mtu.hinted()
    assert mtu.size == MIN_SIZE


def test_a_size_that_the_system_refuses_is_not_built() -> None:
    mtu = found()
    mtu.too_long(MAX_SIZE)
    assert mtu.size == MIN_SIZE
    assert MAX_SIZE not in search(mtu, 9000, says_so=True)
    size = mtu.size
    mtu.too_long(size + 1)  # known
    assert mtu.size == size
    mtu.too_long(1400)
    assert mtu.size == MIN_SIZE
    assert search(mtu, 1399)
    assert 1350 < mtu.size < 1400


def test_a_refusal_of_the_system_before_the_handshake_is_remembered() -> None:
    mtu = PathMtu()
    mtu.too_long(BASE_SIZE)
    mtu.peer_takes(ANY, long=True)
    assert mtu.size == MIN_SIZE
    assert 1200 < max(search(mtu, 1400)) < BASE_SIZE
    mtu = PathMtu()
    mtu.too_long(BASE_SIZE)
    mtu.peer_takes(ANY, long=True, whole=False)
    assert mtu.size == MIN_SIZE
