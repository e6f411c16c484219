"""The decisions of ``Node(cluster=...)``: whom to dial and when, whom to disconnect. No network, no clock."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quicdist.cluster import Backoff
from quicdist.cluster.membership import DIALLING, MAX_FORMER, UP, WAITING, Membership

OWN = "own@host"
A, B, C = "a@host", "b@host", "c@host"


class Longest(random.Random):
    """Draws the longest time."""

    def uniform(self, a: float, b: float) -> float:
        return b


def membership(**options: float) -> Membership:
    return Membership(OWN, Backoff(**options), Longest())


def fail(members: Membership, node: str, now: float) -> float:
    """Dial a node at ``now``, in vain; the seconds until the next attempt."""
    assert members.due(now, 10) == [node]
    delay = members.failed(node, now)
    assert delay is not None
    return delay


def test_nodes_that_are_listed_are_due_at_once_and_this_node_never_is() -> None:
    members = membership()
    assert members.listed("x", [B, OWN, A], [], 5.0) == []
    assert members.nodes == [A, B]
    assert members.due(5.0, 10) == [A, B]
    assert members.due(5.0, 10) == [], "they are being dialled"
    assert members.next_time() is None


def test_no_more_nodes_are_due_than_asked_for_and_the_longest_waiting_go_first() -> None:
    members = membership()
    members.listed("x", [B], [], 1.0)
    members.listed("y", [A, C], [], 2.0)
    assert members.due(3.0, 2) == [B, A]
    assert members.due(3.0, 2) == [C]


def test_a_node_that_is_connected_when_it_is_listed_is_not_dialled() -> None:
    members = membership()
    members.listed("x", [A, B], {B}, 0.0)
    assert members.due(0.0, 10) == [A]
    assert members.up == [B]


def test_the_time_between_failed_attempts_doubles_up_to_the_maximum() -> None:
    members = membership(initial=1.0, maximum=10.0)
    members.listed("x", [A], [], 0.0)
    now, delays = 0.0, []
    for _ in range(6):
        delays.append(fail(members, A, now))
        assert members.next_time() == now + delays[-1]
        assert members.due(now + delays[-1] - 0.001, 10) == []
        now += delays[-1]
    assert delays == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_a_connection_from_the_other_side_ends_the_wait() -> None:
    members = membership()
    members.listed("x", [A], [], 0.0)
    fail(members, A, 0.0)
    assert members.connected(A, 0.1)
    assert members.state(A) is UP
    assert members.next_time() is None


def test_a_flapping_node_is_dialled_ever_less_often() -> None:
    members = membership(initial=1.0, maximum=30.0)
    members.listed("x", [A], [], 0.0)
    now, delays = 0.0, []
    for _ in range(8):
        assert members.due(now, 10) == [A]
        members.connected(A, now)
        delay = members.disconnected(A, now + 0.01)
        assert delay is not None
        delays.append(delay)
        now = members.next_time() or 0.0
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_a_connection_that_lasted_resets_the_back_off() -> None:
    members = membership(initial=1.0, maximum=30.0)
    members.listed("x", [A], [], 0.0)
    assert (fail(members, A, 0.0), fail(members, A, 1.0)) == (1.0, 2.0)
    assert members.due(3.0, 10) == [A]
    members.connected(A, 3.0)
    assert members.disconnected(A, 33.0) == 1.0


def test_a_node_that_is_no_longer_listed_is_gone_and_not_dialled() -> None:
    members = membership()
    members.listed("x", [A, B], [], 0.0)
    fail_all = members.due(0.0, 10)
    assert fail_all == [A, B]
    members.failed(A, 0.0)
    assert members.listed("x", [B], [], 0.5) == [A]
    assert members.state(A) is None
    assert members.next_time() is None, "B is being dialled"
    assert members.failed(A, 1.0) is None
    assert not members.connected(A, 1.0)
    assert members.disconnected(A, 1.0) is None


def test_a_node_that_another_strategy_lists_is_not_gone() -> None:
    members = membership()
    members.listed("x", [A], [], 0.0)
    members.listed("y", [A], [], 0.0)
    assert members.listed("x", [], [], 1.0) == []
    assert members.listed("x", [], [], 2.0) == []
    assert members.listed("y", [], [], 3.0) == [A]


def test_a_node_that_comes_and_goes_is_not_dialled_each_time_it_comes() -> None:
    members = membership(initial=1.0)
    members.listed("x", [A], [], 0.0)
    assert members.due(0.0, 10) == [A]
    for step in range(1, 10):
        members.listed("x", [A] if step % 2 == 0 else [], [], step / 10)
        assert members.due(step / 10, 10) == []
    members.listed("x", [A], [], 0.95)
    assert members.next_time() == 1.0


def test_of_the_nodes_that_are_gone_a_bounded_number_is_remembered() -> None:
    members = membership()
    for number in range(MAX_FORMER + 10):
        members.listed("x", [f"n{number}@host"], [], 0.0)
        members.due(0.0, 10)
    assert len(members._former) == MAX_FORMER


def test_a_second_report_of_one_end_changes_nothing() -> None:
    members = membership()
    members.listed("x", [A], [A], 0.0)
    assert members.disconnected(A, 1.0) == 1.0
    assert members.disconnected(A, 1.0) is None
    assert members.failed(A, 1.0) is None, "it was not being dialled"
    assert members.state(A) is WAITING


@pytest.mark.parametrize(("initial", "maximum"), [(0.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (-1.0, 1.0)])
def test_a_backoff_of_impossible_times_is_a_value_error(initial: float, maximum: float) -> None:
    with pytest.raises(ValueError, match="0 < initial <= maximum"):
        Backoff(initial, maximum)


@given(st.integers(1, 10**9), st.floats(0.001, 100), st.floats(1, 1000), st.integers())
def test_a_delay_is_between_half_of_the_time_and_all_of_it(
    failures: int, initial: float, factor: float, seed: int
) -> None:
    backoff = Backoff(initial, initial * factor)
    delay = backoff.delay(failures, random.Random(seed))
    full = min(backoff.maximum, initial * 2.0 ** min(failures - 1, 64))
    assert full / 2 <= delay <= full


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["list", "due", "connected", "disconnected", "failed"]),
            st.sets(st.sampled_from([A, B, C, OWN])),
            st.sampled_from(["x", "y"]),
            st.floats(0, 40),
        )
    )
)
def test_whatever_happens_every_listed_node_is_up_dialled_or_has_a_time(
    steps: list[tuple[str, set[str], str, float]],
) -> None:
    members, now = membership(), 0.0
    lists: dict[str, set[str]] = {}
    for what, nodes, source, passed in steps:
        now += passed
        if what == "list":
            gone = members.listed(source, nodes, [], now)
            before = lists.get(source, set())
            lists[source] = nodes - {OWN}
            assert set(gone) == {node for node in before if not any(node in each for each in lists.values())}
        elif what == "due":
            members.due(now, len(nodes))
        else:
            for node in sorted(nodes):
                getattr(members, what)(node, now)
        assert set(members.nodes) == set().union(*lists.values())
        waiting = [node for node in members.nodes if members.state(node) is WAITING]
        assert (members.next_time() is None) == (not waiting)
        assert all(members.state(node) in (WAITING, DIALLING, UP) for node in members.nodes)
