"""Shapes of messages: what the decoder learns of them changes how fast it is, and nothing else."""

from __future__ import annotations

import random
import struct
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from quicdist.term import Atom, Codec, DecodeError, Limits, Pid, Reference
from quicdist.term.etf import shape_table
from quicdist.term.etf.decoder import Decoder
from quicdist.term.etf.shape_table import ShapeTable
from quicdist.term.identity import exact_form

LIMITS = Limits()


def atom(name: str, tag: bytes = b"w") -> bytes:
    text = name.encode() if tag in b"wv" else name.encode("latin-1")
    return tag + (struct.pack(">H", len(text)) if tag in b"dv" else bytes([len(text)])) + text


def integer(n: int) -> bytes:
    return b"a%c" % n if 0 <= n < 256 else struct.pack(">Bi", 98, n)


def binary(data: bytes) -> bytes:
    return b"m" + struct.pack(">I", len(data)) + data


def mapping(*pairs: bytes) -> bytes:
    return b"t" + struct.pack(">I", len(pairs) // 2) + b"".join(pairs)


def listed(*parts: bytes, tail: bytes = b"j") -> bytes:
    return b"l" + struct.pack(">I", len(parts)) + b"".join(parts) + tail


def numbers(n: int, *words: int) -> bytes:
    return struct.pack(f">{len(words) + 1}I", n, *words)


#: A part of a message by its number.
PARTS: dict[str, Callable[[int], bytes]] = {
    "small-integer": lambda n: b"a%c" % (n % 256),
    "integer": lambda n: struct.pack(">Bi", 98, n * 1000 - 5),
    "integer-of-either-size": lambda n: integer(17 * n),
    "big": lambda n: b"n\x08%c%b" % (n % 2, struct.pack("<Q", (1 << 62) + n)),
    "big-of-any-size": lambda n: b"n%c\0%b" % (5 + n % 7, bytes([n % 256]) * (5 + n % 7)),
    "float": lambda n: struct.pack(">Bd", 70, n / 3),
    "binary": lambda n: binary(b"%05d" % n),
    "binary-of-any-size": lambda n: binary(b"x" * (n % 9)),
    "bitstring": lambda n: b"M\0\0\0\2\3" + bytes([n % 256, (n % 8) << 5]),
    "bitstring-of-any-size": lambda n: b"M" + struct.pack(">IB", 1 + n % 3, 3) + bytes([0xE0] * (1 + n % 3)),
    "charlist": lambda n: b"k" + struct.pack(">H", 1 + n % 9) + b"x" * (1 + n % 9),
    "constant": lambda _: atom("always"),
    "atom": lambda n: atom(f"one_of_{n % 12}"),
    "atom-ext": lambda n: atom(f"één_{n % 12}", b"d"),
    "small-atom-ext": lambda n: atom(f"één_{n % 12}", b"s"),
    "atom-utf8-ext": lambda n: atom(f"één_{n % 12}", b"v"),
    "boolean": lambda n: atom("true" if n % 2 else "false"),
    "undefined": lambda _: atom("undefined"),
    "pid": lambda n: b"X" + atom("a@host") + numbers(n % 30, 0, 9),
    "old-pid": lambda n: b"g" + atom("a@host", b"d") + numbers(n % 30, 0) + b"\2",
    "pid-of-any-node": lambda n: b"X" + atom(f"n{n % 20}@host", b"d") + numbers(n % 30, 0, 9),
    "reference": lambda n: b"Z\0\3" + atom("a@host", b"d") + numbers(9, n, 2, 3),
    "reference-of-any-node": lambda n: b"Z\0\3" + atom(f"n{n % 20}@host") + numbers(9, n, 2, 3),
    "new-reference": lambda n: b"r\0\3" + atom("a@host", b"d") + b"\1" + numbers(n, 2, 3),
    "old-reference": lambda n: b"e" + atom("a@host", b"d") + numbers(n) + b"\1",
    "port": lambda n: b"x" + atom("a@host") + struct.pack(">QI", n, 9),
    "new-port": lambda n: b"Y" + atom("a@host", b"d") + numbers(n, 9),
    "old-port": lambda n: b"f" + atom("a@host", b"d") + numbers(n) + b"\1",
    "export": lambda n: b"q" + atom("lists") + atom(f"f{n % 12}") + b"a%c" % (n % 5),
    "export-of-otp-25": lambda n: b"q" + atom("lists", b"d") + atom(f"f{n % 12}", b"d") + b"a%c" % (n % 5),
    "empty-terms": lambda _: b"h\3jh\0" + mapping(),
    "tuple": lambda n: b"h\2" + integer(n) + b"h\1" + binary(b"%d" % n),
    "list": lambda n: listed(integer(n), binary(b"%d" % n)),
    "improper-list": lambda n: listed(atom("alias"), tail=b"Z\0\3" + atom("a@host") + numbers(9, n, 2, 3)),
    "map": lambda n: mapping(atom("id"), integer(n), binary(b"name"), binary(b"%d" % n)),
    "map-with-other-keys": lambda n: mapping(integer(n), atom("x"), struct.pack(">Bd", 70, n / 7), b"j"),
    "anything": lambda n: [integer(n), atom("x"), listed(b"h\0", integer(n)), mapping()][n % 4],
}  # fmt: skip

FRAMES: dict[str, Callable[[bytes], bytes]] = {
    "in-a-tuple": lambda part: b"h\3" + atom("message") + part + integer(7),
    "at-the-end": lambda part: b"h\4" + atom("x") + atom("y") + integer(7) + part,
    "in-a-map": lambda part: mapping(atom("at"), integer(7), atom("value"), part),
}


class Both:
    """A codec that learns, and the complete decoder, which does not."""

    def __init__(self) -> None:
        self.codec = Codec(limits=LIMITS)
        self._complete = Decoder(Atom("undefined"), LIMITS)

    def check(self, data: bytes) -> Any:
        """They agree about the bytes: on a term, or on what is wrong with them."""
        wrong: DecodeError | None = None
        try:
            expected, end = self._complete.decode(data)
        except DecodeError as error:
            wrong = error
        if wrong is not None:
            with pytest.raises(DecodeError) as raised:
                self.codec.decode(data)
            assert (str(raised.value), raised.value.path) == (str(wrong), wrong.path)
            return None
        term, own_end = self.codec.decode(data)
        assert (exact_form(term), own_end) == (exact_form(expected), end)
        assert [type(part) for part in flat(term)] == [type(part) for part in flat(expected)]
        return term


def flat(term: Any) -> list[Any]:
    if isinstance(term, dict):
        return [term, *(part for pair in term.items() for part in pair)]
    return (
        [term, *(part for each in term for part in flat(each))] if isinstance(term, tuple | list) else [term]
    )


def cells(closure: Any) -> dict[str, Any]:
    """The variables of the functions around this one."""
    contents = [cell.cell_contents for cell in closure.__closure__]
    return dict(zip(closure.__code__.co_freevars, contents, strict=True))


def learned(codec: Codec) -> list[Any]:
    """Functions that the codec has for shapes of messages."""
    readers = cells(codec.decoder)["missed_message"].__self__.readers.values()
    return [reader for reader in readers if reader]


def learned_elements(codec: Codec) -> list[Any]:
    """Functions that the codec has for shapes of elements of lists."""
    readers = cells(cells(cells(codec.decoder)["read_terms"])["read_alike"])["element_readers"].values()
    return [reader for reader in readers if reader]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("part", PARTS)
def test_a_message_that_comes_again_with_other_values_gives_the_same_terms(part: str, frame: str) -> None:
    both = Both()
    make = PARTS[part]
    for n in range(120):
        both.check(FRAMES[frame](make(n)))
    whole = FRAMES[frame](make(120))
    for size in range(len(whole)):
        both.check(whole[:size])
    both.check(whole + b"more")


@pytest.mark.parametrize("part", PARTS)
def test_a_list_of_what_has_one_shape_gives_the_same_terms(part: str) -> None:
    both = Both()
    make = PARTS[part]
    for start in range(0, 1000, 50):
        both.check(listed(*[make(start + n) for n in range(50)]))
    whole = listed(*[make(n) for n in range(1, 12)])
    for size in range(len(whole)):
        both.check(whole[:size])
    mixed = [make(n) for n in range(40)]
    for n in range(0, 40, 9):
        mixed[n] = PARTS["tuple"](n)
    both.check(listed(*mixed, tail=atom("improper")))


@pytest.mark.parametrize("seed", range(4))
def test_bytes_changed_at_random_in_a_known_message_give_the_same_terms_or_errors(seed: int) -> None:
    rnd = random.Random(seed)
    both = Both()
    names = list(PARTS)
    for _ in range(60):
        chosen = rnd.sample(names, 4)

        def message(n: int, chosen: list[str] = chosen) -> bytes:
            return b"h\5" + atom("-".join(chosen)) + b"".join([PARTS[name](n) for name in chosen])

        for n in range(20):
            both.check(message(n))
        for n in range(20):
            data = bytearray(message(n))
            for _ in range(rnd.choice((1, 1, 2))):
                data[rnd.randrange(len(data))] = rnd.choice(
                    (0, 1, 2, 97, 98, 104, 109, 119, rnd.randrange(256))
                )
            both.check(bytes(data))
    assert learned(both.codec)


@pytest.mark.parametrize("name", PARTS)
def test_any_byte_changed_in_a_known_tuple_gives_the_same_term_or_error(name: str) -> None:
    """In terms of fixed size all constant bytes are compared in one step."""
    both, part = Both(), PARTS[name]
    for n in range(30):
        both.check(b"h\4" + b"".join([part(n + i) for i in range(4)]))
    whole = b"h\4" + b"".join([part(i) for i in range(4)])
    for at in range(len(whole)):
        for changed in {whole[at] ^ 1, whole[at] ^ 0x80, 0, 0xFF} - {whole[at]}:
            both.check(whole[:at] + bytes([changed]) + whole[at + 1 :])


class TestLearning:
    def test_a_message_is_learned_after_some_and_its_values_may_change(self) -> None:
        both = Both()
        for n in range(100):
            both.check(FRAMES["in-a-tuple"](PARTS["integer-of-either-size"](n)))
        assert len(learned(both.codec)) == 1

    def test_a_message_without_anything_in_common_is_not_learned(self) -> None:
        both = Both()
        for n in range(200):
            both.check(b"h\3" + atom("x") + PARTS["anything"](n) + PARTS["anything"](n // 3))
        assert not learned(both.codec)

    def test_shapes_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shape_table, "_MAX_SHAPES", 5)
        both = Both()
        for name in range(40):
            for n in range(20):
                both.check(b"h\2" + atom(f"m{name}") + integer(n))
        assert 1 <= len(learned(both.codec)) <= 5

    def test_kinds_for_which_there_is_no_room_are_not_compiled_in_turn(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shape_table, "_MAX_SHAPES", 5)
        both = Both()
        for n in range(200):
            for name in range(12):
                both.check(b"h\2" + atom(f"m{name}") + integer(n))
        assert cells(both.codec.decoder)["missed_message"].__self__._compiled == 5

    def test_a_frequent_kind_replaces_the_oldest_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shape_table, "_MAX_SHAPES", 5)
        monkeypatch.setattr(shape_table, "_REPLACES", 2)
        both = Both()
        kinds = [b"h\2" + atom(f"m{name}") for name in range(6)]
        for kind in kinds:
            for n in range(20 if kind is not kinds[5] else 40):
                both.check(kind + integer(n))
        assert list(cells(both.codec.decoder)["missed_message"].__self__._shapes) == kinds[1:]
        both.check(kinds[0] + integer(5))

    def test_a_kind_that_is_too_large_for_the_room_keeps_no_other_from_being_learned(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shape_table, "_MAX_PARTS", 20)
        both = Both()
        for name, parts in ("first", 10), ("too large", 15), ("small", 3):
            for n in range(20):
                both.check(
                    b"h%c" % (parts + 1) + atom(name) + b"".join([integer(n + i) for i in range(parts)])
                )
        assert [key[4:] for key in cells(both.codec.decoder)["missed_message"].__self__._shapes] == [
            b"first",
            b"small",
        ]

    def test_large_messages_of_one_size_cost_no_memory(self) -> None:
        codec = Codec()
        messages = [
            b"\x83h\4" + integer(n) + atom("a") + binary(bytes(1 << 20)) + atom("b") for n in range(40)
        ]
        codec.binary_to_term(messages[0])
        tracemalloc.start()
        try:
            for message in messages:
                codec.binary_to_term(message)
            assert tracemalloc.get_traced_memory()[0] < 1 << 19
        finally:
            tracemalloc.stop()

    def test_messages_that_never_come_again_are_not_counted_for_ever(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shape_table, "_MAX_COUNTED", 10)
        both = Both()
        for n in range(100):
            both.check(b"h\2" + atom(f"m{n}") + integer(n))
        assert len(cells(both.codec.decoder)["missed_message"].__self__._counts) <= 11

    def test_a_message_almost_as_deep_as_allowed_is_decoded_and_one_deeper_is_refused(self) -> None:
        codec = Codec(limits=Limits(max_depth=45))
        for n in range(100):
            depth = 43 + (n == 90)
            data = b"h\2" + atom("deep") + b"l\0\0\0\1" * depth + integer(n) + b"j" * depth
            term, end = codec.decode(data)
            assert term[0] == Atom("deep")
            assert end == len(data)
        with pytest.raises(DecodeError, match="nested deeper than 45"):
            codec.decode(b"h\2" + atom("deep") + b"l\0\0\0\1" * 45 + integer(1) + b"j" * 45)

    def test_a_large_binary_in_a_known_message_is_a_view(self) -> None:
        codec = Codec(view_from=100)
        for size in (*[10] * 30, *range(30)):
            assert type(codec.decode(FRAMES["in-a-tuple"](binary(bytes(size))))[0][1]) is bytes
        assert type(codec.decode(FRAMES["in-a-tuple"](binary(bytes(100))))[0][1]) is memoryview

    def test_identifiers_of_the_node_itself_are_internal_in_a_known_message(self) -> None:
        internal, own = Atom("internal"), Atom("me@host")
        codec = Codec().for_node(internal, own, 9)
        for n in range(100):
            node = "me@host" if n % 3 else "you@host"
            data = b"h\3" + atom("r") + b"Z\0\3" + atom(node) + numbers(9, n, 2, 3)
            data += b"X" + atom(node) + numbers(n, 0, 9)
            home, creation = (internal, 0) if n % 3 else (Atom("you@host"), 9)
            expected = Atom("r"), Reference(home, (n, 2, 3), creation), Pid(home, n, 0, creation)
            assert codec.decode(data)[0] == expected

    def test_lists_in_lists_that_fail_late_are_not_decoded_over_and_over(self) -> None:
        codec = Codec()
        good = b"h\2" + integer(1) + integer(2)
        for _ in range(40):
            codec.decode(listed(*[good] * 20))
        nested = b"h\2" + integer(1) + b"?"
        for _ in range(30):
            nested = listed(*[good] * 8, nested)
        with pytest.raises(DecodeError, match="unknown tag 63"):
            codec.decode(nested)


class TestCost:
    def test_an_element_of_another_shape_does_not_copy_the_rest_of_the_list(self) -> None:
        codec = Codec()
        clean, dirty = b"h\2a\1M\0\0\0\1\3\xe0", b"h\2a\1M\0\0\0\1\3\xff"
        for _ in range(40):
            codec.decode(listed(*[clean] * 20))
        (read_many,) = learned_elements(codec)
        data = dirty + clean * 100_000
        tracemalloc.start()
        try:
            assert read_many(data, 0, 100_001, 30, []) == 0
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 10_000

    def test_a_list_is_not_learned_from_elements_that_it_only_claims_to_have(self) -> None:
        codec = Codec()
        for name in range(20):
            element = mapping(atom(f"key{name}"), integer(1), atom("b"), binary(b"x"))
            with pytest.raises(DecodeError):
                codec.decode(b"l\xff\xff\xff\xff" + element * 20)
        assert not learned_elements(codec)

    @pytest.mark.parametrize(
        "part",
        [
            lambda n: mapping(binary(bytes([n]) * 100_000), integer(n)),
            lambda n: mapping(atom("a"), integer(n), binary(bytes([n]) * 100_000), integer(n)),
            lambda n: listed(mapping(binary(bytes([n]) * 100_000), integer(n))),
        ],
    )
    def test_large_keys_of_maps_are_not_kept(self, part: Callable[[int], bytes]) -> None:
        codec = Codec()
        for n in range(40):  # what is loaded with the first shape
            codec.decode(b"h\2" + atom("first") + integer(n))
        tracemalloc.start()
        try:
            for name in range(20):
                data = b"h\5" + atom(f"m{name}") + integer(1) + integer(2) + integer(3) + part(name)
                for _ in range(20):
                    codec.decode(data)
            kept = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert kept < 1_000_000
        assert len(learned(codec)) == 21

    def test_parts_of_all_shapes_together_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(shape_table, "_MAX_PARTS", 100)
        both = Both()
        most = 0
        for name in range(20):
            for n in range(20):
                both.check(b"h\x15" + atom(f"m{name}") + integer(n) * 20)
            most = max(most, len(learned(both.codec)))
        assert most == 4  # of 21 parts

    def test_a_name_longer_than_most_is_no_constant_and_gives_the_same_terms(self) -> None:
        both = Both()
        for n in range(60):
            node = atom("n" * 150 + "@host")
            both.check(
                b"h\4" + atom("x") + atom("y" * 200) + b"X" + node + numbers(n, 0, 9)
                + b"Z\0\2" + node + numbers(9, n, 2)
            )  # fmt: skip
        assert len(learned(both.codec)) == 1

    def test_a_small_bytearray_has_no_views_as_a_large_one(self) -> None:
        codec = Codec(view_from=100)
        for size in (200, 20_000):
            assert type(codec.decode(binary(bytes(size)))[0]) is memoryview
            assert type(codec.decode(bytearray(binary(bytes(size))))[0]) is bytes


class TestThreads:
    def test_a_shape_is_learned_by_one_thread_while_another_goes_on(self) -> None:
        compiling, go_on = threading.Event(), threading.Event()
        compiled = []

        def compile_shape(shape: object) -> Callable[..., Any]:
            compiled.append(shape)
            compiling.set()
            assert threading.current_thread() is not learner or go_on.wait(10)
            return len

        table = ShapeTable(
            Decoder(None, LIMITS), lambda *_: (0, 0), compile_shape, levels=9, threshold=1, most_any=0
        )
        learner = threading.Thread(target=table.missed, args=(b"h", b"h\1a\1", 0))
        learner.start()
        try:
            assert compiling.wait(10)
            table.missed(b"h", b"h\1b\0\0\0\1", 0)
        finally:
            go_on.set()
            learner.join(10)
        assert len(compiled) == 1
        assert table.readers == {b"h": len}

    def test_long_atoms_are_dropped_while_another_thread_adds_atoms(self) -> None:
        decoder = Decoder(None, LIMITS)

        class AddsAnother(bytes):
            def __len__(self) -> int:  # as if another thread ran now
                decoder.atoms[b"%d" % len(decoder.atoms)] = None
                return super().__len__()

        for n in range(10):
            decoder.atoms[AddsAnother(b"%d" % n)] = None
        for n in range(700):
            decoder.decode(atom("é" * 100 + str(n)))
        assert decoder.decode(atom("é" * 100))[0] == Atom("é" * 100)
