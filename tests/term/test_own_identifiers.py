"""A codec of a node with a dynamic name: its own pids and references have another node name for others."""

from __future__ import annotations

from typing import Any

import pytest

from quicdist.term import Atom, Codec, ImproperList, Pid, Record, Reference

INTERNAL, NAME, CREATION = Atom("nonode@nohost"), Atom("ABC@host"), 77
PLAIN = Codec()
OWN = PLAIN.for_node(INTERNAL, NAME, CREATION)

P, R = Pid(INTERNAL, 5, 6, 0), Reference(INTERNAL, (1, 2, 3), 0)
FOR_OTHERS = {P: Pid(NAME, 5, 6, CREATION), R: Reference(NAME, (1, 2, 3), CREATION)}
SHAPES: list[Any] = [
    lambda x: x,
    lambda x: (x, 1, [x, b"b"], {Atom("k"): x}),
    lambda x: {x: (x,)},
    lambda x: ImproperList([Atom("alias")], x),
    lambda x: [[[[x] * 3] * 3] * 30],
    lambda x: deep(x, 100),
]


def deep(term: Any, levels: int) -> Any:
    for _ in range(levels):
        term = (term,)
    return term


@pytest.mark.parametrize("own", [P, R], ids=["pid", "reference"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("codec", [OWN, OWN.without_records()], ids=["", "without records"])
def test_others_see_the_name_and_the_node_its_own(codec: Codec, shape: Any, own: Any) -> None:
    term, seen = shape(own), shape(FOR_OTHERS[own])
    for _ in range(2):  # the second time from the caches
        encoded = codec.encode(term)
        assert encoded == PLAIN.encode(seen)
        assert codec.decode(encoded) == (term, len(encoded))
        assert codec.decode(memoryview(encoded)) == (term, len(encoded))


@pytest.mark.parametrize(
    "term",
    [
        Pid(NAME, 5, 6, CREATION - 1),
        Reference(NAME, (1, 2, 3), CREATION + 1),
        Pid("other@host", 5, 6, CREATION),
        Reference("other@host", (1,), 0),
        NAME,
        (Atom("name"), NAME),
    ],
)
def test_identifiers_of_other_incarnations_and_nodes_stay_as_they_are(term: Any) -> None:
    for _ in range(2):
        encoded = OWN.encode(term)
        assert encoded == PLAIN.encode(term)
        assert OWN.decode(encoded)[0] == term


def test_older_forms_of_the_own_name_are_known() -> None:
    latin = b"d\x00\x08ABC@host"  # ATOM_EXT
    pid = b"X" + latin + bytes((0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, CREATION))
    reference = b"Z\x00\x01" + latin + bytes((0, 0, 0, CREATION, 0, 0, 0, 9))
    for _ in range(2):
        assert OWN.decode(pid)[0] == P
        assert OWN.decode(reference)[0] == Reference(INTERNAL, (9,), 0)


def test_a_record_is_still_refused_for_older_peers() -> None:
    record = Record("m", "r", {"f": P})
    assert OWN.decode(OWN.encode(record))[0] == record
    with pytest.raises(ValueError, match="record"):
        OWN.without_records().encode(record)
