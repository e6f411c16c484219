"""The values themselves: equality, order, printing, what they refuse, and that they do not change."""

from __future__ import annotations

import copy
import pickle
import random
from collections import OrderedDict, namedtuple
from enum import Enum, IntEnum, StrEnum
from typing import Any

import pytest

import quicdist.term as namespace
from quicdist.term import (
    Atom,
    BitString,
    Codec,
    EncodeError,
    Export,
    Fun,
    ImproperList,
    Limits,
    Local,
    Map,
    Pid,
    Port,
    Record,
    Reference,
    TermError,
    binary_to_term,
    exactly_equal,
    sort_key,
    term_to_binary,
)

FUN = bytes.fromhex(
    "700000004601bdcd043b7f0cfe6db177d2ed612144c40000000000000000770467656f6d61006205ee682158770d6e6f6e6f6465406e"
    "6f686f7374000000000000000000000000"
)
VALUES = [
    Atom("ok"),
    Atom("hello world"),
    Pid("a@h", 1, 2, 3),
    Port("a@h", 1 << 40, 2),
    Reference("a@h", (1, 2, 3), 4),
    Export("lists", "map", 2),
    Fun(FUN),
    BitString(b"\xab\xc0", 4),
    ImproperList([1, Atom("a")], Atom("b")),
    Record("geom", "vec", {"x": 1.0, "y": None}),
    Record("geom", "private", {"x": 1}, exported=False),
    Map([(1, "a"), (1.0, "b"), (True, "c"), ([1], "d"), ({"k": 1}, "e")]),
    Local(b"abc"),
]
every_value = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


@every_value
def test_a_copy_is_the_same_value(value: Any) -> None:
    for same in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):
        assert same == value
        assert hash(same) == hash(value)
    assert eval(repr(value), vars(namespace).copy()) == value
    if type(value) is not Local:
        assert binary_to_term(term_to_binary(value)) == value
    assert value != 1
    assert value != "x"


@every_value
def test_nothing_of_a_value_can_be_changed(value: Any) -> None:
    for name in ("name", "node", "elements", "something"):
        with pytest.raises(AttributeError):
            setattr(value, name, 1)
        with pytest.raises(AttributeError):
            delattr(value, name)


@every_value
def test_values_of_different_types_are_never_equal(value: Any) -> None:
    assert [other for other in VALUES if other == value] == [value]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Pid("a@h", 1, 2, 3), "<0.1.2>"),
        (Port("a@h", 7, 3), "#Port<0.7>"),
        (Reference("a@h", (1, 2, 3), 4), "#Ref<0.3.2.1>"),
        (Reference("a@h", (1, 2, 3, 4, 5), 4), "#Ref<0.5.4.3.2.1>"),
        (Export("lists", "map", 2), "fun lists:map/2"),
        (Fun(FUN), "#Fun<geom.0.99510305>"),
        (BitString(b"\xab\xc0", 4), "<<171,12:4>>"),
        (ImproperList([Atom("a")], Atom("B c")), "[a|'B c']"),
        (Record("geom", "vec", {"x": 1.0}), "#geom:vec{x = 1.0}"),
        (Map([([], 1)]), "#{[] => 1}"),
    ],
)
def test_str_prints_as_erlang_does(value: Any, text: str) -> None:
    assert str(value) == text


def test_an_atom_is_one_object_and_equal_to_atoms_only() -> None:
    assert Atom("ok") is Atom("ok")
    assert Atom(Atom("ok")) is Atom("ok")
    others: list[Any] = ["ok", "true", b"ok", True, 1]
    assert Atom("ok") not in others
    assert Atom("true") not in others
    assert str(Atom("hello world")) == "hello world"
    assert Atom("a") < Atom("b") < Atom("é") < Atom("Ω") < Atom("😀")
    assert Atom("x" * 255).name == "x" * 255
    for wrong in ("x" * 256, "\ud800", 1, b"ok", None):
        with pytest.raises(TermError):
            Atom(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Pid("a", -1, 0, 0),
        lambda: Pid("a", 1 << 32, 0, 0),
        lambda: Pid("a", True, 0, 0),
        lambda: Port("a", 1 << 64, 0),
        lambda: Reference("a", (), 0),
        lambda: Reference("a", (1,) * 6, 0),
        lambda: Reference("a", (1 << 32,), 0),
        lambda: Export("a", "b", 256),
        lambda: BitString(b"", 1),
        lambda: BitString(b"a", 0),
        lambda: BitString(b"a", 8),
        lambda: ImproperList([], 1),
        lambda: ImproperList([1], [2]),
        lambda: ImproperList([1], ImproperList([2], 3)),
        lambda: Record("a", "b", [("x", 1), ("x", 2)]),
        lambda: Map([(1, 1), (1, 2)]),
        lambda: Map([("a", 1), (b"a", 2)]),
        lambda: Map([([object()], 1)]),
        lambda: Fun(b"a\x01"),
        lambda: Fun(FUN + b"x"),
        lambda: Fun(FUN[:-1]),
    ],
)
def test_what_is_no_such_value_is_refused(make: Any) -> None:
    with pytest.raises(TermError):
        make()


def test_values_have_their_attributes_and_match_patterns() -> None:
    pid = Pid("a@h", 1, 2, 3)
    match pid:
        case Pid(node, number, serial, creation):
            assert (node, number, serial, creation) == (Atom("a@h"), 1, 2, 3)
    reference = Reference("a@h", [1, 2, 3, 4, 5], 9)
    assert (reference.node, reference.ids, reference.creation) == (Atom("a@h"), (1, 2, 3, 4, 5), 9)
    assert Port("a@h", 1 << 63, 3).id == 1 << 63
    assert BitString(b"\xff", 3) == BitString(b"\xe0", 3)
    assert BitString(b"\xff\xff", 3).bit_size == 11
    record = Record("geom", "vec", {"x": 1.0})
    assert record["x"] == record[Atom("x")] == 1.0
    assert list(record) == [Atom("x")]


def test_a_map_holds_what_a_dict_cannot() -> None:
    held = Map(
        [(1, "int"), (1.0, "float"), (True, "bool"), (0.0, "zero"), (-0.0, "minus"), ([], "nil"), ({}, "map")]
    )
    assert len(held) == 7
    assert (held[1], held[1.0], held[True]) == ("int", "float", "bool")
    assert (held[0.0], held[-0.0], held[[]], held[{}]) == ("zero", "minus", "nil", "map")
    assert [] in held
    assert 2 not in held
    assert object() not in held
    with pytest.raises(KeyError):
        held[2]
    assert held.get([1]) is None
    assert Map({"a": 1}) == {"a": 1}
    assert Map({"a": 1}) != {"a": 1.0}
    assert Map({"a": 1}) != {"a": object()}
    assert Map([(1, 1), ([], 2)]) == Map([([], 2), (1, 1)])
    assert hash(Map([(1, 1), ([], 2)])) == hash(Map([([], 2), (1, 1)]))
    assert {Map([([], 1)]): "key"}[Map([([], 1)])] == "key"


def test_a_map_decodes_to_a_dict_wherever_a_dict_can_hold_it() -> None:
    assert type(binary_to_term(term_to_binary({1: "a", (1, 2): "b", "c": {}}))) is dict
    both: list[list[tuple[Any, Any]]] = [
        [(1, "a"), (1.0, "b")],
        [((1,), "a"), ((1.0,), "b")],
        [(1, 1), (True, 2)],
        [([], 1)],
        [((1, []), 1)],
    ]
    for pairs in both:
        found = binary_to_term(term_to_binary(Map(pairs)))
        assert type(found) is Map
        assert exactly_equal(found, Map(pairs))


class Colour(IntEnum):
    RED = 1000


class Name(StrEnum):
    A = "a"


class Plain(Enum):
    A = 1


class Text(str):
    def encode(self, *_: object) -> bytes:
        raise AssertionError("not what a term is written with")


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "term"),
    [
        (Colour.RED, 1000),
        (Name.A, b"a"),
        (Text("a"), b"a"),
        (Point(1, Point(2, Colour.RED)), (1, (2, 1000))),
        (OrderedDict(a=1, b=2), {b"a": 1, b"b": 2}),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcd")[::2], b"ac"),
        ([Colour.RED, 2], [1000, 2]),
        ([True, 1, False], [True, 1, False]),
        ([1, 2, True], [1, 2, True]),
        ({Name.A: Colour.RED}, {b"a": 1000}),
        (None, None),
        (Atom("true"), True),
        ([Point(1, n) for n in range(3000)], [(1, n) for n in range(3000)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_subclasses_are_encoded_as_their_base_type(value: Any, term: Any) -> None:
    for codec in (Codec(), Codec(deterministic=True)):
        assert exactly_equal(codec.decode(codec.encode(value))[0], term)


class Long(tuple[Any, ...]):
    pass


#: Of 65,535 words, OTP 27's and 29's most; OTP 25 takes eight times as many.
LARGEST = (1 << 4_194_240) - 1
LOOP: list[Any] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("term", "message", "path"),
    [
        (object(), "cannot encode object as an Erlang term", "term"),
        ([1, {2}], "cannot encode set as an Erlang term", "term[1]"),
        ((1, {Atom("a"): [0, 1j]}), "cannot encode complex", "term[1][Atom('a')][1]"),
        ({"k": {1: Plain.A}}, "Plain", "term['k'][1]"),
        ({(1, Plain.A): 1}, "Plain", "term{key 0}[1]"),
        (Map([([], float("inf"))]), "not finite", "term{value 0}"),
        ([1.0, float("nan")], "not finite", "term[1]"),
        (("\ud800",), "not valid Unicode", "term[0]"),
        ({"\ud800": 1}, "not valid Unicode", "term{key 0}"),
        (ImproperList([1, 2], {3}), "cannot encode set", "term.tail"),
        (ImproperList([1, {3}], 2), "cannot encode set", "term.elements[1]"),
        (Record("m", "r", {"x": {3}}), "cannot encode set", "term['x']"),
        ([{"a": 1, b"a": 2}], "two keys are the same key", "term[0]"),
        ({None: 1, Atom("undefined"): 2}, "two keys", "term"),
        ({True: 1, Atom("true"): 2}, "two keys", "term"),
        ({("a",): 1, (b"a",): 2}, "two keys", "term"),
        ([Map([(None, 1), (Atom("undefined"), 2), ([], 3)])], "two keys", "term[0]"),
        ([Local(b"")], "LOCAL_EXT inside another term", "term[0]"),
        (LOOP, "nested deeper than 200000", None),
        ((0,) * (1 << 24), "16777216 elements", "term"),
        ([Long((0,) * (1 << 24))], "16777216 elements", "term[0]"),
        (LARGEST + 1, "an integer of 4194241 bits; OTP's limit is 4194240", "term"),
        ((1, {"n": -LARGEST - 1}), "an integer of 4194241 bits", "term[1]['n']"),
        ([1, 2, LARGEST + 1], "an integer of 4194241 bits", "term[2]"),
        ([*range(20), LARGEST + 1], "an integer of 4194241 bits", "term[20]"),
    ],
    ids=lambda value: None if type(value) is str else type(value).__name__,
)
def test_a_value_that_cannot_be_encoded_is_named_with_its_path(
    term: Any, message: str, path: str | None
) -> None:
    parts = [b"before"]
    for codec in (Codec(), Codec(deterministic=True)):
        with pytest.raises(EncodeError) as caught:
            codec.encode_into(term, parts)
        assert message in str(caught.value)
        assert parts == [b"before"]
        if path:
            assert caught.value.path == path
        else:
            assert len(str(caught.value)) < 300


def test_the_largest_integers_are_sent() -> None:
    for term in (LARGEST, -LARGEST, [1, LARGEST], (LARGEST,)):
        assert binary_to_term(term_to_binary(term)) == term


def test_encoding_deeper_than_the_limit_is_an_encode_error() -> None:
    codec = Codec(limits=Limits(max_depth=10_000))
    deep: Any = []
    for _ in range(10_000):
        deep = (deep,)
    assert codec.binary_to_term(codec.term_to_binary(deep)) is not None
    with pytest.raises(EncodeError, match="nested deeper than 10000"):
        codec.term_to_binary((deep,))
    with pytest.raises(EncodeError, match="nested deeper than 2 "):
        Codec(limits=Limits(max_depth=2)).encode([[[[]]]])
    assert Codec(limits=Limits(max_depth=2)).encode([[[]]])


def test_none_is_an_option() -> None:
    elixir = Codec(none="nil")
    assert elixir.decode(elixir.encode((None, Atom("undefined"))))[0] == (None, Atom("undefined"))
    assert elixir.encode(None) == b"w\x03nil"
    without = Codec(none=None)
    assert without.decode(b"w\x09undefined")[0] == Atom("undefined")
    with pytest.raises(EncodeError, match="None"):
        without.encode([None])
    both = elixir.decode(b"t\0\0\0\x03w\x03nila\x01w\x09undefineda\x02ja\x03")[0]
    assert (both[None], both[Atom("undefined")], both[[]]) == (1, 2, 3)


def test_a_large_binary_is_handed_over_without_a_copy() -> None:
    large = bytes(1 << 20)
    parts: list[bytes] = []
    Codec().encode_into((Atom("a"), [large]), parts)
    assert any(part is large for part in parts)
    data = term_to_binary((1, large, b"small"))
    view = Codec(view_from=1000).binary_to_term(data)[1]
    assert isinstance(view, memoryview)
    assert view.obj is data
    assert view == large
    assert type(Codec(view_from=1000).binary_to_term(bytearray(data))[1]) is bytes
    assert Codec(view_from=1000).encode(view) == Codec().encode(large)


@pytest.mark.parametrize("node", ["a@h", "\xe9@h", "n" * 250 + "@h"])
@pytest.mark.parametrize("value", [Pid, Port, Reference], ids=lambda kind: kind.__name__)
def test_identifiers_are_equal_in_all_encodings_of_their_node(value: Any, node: str) -> None:
    """Nodes of C and Java send atoms in Latin-1; erl_ext_dist has four forms for one."""
    same = value(node, (7, 8, 9) if value is Reference else 7, *((1, 2) if value is Pid else (2,)))
    etf = term_to_binary(same)
    utf8, latin1 = node.encode(), node.encode("latin-1")
    canonical = (b"w%c" % len(utf8) if len(utf8) < 256 else b"v%b" % len(utf8).to_bytes(2, "big")) + utf8
    forms = [
        b"v%b%b" % (len(utf8).to_bytes(2, "big"), utf8),
        b"s%c%b" % (len(latin1), latin1),
        b"d%b%b" % (len(latin1).to_bytes(2, "big"), latin1),
    ]
    assert canonical in etf
    codec = Codec()
    for form in forms:
        # Once to be remembered, and once more from memory.
        for _ in range(2):
            data = etf.replace(canonical, form)
            for came in (codec.binary_to_term(data), codec.binary_to_term(b"\x83h\1" + data[1:])[0]):
                assert came == same
                assert hash(came) == hash(same)
                assert exactly_equal(came, same)
                assert term_to_binary(came) == etf


def test_sort_key_orders_terms_of_all_types() -> None:
    ordered = [
        -1, 0.5, 1, 2**70, Atom("a"), False, None, Reference("a", (1,), 0), Export("a", "b", 1),
        Port("a", 1, 1), Pid("a", 1, 1, 1), (), (1,), (1, 2), Record("a", "b"), {}, {1: 2}, {1.0: 0}, [], [1],
        [1, 2], ImproperList([2], 1), [2], b"", BitString(b"\x80", 1), b"\x80", "é",
    ]  # fmt: skip
    shuffled = random.Random(1).sample(ordered, len(ordered))
    assert sorted(shuffled, key=sort_key) == ordered
    with pytest.raises(EncodeError):
        sort_key(object())


def test_deep_terms_are_ordered_and_compared_without_recursion() -> None:
    def nest(inner: Any) -> Any:
        for _ in range(9000):
            inner = [({1: inner},)]
        return inner

    one, other = nest(1), nest(2)
    assert sort_key(one) < sort_key(other)
    assert not exactly_equal(one, other)
    assert exactly_equal(one, nest(1))


def test_atoms_are_matched_as_they_are_written() -> None:
    found = []
    for term in ((Atom("ok"), 1), (Atom("error"), 2), ("ok", 3), (Atom("other"), 4)):
        match term:
            case (Atom("ok" | "error" as name), int() as value):
                found.append((name, value))
    assert found == [("ok", 1), ("error", 2)]
