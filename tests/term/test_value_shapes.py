"""Shapes of values: what the encoder learns of terms changes how fast it is, and nothing else."""

from __future__ import annotations

import enum
import random
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from quicdist.term import (
    Atom,
    BitString,
    Codec,
    EncodeError,
    Export,
    ImproperList,
    Limits,
    Map,
    Pid,
    Port,
    Record,
    Reference,
)
from quicdist.term.etf import shape_table
from quicdist.term.etf.encoder import Encoder
from quicdist.term.etf.own_identifiers import OwnIdentifiers
from quicdist.term.etf.shape_table import ValueTable

LIMITS = Limits()
NONE = Atom("undefined")


class Text(str):
    """A str that is none to the encoder's fast path."""


class Level(enum.IntEnum):
    LOW = 1


class EqualToAll:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class EqualTo:
    """An object that is equal to another one, and to no Erlang term."""

    def __init__(self, other: object) -> None:
        self._other = other

    def __eq__(self, other: object) -> bool:
        return other == self._other

    def __hash__(self) -> int:
        return hash(self._other)


class Truthless:
    def __bool__(self) -> bool:
        raise AttributeError("neither true nor false")


class Incomparable:
    def __le__(self, other: object) -> bool:
        raise AttributeError("le")

    def __ge__(self, other: object) -> bool:
        raise AttributeError("ge")


#: A part of a message by its number.
PARTS: dict[str, Callable[[int], Any]] = {
    "small-integer": lambda n: n % 256,
    "integer": lambda n: n * 1000 - 500_000_000,
    "integer-of-either-size": lambda n: 17 * n - 100,
    "big": lambda n: (1 << 62) + n,
    "integer-of-any-size": lambda n: (-7) ** (n % 30),
    "float": lambda n: n / 3,
    "integer-or-float": lambda n: n / 2 if n % 2 else n // 2,
    "boolean": lambda n: n % 3 == 0,
    "boolean-or-integer": lambda n: n % 2 if n % 5 else n % 2 == 1,
    "none": lambda _: None,
    "none-or-text": lambda n: f"text {n}" if n % 3 else None,
    "constant": lambda _: Atom("always"),
    "atom": lambda n: Atom(f"one_of_{n % 12}"),
    "long-atom": lambda n: Atom("é" * (100 + n % 50)),
    "bytes": lambda n: b"%05d" % n,
    "bytes-of-any-size": lambda n: bytes(240 + n % 30),
    "text": lambda n: f"één {n}",
    "text-of-any-size": lambda n: "é" * (120 + n % 15),
    "bitstring": lambda n: BitString(bytes([n % 256, (n % 8) << 5]), 3),
    "pid": lambda n: Pid("internal" if n % 3 else "a@host", n % 30, 0, 0),
    "reference": lambda n: Reference("internal" if n % 3 else "a@host", (n, 2, 3), 0),
    "port": lambda n: Port("a@host", n, 9),
    "export": lambda n: Export("lists", f"f{n % 12}", n % 5),
    "empty-terms": lambda _: ([], (), {}, ((),), [[]]),
    "empty-or-not": lambda n: [1, "a"][: n % 3],
    "charlist": lambda n: [*f"text {n}".encode()],
    "list-of-integers": lambda n: [n, 300, n % 7],
    "list": lambda n: [n % 256, b"%d" % n, n / 7],
    "list-of-integers-or-not": lambda n: [n % 256, n % 2 or b"x"],
    "long-list": lambda n: [(n, k) for k in range(n % 30)],
    "improper-list": lambda n: ImproperList([Atom("alias")], Reference("a@host", (n, 2), 9)),
    "tuple": lambda n: (n, (b"%d" % n,)),
    "map": lambda n: {Atom("id"): n, Atom("name"): f"no. {n}", Atom("at"): (n % 3, n)},
    "map-with-text-keys": lambda n: {"".join(["i", "d"]): n, "né": n % 9},
    "map-with-bytes-keys": lambda n: {b"".join([b"i", b"d"]): n, b"n": n % 9},
    "map-with-keys-in-any-order": lambda n: {"a": n, "b": 1} if n % 2 else {"b": n, "a": 1},
    "map-with-other-keys": lambda n: {n: Atom("x"), n / 7 + 0.1: []},
    "map-of-a-pair": lambda n: {(n, n / 7): n % 9},
    "map-of-a-pair-with-any-name": lambda n: {f"key {n % 20}": n},
    "map-object": lambda n: Map([([n], 1), (1, 2), (1.0, 3)]),
    "record": lambda n: Record("geom", "vec", {"x": n}),
    "subclasses": lambda n: [Level.LOW, True, Text("x"), bytearray(b"y")][n % 4],
    "anything": lambda n: [n, Atom("x"), [(), n], {}, None, float("nan"), {1}][n % 7],
}

FRAMES: dict[str, Callable[[Any], Any]] = {
    "in-a-tuple": lambda part: (Atom("message"), part, 7),
    "in-front": lambda part: (part, Atom("x"), 7),
    "in-a-map": lambda part: {Atom("at"): 7, Atom("value"): part},
    "in-a-message-in-a-message": lambda part: (Atom("call"), (part, Atom("y")), [part]),
}

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deterministic": {"deterministic": True},
    "without-none": {"none": None},
    "with-default": {"default": lambda value: sorted(value)},
    "shallow": {"limits": Limits(max_depth=3)},
}


class Both:
    """A codec that learns, and the complete encoder, which does not."""

    def __init__(self, *, own: bool = False, **options: Any) -> None:
        identifiers = Atom("internal"), Atom("me@host"), 9
        codec = Codec(**options)
        self.codec = codec.for_node(*identifiers) if own else codec
        self._complete = Encoder(
            codec.none,
            codec.limits,
            codec.deterministic,
            default=codec.default,
            own_form=OwnIdentifiers(*identifiers).form if own else None,
        )

    def check(self, term: Any) -> None:
        """They agree about the term: on its bytes, or on why it cannot be encoded."""
        wrong: EncodeError | None = None
        expected: list[bytes] = [b"begun"]
        parts: list[bytes] = [b"begun"]
        try:
            self._complete.encode_into(term, expected)
        except EncodeError as error:
            wrong = error
        if wrong is not None:
            with pytest.raises(EncodeError) as raised:
                self.codec.encode_into(term, parts)
            assert (str(raised.value), raised.value.path) == (str(wrong), wrong.path)
        else:
            self.codec.encode_into(term, parts)
        assert b"".join(parts) == b"".join(expected), term


def table(codec: Codec, name: str) -> ValueTable[Any]:
    """The table "message", "map" or "elements" of the codec's encoder."""
    seen: set[int] = set()
    todo: list[Any] = [codec.encoder]
    while todo:
        closure = todo.pop()
        if id(closure) in seen or not hasattr(closure, "__closure__"):
            continue
        seen.add(id(closure))
        cells = [cell.cell_contents for cell in closure.__closure__ or ()]
        found = dict(zip(closure.__code__.co_freevars, cells, strict=True))
        if f"missed_{name}" in found:
            return found[f"missed_{name}"].__self__  # type: ignore[no-any-return]
        todo += cells
    raise LookupError(name)


def learned(codec: Codec, name: str = "message") -> list[Any]:
    """Functions that the codec has for shapes."""
    return [function for function in table(codec, name).functions.values() if function]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("part", PARTS)
def test_a_message_that_is_sent_again_with_other_values_gives_the_same_bytes(part: str, options: str) -> None:
    make = PARTS[part]
    for name, frame in FRAMES.items():
        if options != "plain" and name != "in-a-message-in-a-message":
            continue
        both = Both(**OPTIONS[options])
        for n in range(90):
            both.check(frame(make(n)))
        for other in ("tuple", "anything", "integer-of-any-size", "subclasses"):
            for n in range(8):
                both.check(frame(PARTS[other](n)))
        both.check(frame(make(3)))


@pytest.mark.parametrize("own", [False, True], ids=["", "of-a-node"])
@pytest.mark.parametrize("part", PARTS)
def test_a_list_of_what_has_one_shape_gives_the_same_bytes(part: str, own: bool) -> None:
    both = Both(own=own)
    make = PARTS[part]
    for start in range(0, 700, 50):
        both.check([make(start + n) for n in range(50)])
    for size in range(12):
        both.check([make(n) for n in range(size)])
    mixed = [make(n) for n in range(40)]
    for other in ("tuple", "float", "boolean", "integer-of-any-size", "subclasses"):
        for at in (0, 5, 20, 39):
            both.check([*mixed[:at], PARTS[other](at), *mixed[at:]])
    both.check(ImproperList(mixed, Atom("improper")))


@pytest.mark.parametrize("seed", range(4))
def test_messages_with_some_parts_changed_at_random_give_the_same_bytes(seed: int) -> None:
    rnd = random.Random(seed)
    both = Both(own=seed % 2 == 1)
    names = list(PARTS)
    for _ in range(60):
        chosen = rnd.sample(names, 4)
        for n in range(20):
            both.check((Atom("-".join(chosen)[:100]), *[PARTS[name](n) for name in chosen]))
        for n in range(20):
            parts = [PARTS[name](n) for name in chosen]
            parts[rnd.randrange(4)] = PARTS[rnd.choice(names)](n)
            both.check((Atom("-".join(chosen)[:100]), *parts))
    assert learned(both.codec)


class TestLearning:
    def test_a_message_a_map_and_a_list_are_learned_and_their_values_may_change(self) -> None:
        both = Both()
        for n in range(100):
            both.check((Atom("message"), n, {"id": n}))
            both.check({"id": n})
            both.check([(k, "x") for k in range(n)])
        assert [len(learned(both.codec, name)) for name in ("message", "map", "element")] == [1, 1, 1]

    def test_messages_without_anything_in_common_are_not_learned(self) -> None:
        both = Both()
        for n in range(400):
            both.check((Atom("x"), PARTS["anything"](n), PARTS["anything"](n // 3)))
        assert not learned(both.codec)

    def test_shapes_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shape_table, "_MAX_SHAPES", 5)
        both = Both()
        for name in range(40):
            for n in range(80):
                both.check((Atom(f"m{name}"), n))
                both.check({f"m{name}": n})
            both.check([{f"m{name}": n} for n in range(600)])
        for table_name in ("message", "map", "element"):
            assert 1 <= len(learned(both.codec, table_name)) <= 5

    def test_kinds_for_which_there_is_no_room_are_not_compiled_in_turn(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shape_table, "_MAX_SHAPES", 5)
        both = Both()
        for n in range(400):
            for name in range(12):
                both.check((Atom(f"m{name}"), n % 200))
                both.check({f"m{name}": n % 200})
        for learner in ("message", "map"):
            assert table(both.codec, learner)._compiled == 5

    def test_a_frequent_kind_replaces_the_oldest_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shape_table, "_MAX_SHAPES", 5)
        monkeypatch.setattr(shape_table, "_REPLACES", 2)
        both = Both()
        for name in range(6):
            for n in range(80 if name < 5 else 200):
                both.check((Atom(f"m{name}"), n))
            for n in range(80 if name < 5 else 200):
                both.check({f"m{name}": n})
        assert [key[0].name for key in table(both.codec, "message")._shapes] == ["m1", "m2", "m3", "m4", "m5"]
        assert list(table(both.codec, "map")._shapes) == [("m1",), ("m2",), ("m3",), ("m4",), ("m5",)]
        both.check((Atom("m0"), 5))
        both.check({"m0": 5})

    def test_messages_that_are_never_sent_again_are_not_counted_for_ever(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shape_table, "_MAX_COUNTED", 10)
        both = Both()
        for n in range(200):
            both.check((Atom(f"m{n}"), n))
            both.check({f"m{n}": n})
            both.check([{f"m{n}": n}] * 10)
        for name in ("message", "map", "element"):
            assert len(table(both.codec, name)._counts) <= 11

    def test_long_names_are_not_kept(self) -> None:
        codec = Codec()
        tracemalloc.start()
        try:
            for n in range(250):
                for _ in range(17):
                    codec.encode({f"{n} {'x' * 20_000}": n, "a": 1})
                codec.encode([{b"%d %b" % (n, bytes(20_000)): k} for k in range(20)])
            assert tracemalloc.get_traced_memory()[0] < 4 << 20
        finally:
            tracemalloc.stop()

    def test_a_message_as_deep_as_allowed_is_encoded_and_one_deeper_is_refused(self) -> None:
        for most in range(1, 7):
            both = Both(limits=Limits(max_depth=most))
            for n in range(100):
                term: Any = n
                for _ in range(most - 1 + (n > 80)):
                    term = (Atom("x"), term)
                both.check((Atom("deep"), term))
                both.check([term] * 20)


class TestExactness:
    """What Python takes for the same, and Erlang does not."""

    def test_a_key_that_is_equal_to_every_key_is_refused_in_a_known_map(self) -> None:
        for keys in (("id",), ("id", "name")):
            both = Both()
            for n in range(100):
                both.check((Atom("m"), dict.fromkeys(keys, n)))
                both.check(dict.fromkeys(keys, n))
                both.check([dict.fromkeys(keys, n)] * 20)
            odd = dict.fromkeys((*keys[:-1], EqualToAll()), 1)
            for term in ((Atom("m"), odd), [dict.fromkeys(keys, 1)] * 20 + [odd] + [dict.fromkeys(keys, 2)]):
                both.check(term)

    @pytest.mark.parametrize("name", [Atom("id"), "id", b"id"])
    @pytest.mark.parametrize("times", [1, 100])
    def test_a_key_that_is_equal_to_a_name_is_refused_in_a_known_map(self, name: Any, times: int) -> None:
        for other in ((), (type(name)("i") if type(name) is Atom else name[:1],)):
            both = Both()
            for n in range(times):
                both.check(dict.fromkeys((*other, name), n))
                both.check((Atom("m"), dict.fromkeys((*other, name), n)))
            odd = dict.fromkeys((*other, EqualTo(name)), 1)
            for term in (odd, (Atom("m"), odd), [odd] * 20):
                both.check(term)

    def test_an_object_without_a_truth_value_among_empty_terms_is_refused(self) -> None:
        empty: Any
        for empty in ((), [], {}):
            Both().check([empty] * 4 + [Truthless()] + [empty] * 4)

    @pytest.mark.parametrize("at", [0, 1, 2])
    def test_an_object_whose_operators_raise_among_integers_is_refused(self, at: int) -> None:
        both = Both()
        for n in range(100):
            both.check((Atom("m"), [n, n + 1, n + 2], n))
        numbers: list[Any] = [5, 6, 7]
        numbers[at] = Incomparable()
        both.check((Atom("m"), numbers, 5))

    def test_a_list_that_does_not_begin_with_an_integer_has_another_shape_than_integers(self) -> None:
        codec = Codec()
        for n in range(100):
            codec.encode((Atom("m"), [n, n + 1], n))
        (write,) = learned(codec)
        assert write((Atom("m"), [5, 6], 7), [], 9)
        assert not write((Atom("m"), ["x", 6], 7), [], 9)

    def test_a_key_of_a_subclass_of_str_is_written_as_its_text(self) -> None:
        both = Both()
        for n in range(100):
            both.check({"id": n})
        both.check({Text("id"): 1})
        both.check([{Text("id"): 1}, *[{"id": n} for n in range(20)]])

    def test_true_is_not_one_in_a_known_message(self) -> None:
        both = Both()
        for n in range(100):
            both.check((Atom("m"), n % 2, [n % 2, "x"]))
        both.check((Atom("m"), True, [True, "x"]))
        both.check((Atom("m"), Level.LOW, [Level.LOW, "x"]))

    @pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
    def test_a_float_that_is_not_finite_is_refused_in_a_known_message(self, value: float) -> None:
        both = Both()
        for n in range(100):
            both.check((Atom("m"), n / 2, n / 3))
            both.check([n / 2] * 20)
        both.check((Atom("m"), value, -value))
        both.check([1.0] * 20 + [value, -value, 1.0])

    def test_floats_whose_sum_is_not_finite_are_written(self) -> None:
        both = Both()
        for _ in range(100):
            both.check((Atom("m"), 1.7e308, 1.7e308))
        both.check([1.7e308] * 20)

    def test_text_that_is_not_unicode_is_refused_in_a_known_message(self) -> None:
        both = Both()
        for n in range(100):
            both.check((Atom("m"), f"{n}"))
            both.check([f"{n}"] * 20)
        both.check((Atom("m"), "\ud800"))
        both.check([*["x"] * 20, "\ud800", "x"])

    def test_what_cannot_be_encoded_late_in_a_known_message_leaves_nothing_behind(self) -> None:
        both = Both()
        for n in range(100):
            both.check((Atom("m"), PARTS["anything"](n % 3), n % 256, "x", 5))
        both.check((Atom("m"), [(), 5], 256, "x", 5))
        both.check((Atom("m"), [(), 5], 1, "x", {5}))

    @pytest.mark.parametrize("numbers", [(5,), (300,), (5, 300)], ids=["8-bits", "32-bits", "either"])
    @pytest.mark.parametrize("encode", [Codec.encode, Codec.term_to_binary])
    def test_default_is_called_once_for_a_value_in_front_of_a_number_of_another_size(
        self, encode: Callable[[Codec, Any], bytes], numbers: tuple[int, ...]
    ) -> None:
        called: list[Any] = []

        def default(value: Any) -> int:
            called.append(value)
            return 0

        def message(value: Any, number: int) -> tuple[Any, ...]:
            return Atom("m"), value, number, 7, b"y", b"z"

        codec = Codec(default=default)
        for n in range(100):
            sent = message([n, "x", {1}][n % 3], numbers[n % len(numbers)])
            encode(codec, sent)
            encode(codec, [sent] * 10)
        for number in (5, 300, -1, 1 << 40):
            for term, count in ((message({1}, number), 1), ([message({1}, number)] * 10, 10)):
                called.clear()
                encode(codec, term)
                assert called == [{1}] * count


class TestThreads:
    def test_a_shape_is_learned_by_one_thread_while_another_goes_on(self) -> None:
        compiling, go_on = threading.Event(), threading.Event()
        compiled = []

        def compile_shape(shape: object) -> Callable[..., Any]:
            compiled.append(shape)
            compiling.set()
            assert threading.current_thread() is not learner or go_on.wait(10)
            return len

        table: ValueTable[Any] = ValueTable(
            compile_shape, none=True, maps=True, levels=9, threshold=1, most_any=0
        )
        learner = threading.Thread(target=table.missed, args=((1,), (1,)))
        learner.start()
        try:
            assert compiling.wait(10)
            table.missed((1,), (300,))
        finally:
            go_on.set()
            learner.join(10)
        assert len(compiled) == 1
        assert table.functions == {(1,): len}
