"""A bounded table in which a new entry evicts another: which one."""

from __future__ import annotations

import pytest

from quicdist.carrier.evicting_table import EvictingTable


def test_entries_are_kept_while_the_table_has_room() -> None:
    table: EvictingTable[str] = EvictingTable(3, 3)
    assert [table.enter(name, b"a", validated=False) for name in "xyz"] == [None] * 3
    assert len(table) == 3
    assert list(table) == ["x", "y", "z"]
    assert table.count(b"a") == 3


def test_full_table_evicts_the_oldest_unvalidated_entry_first() -> None:
    table: EvictingTable[str] = EvictingTable(3, 3)
    table.enter("old", b"a", validated=True)
    table.enter("older unvalidated", b"b", validated=False)
    table.enter("unvalidated", b"c", validated=False)
    assert table.enter("new", b"d", validated=True) == "older unvalidated"
    assert "older unvalidated" not in table
    assert table.enter("newer", b"d", validated=True) == "unvalidated"


def test_full_table_of_validated_entries_evicts_from_the_source_with_most() -> None:
    table: EvictingTable[str] = EvictingTable(4, 4)
    table.enter("first", b"a", validated=True)
    for name in "xyz":
        table.enter(name, b"flood", validated=False)
        table.validated(name)
    assert table.enter("new", b"b", validated=True) == "x"
    assert "first" in table


def test_source_at_its_limit_evicts_its_own_oldest_entry() -> None:
    table: EvictingTable[str] = EvictingTable(10, 2)
    table.enter("other", b"a", validated=False)
    table.enter("x", b"flood", validated=True)
    table.enter("y", b"flood", validated=True)
    assert table.enter("z", b"flood", validated=True) == "x"
    assert table.count(b"flood") == 2
    assert "other" in table


def test_flood_of_silent_entries_does_not_evict_a_speaking_one() -> None:
    table: EvictingTable[object] = EvictingTable(8, 4)
    for name in ("good", "x", "y", "z"):
        assert table.enter(name, b"a", validated=True) is None
    table.spoke("good")
    assert [table.enter(number, b"a", validated=True) for number in range(5)] == ["x", "y", "z", 0, 1]
    assert "good" in table


def test_flood_of_speaking_entries_does_not_evict_a_new_one() -> None:
    table: EvictingTable[str] = EvictingTable(8, 4)
    for name in "wxyz":
        table.enter(name, b"a", validated=True)
        table.spoke(name)
    assert table.enter("good", b"a", validated=True) == "w"
    assert table.enter("new", b"a", validated=True) == "x"
    # Half of them are silent: the oldest of those that spoke is evicted.
    assert table.enter("newer", b"a", validated=True) == "y"
    assert "good" in table
    for name in list(table):
        table.leave(name)
    assert not table._speaking


def test_entries_that_left_free_their_table() -> None:
    table: EvictingTable[int] = EvictingTable(2, 2)
    for number in range(1000):
        assert table.enter(number, number.to_bytes(4), validated=bool(number % 2)) is None
        table.leave(number)
        table.leave(number)
    assert len(table) == 0
    assert not table._held
    assert not table._unvalidated


def test_limit_per_source_above_the_size_of_the_table_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="per_source 3 is not 1 to 2"):
        EvictingTable(2, 3)
